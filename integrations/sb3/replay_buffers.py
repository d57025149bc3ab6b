"""Replay buffers that hold the executed action, and know who decided it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeGuard

import numpy as np
import numpy.typing as npt
from cogment_lab.integrations.sb3.actions import ActionEncoder, overriding_action
from cogment_lab.integrations.sb3.checks import check_action_spaces, check_n_steps
from cogment_lab.integrations.sb3.trial_envs import acknowledge, model_under_construction
from gymnasium import spaces
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.type_aliases import DictReplayBufferSamples, ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from cogment_lab.errors import ConfigurationError, WrongBufferError

__all__ = [
    "Boundary",
    "TakeoverDictReplayBuffer",
    "TakeoverHerReplayBuffer",
    "TakeoverNStepReplayBuffer",
    "TakeoverReplayBuffer",
    "check_boundary",
    "holds_takeovers",
]

Boundary = Literal["through", "cut", "penalty"]


def check_boundary(boundary: str, switch_penalty: float) -> None:
    """Check how a learner is told to treat the step before a takeover.

    Raises:
        ConfigurationError: an unknown ``boundary``, or a negative penalty.
    """
    if boundary not in ("through", "cut", "penalty"):
        raise ConfigurationError(f"boundary={boundary!r} is unknown; choose 'through', 'cut' or 'penalty'")
    if switch_penalty < 0.0:
        raise ConfigurationError(f"switch_penalty={switch_penalty} is a cost and must not be negative")


class _HoldsTakeovers(ReplayBuffer):
    """What the buffers below share; stands before one of Stable-Baselines3's in their bases."""

    handles_takeovers = True
    """Looked up by the trial when a teacher overrides: this buffer learns from it."""
    holds_dict_observations: ClassVar[bool] = False

    is_intervention: npt.NDArray[np.bool_]
    """``(buffer_size, n_envs)``: whether a teacher was in control."""
    is_fallback: npt.NDArray[np.bool_]
    """``(buffer_size, n_envs)``: whether it then gave no action, so that nothing here is to be imitated: what
    was executed is the learner's own action, or the teacher's previous one. Infos of one structure
    (``info_keys="fixed"``) do not tell."""
    proposed_actions: npt.NDArray[Any]
    """``(buffer_size, n_envs, action_dim)``, encoded as ``actions``: what the learner wanted."""

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        *args: Any,
        boundary: Boundary = "through",
        switch_penalty: float = 1.0,
        **kwargs: Any,
    ) -> None:
        check_boundary(boundary, switch_penalty)
        if isinstance(observation_space, spaces.Dict) is not self.holds_dict_observations:
            better = "TakeoverReplayBuffer" if self.holds_dict_observations else "TakeoverDictReplayBuffer"
            raise WrongBufferError(
                f"{type(self).__name__} cannot hold observations of {observation_space}: pass "
                f"replay_buffer_class={better}"
            )
        super().__init__(buffer_size, observation_space, action_space, *args, **kwargs)
        self.boundary: Boundary = boundary
        self.switch_penalty = switch_penalty
        self.is_intervention = np.zeros((self.buffer_size, self.n_envs), np.bool_)
        self.is_fallback = np.zeros_like(self.is_intervention)
        self.proposed_actions = np.zeros_like(self.actions)
        self.encoder = ActionEncoder(action_space, scaled=True)
        model = model_under_construction()
        if model is not None:
            check_n_steps(model, self)
            if model.env is not None and (trials := acknowledge(model.env, type(self).__name__)):
                check_action_spaces(action_space, model.env.get_attr("trial_action_space", trials))

    def add(
        self,
        obs: Any,
        next_obs: Any,
        action: npt.NDArray[Any],
        reward: npt.NDArray[Any],
        done: npt.NDArray[Any],
        infos: Sequence[Mapping[str, Any]],
    ) -> None:
        """Store one step of every environment, with the actions that were executed.

        Args:
            obs: ``(n_envs, *obs_shape)``, or a dict of such arrays.
            next_obs: As ``obs``.
            action: ``(n_envs, action_dim)``, encoded: what the learner sent, or (with ``TrialCallback``)
                already what was executed.
            reward: ``(n_envs,)``.
            done: ``(n_envs,)``.
            infos: One per environment.
        """
        row = self.pos
        actions = np.asarray(action).reshape(self.n_envs, self.action_dim)
        self.proposed_actions[row] = actions
        flags = self.is_intervention[row]
        flags[:] = self.is_fallback[row] = False
        for index, info in enumerate(infos):
            executed = overriding_action(info)
            if executed is None:
                continue
            if not flags.any():
                actions = actions.copy()
            flags[index] = True
            self.is_fallback[row, index] = "is_fallback" in info
            actions[index] = self.encoder.encode(executed).reshape(-1)
            if "proposed_action" in info:
                self.proposed_actions[row, index] = self.encoder.encode(info["proposed_action"]).reshape(-1)
            if self.boundary != "through":
                self._treat_boundary(row, index, info)
        super().add(obs, next_obs, actions, reward, done, infos)  # type: ignore[arg-type]

    def _treat_boundary(self, row: int, index: int, info: Mapping[str, Any]) -> None:
        """Cut, or charge for, the step of the learner that made the teacher take over."""
        before = row - 1  # -1 is the last row of a full buffer
        if (
            not (self.full or row)
            or info.get("tick") == 0
            or self.is_intervention[before, index]
            or self.dones[before, index]
        ):
            return
        if self.boundary == "penalty":
            self.rewards[before, index] -= self.switch_penalty
        else:
            # With done=0 this only ends n-step windows, which then bootstrap (as NStepReplayBuffer does
            # itself for its newest row).
            self.timeouts[before, index] = 1.0

    def sample_interventions(
        self, batch_size: int, env: VecNormalize | None = None
    ) -> ReplayBufferSamples | DictReplayBufferSamples:
        """Sample what teachers did, uniformly, with replacement: takeovers without their fallbacks.

        Args:
            batch_size: How many transitions.
            env: Normalises them, as in ``sample``.

        Raises:
            ConfigurationError: the buffer holds nothing that a teacher did.
        """
        # Row `pos` of a full, memory-optimised buffer has no successor (see ReplayBuffer.sample).
        stale = self.pos if self.full and self.optimize_memory_usage else -1
        flagged = self.is_intervention & ~self.is_fallback
        flagged = flagged if self.full else flagged[: self.pos]
        rows, envs = np.nonzero(flagged)
        rows, envs = rows[rows != stale], envs[rows != stale]
        if not len(rows):
            raise ConfigurationError("this buffer holds no takeover yet")
        chosen = np.random.randint(0, len(rows), size=batch_size)  # the generator that sample() draws from
        return self.samples_at(rows[chosen], envs[chosen], env)

    def samples_at(
        self,
        rows: npt.NDArray[np.integer[Any]],
        envs: npt.NDArray[np.integer[Any]],
        env: VecNormalize | None = None,
    ) -> ReplayBufferSamples | DictReplayBufferSamples:
        """Return the one-step transitions at ``(rows[i], envs[i])``; both ``(n,)``."""
        if self.optimize_memory_usage:
            following = _take(self.observations, (rows + 1) % self.buffer_size, envs)
        else:
            following = _take(self.next_observations, rows, envs)
        observations = _take(self.observations, rows, envs)
        dones = self.dones[rows, envs] * (1 - self.timeouts[rows, envs])
        rewards = self._normalize_reward(self.rewards[rows, envs].reshape(-1, 1), env)
        samples = DictReplayBufferSamples if self.holds_dict_observations else ReplayBufferSamples
        return samples(
            observations=self._tensors(self._normalize_obs(observations, env)),
            actions=self.to_torch(self.actions[rows, envs]),
            next_observations=self._tensors(self._normalize_obs(following, env)),
            dones=self.to_torch(dones.reshape(-1, 1)),
            rewards=self.to_torch(rewards),
        )

    def _tensors(self, observations: Any) -> Any:
        if isinstance(observations, dict):
            return {key: self.to_torch(part) for key, part in observations.items()}
        return self.to_torch(observations)


def _take(observations: Any, rows: npt.NDArray[Any], envs: npt.NDArray[Any]) -> Any:
    if isinstance(observations, dict):
        return {key: part[rows, envs] for key, part in observations.items()}
    return observations[rows, envs]


def holds_takeovers(buffer: ReplayBuffer) -> TypeGuard[_HoldsTakeovers]:
    """Return whether ``buffer`` is one of the buffers below."""
    return isinstance(buffer, _HoldsTakeovers)


class TakeoverReplayBuffer(_HoldsTakeovers, ReplayBuffer):
    """A replay buffer that stores the executed action of a takeover, not the proposed one.

    Works without a callback, and with ``TrialCallback`` as well. It tells the model's trials at construction
    that takeovers are learned from; after ``model.set_env`` with trials in other processes, use the callback.

    Args:
        buffer_size: As in Stable-Baselines3, like every argument not named here.
        observation_space: Not a Dict; see :class:`TakeoverDictReplayBuffer`.
        action_space: Box actions are stored in [-1, 1].
        *args: Passed on.
        boundary: What to make of the learner's step before a takeover: ``"through"`` nothing; ``"cut"`` ends
            n-step windows there, which then bootstrap (one-step targets always do); ``"penalty"`` charges it
            ``switch_penalty`` of reward, so that needing help costs (RLIF, arXiv:2311.12996).
        switch_penalty: See ``boundary``.
        **kwargs: Passed on.

    Raises:
        WrongBufferError: the observations are a Dict, or the model computes n-step returns.

    Example:
        >>> from cogment_lab.integrations.sb3 import TakeoverReplayBuffer
        >>> kwargs = {"replay_buffer_class": TakeoverReplayBuffer}  # DQN("MlpPolicy", env, **kwargs)
    """


class TakeoverNStepReplayBuffer(_HoldsTakeovers, NStepReplayBuffer):
    """The same for n-step returns.

    Stable-Baselines3 passes ``n_steps`` and ``gamma`` to its own buffer only: give both in
    ``replay_buffer_kwargs``, ``gamma`` as the model's, and leave out the model's ``n_steps``.
    """


class TakeoverDictReplayBuffer(_HoldsTakeovers, DictReplayBuffer):
    """The same for Dict observations."""

    holds_dict_observations = True


class TakeoverHerReplayBuffer(_HoldsTakeovers, HerReplayBuffer):
    """The same for goal-conditioned environments (hindsight experience replay)."""

    holds_dict_observations = True
