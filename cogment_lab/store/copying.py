"""Writing a trial that is over already, from its arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from cogment_lab.errors import ConfigurationError
from cogment_lab.store.codec import ValueCodec
from cogment_lab.store.columns import value_at
from cogment_lab.store.recorder import AgentRecorder
from cogment_lab.store.rows import CONTEXT
from cogment_lab.store.stream import TrialStream
from cogment_lab.store.trial_data import TrialData
from cogment_lab.trial.sample import Feedback, Tick
from cogment_lab.trial.takeover import DECIDED_BY, Phase

__all__ = ["write_trial"]

_NOT_BY_AGE = 1 << 62
"""When a recorder is due that hands over full chunks only: the ticks' own times are of another day."""


def write_trial(
    stream: TrialStream,
    trial_id: str,
    data: Mapping[str, TrialData],
    *,
    seed: int | None = None,
    rng_state: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    properties: Mapping[str, str] | None = None,
    user_id: str | None = None,
    end_reason: str | None = None,
    started: float | None = None,
    ended: float | None = None,
) -> None:
    """Record a whole trial; it is acknowledged as others are, by the store's ``flush()``.

    Args:
        stream: Of the store that gets it, with the agents of ``data``.
        trial_id: Its id, new to the store.
        data: What each agent did, with observations.
        seed: Seed of its reset.
        rng_state: Of the generator before its reset, where that had no seed.
        options: Options of its reset.
        properties: What it is found by.
        user_id: Whose it is.
        end_reason: By default ``"terminated"`` or ``"truncated"``, as the last ticks say.
        started: When it began, Unix time; now by default.
        ended: When it ended, likewise.

    Raises:
        ConfigurationError: an agent's observations are missing, or the stream has no such agent.
        SpecError: a value does not fit its space; the trial ends there.
        StoreError: recording has stopped, and the store was opened with ``on_full="stop"``.
    """
    for agent, ticks in data.items():
        if ticks.observations is None:
            raise ConfigurationError(f"the observations of {agent!r} in trial {trial_id!r} were not recorded")
    stream.begin(
        trial_id,
        seed=seed,
        rng_state=rng_state,
        options=options,
        properties=properties or {},
        user_id=user_id,
        started=started,
    )
    reason = "failed"
    try:
        for agent, ticks in data.items():
            _write_agent(stream, agent, ticks)
        terminated = any(bool(ticks.terminated[-1]) for ticks in data.values() if len(ticks))
        reason = end_reason if end_reason is not None else ("terminated" if terminated else "truncated")
    finally:
        stream.end(
            state="ENDED",
            end_reason=reason,
            last_observations={agent: ticks.last_observation for agent, ticks in data.items()},
            ended=ended,
        )


def _write_agent(stream: TrialStream, agent: str, data: TrialData) -> None:
    recorder = cast("AgentRecorder", stream.recorder(agent))
    said: dict[int, list[Feedback]] = {}
    for opinion in data.feedback:  # also of ticks that were not recorded, or after the last
        row = min(int(np.searchsorted(data.ticks, opinion.tick)), len(data) - 1)
        said.setdefault(row, []).append(opinion)
    tick = Tick()
    for row, number in enumerate(data.ticks.tolist()):
        tick.number = number
        tick.observation = value_at(data.observations, row)
        tick.executed_action = data.executed_action(row)
        tick.decided_by = DECIDED_BY.index(str(data.decided_by[row]))
        tick.proposed_action = value_at(data.proposed_actions, row)
        tick.phase = Phase[str(data.phase[row])]
        tick.reward = float(data.rewards[row])
        tick.feedback = said.get(row)
        tick.terminated = bool(data.terminated[row])
        tick.truncated = bool(data.truncated[row])
        tick.info = data.infos[row]
        tick.t_shown, tick.t_acted = int(data.t_shown[row]), int(data.t_acted[row])
        tick.reaction_ns = int(data.reaction_ns[row])
        recorder.due = _NOT_BY_AGE
        recorder.append(tick)
        if _leads_elsewhere(data, row, recorder.layout.observation):
            _write_context(recorder, tick, value_at(data.next_observations, row))
    recorder.due = 0


def _leads_elsewhere(data: TrialData, row: int, codec: ValueCodec) -> bool:
    """Return whether what followed a row is known, and neither the next row nor the end of the trial."""
    if row < len(data) - 1:
        return not data.continues[row]
    if data.successors is None or not data.has_successor[row]:
        return False
    following = value_at(data.next_observations, row)
    return data.last_observation is None or codec.pack(following) != codec.pack(data.last_observation)


def _write_context(recorder: AgentRecorder, tick: Tick, observation: Any) -> None:
    """Record what a tick led to, where that is of no tick that is recorded: readers need it, and only it."""
    tick.number += 1
    tick.observation = observation
    tick.proposed_action = tick.executed_action
    tick.decided_by = CONTEXT
    tick.reward, tick.feedback, tick.info = 0.0, None, {}
    tick.terminated = tick.truncated = False
    recorder.append(tick)
