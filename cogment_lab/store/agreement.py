"""How much annotators agree, beyond what chance would give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from cogment_lab.errors import ConfigurationError

__all__ = ["Level", "cohen_kappa", "krippendorff_alpha"]

Level: TypeAlias = Literal["nominal", "ordinal", "interval"]
_Floats: TypeAlias = npt.NDArray[np.float64]


def krippendorff_alpha(ratings: npt.ArrayLike, level: Level = "nominal") -> float:
    """Return Krippendorff's alpha: 1 for perfect agreement, 0 for what chance gives, below 0 for less.

    Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), sections C and D: any number of
    annotators, any number of missing ratings.

    Args:
        ratings: ``(n_annotators, n_units) float``, nan where an annotator said nothing of a unit.
        level: ``"nominal"`` for categories, ``"ordinal"`` for ranks, ``"interval"`` for numbers.

    Returns:
        Alpha; nan where no unit has two ratings, or where all ratings are the same (nothing could differ).

    Raises:
        ConfigurationError: another shape, or an unknown level.
    """
    table = np.asarray(ratings, np.float64)
    if table.ndim != 2:
        raise ConfigurationError(f"ratings have the shape {table.shape}; give (n_annotators, n_units)")
    if level not in _DISTANCES:
        raise ConfigurationError(f"level={level!r} is unknown; choose one of {', '.join(_DISTANCES)}")
    is_pairable = np.sum(~np.isnan(table), axis=0) >= 2
    table = table[:, is_pairable]
    values = np.unique(table[~np.isnan(table)])
    if len(values) < 2:
        return float("nan")
    counts = np.stack([np.sum(table == value, axis=0) for value in values]).astype(np.float64)
    weights = 1 / (counts.sum(axis=0) - 1)
    coincidences = (counts * weights) @ counts.T
    coincidences[np.diag_indices_from(coincidences)] -= counts @ weights
    totals = coincidences.sum(axis=1)
    distances = _DISTANCES[level](values, totals)
    observed = np.sum(coincidences * distances)
    expected = totals @ distances @ totals / (totals.sum() - 1)
    return float(1 - observed / expected)


def cohen_kappa(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return Cohen's kappa of two annotators who judged the same units in categories.

    Cohen, "A coefficient of agreement for nominal scales" (1960), equation 1.

    Args:
        first: ``(n,)``, one annotator's categories, numbers or strings.
        second: ``(n,)``, the other's.

    Returns:
        Kappa; nan where chance alone would give full agreement, or there are no units.

    Raises:
        ConfigurationError: they have different lengths.
    """
    ones, others = np.asarray(first), np.asarray(second)
    if ones.shape != others.shape or ones.ndim != 1:
        raise ConfigurationError(f"kappa needs two equally long rows, not {ones.shape} and {others.shape}")
    if not len(ones):
        return float("nan")
    categories = np.union1d(ones, others)
    by_chance = float(sum(np.mean(ones == each) * np.mean(others == each) for each in categories))
    if by_chance >= 1:
        return float("nan")
    return float((np.mean(ones == others) - by_chance) / (1 - by_chance))


def _nominal(values: _Floats, totals: _Floats) -> _Floats:
    different: _Floats = (values[:, None] != values).astype(np.float64)
    return different


def _interval(values: _Floats, totals: _Floats) -> _Floats:
    squared: _Floats = (values[:, None] - values) ** 2
    return squared


def _ordinal(values: _Floats, totals: _Floats) -> _Floats:
    """Ranks lie apart by how many ratings lie between them, and half of their own."""
    middle = np.cumsum(totals) - totals / 2
    squared: _Floats = (middle[:, None] - middle) ** 2
    return squared


_DISTANCES: dict[str, Callable[[Any, Any], _Floats]] = {
    "nominal": _nominal,
    "ordinal": _ordinal,
    "interval": _interval,
}
