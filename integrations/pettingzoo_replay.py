"""Trials of several agents executed again, compared tick by tick."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from cogment_lab.integrations.pettingzoo import PettingZooSpec
from cogment_lab.integrations.pettingzoo_stage import Heard, stage_of
from cogment_lab.integrations.replayed import (
    UNKNOWN,
    Divergence,
    Rendered,
    ReplayedTick,
    ancestry,
    check_over,
    compare,
    is_rendered,
    recorded_observation,
)

from cogment_lab.errors import ConfigurationError, ReplayDivergedError

if TYPE_CHECKING:
    from cogment_lab.store import TrialData, TrialInfo, TrialStore

__all__ = ["AgentsTrial", "execute", "load_agents", "make_again", "replay_agents"]


@dataclass(frozen=True, slots=True, eq=False)
class AgentsTrial:
    """A recorded trial of several agents, and what led to it.

    Attributes:
        info: The trial.
        data: What each agent did.
        start: The first of the line of branches that it is the last of, itself if it is no branch.
        before: Each tick's actions, by agent, that led from there to its beginning.
    """

    info: TrialInfo
    data: Mapping[str, TrialData]
    start: TrialInfo
    before: tuple[dict[str, Any], ...]

    def actions(self, tick: int) -> dict[str, Any]:
        """Return the actions of a tick, by agent."""
        found = {}
        for agent, data in self.data.items():
            row = int(np.searchsorted(data.ticks, tick))
            if row < len(data) and data.ticks[row] == tick:
                found[agent] = data.executed_action(row)
        return found


def load_agents(store: TrialStore, trial_id: str) -> AgentsTrial:
    """Return a trial with all its actions.

    Raises:
        ConfigurationError: actions are missing.
        TrialNotFoundError: there is no such trial, or a branch's parent is gone.
        TrialStateError: it still runs.
    """
    trial = _load(store, trial_id)
    start, before = trial.info, list[dict[str, Any]]()
    for parent, tick in ancestry(store, trial.info):
        loaded = _load(store, parent.trial_id)
        before[:0] = [loaded.actions(number) for number in range(tick)]
        start = parent
    return AgentsTrial(trial.info, trial.data, start, tuple(before))


def _load(store: TrialStore, trial_id: str) -> AgentsTrial:
    info = store.info(trial_id)
    check_over(info)
    data = store.load(trial_id)
    n_acted = len({int(tick) for each in data.values() for tick in each.ticks})
    if info.record not in ("full", "actions") or n_acted != info.n_ticks:
        raise ConfigurationError(
            f"trial {trial_id!r} has {n_acted} of its {info.n_ticks} ticks (record={info.record!r}, "
            f"{info.state}): replay needs record='full' or 'actions'"
        )
    return AgentsTrial(info, data, info, ())


def replay_agents(
    store: TrialStore, trial_id: str, *, render: Rendered = False, env: Any = None
) -> Iterator[ReplayedTick]:
    """Yield the reset, then each tick, of a PettingZoo trial that is executed again.

    See :func:`cogment_lab.integrations.gymnasium.replay.replay`. A tick is one action of one agent (AEC), or
    one of each (Parallel).

    Raises:
        ConfigurationError: the environment cannot be made again, or actions are missing.
        ReplayDivergedError: of a branch, other agents act in its parents than recorded.
        TrialStateError: the trial still runs.
    """
    trial = load_agents(store, trial_id)
    made = make_again(trial, env, "rgb_array" if render is not False else None)
    with contextlib.nullcontext() if made is env else contextlib.closing(made):
        for step in execute(made, trial, trial.info.n_ticks):
            yield _with_picture(step, made) if is_rendered(render, step.tick) else step


@dataclass(slots=True)
class _Script:
    """What one agent did, and how far it has been done again."""

    agent: str
    data: TrialData
    row: int = field(default=0)

    def acts_at(self, tick: int) -> bool:
        return self.row < len(self.data) and int(self.data.ticks[self.row]) == tick

    def expected(self) -> Any:
        """Return what the next action saw, or what followed the last."""
        return recorded_observation(self.data, self.row) if len(self.data) else UNKNOWN

    def take(self) -> Any:
        action = self.data.executed_action(self.row)
        self.row += 1
        return action

    def pairs(self, heard: Heard, *, was_cut: bool) -> list[tuple[str, Any, Any]]:
        """Return what to compare of what the agent heard; before its first action only what it sees."""
        pairs: list[tuple[str, Any, Any]] = [("observation", self.expected(), heard.observation)]
        row = self.row - 1
        if row >= 0:
            pairs += [
                ("reward", float(self.data.rewards[row]), heard.reward),
                ("terminated", bool(self.data.terminated[row]), heard.terminated),
            ]
            if not (was_cut and row == len(self.data) - 1):  # else the record was cut, not the environment
                pairs.append(("truncated", bool(self.data.truncated[row]), heard.truncated))
        return [(f"{self.agent}'s {what}", recorded, replayed) for what, recorded, replayed in pairs]


def execute(env: Any, trial: AgentsTrial, n_ticks: int) -> Iterator[ReplayedTick]:
    """Yield the reset, then the first ``n_ticks`` ticks, until other agents act than recorded.

    Raises:
        ReplayDivergedError: of a branch, other agents act in its parents than recorded.
    """
    scripts = {agent: _Script(agent, data) for agent, data in trial.data.items()}
    was_cut = trial.info.end_reason not in ("terminated", "truncated")
    stage = stage_of(env)
    stage.begin(trial.start.seed, trial.start.options)
    for tick, actions in enumerate(trial.before):
        if set(stage.acting()) != set(actions):
            found = Divergence(tick, "turn", sorted(actions), sorted(stage.acting()))
            raise ReplayDivergedError(
                f"what led to trial {trial.info.trial_id!r} cannot be done again; {found}"
            )
        stage.act(actions)
    first = [
        (f"{agent}'s observation", scripts[agent].expected(), stage.observations[agent])
        for agent in stage.acting()
    ]
    yield ReplayedTick(-1, dict(stage.observations), 0.0, False, False, None, compare(-1, first))
    for tick in range(n_ticks):
        recorded = [agent for agent, script in scripts.items() if script.acts_at(tick)]
        acting = stage.acting()
        if set(recorded) != set(acting):
            # What follows means nothing.
            turn = Divergence(tick, "turn", sorted(recorded), sorted(acting))
            yield ReplayedTick(tick, dict(stage.observations), 0.0, False, False, None, turn)
            return
        heard = stage.act({agent: scripts[agent].take() for agent in recorded})
        pairs = [pair for each in heard for pair in scripts[each.agent].pairs(each, was_cut=was_cut)]
        is_over = not stage.acting()
        yield ReplayedTick(
            tick,
            dict(stage.observations),
            sum((each.reward for each in heard if scripts[each.agent].row), 0.0),
            is_over and any(each.terminated for each in heard),
            is_over and any(each.truncated for each in heard),
            None,
            compare(tick, pairs),
        )


def _with_picture(step: ReplayedTick, env: Any) -> ReplayedTick:
    frame = env.render()
    if not isinstance(frame, np.ndarray):
        raise ConfigurationError(f"{env} renders no arrays: make it with render_mode='rgb_array'")
    picture: npt.NDArray[np.uint8] = frame.astype(np.uint8, copy=True)
    return ReplayedTick(
        step.tick, step.observation, step.reward, step.terminated, step.truncated, picture, step.divergence
    )


def make_again(trial: AgentsTrial, source: Any, render_mode: str | None) -> Any:
    """Return the environment of a trial: made by its spec, by ``source``, or ``source`` itself.

    Raises:
        ConfigurationError: there is no way to make it, or it has other agents.
    """
    info = trial.info
    spec = PettingZooSpec.of_trial(info) if source is None else source
    if isinstance(spec, PettingZooSpec):
        made = spec.make(**({} if render_mode is None else {"render_mode": render_mode}))
    elif source is None:
        raise ConfigurationError(
            f"trial {info.trial_id!r} of {info.env_id!r} was recorded from an environment that was made "
            "elsewhere: pass env= (--env MODULE:FUNCTION), a function that makes it, or record with a "
            "PettingZooSpec"
        )
    elif isinstance(source, type) or not hasattr(source, "possible_agents"):
        if not callable(source):
            raise ConfigurationError(
                f"env={source!r} is none for trial {info.trial_id!r}, which has several agents: pass a "
                "PettingZoo environment, a PettingZooSpec, or a function that makes one"
            )
        made = source()
    else:
        made = source
    agents = getattr(made, "possible_agents", ())
    if set(agents) != set(trial.data):
        if made is not source:
            made.close()
        raise ConfigurationError(
            f"trial {info.trial_id!r} has the agents {', '.join(trial.data)}, and this environment has "
            f"{', '.join(agents) or 'none'}: pass the one that it was recorded with as env="
        )
    return made
