"""Steps that were executed again, beside their record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cogment_lab.store.columns import value_at

if TYPE_CHECKING:
    from cogment_lab.store import TrialData

__all__ = ["UNKNOWN", "Divergence", "ReplayedTick", "compare", "is_same", "recorded_observation"]

UNKNOWN: Any = object()
"""What was not recorded, and is the same as anything."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where a re-executed trial first differs from its record.

    Attributes:
        tick: The tick whose step differs; -1 for the reset.
        what: ``observation``, ``reward``, ``terminated`` or ``truncated``; of several agents also whose, and
            ``turn`` where another agent acts.
        recorded: As in the store.
        replayed: What the environment returned now.
    """

    tick: int
    what: str
    recorded: Any
    replayed: Any

    def __str__(self) -> str:
        where = "the reset" if self.tick < 0 else f"tick {self.tick}"
        return f"{self.what} of {where}: recorded {self.recorded!r}, replayed {self.replayed!r}"


@dataclass(frozen=True, slots=True, eq=False)
class ReplayedTick:
    """One re-executed step.

    Attributes:
        tick: Its number; -1 for the reset, whose reward is 0.
        observation: What followed, and what tick ``tick + 1`` acts on; by agent, if there are several.
        reward: The environment's; of several agents, the sum.
        terminated: The environment's.
        truncated: The environment's.
        frame: ``(height, width, 3) uint8``, the picture of ``observation``; ``None`` without ``render``.
        divergence: How this step differs from the record; ``None`` where it does not.
    """

    tick: int
    observation: Any
    reward: float
    terminated: bool
    truncated: bool
    frame: npt.NDArray[np.uint8] | None
    divergence: Divergence | None


def recorded_observation(data: TrialData, tick: int) -> Any:
    """Return what tick ``tick`` acted on, or the marker that this was not recorded."""
    if tick == len(data):
        return UNKNOWN if data.last_observation is None else data.last_observation
    if data.observations is not None:
        return value_at(data.observations, tick)
    row = int(np.searchsorted(data.observed_ticks, tick))
    if row < len(data.observed_ticks) and data.observed_ticks[row] == tick:
        return value_at(data.observed_observations, row)
    return UNKNOWN


def compare(tick: int, pairs: Iterable[tuple[str, Any, Any]]) -> Divergence | None:
    """Return the first of ``(what, recorded, replayed)`` that differ, ``None`` if all are the same."""
    for what, recorded, replayed in pairs:
        if recorded is not UNKNOWN and not is_same(recorded, replayed):
            return Divergence(tick, what, recorded, replayed)
    return None


def is_same(recorded: Any, replayed: Any) -> bool:
    """Return whether a value is what was recorded, in the record's dtype; NaN is NaN."""
    if isinstance(recorded, dict):
        return recorded.keys() == replayed.keys() and all(
            is_same(part, replayed[key]) for key, part in recorded.items()
        )
    if isinstance(recorded, tuple):
        return len(recorded) == len(replayed) and all(map(is_same, recorded, replayed))
    if isinstance(recorded, float | np.ndarray | np.number):
        wanted = np.asarray(recorded)
        found = np.asarray(replayed).astype(wanted.dtype)
        return np.array_equal(wanted, found, equal_nan=wanted.dtype.kind in "fc")
    return bool(recorded == replayed)
