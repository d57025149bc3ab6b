"""Pictures of numbers, for trials whose environment shows none: observations as curves, and where one is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from cogment_lab.errors import ConfigurationError
from cogment_lab.store.columns import Column

__all__ = ["draw_values", "numbers_of"]

Floats: TypeAlias = npt.NDArray[np.float64]

_WIDTH, _HEIGHT = 480, 320
_MOST_ROWS = 32
_MOST_LABELLED = 12
_LABEL, _VALUE = 84, 84
"""Pixels left of the curves for names, and right of them for values."""
_GROUND, _FIELD, _CURVE, _TEXT, _CURSOR = "#171b22", "#202632", "#4c9aff", "#98a3b1", "#ff9f2e"
_LONGEST_NAME = 12


def numbers_of(observations: Column, name: str = "") -> tuple[list[str], Floats]:
    """Return the numbers of observations, side by side.

    Args:
        observations: Of ``n`` ticks: an array, or a dict or tuple of them; words are left out.
        name: Put before the names of the parts.

    Returns:
        The names of the columns, and ``(n, n_columns) float64``.

    Raises:
        ConfigurationError: there are no numbers.
    """
    parts = list(_parts(observations, name))
    if not parts:
        raise ConfigurationError("there are no numbers in these observations")
    return [each for names, _ in parts for each in names], np.hstack([table for _, table in parts])


def draw_values(names: list[str], values: Floats, at: Iterable[int]) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield a picture for each index in ``at``: all curves, a cursor at that index, and the values there.

    Args:
        names: One for each column.
        values: ``(n, n_columns)``; the first 32 columns are drawn, and more than 12 without words.
        at: Indices of rows.

    Yields:
        ``(320, 480, 3) uint8``.
    """
    shown = values[:, :_MOST_ROWS]
    with_words = shown.shape[1] <= _MOST_LABELLED
    left, right = (_LABEL, _WIDTH - _VALUE) if with_words else (8, _WIDTH - 8)
    height = (_HEIGHT - 16) / shown.shape[1]
    font = ImageFont.load_default(min(14.0, max(9.0, 0.5 * height)))
    ground = Image.new("RGB", (_WIDTH, _HEIGHT), _GROUND)
    pen = ImageDraw.Draw(ground)
    xs = left + (right - left) * (np.arange(len(shown)) + 0.5) / len(shown)
    for row, (name, column) in enumerate(zip(names, shown.T, strict=False)):
        top, bottom = 8 + row * height + 2, 8 + (row + 1) * height - 2
        pen.rectangle((left, top, right, bottom), fill=_FIELD)
        _draw_curve(pen, xs, column, top + 2, bottom - 2)
        if with_words:
            pen.text((left - 8, (top + bottom) / 2), _shortened(name), _TEXT, font, anchor="rm")
    for index in at:
        picture = ground.copy()
        pen = ImageDraw.Draw(picture)
        pen.line((xs[index], 8, xs[index], _HEIGHT - 8), fill=_CURSOR, width=2)
        if with_words:
            for row, value in enumerate(shown[index]):
                place = (right + 8, 8 + (row + 0.5) * height)
                pen.text(place, f"{value:.4g}", _CURSOR, font, anchor="lm")
        yield np.asarray(picture)


def _parts(observations: Column, name: str) -> Iterator[tuple[list[str], Floats]]:
    if isinstance(observations, dict):
        for key, part in observations.items():
            yield from _parts(part, f"{name}.{key}" if name else str(key))
    elif isinstance(observations, tuple):
        for index, part in enumerate(observations):
            yield from _parts(part, f"{name}[{index}]")
    elif isinstance(observations, np.ndarray) and observations.dtype.kind in "biuf" and observations.size:
        table = observations.reshape(len(observations), -1).astype(np.float64)
        if observations.ndim == 1:
            yield [name or "value"], table
        else:
            yield [f"{name}[{index}]" for index in range(table.shape[1])], table


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"


def _draw_curve(pen: ImageDraw.ImageDraw, xs: Floats, column: Floats, top: float, bottom: float) -> None:
    """Draw what is finite, from the least value at the bottom to the largest at the top."""
    is_finite = np.isfinite(column)
    if not is_finite.any():
        return
    low, high = column[is_finite].min(), column[is_finite].max()
    share = (column - low) / (high - low) if high > low else np.full(len(column), 0.5)
    ys = bottom - (bottom - top) * share
    points = [(float(x), float(y)) for x, y in zip(xs[is_finite], ys[is_finite], strict=True)]
    if len(points) == 1:
        pen.point(points, fill=_CURVE)
    pen.line(points, fill=_CURVE, width=2)
