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

PERSON, NOBODY = 1, 3
_CODES = {"player": 0, "teacher": PERSON, "fallback": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFigures:
    """One trial.

    Attributes:
        info: What is known of it without its ticks.
        deciders: ``(n_ticks,) uint8``, of the agent that people decided most for, else of the first: 0 a
            policy, 1 a person, 2 fallback, 3 nobody; empty if the ticks were not read.
        n_by_people: Ticks that a person decided, as teacher or as player.
        seconds_in_control: That people spent in control.
        reactions: ``(k,)``, a person's reaction times, seconds.
        praise: Feedback above zero, number.
        scolding: Feedback below zero, number.
    """

    info: TrialInfo
    n_by_people: int
    deciders: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    seconds_in_control: float = 0.0
    reactions: Floats = field(default_factory=lambda: np.zeros(0))
    praise: int = 0
    scolding: int = 0

    @property
    def is_read(self) -> bool:
        """Whether its ticks were read."""
        return len(self.deciders) > 0

    @property
    def share_by_people(self) -> float:
        """Share of ticks that a person decided."""
        return self.n_by_people / self.info.n_ticks if self.info.n_ticks else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """What one person did: by user id, or else by the trials' property ``participant``; ``""`` is unknown."""

    user_id: str
    trials: int
    ticks: int
    n_by_people: int
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
        running: Trials that are left out because they still run.
        corrupt: Ids of trials that could not be decoded.
    """

    path: str
    environments: Sequence[EnvironmentReport]
    unread: int = 0
    running: int = 0
    corrupt: Sequence[str] = ()


def read_report(store: TrialStore, *, env_id: str | None = None, most_trials: int = 10_000) -> StoreReport:
    """Read what a report shows.

    Args:
        store: The trials.
        env_id: Of this environment only.
        most_trials: Of the newest so many, ticks are read (for the map, time in control, feedback and
            reactions); of older ones, only what stands in the store's table.

    Raises:
        ConfigurationError: there is no trial that is over.
    """
    found = [info for info in store.trials(env_id=env_id) if info.n_ticks]
    infos = [info for info in found if info.state != "RUNNING"]
    running = len(found) - len(infos)
    if not infos:
        of = f" of {env_id!r}" if env_id else ""
        still = f" ({running} still run)" if running else ""
        raise ConfigurationError(f"{store.path} holds no finished trial{of} to report on{still}")
    corrupt: list[str] = []
    by_env: dict[str, list[TrialFigures]] = defaultdict(list)
    unread = max(len(infos) - most_trials, 0)
    loads = store.load_each([info.trial_id for info in infos[unread:]])
    for index, info in enumerate(infos):
        played = any(_is_played_by_a_person(info, agent) for agent in info.agents)
        figures = TrialFigures(info=info, n_by_people=info.n_ticks if played else info.n_interventions)
        if index >= unread:
            load = next(loads)
            try:
                figures = _read_ticks(info, load())
            except CorruptStoreError:
                corrupt.append(info.trial_id)
        by_env[info.env_id].append(figures)
    environments = [
        EnvironmentReport(env_id=name, trials=trials, participants=_participants(trials))
        for name, trials in sorted(by_env.items(), key=lambda item: -len(item[1]))
    ]
    return StoreReport(
        path=store.path, environments=environments, unread=unread, running=running, corrupt=corrupt
    )


def _read_ticks(info: TrialInfo, agents: dict[str, TrialData]) -> TrialFigures:
    values = [opinion.value for data in agents.values() for opinion in data.feedback]
    reactions = [data.reaction_ns[data.reaction_ns > 0] * _NANOSECONDS for data in agents.values()]
    rows = [_deciders(info, name, data) for name, data in agents.items()]
    by_people = [int((row == PERSON).sum()) for row in rows]
    return TrialFigures(
        info=info,
        n_by_people=min(sum(by_people), info.n_ticks),
        deciders=rows[int(np.argmax(by_people))],
        seconds_in_control=max(_seconds_in_control(info, name, data) for name, data in agents.items()),
        reactions=np.concatenate(reactions) if reactions else np.zeros(0),
        praise=sum(value > 0.0 for value in values),
        scolding=sum(value < 0.0 for value in values),
    )


def _deciders(info: TrialInfo, agent: str, data: TrialData) -> npt.NDArray[np.uint8]:
    codes = {**_CODES, "player": PERSON} if _is_played_by_a_person(info, agent) else _CODES
    deciders = np.full(info.n_ticks, NOBODY, np.uint8)
    inside = data.ticks < info.n_ticks
    deciders[data.ticks[inside]] = [codes[who] for who in data.decided_by[inside].tolist()]
    return deciders


def _is_played_by_a_person(info: TrialInfo, agent: str) -> bool:
    actors = dict(info.parameters.get("actors", {}))
    return "web" in (actors.get("player"), actors.get(agent))


def _seconds_in_control(info: TrialInfo, agent: str, data: TrialData) -> float:
    """Return the time from one tick's observation to the next one's, summed where a person is in control."""
    if len(data) < 2:
        return 0.0
    lasted = np.diff(data.t_shown) * _NANOSECONDS
    lasted = np.append(lasted, np.median(lasted)).clip(0.0, _LONGEST_TICK)
    if _is_played_by_a_person(info, agent):
        return float(lasted.sum())
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
                n_by_people=sum(trial.n_by_people for trial in theirs),
                takeovers=sum(trial.info.n_takeovers for trial in theirs),
                seconds_in_control=sum(trial.seconds_in_control for trial in theirs),
                feedback=sum(trial.praise + trial.scolding for trial in theirs),
                median_reaction_ms=float(np.median(reactions)) * 1e3 if len(reactions) else None,
                mean_return=float(np.mean([trial.info.total_reward for trial in theirs])),
            )
        )
    return sorted(found, key=lambda participant: -participant.n_by_people)
