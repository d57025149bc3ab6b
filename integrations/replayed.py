"""Steps that were executed again, beside their record."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cogment_lab.errors import ConfigurationError, TrialNotFoundError, TrialStateError
from cogment_lab.store.columns import value_at

if TYPE_CHECKING:
    from cogment_lab.store import TrialData, TrialInfo, TrialStore

__all__ = [
    "BRANCH_OF",
    "BRANCH_TICK",
    "UNKNOWN",
    "Divergence",
    "Rendered",
    "ReplayedTick",
    "ancestry",
    "check_over",
    "check_tick",
    "compare",
    "is_rendered",
    "is_same",
    "recorded_observation",
]

Rendered: TypeAlias = "bool | Container[int]"
"""Whether a replay renders what each tick acts on, or which ticks' it renders."""

UNKNOWN: Any = object()
"""What was not recorded, and is the same as anything."""

_MOST_NUMBERS = 4
"""Of an array with more, only the first place that differs is shown."""

BRANCH_OF, BRANCH_TICK = "branch_of", "branch_tick"
"""Properties of a branch: its parent, and the tick at which it left it."""


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
        path, recorded, replayed = _first_part_that_differs(self.recorded, self.replayed)
        what = f"{self.what}{path} of {where}"
        if isinstance(recorded, np.ndarray):
            found = np.asarray(replayed)
            if found.shape != recorded.shape:
                return f"{what}: recorded of shape {recorded.shape}, replayed of {found.shape}"
            found = found.astype(recorded.dtype)
            if recorded.size > _MOST_NUMBERS:
                places = np.argwhere(~((recorded == found) | ((recorded != recorded) & (found != found))))
                first = tuple(places[0].tolist())
                what += f" at {first[0] if len(first) == 1 else first}"
                what += f" and {len(places) - 1} other places" if len(places) > 1 else ""
                recorded, found = recorded[first], found[first]
            recorded, replayed = recorded.tolist(), found.tolist()
        return f"{what}: recorded {recorded!r}, replayed {replayed!r}"


@dataclass(frozen=True, slots=True, eq=False)
class ReplayedTick:
    """One re-executed step.

    Attributes:
        tick: Its number; -1 for the reset, whose reward is 0.
        observation: What followed, and what tick ``tick + 1`` acts on; by agent, if there are several.
        reward: The environment's; of several agents, the sum of what the trial's own actions brought.
        terminated: The environment's; of several agents, whether it was over so for the last of them.
        truncated: As ``terminated``.
        frame: ``(height, width, 3) uint8``, the picture of ``observation``; ``None`` where none was
            wanted.
        divergence: How this step differs from the record; ``None`` where it does not.
    """

    tick: int
    observation: Any
    reward: float
    terminated: bool
    truncated: bool
    frame: npt.NDArray[np.uint8] | None
    divergence: Divergence | None


def is_rendered(render: Rendered, tick: int) -> bool:
    """Return whether the picture of a re-executed step is wanted: it shows what the tick after it acts on."""
    return render if isinstance(render, bool) else tick + 1 in render


def check_over(info: TrialInfo) -> None:
    """Check that a trial is over.

    Raises:
        TrialStateError: it still runs.
    """
    if info.state == "RUNNING":
        raise TrialStateError(f"trial {info.trial_id!r} still runs: end it, or close its environment, first")


def check_tick(trial_id: str, tick: int, n_ticks: int) -> None:
    """Check that a trial of ``n_ticks`` can be branched off at a tick.

    Raises:
        ConfigurationError: it has no such tick.
    """
    if not isinstance(tick, int | np.integer) or not 0 <= tick <= n_ticks:
        raise ConfigurationError(f"tick={tick!r} is not in trial {trial_id!r}: choose 0 to {n_ticks}")


def ancestry(store: TrialStore, info: TrialInfo) -> Iterator[tuple[TrialInfo, int]]:
    """Yield the parents of a branch, the nearest first, each with the tick at which it was left.

    Raises:
        ConfigurationError: what the record says of them cannot be.
        TrialNotFoundError: the store does not have one of them.
    """
    seen = {info.trial_id}
    while BRANCH_OF in info.properties:
        name = info.properties[BRANCH_OF]
        try:
            parent = store.info(name)
        except TrialNotFoundError as error:
            raise TrialNotFoundError(
                f"trial {info.trial_id!r} is a branch of {name!r}, which is not in this store: what led to "
                "the branch is recorded there"
            ) from error
        tick = info.properties.get(BRANCH_TICK, "")
        if parent.trial_id in seen or not tick.isdecimal() or int(tick) > parent.n_ticks:
            raise ConfigurationError(
                f"trial {info.trial_id!r} is recorded as a branch of {parent.trial_id!r} at tick {tick!r}, "
                f"which cannot be: that one has {parent.n_ticks} ticks, and no trial is a branch of itself"
            )
        seen.add(parent.trial_id)
        yield parent, int(tick)
        info = parent


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
        return (
            isinstance(replayed, dict)
            and recorded.keys() == replayed.keys()
            and all(is_same(part, replayed[key]) for key, part in recorded.items())
        )
    if isinstance(recorded, tuple):
        return (
            isinstance(replayed, tuple)
            and len(recorded) == len(replayed)
            and all(map(is_same, recorded, replayed))
        )
    if isinstance(recorded, float | np.ndarray | np.number):
        if isinstance(replayed, dict | tuple | str):
            return False
        wanted = np.asarray(recorded)
        found = np.asarray(replayed).astype(wanted.dtype)
        return np.array_equal(wanted, found, equal_nan=wanted.dtype.kind in "fc")
    return bool(recorded == replayed)


def _first_part_that_differs(recorded: Any, replayed: Any) -> tuple[str, Any, Any]:
    """Return where in a nested value that is, and the two parts; of others the values themselves."""
    keys: Iterable[Any] = ()
    if isinstance(recorded, dict) and isinstance(replayed, dict) and recorded.keys() == replayed.keys():
        keys = recorded
    elif isinstance(recorded, tuple) and isinstance(replayed, tuple) and len(recorded) == len(replayed):
        keys = range(len(recorded))
    for key in keys:
        if not is_same(recorded[key], replayed[key]):
            path, one, other = _first_part_that_differs(recorded[key], replayed[key])
            return f"[{key!r}]{path}", one, other
    return "", recorded, replayed
