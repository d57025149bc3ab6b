"""The drop-in environment: to its user it is the environment it was made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
from cogment_lab.integrations.gymnasium.acknowledge import find_unacknowledged
from cogment_lab.integrations.gymnasium.delivery import deliver_errors, is_in_worker
from cogment_lab.integrations.gymnasium.recording import choose_record, open_recorder, store_file
from cogment_lab.integrations.gymnasium.seating import Seating
from cogment_lab.integrations.gymnasium.streamline import streamline

from cogment_lab.errors import ConfigurationError
from cogment_lab.trial.embedded import EmbeddedTrial
from cogment_lab.trial.mixing import check_action_mix
from cogment_lab.trial.rules import TrialRules

__all__ = ["TrialConfig", "TrialEnv"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialConfig:
    """Everything :func:`cogment_lab.make` was given, checked; enough to make the environment again.

    Attributes:
        env_id: Name of the environment in records and on the page.
        build: Returns a new inner environment.
        rules: What holds for every trial.
        seating: Who sits in the trials.
        store: Where they are recorded, ``None`` for nowhere.
        record: How much of each trial; ``"auto"`` decides by the observation space.
    """

    env_id: str
    build: Callable[[], gym.Env[Any, Any]]
    rules: TrialRules
    seating: Seating = field(default_factory=Seating)
    store: Any = None
    record: str | None = "auto"


class TrialEnv(gym.Env[Any, Any]):
    """A Gymnasium environment whose episodes are trials.

    Made by :func:`cogment_lab.make` or ``gymnasium.make("cogment_lab/<id>")``. Spaces, ``metadata``,
    ``render_mode`` and ``np_random`` are those of the environment inside, and unknown attributes pass to it.
    Seats and store attach at the first ``reset``, so that making an environment opens neither port nor file.

    It pickles as its configuration: the copy is a new environment that was not reset yet.

    Args:
        config: What :func:`cogment_lab.make` checked and collected.
    """

    def __init__(self, config: TrialConfig) -> None:
        self.config = config
        inner = config.build()
        check_action_mix(config.rules.mix, inner.action_space)
        self.record = choose_record(config.record, inner.observation_space)
        self.trial = EmbeddedTrial(
            inner,
            env_id=config.env_id,
            rules=config.rules,
            fps=_frames_per_second(config.rules.fps, inner.metadata),
            find_unacknowledged=find_unacknowledged,
        )
        self.env = inner
        self.action_space = inner.action_space
        self.observation_space = inner.observation_space
        self.metadata = inner.metadata
        self.render_mode = inner.render_mode
        self._open = False
        self._delivers = False
        self._streamlined = False
        self.step = self.trial.step  # type: ignore[method-assign]  # one call less per step

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start a new trial; an unfinished one is closed with ``end_reason="reset"``.

        Returns:
            The environment's observation, and its info with ``trial_id``.
        """
        if not self._open:
            if not self._delivers and is_in_worker():
                self._delivers = True
                deliver_errors(self)
                return self.reset(seed=seed, options=options)
            self._take_part()
        elif not self._streamlined and self.trial.trial_number > 0:
            self._streamlined = True
            self.env = self.trial.env = streamline(self.env)
        return self.trial.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Run one tick; see :meth:`cogment_lab.trial.embedded.EmbeddedTrial.step`.

        Returns:
            The environment's own results. ``info`` gains ``tick, is_intervention, phase, proposed_action,
            executed_action``, and when they happened ``intervene_action, feedback, requests``.
        """
        return self.trial.step(action)

    def render(self) -> Any:
        """Render the environment inside."""
        return self.env.render()

    def close(self) -> None:
        """End an unfinished trial, leave the seats, flush the record, close the environment inside.

        Where the environment inside can be reset again, so can this one: it takes its seats and store anew.
        """
        self.trial.abandon()
        self.config.seating.release()
        self._open = False
        self.env.close()

    def _take_part(self) -> None:
        self._open = True
        config = self.config
        try:
            self.trial.seat(config.seating.seats(self.env, store_file(config.store)))
            if config.store is not None and self.record is not None:
                self.trial.record_with(open_recorder(config, self.record, self.env, self.trial.fps))
        except BaseException:
            self._open = False
            self.trial.abandon()
            raise

    # --- what SB3, wrappers and callbacks ask ---

    @property
    def trial_id(self) -> str:
        """Id of the running (or last) trial."""
        return self.trial.trial_id

    @property
    def trial_action_space(self) -> gym.Space[Any]:
        """The action space inside the trial, whatever wrappers outside make of it."""
        return self.trial.action_space

    @property
    def has_teacher(self) -> bool:
        """Whether somebody may override the player."""
        return self.config.seating.teacher is not None

    def acknowledge_takeovers(self, consumer: str) -> None:
        """Note that ``consumer`` (a callback, a buffer) learns from takeovers."""
        self.trial.acknowledge(consumer)

    @property
    def keeps_requests(self) -> bool:
        """Whether requests are to be taken by ``take_requests``, since infos do not tell of them."""
        return self.config.rules.fixed_info

    def take_requests(self) -> tuple[str, ...]:
        """Return what people asked for since the previous call: ``"stop"``, ``"save"``, verdicts."""
        return self.trial.take_requests()

    def tell_seats(self, learner: dict[str, Any]) -> None:
        """Show what the learner reports (steps, steps per second...) to everybody who watches."""
        self.config.seating.tell(learner)

    # --- what the environment inside answers ---

    @property
    def np_random(self) -> Any:
        """The generator of the environment inside."""
        return self.env.unwrapped.np_random

    @np_random.setter
    def np_random(self, value: Any) -> None:
        self.env.unwrapped.np_random = value

    @property
    def _np_random(self) -> Any:  # type: ignore[override]  # Gymnasium declares a plain attribute
        """Whether and which generator exists, as Gymnasium's checker looks it up."""
        return self.env.unwrapped._np_random

    @property
    def np_random_seed(self) -> int:
        """The seed of that generator, -1 where it is unknown."""
        return self.env.unwrapped.np_random_seed

    def set_wrapper_attr(self, name: str, value: Any, *, force: bool = True) -> bool:
        """Set an attribute here if it is one of the trial's, otherwise inside."""
        if name in self.__dict__ or hasattr(type(self), name):
            setattr(self, name, value)
            return True
        return self.env.set_wrapper_attr(name, value, force=force)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "env":
            raise AttributeError(name)
        return self.env.get_wrapper_attr(name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.config, self.spec)

    def __str__(self) -> str:
        return f"<TrialEnv<{self.env}>>"

    __repr__ = __str__


def _frames_per_second(chosen: float | None, metadata: Mapping[str, Any]) -> float:
    """Return the pace ``live``: what was chosen, else the environment's ``render_fps``, else 30."""
    if chosen is None:
        return float(metadata.get("render_fps") or 30.0)
    if chosen <= 0.0:
        raise ConfigurationError(f"fps={chosen} must be positive")
    return chosen


def _rebuild(config: TrialConfig, spec: gym.envs.registration.EnvSpec | None) -> TrialEnv:
    env = TrialEnv(config)
    env.spec = spec
    return env
