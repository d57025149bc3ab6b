"""Trials of several agents executed again, compared tick by tick."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from cogment_lab.integrations.pettingzoo import PettingZooSpec
from cogment_lab.integrations.replayed import (
    UNKNOWN,
    Divergence,
    ReplayedTick,
    compare,
    recorded_observation,
)

from cogment_lab.errors import ConfigurationError, TrialStateError
from cogment_lab.store.columns import value_at

if TYPE_CHECKING:
    from cogment_lab.store import TrialData, TrialInfo, TrialStore

__all__ = ["replay_agents"]


def replay_agents(
    store: TrialStore, trial_id: str, *, render: bool = False, env: Any = None
) -> Iterator[ReplayedTick]:
    """Yield the reset, then each tick, of a PettingZoo trial that is executed again.

    See :func:`cogment_lab.integrations.gymnasium.replay.replay`. A tick is one action of one agent (AEC), or
    one of each (Parallel).

    Raises:
        ConfigurationError: the environment cannot be made again, or actions are missing.
        TrialStateError: the trial still runs.
    """
    info = store.info(trial_id)
    if info.state == "RUNNING":
        raise TrialStateError(f"trial {trial_id!r} still runs: end it, or close its environment, first")
    scripts = {agent: _Script(agent, data) for agent, data in store.load(trial_id).items()}
    n_acted = len({int(tick) for script in scripts.values() for tick in script.data.ticks})
    if info.record not in ("full", "actions") or n_acted != info.n_ticks:
        raise ConfigurationError(
            f"trial {trial_id!r} has {n_acted} of its {info.n_ticks} ticks (record={info.record!r}, "
            f"{info.state}): replay needs record='full' or 'actions'"
        )
    with _environment(info, env, "rgb_array" if render else None) as inner:
        if set(inner.possible_agents) != set(scripts):
            raise ConfigurationError(
                f"trial {trial_id!r} has the agents {', '.join(scripts)}, and this environment has "
                f"{', '.join(inner.possible_agents)}: pass the one that it was recorded with as env="
            )
        execute = _execute_aec if hasattr(inner, "agent_iter") else _execute_parallel
        for step in execute(inner, scripts, info, n_acted):
            yield step if not render else _with_picture(step, inner)


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
        action = value_at(self.data.actions, self.row)
        self.row += 1
        return action

    def outcome(
        self, observation: Any, reward: float, terminated: bool, truncated: bool, *, was_cut: bool
    ) -> list[tuple[str, Any, Any]]:
        """Return what to compare of the step that was taken last."""
        row = self.row - 1
        pairs: list[tuple[str, Any, Any]] = [
            ("observation", self.expected(), observation),
            ("reward", float(self.data.rewards[row]), float(reward)),
            ("terminated", bool(self.data.terminated[row]), bool(terminated)),
        ]
        if not (was_cut and row == len(self.data) - 1):  # else the record was cut, not the environment
            pairs.append(("truncated", bool(self.data.truncated[row]), bool(truncated)))
        return [(f"{self.agent}'s {what}", recorded, replayed) for what, recorded, replayed in pairs]


def _execute_parallel(
    env: Any, scripts: Mapping[str, _Script], info: TrialInfo, n_ticks: int
) -> Iterator[ReplayedTick]:
    was_cut = info.end_reason not in ("terminated", "truncated")
    observations, _ = env.reset(seed=info.seed, options=_options(info))
    first = [
        (f"{agent}'s observation", scripts[agent].expected(), observations[agent]) for agent in env.agents
    ]
    yield ReplayedTick(-1, observations, 0.0, False, False, None, compare(-1, first))
    for tick in range(n_ticks):
        acting = [agent for agent, script in scripts.items() if script.acts_at(tick)]
        if set(acting) != set(env.agents):
            yield _other_turn(tick, observations, sorted(acting), sorted(env.agents))
            return
        actions = {agent: scripts[agent].take() for agent in acting}
        observations, rewards, terminations, truncations, _ = env.step(actions)
        pairs = [
            pair
            for agent in acting
            for pair in scripts[agent].outcome(
                observations[agent], rewards[agent], terminations[agent], truncations[agent], was_cut=was_cut
            )
        ]
        yield ReplayedTick(
            tick,
            observations,
            float(sum(rewards[agent] for agent in acting)),
            all(terminations[agent] for agent in acting),
            any(truncations[agent] for agent in acting),
            None,
            compare(tick, pairs),
        )


def _execute_aec(
    env: Any, scripts: Mapping[str, _Script], info: TrialInfo, n_ticks: int
) -> Iterator[ReplayedTick]:
    was_cut = info.end_reason not in ("terminated", "truncated")
    env.reset(seed=info.seed, options=_options(info))
    observations = {agent: env.observe(agent) for agent in env.agents}
    agent = env.agent_selection
    first = [(f"{agent}'s observation", scripts[agent].expected(), observations[agent])]
    yield ReplayedTick(-1, observations, 0.0, False, False, None, compare(-1, first))
    done = 0
    while done < n_ticks:
        agent = env.agent_selection if env.agents else ""
        if not agent or not scripts[agent].acts_at(done):
            acting = [name for name, script in scripts.items() if script.acts_at(done)]
            yield _other_turn(done, dict(observations), acting, [agent] if agent else [])
            return
        env.step(scripts[agent].take())
        tick, done = done, done + 1
        # What came of it is known when an agent's turn comes; agents that are done make no tick.
        reward, terminated, truncated, pairs = 0.0, False, False, []
        while env.agents:
            agent = env.agent_selection
            observation, gained, is_over, is_cut, _ = env.last()
            observations[agent] = observation
            script = scripts[agent]
            if script.row:
                pairs += script.outcome(observation, gained, is_over, is_cut, was_cut=was_cut)
            else:
                pairs.append((f"{agent}'s observation", script.expected(), observation))
            reward += float(gained)
            terminated |= bool(is_over)
            truncated |= bool(is_cut)
            if not (is_over or is_cut):
                break
            env.step(None)
        found = compare(tick, pairs)
        yield ReplayedTick(tick, dict(observations), reward, terminated, truncated, None, found)


def _other_turn(tick: int, observations: Any, recorded: list[str], replayed: list[str]) -> ReplayedTick:
    """Return the tick at which others act than recorded: what follows means nothing."""
    found = Divergence(tick, "turn", recorded, replayed)
    return ReplayedTick(tick, observations, 0.0, False, False, None, found)


def _options(info: TrialInfo) -> dict[str, Any] | None:
    return None if info.options is None else dict(info.options)


def _with_picture(step: ReplayedTick, env: Any) -> ReplayedTick:
    frame = env.render()
    if not isinstance(frame, np.ndarray):
        raise ConfigurationError(f"{env} renders no arrays: make it with render_mode='rgb_array'")
    picture: npt.NDArray[np.uint8] = frame.astype(np.uint8, copy=True)
    return ReplayedTick(
        step.tick, step.observation, step.reward, step.terminated, step.truncated, picture, step.divergence
    )


@contextlib.contextmanager
def _environment(info: TrialInfo, source: Any, render_mode: str | None) -> Iterator[Any]:
    """Give an environment, and close it unless it was given."""
    if source is not None:
        made = source() if isinstance(source, type) or not hasattr(source, "possible_agents") else source
    else:
        spec = PettingZooSpec.of_trial(info)
        if spec is None:
            raise ConfigurationError(
                f"trial {info.trial_id!r} of {info.env_id!r} was recorded from an environment that was made "
                "elsewhere: pass env= (--env MODULE:FUNCTION), a function that makes it, or record with a "
                "PettingZooSpec"
            )
        made = spec.make(**({} if render_mode is None else {"render_mode": render_mode}))
    try:
        yield made
    finally:
        if made is not source:
            made.close()
