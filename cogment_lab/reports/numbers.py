"""The figures of a report: read from a store, without pictures or HTML."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cogment_lab.errors import ConfigurationError, CorruptStoreError
from cogment_lab.store import TrialData, TrialInfo, TrialStore

__all__ = ["EnvironmentReport", "Participant", "StoreReport", "TrialFigures", "read_report"]

Floats = npt.NDArray[np.float64]

_NANOSECONDS = 1e-9
_LONGEST_TICK = 5.0
"""Seconds; a longer tick is somebody who went for coffee, not work."""

_CODES = {"player": 0, "teacher": 1, "fallback": 2}
NOBODY = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFigures:
    """One trial.

    Attributes:
        info: What is known of it without its ticks.
        deciders: ``(n_ticks,) uint8``, of the first agent: 0 player, 1 teacher, 2 fallback; empty if the
            ticks were not read.
        seconds_in_control: That a teacher spent in control.
        reactions: ``(k,)``, a person's reaction times, seconds.
        praise: Feedback above zero, number.
        scolding: Feedback below zero, number.
    """

    info: TrialInfo
    deciders: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    seconds_in_control: float = 0.0
    reactions: Floats = field(default_factory=lambda: np.zeros(0))
    praise: int = 0
    scolding: int = 0

    @property
    def intervention_rate(self) -> float:
        """Share of ticks that somebody else than the player decided."""
        return self.info.n_interventions / self.info.n_ticks if self.info.n_ticks else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """What one person did: by user id, or else by the trials' property ``participant``; ``""`` is unknown."""

    user_id: str
    trials: int
    ticks: int
    interventions: int
    takeovers: int
    seconds_in_control: float
    feedback: int
    median_reaction_ms: float | None
    mean_return: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentReport:
    """The trials of one environment, in the order of their start.

    Attributes:
        env_id: Its name.
        trials: Each of them that is over and has a tick.
        participants: Everybody who took part, most help first.
    """

    env_id: str
    trials: Sequence[TrialFigures]
    participants: Sequence[Participant]

    def column(self, name: str) -> Floats:
        """Return a number of each trial's ``TrialInfo``, ``(n_trials,)``."""
        return np.array([getattr(trial.info, name) for trial in self.trials], np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreReport:
    """A store.

    Attributes:
        path: Where it lies.
        environments: With the most trials first.
        unread: Trials whose ticks were not read because there were too many.
        corrupt: Ids of trials that could not be decoded.
    """

    path: str
    environments: Sequence[EnvironmentReport]
    unread: int = 0
    corrupt: Sequence[str] = ()


def read_report(store: TrialStore, *, env_id: str | None = None, most_trials: int = 1000) -> StoreReport:
    """Read what a report shows.

    Args:
        store: The trials.
        env_id: Of this environment only.
        most_trials: Of the newest so many, ticks are read (for the map, time in control, feedback and
            reactions); of older ones, only what stands in the store's table.

    Raises:
        ConfigurationError: there is no trial that is over.
    """
    infos = [info for info in store.trials(env_id=env_id) if info.n_ticks and info.state != "RUNNING"]
    if not infos:
        of = f" of {env_id!r}" if env_id else ""
        raise ConfigurationError(f"{store.path} holds no finished trial{of} to report on")
    corrupt: list[str] = []
    by_env: dict[str, list[TrialFigures]] = defaultdict(list)
    for index, info in enumerate(infos):
        figures = TrialFigures(info=info)
        if index >= len(infos) - most_trials:
            try:
                figures = _read_ticks(info, store.load(info.trial_id))
            except CorruptStoreError:
                corrupt.append(info.trial_id)
        by_env[info.env_id].append(figures)
    environments = [
        EnvironmentReport(env_id=name, trials=trials, participants=_participants(trials))
        for name, trials in sorted(by_env.items(), key=lambda item: -len(item[1]))
    ]
    unread = max(len(infos) - most_trials, 0)
    return StoreReport(path=store.path, environments=environments, unread=unread, corrupt=corrupt)


def _read_ticks(info: TrialInfo, agents: dict[str, TrialData]) -> TrialFigures:
    values = [opinion.value for data in agents.values() for opinion in data.feedback]
    reactions = [data.reaction_ns[data.reaction_ns > 0] * _NANOSECONDS for data in agents.values()]
    first = next(iter(agents.values()))
    deciders = np.full(info.n_ticks, NOBODY, np.uint8)
    inside = first.ticks < info.n_ticks
    deciders[first.ticks[inside]] = [_CODES[who] for who in first.decided_by[inside].tolist()]
    return TrialFigures(
        info=info,
        deciders=deciders,
        seconds_in_control=max((_seconds_in_control(data) for data in agents.values()), default=0.0),
        reactions=np.concatenate(reactions) if reactions else np.zeros(0),
        praise=sum(value > 0.0 for value in values),
        scolding=sum(value < 0.0 for value in values),
    )


def _seconds_in_control(data: TrialData) -> float:
    """Return the time from one tick's observation to the next one's, summed where a teacher is in control."""
    if len(data) < 2:
        return 0.0
    lasted = np.diff(data.t_shown) * _NANOSECONDS
    lasted = np.append(lasted, np.median(lasted)).clip(0.0, _LONGEST_TICK)
    return float(lasted[data.phase == "CORRECTING"].sum())


def _participant(info: TrialInfo) -> str:
    return info.user_id or str(info.properties.get("participant", ""))


def _participants(trials: Sequence[TrialFigures]) -> list[Participant]:
    by_user: dict[str, list[TrialFigures]] = defaultdict(list)
    for trial in trials:
        by_user[_participant(trial.info)].append(trial)
    found = []
    for user_id, theirs in by_user.items():
        reactions = np.concatenate([trial.reactions for trial in theirs])
        found.append(
            Participant(
                user_id=user_id,
                trials=len(theirs),
                ticks=sum(trial.info.n_ticks for trial in theirs),
                interventions=sum(trial.info.n_interventions for trial in theirs),
                takeovers=sum(trial.info.n_takeovers for trial in theirs),
                seconds_in_control=sum(trial.seconds_in_control for trial in theirs),
                feedback=sum(trial.praise + trial.scolding for trial in theirs),
                median_reaction_ms=float(np.median(reactions)) * 1e3 if len(reactions) else None,
                mean_return=float(np.mean([trial.info.total_reward for trial in theirs])),
            )
        )
    return sorted(found, key=lambda participant: -participant.interventions)
