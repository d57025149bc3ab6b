"""What one agent did in one trial, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from cogment_lab.errors import ConfigurationError
from cogment_lab.store.columns import Column, concatenate_columns, set_last, take_rows, value_at
from cogment_lab.trial.sample import Feedback

__all__ = ["Successors", "Timestamps", "TrialData", "concatenate", "keep_continuing"]

Bools: TypeAlias = npt.NDArray[np.bool_]
Ints: TypeAlias = npt.NDArray[np.int64]


class Timestamps(NamedTuple):
    """Server monotonic clock, ns, ``(n,) int64``."""

    t_shown: Ints
    t_acted: Ints


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Successors:
    """What followed each of some rows, where that is not always the next row.

    Attributes:
        observations: ``(n, *shape)``, see :attr:`TrialData.next_observations`.
        continues: ``(n,) bool``, see :attr:`TrialData.continues`.
        is_known: ``(n,) bool``, see :attr:`TrialData.has_successor`.
    """

    observations: Column
    continues: Bools
    is_known: Bools


@dataclass(frozen=True, eq=False, kw_only=True)
class TrialData:
    """The recorded ticks of one agent in one trial, or in several (:func:`concatenate`).

    Arrays have the length ``n`` of the recorded ticks, which is ``len(data)``. A Dict space gives a dict of
    arrays, a Tuple space a tuple; values without a fixed size (Text, Sequence, Graph, OneOf) come as a list.

    Attributes:
        trial_id: The trial.
        agent: ``"gym"`` for a Gymnasium environment.
        ticks: ``(n,) int64``, the tick of each row; ``0..n-1`` unless agents take turns, or only takeovers
            were recorded.
        observations: ``(n, *shape)``, what was seen before acting; ``None`` if not recorded
            (``record="actions"``), see ``observed_ticks``.
        actions: ``(n, *shape)``, what the environment received.
        rewards: ``(n,) float64``, the environment's own.
        terminated: ``(n,) bool``.
        truncated: ``(n,) bool``; also true for the last tick of a trial that was reset, closed or
            interrupted.
        proposed_actions: ``(n, *shape)``, what the player wanted.
        is_intervention: ``(n,) bool``, whether a teacher was in control.
        decided_by: ``(n,) str``: ``player``, ``teacher``, or ``fallback``: the teacher gave no action, and
            that of the player was executed, or the teacher's previous one.
        phase: ``(n,) str``: ``AUTONOMOUS``, ``PAUSED`` or ``CORRECTING``.
        t_shown: ``(n,) int64``, ns of the server's monotonic clock, when the observation was there.
        t_acted: ``(n,) int64``, when the action was decided.
        reaction_ns: ``(n,) int64``, a person's reaction time measured in the browser, or 0.
        feedback: What evaluators said, in order; last what they said of it after it had ended.
        infos: The environment's info of each tick; values that could not be stored are strings.
        last_observation: The observation after the last tick; ``None`` if unknown (an interrupted trial).
        observed_ticks: ``(m,) int64``, the ticks whose observations were recorded: takeovers, and the tick
            after each.
        observed_observations: ``(m, *shape)``, their observations.
        exact_actions: By tick the actions that were given in another dtype than a Box of floats has (or that
            integers cannot hold), as they were; ``actions`` has them rounded. Of one trial only.
        successors: What followed each row, in a choice of ticks or in several trials; ``None`` where that is
            the next row, and ``last_observation`` after the last.
    """

    trial_id: str
    agent: str
    ticks: Ints
    observations: Column
    actions: Column
    rewards: npt.NDArray[np.float64]
    terminated: Bools
    truncated: Bools
    proposed_actions: Column
    is_intervention: Bools
    decided_by: npt.NDArray[np.str_]
    phase: npt.NDArray[np.str_]
    t_shown: Ints
    t_acted: Ints
    reaction_ns: Ints
    feedback: list[Feedback]
    infos: list[dict[str, Any]]
    last_observation: Any
    observed_ticks: Ints
    observed_observations: Column
    successors: Successors | None = field(default=None, repr=False)
    exact_actions: Mapping[int, npt.NDArray[Any]] = field(default_factory=dict, repr=False)

    def executed_action(self, row: int) -> Any:
        """Return the action of a row exactly as the environment received it, whatever its dtype."""
        exact = self.exact_actions.get(int(self.ticks[row])) if self.exact_actions else None
        return value_at(self.actions, row) if exact is None else exact

    def __len__(self) -> int:
        return len(self.rewards)

    @cached_property
    def done(self) -> Bools:
        """``(n,) bool``: terminated or truncated."""
        return self.terminated | self.truncated

    @property
    def timestamps(self) -> Timestamps:
        """When each observation was shown, and each action decided."""
        return Timestamps(self.t_shown, self.t_acted)

    @cached_property
    def next_observations(self) -> Column:
        """``(n, *shape)``: what followed each action; ``None`` if observations were not recorded.

        The last row is the last observation. Where that is unknown (a trial that was interrupted, or still
        runs) it repeats the last row of ``observations``; nobody should learn from it, and
        ``TrialStore.transitions`` leaves it out.
        """
        if self.successors is not None:
            return self.successors.observations
        if self.observations is None or not len(self):
            return self.observations
        rows = np.minimum(np.arange(1, len(self) + 1), len(self) - 1)
        following = take_rows(self.observations, rows)
        if self.last_observation is not None:
            set_last(following, self.last_observation)
        return following

    @cached_property
    def continues(self) -> Bools:
        """``(n,) bool``: whether the next row is the agent's next decision in the same trial.

        Ticks do not tell: agents that take turns decide every other one.
        """
        if self.successors is not None:
            return self.successors.continues
        return np.arange(len(self)) < len(self) - 1

    @cached_property
    def has_successor(self) -> Bools:
        """``(n,) bool``: whether ``next_observations`` is what followed, and not a repetition."""
        if self.successors is not None:
            return self.successors.is_known
        flags = np.full(len(self), self.observations is not None, np.bool_)
        flags[-1:] &= self.last_observation is not None
        return flags


def keep_continuing(continues: Bools, rows: npt.NDArray[np.intp]) -> Bools:
    """Return which of the chosen rows (ascending) the next chosen one continues."""
    kept: Bools = continues[rows]
    kept[-1:] = False
    kept[:-1] &= np.diff(rows) == 1
    return kept


def concatenate(parts: Sequence[TrialData]) -> TrialData:
    """Return the ticks of several trials, one after the other.

    ``next_observations`` are each trial's own. ``trial_id`` and ``agent`` are kept where all have the same,
    else empty.

    Raises:
        ConfigurationError: no trials are given, or some with and some without observations.
    """
    parts = list(parts)
    if not parts:
        raise ConfigurationError("concatenate() needs at least one trial")
    with_observations = [part for part in parts if part.observations is not None]
    if with_observations and len(with_observations) < len(parts):
        raise ConfigurationError(
            "some of these trials have observations and some have none; concatenate them separately"
        )

    def array(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])

    def column(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else concatenate_columns(values)

    def same(name: str) -> str:
        names = {getattr(part, name) for part in parts}
        return names.pop() if len(names) == 1 else ""

    return TrialData(
        trial_id=same("trial_id"),
        agent=same("agent"),
        ticks=array("ticks"),
        observations=column("observations"),
        actions=column("actions"),
        rewards=array("rewards"),
        terminated=array("terminated"),
        truncated=array("truncated"),
        proposed_actions=column("proposed_actions"),
        is_intervention=array("is_intervention"),
        decided_by=array("decided_by"),
        phase=array("phase"),
        t_shown=array("t_shown"),
        t_acted=array("t_acted"),
        reaction_ns=array("reaction_ns"),
        feedback=[opinion for part in parts for opinion in part.feedback],
        infos=[info for part in parts for info in part.infos],
        last_observation=parts[-1].last_observation,
        observed_ticks=array("observed_ticks"),
        observed_observations=column("observed_observations"),
        successors=Successors(
            observations=column("next_observations"),
            continues=np.concatenate([part.continues for part in parts]),
            is_known=np.concatenate([part.has_successor for part in parts]),
        ),
    )
