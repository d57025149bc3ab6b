"""What is known about a trial without reading its ticks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from cogment_lab.store.stream_spec import RecordMode

__all__ = ["StoreStats", "TrialEvent", "TrialInfo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialInfo:
    """One trial.

    Attributes:
        trial_id: Its unique name.
        env_id: The environment's name.
        state: ``RUNNING``, ``ENDED``, or ``INTERRUPTED`` (the process that recorded it is gone).
        end_reason: ``terminated``, ``truncated``, ``reset``, ``closed``, ``interrupted``...; ``None`` while
            it runs.
        n_ticks: Executed actions (ticks, where several agents act at once), recorded or not.
        total_reward: Sum of the environment's rewards, over all agents.
        n_interventions: Ticks in which somebody else's than the player's action was executed.
        n_takeovers: Stretches of ticks in which a teacher was in control.
        seed: Of the reset, if one was given.
        rng_state: The generator's state before a reset without a seed.
        options: Of the reset.
        properties: Given by whoever made the environment.
        user_id: Who took part.
        started: Unix seconds.
        ended: Unix seconds; ``None`` if it has not ended.
        terminated: The environment reached a terminal state.
        truncated: The trial was cut: by the environment, a reset, or an interruption.
        record: What was recorded: ``full``, ``actions`` or ``interventions``.
        agents: Their names.
        parameters: Of the trial.
        versions: Of the packages that it ran with.
        env_spec: Gymnasium's spec as JSON, if there was one.
    """

    trial_id: str
    env_id: str
    state: str
    end_reason: str | None
    n_ticks: int
    total_reward: float
    n_interventions: int
    n_takeovers: int
    seed: int | None
    rng_state: Mapping[str, Any] | None
    options: Mapping[str, Any] | None
    properties: Mapping[str, str]
    user_id: str | None
    started: float
    ended: float | None
    terminated: bool
    truncated: bool
    record: RecordMode
    agents: tuple[str, ...]
    parameters: Mapping[str, Any]
    versions: Mapping[str, str]
    env_spec: str | None


class TrialEvent(NamedTuple):
    """Something that happened between ticks.

    Attributes:
        tick: The tick that came next.
        kind: ``phase``, ``pace``, ``action_refused``...
        data: What belongs to it.
        time: Unix seconds.
    """

    tick: int
    kind: str
    data: Mapping[str, Any]
    time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStats:
    """How much a store holds.

    Attributes:
        trials: Their number.
        ticks: Executed actions in them.
        interventions: Of these, those that were not the player's.
        takeovers: Stretches in which a teacher was in control.
        chunks: Blocks of ticks on disk.
        bytes: Size of the file and its write-ahead log (of the database, in memory).
        free_bytes: Of these, what deleted trials left to be used again.
    """

    trials: int
    ticks: int
    interventions: int
    takeovers: int
    chunks: int
    bytes: int
    free_bytes: int
