"""Observations normalised inside the network: what is saved or handed over needs nothing beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

__all__ = ["NormalizingExtractor", "folded_state"]

_EPSILON = 1e-3
"""Added to the standard deviation, as TD3+BC's authors do: a constant column must not be divided by zero."""


class NormalizingExtractor(FlattenExtractor):
    """Flattens observations, and takes away their mean over the data, in units of their deviation.

    Args:
        observation_space: A Box.
    """

    mean: th.Tensor
    std: th.Tensor

    def __init__(self, observation_space: spaces.Space[Any]) -> None:
        super().__init__(observation_space)
        self.register_buffer("mean", th.zeros(self.features_dim))
        self.register_buffer("std", th.ones(self.features_dim))

    def fit(self, observations: npt.NDArray[Any]) -> None:
        """Take mean and deviation from ``(n, *shape)`` observations."""
        flat = observations.reshape(len(observations), -1)
        self.mean.copy_(th.from_numpy(np.asarray(flat.mean(0, dtype=np.float64), np.float32)))
        self.std.copy_(th.from_numpy(np.asarray(flat.std(0, dtype=np.float64) + _EPSILON, np.float32)))

    def forward(self, observations: th.Tensor) -> th.Tensor:
        """Return ``(n, features_dim)``."""
        flat: th.Tensor = super().forward(observations)
        return (flat - self.mean) / self.std


def folded_state(network: nn.Module) -> dict[str, th.Tensor]:
    """Return an actor's or critics' parameters for the same layers behind plain observations.

    The normalisation moves into the first layers, ``W (s - m) / d + b = (W / d) s + (b - W m / d)``: the same
    function, and a model that goes on needs no extractor of its own. Of a network without a
    :class:`NormalizingExtractor`, the state as it is.

    Args:
        network: SB3's actor or continuous critic; layers are ``<name>.0``, ``<name>.2``, ...
    """
    state: dict[str, th.Tensor] = {name: value.clone() for name, value in network.state_dict().items()}
    extractor = getattr(network, "features_extractor", None)
    if not isinstance(extractor, NormalizingExtractor):
        return state
    del state["features_extractor.mean"], state["features_extractor.std"]
    n = extractor.features_dim
    for name in [name for name in state if name.endswith(".0.weight")]:
        scaled = state[name][:, :n] / extractor.std
        state[name][:, :n] = scaled  # a critic's other columns take the action
        state[name.replace("weight", "bias")] -= scaled @ extractor.mean
    return state
