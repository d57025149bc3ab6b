"""What offline algorithms need of Stable-Baselines3's networks, and lacks there."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch as th
from stable_baselines3.common.policies import BaseModel, BasePolicy, ContinuousCritic
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.sac.policies import Actor as SACActor
from torch import nn

__all__ = ["Gaussian", "ValueNetwork", "action_distribution", "least_value", "values_of"]

_LOG_SQRT_2_PI = 0.5 * math.log(2.0 * math.pi)

_LOG_STD = (-3.0, 0.5)
"""Bounds of the logarithm of the standard deviation, where an action's range is [-1, 1]: a likelihood grows
without bound as the actor gets sure of a deterministic demonstrator."""


class ValueNetwork(BaseModel):
    """A state's value, ``V(s)``: like the policy's critics, without an action.

    Args:
        policy: Whose features extractor, architecture and optimiser it takes after.
        learning_rate: Of its optimiser.
    """

    def __init__(self, policy: BasePolicy, learning_rate: float) -> None:
        kwargs: dict[str, Any] = policy.critic_kwargs  # type: ignore[assignment]
        super().__init__(
            policy.observation_space,
            policy.action_space,
            features_extractor=policy.make_features_extractor(),
            normalize_images=policy.normalize_images,
        )
        assert self.features_extractor is not None
        layers = create_mlp(
            self.features_extractor.features_dim, 1, kwargs["net_arch"], kwargs["activation_fn"]
        )
        self.net = nn.Sequential(*layers)
        self.to(policy.device)
        self.optimizer = policy.optimizer_class(
            self.parameters(),
            lr=learning_rate,  # type: ignore[call-arg]
            **policy.optimizer_kwargs,
        )

    def forward(self, observations: PyTorchObs) -> th.Tensor:
        """Return ``(n, 1)`` values."""
        assert self.features_extractor is not None
        values: th.Tensor = self.net(self.extract_features(observations, self.features_extractor))
        return values


class Gaussian(NamedTuple):
    """Independent Gaussians for the dimensions of an action; ``mean`` and ``std`` are ``(n, action_dim)``."""

    mean: th.Tensor
    std: th.Tensor

    def sample(self) -> th.Tensor:
        """Return actions within [-1, 1], ``(n, action_dim)``, without a gradient."""
        with th.no_grad():
            return (self.mean + self.std * th.randn_like(self.mean)).clamp(-1.0, 1.0)

    def log_prob(self, actions: th.Tensor) -> th.Tensor:
        """Return the logarithm of the actions' density, ``(n, 1)``."""
        by_dimension = -0.5 * ((actions - self.mean) / self.std).square() - self.std.log() - _LOG_SQRT_2_PI
        return by_dimension.sum(dim=1, keepdim=True)


def action_distribution(actor: SACActor, observations: PyTorchObs) -> Gaussian:
    """Return a Gaussian around the actor's deterministic action, in the scaled actions' units.

    SAC's own density squashes the sample; that of an action at a bound, where people's actions often are, is
    then infinitely unlikely. Squashing the mean alone is what IQL's authors do, and gives the same
    deterministic policy.
    """
    mean, log_std, _ = actor.get_action_dist_params(observations)
    return Gaussian(th.tanh(mean), log_std.clamp(*_LOG_STD).exp())


def values_of(critic: ContinuousCritic, observations: PyTorchObs, actions: th.Tensor) -> th.Tensor:
    """Return the value that each critic gives each action, ``(n, n_critics)``."""
    return th.cat(critic(observations, actions), dim=1)


def least_value(critic: ContinuousCritic, observations: PyTorchObs, actions: th.Tensor) -> th.Tensor:
    """Return the smallest of the critics' values, ``(n, 1)``."""
    return values_of(critic, observations, actions).min(dim=1, keepdim=True).values
