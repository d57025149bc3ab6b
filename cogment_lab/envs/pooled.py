"""What served environments of any library have in common: instances that trials take and give back."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np

from cogment_lab.core import CogmentEnv, State
from cogment_lab.envs.pool import EnvPool
from cogment_lab.session_helpers import EnvironmentSessionHelper
from cogment_lab.specs import AgentSpecs, reset_options_of, seed_of
from cogment_lab.wire.environment import EnvironmentSession

__all__ = ["PooledEnvironment"]


class PooledEnvironment(CogmentEnv[Any, Any], abc.ABC):
    """An environment of which each trial has an instance of its own while it runs.

    A subclass sets what :meth:`_make` needs before it calls this constructor.

    Args:
        source: What the subclass is made from besides, by the names of its arguments.
        make_kwargs: Passed to whatever makes an instance.
        reset_options: Passed to ``reset``, where the trial has none of its own.
        render: Whether frames can be asked for by trials (``session_config={"render": True}``).
        reinitialize: Make a new instance for each trial.
        dry: Make none here; ``agent_specs`` is empty then.
        sub_dry: Make none in the service's process before the first trial.
    """

    def __init__(
        self,
        source: dict[str, Any],
        *,
        make_kwargs: dict[str, Any] | None,
        reset_options: dict[str, Any] | None,
        render: bool,
        reinitialize: bool,
        dry: bool,
        sub_dry: bool,
    ) -> None:
        super().__init__(
            **source,
            make_kwargs=make_kwargs,
            reset_options=reset_options,
            render=render,
            reinitialize=reinitialize,
            dry=sub_dry,
            sub_dry=sub_dry,
        )
        self.make_kwargs = dict(make_kwargs or {})
        self.reset_options = reset_options or {}
        self.render = render
        self.reinitialize = reinitialize
        self.dry = dry
        self.agent_specs = {}
        if render:
            self.make_kwargs["render_mode"] = "rgb_array"
        self.pool = EnvPool(self._make, reuse=not reinitialize)
        if not dry:
            self.learn_specs()

    @abc.abstractmethod
    def _make(self) -> Any:
        """Return a new instance, and set ``agent_specs`` from the first one."""

    def learn_specs(self) -> None:
        """Make an instance, if none was made yet, to know its spaces."""
        if not self.agent_specs:
            self.pool.give_back(self.pool.take())

    @property
    def env(self) -> Any:
        """An instance of the environment, to look at: the next trial may use it."""
        env = self.pool.take()
        self.pool.give_back(env)
        return env

    async def initialize(self, state: State, environment_session: EnvironmentSession) -> State:
        """Take an instance for the trial."""
        state.environment_session = environment_session
        state.env = self.pool.take()
        state.usable = False
        state.session_helper = EnvironmentSessionHelper(
            environment_session, self._trial_specs(environment_session)
        )
        state.session_cfg = environment_session.config
        state.actors = state.session_helper.actors
        state.shows = bool(state.session_cfg is not None and state.session_cfg.render and self.render)
        return state

    async def end(self, state: State) -> None:
        """Give the instance back; one that raised is closed."""
        if state.env is not None:
            self.pool.give_back(state.env, usable=bool(state.usable))
            state.env = None

    def _trial_specs(self, environment_session: EnvironmentSession) -> dict[str, AgentSpecs]:
        """Return what the actors of a trial may be, by name."""
        return self.agent_specs

    def _reset_arguments(self, state: State) -> dict[str, Any]:
        """Return the seed and the options of the trial."""
        config = state.session_cfg
        seed = seed_of(config) if config is not None else None
        options = reset_options_of(config) if config is not None else None
        return {"seed": seed, "options": options or self.reset_options or None}

    @staticmethod
    def _frame(state: State) -> Any:
        """Return the picture ``(height, width, 3) uint8``, ``None`` where nobody asked for it."""
        return np.asarray(state.env.render()) if state.shows else None
