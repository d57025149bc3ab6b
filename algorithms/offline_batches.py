"""Batches of stored steps as tensors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch as th
from cogment_lab.algorithms.offline_data import Array, Observations, OfflineData
from cogment_lab.integrations.sb3.actions import ActionEncoder
from gymnasium import spaces
from stable_baselines3.common.type_aliases import PyTorchObs

__all__ = ["OfflineBatch", "OfflineBuffer"]


class OfflineBatch(NamedTuple):
    """Steps drawn at random, on the model's device.

    Attributes:
        observations: ``(n, *shape)``, or a dict.
        actions: ``(n, action_dim)``; Box actions in [-1, 1], discrete ones as int64.
        next_observations: As ``observations``.
        rewards: ``(n, 1)``, scaled.
        terminated: ``(n, 1)``, 1.0 where nothing is bootstrapped; a truncated step has 0.0.
        returns: ``(n, 1)``, of what was done from there on, scaled and discounted.
    """

    observations: PyTorchObs
    actions: th.Tensor
    next_observations: PyTorchObs
    rewards: th.Tensor
    terminated: th.Tensor
    returns: th.Tensor


class OfflineBuffer:
    """All steps as tensors, and a generator that draws from them with replacement.

    Args:
        data: The steps.
        observation_space: As the policy sees it: images may have their channels first.
        reward_scale: Rewards are multiplied by it.
        gamma: Discount of ``returns``.
        device: Where batches are wanted.
        seed: Of the generator; drawn anew if ``None``.
    """

    def __init__(
        self,
        data: OfflineData,
        observation_space: spaces.Space[object],
        reward_scale: float,
        gamma: float,
        device: th.device,
        seed: int | None,
    ) -> None:
        def column(values: Array) -> th.Tensor:
            return th.as_tensor(values * reward_scale, dtype=th.float32, device=device).reshape(-1, 1)

        actions = ActionEncoder(data.action_space, scaled=True).encode(data.actions)
        is_box = isinstance(data.action_space, spaces.Box)
        flat = np.clip(actions, -1.0, 1.0).astype(np.float32) if is_box else actions.astype(np.int64)
        self.actions = th.as_tensor(flat.reshape(len(data), -1), device=device)
        self.observations = _tensors(data.observations, observation_space, device)
        self.next_observations = _tensors(data.next_observations, observation_space, device)
        self.rewards = column(data.rewards)
        self.returns = column(data.returns_to_go(gamma))
        self.terminated = th.as_tensor(data.terminated, dtype=th.float32, device=device).reshape(-1, 1)
        self._generator = th.Generator()
        if seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(seed)

    def __len__(self) -> int:
        return len(self.rewards)

    def sample(self, batch_size: int) -> OfflineBatch:
        """Return a batch."""
        rows = th.randint(len(self), (batch_size,), generator=self._generator).to(self.rewards.device)
        return OfflineBatch(
            _take(self.observations, rows),
            self.actions.index_select(0, rows),
            _take(self.next_observations, rows),
            self.rewards.index_select(0, rows),
            self.terminated.index_select(0, rows),
            self.returns.index_select(0, rows),
        )


def _tensors(values: Observations, space: spaces.Space[object], device: th.device) -> PyTorchObs:
    if isinstance(values, dict):
        assert isinstance(space, spaces.Dict)
        return {key: _tensor(part, space[key], device) for key, part in values.items()}
    return _tensor(values, space, device)


def _tensor(values: Array, space: spaces.Space[object], device: th.device) -> th.Tensor:
    if values.shape[1:] != space.shape and values.ndim == 4:  # VecTransposeImage
        values = np.moveaxis(values, 3, 1)
    if values.dtype == np.float64:
        values = values.astype(np.float32)
    return th.as_tensor(np.ascontiguousarray(values), device=device)


def _take(observations: PyTorchObs, rows: th.Tensor) -> PyTorchObs:
    if isinstance(observations, dict):
        return {key: part.index_select(0, rows) for key, part in observations.items()}
    return observations.index_select(0, rows)
