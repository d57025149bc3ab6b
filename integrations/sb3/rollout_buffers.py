"""Rollout buffers in which a takeover does not move the policy."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch as th
from cogment_lab.integrations.sb3.replay_buffers import Boundary, check_boundary
from gymnasium import spaces
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.vec_env import VecNormalize

from cogment_lab.errors import WrongBufferError

__all__ = ["MaskedDictRolloutBuffer", "MaskedRolloutBuffer", "masks_takeovers", "neutral_advantage"]


def masks_takeovers(buffer: Any) -> bool:
    """Return whether ``buffer`` is one of the buffers below."""
    return isinstance(buffer, _MasksTakeovers)


def neutral_advantage(kept: npt.NDArray[np.float32] | th.Tensor, *, normalised: bool) -> float:
    """Return the advantage that gives a row no say in the policy gradient.

    Args:
        kept: Advantages of the rows that do have a say.
        normalised: Whether the algorithm subtracts the batch's mean: then it is the mean of ``kept`` (a 0
            would become about -1), otherwise 0.
    """
    return float(kept.mean()) if normalised and len(kept) else 0.0


class _MasksTakeovers(RolloutBuffer):
    """What the buffers below share; stands before one of Stable-Baselines3's in their bases."""

    holds_dict_observations = False

    is_intervention: npt.NDArray[np.bool_]
    """``(buffer_size, n_envs)``; ``TrialCallback`` sets it."""

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
            better = "MaskedRolloutBuffer" if self.holds_dict_observations else "MaskedDictRolloutBuffer"
            raise WrongBufferError(
                f"{type(self).__name__} cannot hold observations of {observation_space}: pass "
                f"rollout_buffer_class={better}"
            )
        self.boundary: Boundary = boundary
        self.switch_penalty = switch_penalty
        self.normalised = True
        """Whether the algorithm normalises advantages; ``TrialCallback`` sets it."""
        super().__init__(buffer_size, observation_space, action_space, *args, **kwargs)

    def reset(self) -> None:
        """Forget the rollout."""
        self.is_intervention = np.zeros((self.buffer_size, self.n_envs), np.bool_)
        super().reset()

    def mark_intervention(self, index: int) -> None:
        """Note that the row that is written next holds an overridden step of environment ``index``."""
        self.is_intervention[self.pos, index] = True

    def compute_returns_and_advantage(self, last_values: th.Tensor, dones: npt.NDArray[Any]) -> None:
        """Compute returns and advantages (GAE), with the boundary of takeovers as configured.

        Args:
            last_values: ``(n_envs, 1)``, of the observations after the rollout.
            dones: ``(n_envs,)``, whether the last step ended an episode.
        """
        # (buffer_size, n_envs): the last own step before a takeover of the same episode.
        before = np.zeros_like(self.is_intervention)
        before[:-1] = ~self.is_intervention[:-1] & self.is_intervention[1:] & (self.episode_starts[1:] == 0)
        if self.boundary == "penalty":
            self.rewards[before] -= self.switch_penalty
        if self.boundary != "cut" or not before.any():
            super().compute_returns_and_advantage(last_values, dones)
            return
        following = np.concatenate([self.values[1:], last_values.cpu().numpy().reshape(1, -1)])
        goes_on = 1.0 - np.concatenate([self.episode_starts[1:], dones.reshape(1, -1).astype(np.float32)])
        # Schulman et al. 2016, eq. 12 and 16; a takeover ends the sum, and V(s_t+1) stands for what follows.
        deltas = self.rewards + self.gamma * following * goes_on - self.values
        decay = self.gamma * self.gae_lambda * goes_on * ~before
        advantage = np.zeros(self.n_envs, np.float32)
        for step in reversed(range(self.buffer_size)):
            advantage = deltas[step] + decay[step] * advantage
            self.advantages[step] = advantage
        self.returns = self.advantages + self.values

    def get(self, batch_size: int | None = None) -> Generator[Any, None, None]:
        """Yield shuffled batches, as Stable-Baselines3 does."""
        if not self.generator_ready:
            self.is_intervention = self.swap_and_flatten(self.is_intervention)
        yield from super().get(batch_size)

    def _get_samples(self, batch_inds: npt.NDArray[np.integer[Any]], env: VecNormalize | None = None) -> Any:
        samples = super()._get_samples(batch_inds, env)
        flags = self.is_intervention[batch_inds].reshape(-1)
        if flags.any():
            advantages = samples.advantages
            masked = th.as_tensor(flags, device=advantages.device)
            advantages[masked] = neutral_advantage(advantages[~masked], normalised=self.normalised)
        return samples


class MaskedRolloutBuffer(_MasksTakeovers, RolloutBuffer):
    """A rollout buffer for PPO and A2C in which overridden steps train the value function only.

    An overridden step keeps its value target, proposed action and log-probability; its advantage becomes the
    mean of its minibatch's other steps, which is 0 once the algorithm has normalised advantages (and plainly
    0 where it does not). So the policy gradient has the direction of the other steps' own; its length shrinks
    by about the square root of their share. Needs ``TrialCallback(on_policy="mask")``.

    Args:
        buffer_size: As in Stable-Baselines3, like every argument not named here.
        observation_space: Not a Dict; see :class:`MaskedDictRolloutBuffer`.
        action_space: Any.
        *args: Passed on.
        boundary: What to make of the policy's step before a takeover: ``"through"`` nothing, so it is
            credited with the rescue; ``"cut"`` ends its advantage there and bootstraps; ``"penalty"`` charges
            it ``switch_penalty`` of reward.
        switch_penalty: See ``boundary``.
        **kwargs: Passed on.

    Raises:
        WrongBufferError: the observations are a Dict.

    Example:
        >>> from cogment_lab.integrations.sb3 import MaskedRolloutBuffer, TrialCallback
        >>> kwargs = {"rollout_buffer_class": MaskedRolloutBuffer}
        >>> callback = TrialCallback(on_policy="mask")
    """


class MaskedDictRolloutBuffer(_MasksTakeovers, DictRolloutBuffer):
    """The same for Dict observations."""

    holds_dict_observations = True
