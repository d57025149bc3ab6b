"""Serving a Gymnasium environment."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

import gymnasium as gym
from gymnasium import spaces

from cogment_lab.core import State
from cogment_lab.envs.pooled import PooledEnvironment
from cogment_lab.errors import ConfigurationError, UnknownEnvironmentError
from cogment_lab.specs import AgentSpecs
from cogment_lab.trial.actions import action_copier
from cogment_lab.trial.takeover import Phase
from cogment_lab.wire.environment import EnvironmentSession
from cogment_lab.wire.events import RecvEvent

__all__ = ["GymEnvironment"]

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame renders without a screen

_TEACHER, _WATCHERS = "teacher", ("evaluator", "observer")


class GymEnvironment(PooledEnvironment):
    """A Gymnasium environment as an environment of trials, its agent called ``"gym"``.

    Besides the player, a trial may have a ``teacher``, whose actions ``{"active": 0 | 1, "action": ...}``
    override the player's, an ``evaluator`` and an ``observer``. Trials that run at once have an instance of
    the environment each.

    Args:
        env_id: A Gymnasium id, or an importable function that returns an environment.
        registration: Module to import first, because it registers the id.
        make_kwargs: Passed to ``gymnasium.make`` or the function.
        reset_options: Passed to ``reset``, where the trial has none of its own.
        render: Whether frames can be asked for by trials (``session_config={"render": True}``).
        reinitialize: Make a new environment for each trial.
        dry: Make no environment here; ``agent_specs`` is empty then.
        sub_dry: Make none in the service's process before the first trial.

    Attributes:
        agent_specs: Of ``"gym"``.
        role_specs: Of teacher, evaluator and observer.

    Raises:
        UnknownEnvironmentError: no such id; suggests near ones.
        ConfigurationError: ``render_mode`` among ``make_kwargs``.
    """

    actor_name = "gym"

    def __init__(
        self,
        env_id: str | Callable[..., gym.Env[Any, Any]],
        registration: str | None = None,
        make_kwargs: dict[str, Any] | None = None,
        reset_options: dict[str, Any] | None = None,
        render: bool = False,
        reinitialize: bool = False,
        dry: bool = False,
        sub_dry: bool = True,
    ) -> None:
        if "render_mode" in (make_kwargs or {}):
            raise ConfigurationError("render_mode cannot be among make_kwargs: pass render=True")
        if not (isinstance(env_id, str) or callable(env_id)):
            raise ConfigurationError(f"env_id={env_id!r} is neither an id nor a function")
        self.env_id = env_id
        self.registration = registration
        self.role_specs: dict[str, AgentSpecs] = {}
        if registration:
            importlib.import_module(registration)
        super().__init__(
            {"env_id": env_id, "registration": registration},
            make_kwargs=make_kwargs,
            reset_options=reset_options,
            render=render,
            reinitialize=reinitialize,
            dry=dry,
            sub_dry=sub_dry,
        )

    def get_implementation_name(self) -> str:
        """Return the environment's id."""
        return self.env_id if isinstance(self.env_id, str) else self.env_id.__name__

    def get_agent_specs(self) -> dict[str, AgentSpecs]:
        """Return ``agent_specs``."""
        return self.agent_specs

    def _make(self) -> gym.Env[Any, Any]:
        if isinstance(self.env_id, str):
            try:
                env = gym.make(self.env_id, **self.make_kwargs)
            except (gym.error.UnregisteredEnv, gym.error.DeprecatedEnv) as error:
                raise UnknownEnvironmentError(
                    f"{error} (version 2 of LunarLander became LunarLander-v3, for example)"
                ) from None
        else:
            env = self.env_id(**self.make_kwargs)
        if not self.agent_specs:
            seen, done = env.observation_space, env.action_space
            specs = AgentSpecs.create_homogeneous(seen, done)
            both = spaces.Dict({"active": spaces.Discrete(2), "action": done})
            self.agent_specs = {"gym": specs}
            self.role_specs = {
                _TEACHER: AgentSpecs.create_homogeneous(seen, both),
                **dict.fromkeys(_WATCHERS, specs),
            }
        return env

    def _trial_specs(self, environment_session: EnvironmentSession) -> dict[str, AgentSpecs]:
        specs = self.agent_specs | self.role_specs
        actors = environment_session.get_active_actors()
        if len(actors) == 1 and actors[0].actor_name not in specs:  # one actor plays, whatever its name
            return {actors[0].actor_name: specs["gym"]}
        return specs

    async def initialize(self, state: State, environment_session: EnvironmentSession) -> State:
        """Take an environment for the trial."""
        state = await super().initialize(state, environment_session)
        others = (_TEACHER, *_WATCHERS)
        state.actor_name = next((name for name in state.actors if name not in others), state.actors[0])
        state.has_teacher = _TEACHER in state.actors
        state.observation_space = state.session_helper.get_observation_space(state.actor_name)
        state.copy_action = action_copier(state.session_helper.get_action_space(state.actor_name).gym_space)
        state.tick = 0
        return state

    async def reset(self, state: State) -> tuple[State, dict[str, Any]]:
        """Reset the environment with the trial's seed and options."""
        observation, info = state.env.reset(**self._reset_arguments(state))
        return state, {"*": self._message(state, observation, info=info)}

    async def read_actions(self, state: State, event: RecvEvent) -> Any:
        """Return the executed action: the teacher's while it is in control, else the player's.

        A player without action (it ran out of time, or is gone) is given one from the action space.
        """
        helper = state.session_helper
        received = helper.get_action(event, state.actor_name)
        proposed = None if received is None else received.value
        if proposed is None:
            proposed = helper.get_action_space(state.actor_name).gym_space.sample()
        state.proposed = executed = proposed
        state.is_intervention = False
        if state.has_teacher:
            said = helper.get_action(event, _TEACHER)
            if said is not None and said.value is not None and said.value["active"]:
                executed = said.value["action"]
                state.is_intervention = True
        return executed

    async def step(self, state: State, action: Any) -> tuple[State, Any, Any, Any, Any, Any]:
        """Step the environment."""
        state.usable = False
        observation, reward, terminated, truncated, info = state.env.step(action)
        if state.has_teacher:
            info = {**info, **self._who_acted(state, action)}
        state.tick += 1
        name = state.actor_name
        message = self._message(
            state, observation, reward=float(reward), terminated=terminated, truncated=truncated, info=info
        )
        state.usable = True
        return state, {"*": message}, {name: reward}, {name: terminated}, {name: truncated}, info

    def _message(self, state: State, observation: Any, *, info: dict[str, Any], **said: Any) -> Any:
        return state.observation_space.create_serialize(
            observation, rendered_frame=self._frame(state), active=True, alive=True, info=info, **said
        )

    @staticmethod
    def _who_acted(state: State, executed: Any) -> dict[str, Any]:
        phase = Phase.CORRECTING if state.is_intervention else Phase.AUTONOMOUS
        told = {
            "tick": state.tick,
            "is_intervention": state.is_intervention,
            "phase": phase.name.lower(),
            "proposed_action": state.copy_action(state.proposed),
            "executed_action": state.copy_action(executed),
        }
        if state.is_intervention:
            told["intervene_action"] = told["executed_action"]
        return told
