"""Serving PettingZoo environments, AEC and Parallel."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable
from typing import Any, ClassVar, cast

import numpy as np
import pettingzoo

from cogment_lab.core import State
from cogment_lab.envs.pooled import PooledEnvironment
from cogment_lab.errors import ConfigurationError, UnknownEnvironmentError
from cogment_lab.specs import AgentSpecs
from cogment_lab.utils import import_object
from cogment_lab.wire.events import RecvEvent

__all__ = ["AECEnvironment", "ParallelEnvironment"]


class _PettingZooEnvironment(PooledEnvironment, abc.ABC):
    """What both kinds have in common.

    Args:
        env_path: Its id, ``classic/connect_four-v3``, or the import path of a function or class that makes
            it: ``pettingzoo.classic.connect_four_v3.env``.
        make_kwargs: Passed to it.
        reset_options: Passed to ``reset``, where the trial has none of its own.
        render: Whether frames can be asked for by trials (``session_config={"render": True}``).
        reinitialize: Make a new environment for each trial.
        dry: Make no environment here; ``agent_specs`` is empty then.
        sub_dry: Make none in the service's process before the first trial.

    Attributes:
        agent_specs: By agent.

    Raises:
        ConfigurationError: nothing callable is there.
        UnknownEnvironmentError: no such id.
    """

    _kind: ClassVar[str]

    def __init__(
        self,
        env_path: str,
        make_kwargs: dict[str, Any] | None = None,
        reset_options: dict[str, Any] | None = None,
        render: bool = False,
        reinitialize: bool = False,
        dry: bool = False,
        sub_dry: bool = True,
    ) -> None:
        self.env_path = env_path
        self.env_maker = self._find(env_path)
        super().__init__(
            {"env_path": env_path},
            make_kwargs=make_kwargs,
            reset_options=reset_options,
            render=render,
            reinitialize=reinitialize,
            dry=dry,
            sub_dry=sub_dry,
        )

    def _find(self, path: str) -> Callable[..., Any]:
        if "/" in path:
            if not hasattr(pettingzoo, "make"):
                raise ConfigurationError(f"{path!r} is an id, and this PettingZoo is too old to know ids")
            return functools.partial(_make_registered, self._kind, path)
        found = import_object(path)
        if not callable(found):
            raise ConfigurationError(f"{path!r} is no function or class that makes an environment")
        return cast("Callable[..., Any]", found)

    def _make(self) -> Any:
        env = self.env_maker(**self.make_kwargs)
        if not self.agent_specs:
            self.agent_specs = self.create_agent_specs(env)
        return env

    @staticmethod
    def create_agent_specs(env: Any) -> dict[str, AgentSpecs]:
        """Return the specs of every possible agent."""
        return {
            agent: AgentSpecs.create_homogeneous(env.observation_space(agent), env.action_space(agent))
            for agent in env.possible_agents
        }

    @staticmethod
    def _message(state: State, agent: str, observation: Any, **said: Any) -> Any:
        return state.session_helper.get_observation_space(agent).create_serialize(observation, **said)


def _make_registered(kind: str, env_id: str, **make_kwargs: Any) -> Any:
    from pettingzoo.env_registry.exceptions import PettingZooRegistryError

    try:
        return pettingzoo.make(kind, env_id, **make_kwargs)
    except PettingZooRegistryError as error:
        raise UnknownEnvironmentError(f"cannot make {env_id!r}: {error}") from None


def _legal_action(state: State, agent: str) -> Any:
    """Return a random action, one that the observation's ``action_mask`` allows where it has one."""
    seen = state.env.observe(agent) if state.last_seen is None else state.last_seen[agent]
    mask = seen.get("action_mask") if isinstance(seen, dict) else None
    return state.env.action_space(agent).sample(None if mask is None else np.asarray(mask, np.int8))


class AECEnvironment(_PettingZooEnvironment):
    """Agents take turns: each tick one of them is active, and only its action matters."""

    _kind = "aec"

    async def reset(self, state: State) -> tuple[State, dict[str, Any]]:
        """Reset the environment."""
        state.env.reset(**self._reset_arguments(state))
        return state, self._observe(state)

    async def read_actions(self, state: State, event: RecvEvent) -> Any:
        """Return the action of the agent whose turn it is; a random one where it gave none."""
        received = state.session_helper.get_action(event, state.actor_name)
        action = None if received is None else received.value
        return _legal_action(state, state.actor_name) if action is None else action

    async def step(self, state: State, action: Any) -> tuple[State, Any, Any, Any, Any, Any]:
        """Let the agent act; agents that are done leave by themselves."""
        env = state.env
        actor = state.actor_name
        state.usable = False
        env.step(action)
        rewards: dict[str, float] = {}
        left: dict[str, tuple[bool, bool]] = {}
        while env.agents:
            agent = env.agent_selection
            reward, terminated, truncated, _ = env.last(observe=False)[1:]
            rewards[agent] = rewards.get(agent, 0.0) + float(reward)
            if not (terminated or truncated):
                break
            left[agent] = (bool(terminated), bool(truncated))
            state.finals = {**(state.finals or {}), agent: env.observe(agent)}
            env.step(None)
        gone = {**(state.left or {}), **left}
        state.left = gone
        terminated_by = {agent: gone.get(agent, (False, False))[0] for agent in state.actors}
        truncated_by = {agent: gone.get(agent, (False, False))[1] for agent in state.actors}
        if not env.agents:
            for agent in state.actors:
                terminated_by[agent] = terminated_by[agent] or not truncated_by[agent]
        info = dict(env.infos.get(actor, {}))
        state.usable = True
        return state, self._observe(state), rewards, terminated_by, truncated_by, info

    def _observe(self, state: State) -> dict[str, Any]:
        env = state.env
        frame = self._frame(state)
        left = state.left or {}
        over = not env.agents
        if not over:
            state.actor_name = env.agent_selection
        observations = {}
        for agent in state.actors:
            terminated, truncated = left.get(agent, (False, False))
            if not over and agent == state.actor_name:
                observations[agent] = self._message(
                    state, agent, env.observe(agent), rendered_frame=frame, active=True, alive=True
                )
            else:
                observations[agent] = self._message(
                    state,
                    agent,
                    (state.finals or {}).get(agent) if agent in left or over else None,
                    rendered_frame=frame,
                    active=False,
                    alive=agent not in left,
                    terminated=terminated or (over and not truncated),
                    truncated=truncated,
                )
        return observations


class ParallelEnvironment(_PettingZooEnvironment):
    """Agents act at once."""

    _kind = "parallel"

    async def reset(self, state: State) -> tuple[State, dict[str, Any]]:
        """Reset the environment."""
        seen, infos = state.env.reset(**self._reset_arguments(state))
        state.last_seen = dict(seen)
        frame = self._frame(state)
        return state, {
            agent: self._message(state, agent, seen[agent], rendered_frame=frame, info=infos.get(agent))
            for agent in state.actors
        }

    async def read_actions(self, state: State, event: RecvEvent) -> dict[str, Any]:
        """Return the actions of the agents that are alive; random ones where they gave none."""
        actions = {}
        for agent in state.env.agents:
            received = state.session_helper.get_action(event, agent)
            action = None if received is None else received.value
            actions[agent] = _legal_action(state, agent) if action is None else action
        return actions

    async def step(self, state: State, action: Any) -> tuple[State, Any, Any, Any, Any, Any]:
        """Let all agents act."""
        env = state.env
        state.usable = False
        seen, rewards, terminated, truncated, infos = env.step(action)
        state.last_seen.update(seen)
        frame = self._frame(state)
        ended: dict[str, tuple[bool, bool]] = state.left or {}
        for agent in state.actors:
            if terminated.get(agent) or truncated.get(agent):
                ended.setdefault(agent, (bool(terminated[agent]), bool(truncated[agent])))
        state.left = ended
        observations = {}
        for agent in state.actors:
            ends = ended.get(agent, (False, False))
            observations[agent] = self._message(
                state,
                agent,
                state.last_seen[agent],
                rendered_frame=frame,
                active=agent not in ended,
                alive=agent not in ended,
                terminated=ends[0],
                truncated=ends[1],
                reward=float(rewards[agent]) if agent in rewards else None,
                info=infos.get(agent),
            )
        state.usable = True
        done = {agent: ended.get(agent, (False, False)) for agent in state.actors}
        over = not env.agents
        return (
            state,
            observations,
            {agent: float(reward) for agent, reward in rewards.items()},
            {agent: ends[0] or over for agent, ends in done.items()},
            {agent: ends[1] for agent, ends in done.items()},
            infos,
        )
