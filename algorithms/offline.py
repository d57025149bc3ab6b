"""What offline algorithms share: data instead of an environment, and otherwise Stable-Baselines3's API."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import gymnasium as gym
import numpy as np
import torch as th
from cogment_lab.algorithms.hand_over import hand_over
from cogment_lab.algorithms.offline_batches import OfflineBatch, OfflineBuffer
from cogment_lab.algorithms.offline_data import OfflineData, read_offline_data
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import FloatSchedule

from cogment_lab.errors import ConfigurationError, LearningError

__all__ = ["OfflineAlgorithm"]

RewardScale = float | Literal["auto"]


class OfflineAlgorithm(BaseAlgorithm):
    """Learns from stored steps. ``learn`` counts gradient steps where others count environment steps.

    ``save``, ``load``, ``predict``, ``set_parameters``, loggers and callbacks are Stable-Baselines3's;
    callbacks are called after each gradient step, so ``EvalCallback(env, eval_freq=1000)`` evaluates after
    each 1000 of them. A model that was loaded has no data: give it some by :meth:`set_data` to go on.

    Args:
        policy: ``"MlpPolicy"``, ``"CnnPolicy"``, ``"MultiInputPolicy"`` or a policy class.
        data: A ``TrialStore``, the path of one, ``TrialData``, or arrays; see :func:`read_offline_data`.
        env: Whose spaces the data are of, where the data do not say so; nothing is ever stepped.
        query: Chooses among the trials of a store (``{"env_id": ...}``).
        learning_rate: Of all networks; a schedule counts down from 1 to 0 over ``learn``.
        batch_size: Steps per gradient step.
        gamma: Discount.
        tau: Of the target networks' moving average.
        reward_scale: Rewards are multiplied by it. ``"auto"`` gives the discounted returns of the first data
            that are learned from a standard deviation of 10: temperatures are in units of return, and critics
            learn large values slowly.
        policy_kwargs: Passed to the policy.
        tensorboard_log: Folder.
        verbose: As in Stable-Baselines3.
        seed: As in Stable-Baselines3.
        device: As in Stable-Baselines3.

    Raises:
        ConfigurationError: a parameter cannot work, or nothing can be learned from the data; the message says
            which algorithm can, where actions are of another kind.
    """

    data_needs: ClassVar[tuple[type[spaces.Space[Any]], ...]] = (spaces.Box,)
    """The action spaces that the algorithm is made for."""

    has_critic: ClassVar[bool]
    """Whether it learns action values, which ``into`` copies."""

    is_conservative: ClassVar[bool] = False
    """Whether these values hold back actions that nobody tried, so that ``into`` need not warm them up."""

    is_calibrated: ClassVar[bool] = False
    """Whether ``into`` goes on holding them back on line (Cal-QL)."""

    data_observation_space: spaces.Space[Any]
    """Of the data; the policy's own may have an image's channels first."""

    buffer: OfflineBuffer

    saved_by: str = ""
    """Name of the algorithm that set the model up; a file brings that of the one that saved it."""

    def __init__(
        self,
        policy: str | type[BasePolicy],
        data: Any = None,
        *,
        env: GymEnv | str | None = None,
        query: Mapping[str, Any] | None = None,
        learning_rate: float | Schedule = 3e-4,
        batch_size: int = 256,
        gamma: float = 0.99,
        tau: float = 0.005,
        reward_scale: RewardScale = "auto",
        policy_kwargs: dict[str, Any] | None = None,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        if batch_size < 1:
            raise ConfigurationError(f"batch_size={batch_size}: at least 1")
        if not (0.0 <= gamma <= 1.0 and 0.0 < tau <= 1.0):
            raise ConfigurationError(f"gamma={gamma} and tau={tau} must lie between 0 and 1")
        if reward_scale != "auto" and not 0.0 < float(reward_scale) < np.inf:
            raise ConfigurationError(f"reward_scale={reward_scale!r} must be positive, or 'auto'")
        if data is None and env is None and _init_setup_model:
            raise ConfigurationError(
                f"{type(self).__name__} learns from data: pass a TrialStore, its path, TrialData or arrays, "
                "or env=, and give it data later by set_data()"
            )
        self.batch_size, self.gamma, self.tau = batch_size, gamma, tau
        self.reward_scale: RewardScale = reward_scale
        self.scaled_by = 1.0 if reward_scale == "auto" else float(reward_scale)
        self.data: OfflineData | None = None
        if data is not None:
            named = gym.make(env) if isinstance(env, str) else env
            self.data = read_offline_data(
                data,
                observation_space=getattr(named, "observation_space", None),
                action_space=getattr(named, "action_space", None),
                **(query or {}),
            )
            if isinstance(env, str) and isinstance(named, gym.Env):
                named.close()
            self._check_spaces(self.data, policy)
            env = None
        super().__init__(
            policy,
            env,
            learning_rate,
            policy_kwargs,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device=device,
            seed=seed,
        )
        if _init_setup_model:
            self._setup_model()

    def _check_spaces(self, data: OfflineData, policy: str | type[BasePolicy]) -> None:
        name = type(self).__name__
        if not isinstance(data.action_space, self.data_needs):
            other = "BC, or DiscreteCQL" if isinstance(data.action_space, spaces.Discrete) else "BC"
            if isinstance(data.action_space, spaces.Box):
                other = "BC, IQL, TD3BC, AWAC, CQL or CalQL"
            raise ConfigurationError(
                f"{name} learns {' or '.join(need.__name__ for need in self.data_needs)} actions, these are "
                f"{data.action_space}: use {other}"
            )
        is_dict = isinstance(data.observation_space, spaces.Dict)
        if isinstance(policy, str) and is_dict != (policy == "MultiInputPolicy"):
            raise ConfigurationError(
                f"policy={policy!r} does not fit {data.observation_space}: dicts of observations take "
                "'MultiInputPolicy', and only they do"
            )
        if isinstance(policy, str) and not is_dict:
            is_image = is_image_space(data.observation_space)
            if is_image != (policy == "CnnPolicy"):
                fit = "'CnnPolicy'" if is_image else "'MlpPolicy'"
                raise ConfigurationError(
                    f"policy={policy!r} does not fit observations of {data.observation_space}: use {fit}"
                )
        if isinstance(data.action_space, spaces.Box) and not data.action_space.is_bounded():
            raise ConfigurationError(
                f"{name} scales actions to [-1, 1], which {data.action_space} does not allow"
            )

    def set_data(self, data: Any, **query: Any) -> None:
        """Learn from other steps from now on; of the same spaces.

        Args:
            data: As in the constructor.
            **query: Chooses among the trials of a store.

        Raises:
            ConfigurationError: they are of other spaces, or hold nothing to learn from.
        """
        found = read_offline_data(
            data, observation_space=self.data_observation_space, action_space=self.action_space, **query
        )
        if found.action_space != self.action_space:
            raise ConfigurationError(
                f"the data are of {found.action_space}, the model of {self.action_space}"
            )
        self.data = found
        self._fill_buffer()

    def _setup_model(self) -> None:
        name = type(self).__name__
        if self.saved_by not in ("", *(each.__name__ for each in type(self).__mro__)):
            raise ConfigurationError(
                f"{self.saved_by} saved this model, and {name} has other networks: call "
                f"{self.saved_by}.load()"
            )
        self.saved_by = name
        if self.data is not None:
            self.observation_space = self.data_observation_space = self.data.observation_space
            self.action_space = self.data.action_space
        if self.env is None:
            # Callbacks ask for an environment; this one has spaces, and nothing else.
            env = _NoEnvironment(self.observation_space, self.action_space)
            self.env = self._wrap_env(env, monitor_wrapper=False)
        self.observation_space = self.env.observation_space
        self.n_envs = self.env.num_envs
        self.lr_schedule = FloatSchedule(self.learning_rate)
        self.set_random_seed(self.seed)
        self.policy = self.policy_class(
            self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs
        ).to(self.device)
        self._setup_networks()
        if self.data is not None:
            self._fill_buffer()

    def _setup_networks(self) -> None:
        """Make what the algorithm has besides the policy."""

    def _fill_buffer(self) -> None:
        assert self.data is not None
        if self.reward_scale == "auto" and not self._n_updates:  # else the critics have learned its units
            spread = float(np.std(self.data.returns_to_go(self.gamma)))
            self.scaled_by = 10.0 / spread if spread > 0.0 else 1.0
        self.buffer = OfflineBuffer(
            self.data, self.observation_space, self.scaled_by, self.gamma, self.device, self.seed
        )

    def train_on(self, batch: OfflineBatch) -> dict[str, th.Tensor]:
        """Make one gradient step; return scalars for the log, by name."""
        raise NotImplementedError

    def optimizers(self) -> list[th.optim.Optimizer]:
        """Return the optimisers whose learning rate follows the schedule."""
        raise NotImplementedError

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1000,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Make gradient steps.

        Args:
            total_timesteps: How many.
            callback: Called after each.
            log_interval: Gradient steps between two lines of the log.
            tb_log_name: Name of the run; the algorithm's by default.
            reset_num_timesteps: Count from 0 again.
            progress_bar: Show one.

        Raises:
            ConfigurationError: the model has no data.
            LearningError: the losses are no longer finite.
        """
        if self.data is None:
            raise ConfigurationError(
                "this model was loaded and has no data to learn from: call set_data() first"
            )
        total, listener = self._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name or type(self).__name__, progress_bar
        )
        listener.on_training_start(locals(), globals())
        sums: dict[str, th.Tensor] = defaultdict(lambda: th.zeros((), device=self.device))
        summed = 0
        while self.num_timesteps < total:
            if not self.policy.training:  # a callback's predict() turns it off
                self.policy.set_training_mode(True)
            self._update_current_progress_remaining(self.num_timesteps, total)
            self._update_learning_rate(self.optimizers())
            for name, value in self.train_on(self.buffer.sample(self.batch_size)).items():
                sums[name] += value.detach()
            summed += 1
            self.num_timesteps += 1
            self._n_updates += 1
            listener.update_locals(locals())
            if not listener.on_step():
                break
            if self.num_timesteps % log_interval == 0 or self.num_timesteps >= total:
                self._log({name: float(value) / summed for name, value in sums.items()})
                sums.clear()
                summed = 0
        self.policy.set_training_mode(False)
        listener.on_training_end()
        return self

    def _log(self, means: Mapping[str, float]) -> None:
        broken = [f"{name}={value}" for name, value in means.items() if not np.isfinite(value)]
        if broken:
            raise LearningError(
                f"after {self._n_updates} gradient steps {', '.join(broken)}: lower learning_rate "
                f"({self.learning_rate}), or the scale of the rewards (reward_scale={self.reward_scale})"
            )
        for name, value in means.items():
            self.logger.record(f"train/{name}", value)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        elapsed = max((time.time_ns() - self.start_time) / 1e9, 1e-6)
        self.logger.record("time/fps", int((self.num_timesteps - self._num_timesteps_at_start) / elapsed))
        self.logger.record("time/time_elapsed", int(elapsed), exclude="tensorboard")
        self.logger.dump(self.num_timesteps)

    def into(
        self,
        model: BaseAlgorithm,
        *,
        warm_up: int | None = None,
        fill_buffer: bool = True,
        hold: int | None = None,
    ) -> None:
        """Hand what was learned over to SAC, TD3, PPO, A2C or DQN, to go on; see :func:`hand_over`."""
        hand_over(self, model, warm_up=warm_up, fill_buffer=fill_buffer, hold=hold)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "data", "buffer"]


class _NoEnvironment(gym.Env[Any, Any]):
    """The spaces of the data, for code that asks a model for its environment."""

    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        raise LearningError("offline algorithms learn from data and step no environment; into() hands over")
