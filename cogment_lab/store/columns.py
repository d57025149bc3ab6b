"""Columns of values nested as their space is: the few operations that reading needs.

A column is an array ``(n, *shape)``, a dict or tuple of columns, or a list where values have no fixed size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Column", "assign", "concatenate_columns", "set_last", "take_rows", "value_at"]

Column: TypeAlias = Any
"""Values of many ticks: an array ``(n, *shape)``, a dict or tuple of columns, or a list if they vary in size.

Which of them depends on a space that only runs know, so that a type checker could but ask for casts.
"""

Indices: TypeAlias = npt.NDArray[np.integer[Any]]


def value_at(column: Column, index: int) -> Any:
    """Return one value of a column."""
    if isinstance(column, dict):
        return {key: value_at(part, index) for key, part in column.items()}
    if isinstance(column, tuple):
        return tuple(value_at(part, index) for part in column)
    return column[index]


def take_rows(column: Column, rows: Indices) -> Column:
    """Return a copy of these rows."""
    if isinstance(column, dict):
        return {key: take_rows(part, rows) for key, part in column.items()}
    if isinstance(column, tuple):
        return tuple(take_rows(part, rows) for part in column)
    if isinstance(column, list):
        return [column[row] for row in rows.tolist()]
    return column[rows]


def assign(column: Column, rows: Indices, values: Column) -> None:
    """Overwrite rows in place; ``values`` has one row for each."""
    if isinstance(column, dict):
        for key, part in column.items():
            assign(part, rows, values[key])
    elif isinstance(column, tuple):
        for part, new in zip(column, values, strict=True):
            assign(part, rows, new)
    elif isinstance(column, list):
        for row, value in zip(rows.tolist(), values, strict=True):
            column[row] = value
    else:
        column[rows] = values


def set_last(column: Column, value: Any) -> None:
    """Overwrite the last row of a column with one value."""
    if isinstance(column, dict):
        for key, part in column.items():
            set_last(part, value[key])
    elif isinstance(column, tuple):
        for part, inner in zip(column, value, strict=True):
            set_last(part, inner)
    else:
        column[-1] = value


def concatenate_columns(columns: Sequence[Column]) -> Column:
    """Return all rows of columns of one space, in order; at least one column."""
    head = columns[0]
    if isinstance(head, dict):
        return {key: concatenate_columns([column[key] for column in columns]) for key in head}
    if isinstance(head, tuple):
        return tuple(concatenate_columns([column[i] for column in columns]) for i in range(len(head)))
    if isinstance(head, list):
        return [value for column in columns for value in column]
    return np.concatenate(columns)
