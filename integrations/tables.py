"""Stored trials as a table with one row for each step: ``.csv`` or ``.parquet``."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from cogment_lab.integrations.exchange import new_path

from cogment_lab.errors import ConfigurationError, MissingExtraError
from cogment_lab.store.columns import Column
from cogment_lab.store.info import encode_info

if TYPE_CHECKING:
    from cogment_lab.store import TrialQuery

__all__ = ["ROWS", "check_count", "leaves", "path_of", "to_csv", "to_parquet"]

ROWS = (
    "ticks", "rewards", "terminated", "truncated", "is_intervention", "decided_by", "phase", "t_shown",
    "t_acted", "reaction_ns",
)  # fmt: skip
_COLUMNS = ("observations", "actions", "proposed_actions")


def to_csv(query: TrialQuery, path: Path) -> int:
    """Write one line for each step; numbers are written so that they read back as the same.

    Returns:
        How many steps were written.

    Raises:
        ConfigurationError: nothing to write, or the file exists.
        StoreFullError: the disk is full; nothing is left of the file.
    """
    count = 0
    with new_path(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for table in _tables(query):
            if not count:
                writer.writerow(table)
            rows = [
                column.tolist() if isinstance(column, np.ndarray) else column for column in table.values()
            ]
            writer.writerows(zip(*rows, strict=True))
            count += len(table["trial_id"])
        check_count(query, count)
    return count


def to_parquet(query: TrialQuery, path: Path) -> int:
    """Write one row for each step, a row group for each trial; needs pyarrow.

    Returns:
        How many steps were written.

    Raises:
        ConfigurationError: as :func:`to_csv`.
        MissingExtraError: pyarrow is not installed.
        StoreFullError: as :func:`to_csv`.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingExtraError('Parquet files need pyarrow: pip install "cogment_lab[minari]"')
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = 0
    with new_path(path) as unfinished, contextlib.ExitStack() as stack:
        writer = None
        for columns in _tables(query):
            table = pa.table(columns)
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(unfinished, table.schema))
            writer.write_table(table)
            count += len(table)
        check_count(query, count)
    return count


def _tables(query: TrialQuery) -> Iterator[dict[str, Any]]:
    """Yield each trial's steps as flat columns of equal length, the same columns for each."""
    seen: bool | None = None
    for data in query:
        if seen is not None and seen is (data.observations is None):
            raise ConfigurationError(
                f"trial {data.trial_id!r} was recorded {'without' if seen else 'with'} observations, the one "
                "before it otherwise: a table has the same columns for all. Choose with --query trial=ID, "
                "trial_ids= in Python"
            )
        seen = data.observations is not None
        table: dict[str, Any] = {"trial_id": [data.trial_id] * len(data)}
        table.update({name: getattr(data, name) for name in ROWS})
        for name in _COLUMNS:
            column = getattr(data, name)
            for key, leaf in leaves(column) if column is not None else ():
                if isinstance(leaf, list):
                    table[f"{name}{key}"] = [str(value) for value in leaf]
                    continue
                flat = leaf.reshape(len(leaf), -1)
                for index in range(flat.shape[1]):
                    table[f"{name}{key}.{index}" if leaf.ndim > 1 else f"{name}{key}"] = flat[:, index]
        table["info"] = [encode_info(info) for info in data.infos]
        yield table


def check_count(query: TrialQuery, count: int) -> None:
    """Check that something was written.

    Raises:
        ConfigurationError: nothing was; the message says what there is.
    """
    if not count:
        raise ConfigurationError(
            f"no steps match in {query.store.path}, nothing to export: {query.explain()}"
        )


def leaves(column: Column) -> Iterator[tuple[str, Any]]:
    """Yield a path like ``.position.0``, empty for a lone array, and each array of a nested column."""
    parts: Iterable[tuple[Any, Any]]
    if isinstance(column, dict):
        parts = column.items()
    elif isinstance(column, tuple):
        parts = enumerate(column)
    else:
        yield "", column
        return
    for name, part in parts:
        for key, leaf in leaves(part):
            yield f"{path_of(name)}{key}", leaf


def path_of(name: Any) -> str:
    """Return a key's or an index's part of a path; dots, slashes and percent signs in it are escaped."""
    return "." + str(name).replace("%", "%25").replace(".", "%2E").replace("/", "%2F")
