"""What offline algorithms need of Stable-Baselines3's networks, and lacks there."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch as th
from stable_baselines3.common.policies import BaseModel, BasePolicy, ContinuousCritic
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.sac.policies import Actor as SACActor
from stable_baselines3.td3.policies import Actor as TD3Actor
from torch import nn

__all__ = [
    "Gaussian",
    "SquashedGaussian",
    "ValueNetwork",
    "action_distribution",
    "least_value",
    "policy_of",
    "values_of",
]

_LOG_SQRT_2_PI = 0.5 * math.log(2.0 * math.pi)

_SQUASHING_EPSILON = 1e-6
"""SB3's, against the logarithm of zero."""

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

    def draw(self, times: int = 1) -> tuple[th.Tensor, th.Tensor]:
        """Return what :meth:`SquashedGaussian.draw` does, without a gradient to the actions."""
        several = Gaussian(self.mean.repeat_interleave(times, 0), self.std.repeat_interleave(times, 0))
        actions = several.sample()
        return actions, several.log_prob(actions)


class SquashedGaussian(NamedTuple):
    """SAC's policy: Gaussians behind a hyperbolic tangent; ``mean`` and ``log_std`` are of those before it.

    As SB3's ``action_log_prob``, but several actions need one forward pass, and no distribution object.
    """

    mean: th.Tensor
    log_std: th.Tensor

    def draw(self, times: int = 1) -> tuple[th.Tensor, th.Tensor]:
        """Return actions ``(n * times, action_dim)``, state by state, and the logarithm of their densities.

        Both pass a gradient on; the densities are ``(n * times, 1)``.
        """
        mean, log_std = self.mean, self.log_std
        if times > 1:
            mean, log_std = mean.repeat_interleave(times, 0), log_std.repeat_interleave(times, 0)
        noise = th.randn_like(mean)
        actions = th.tanh(mean + log_std.exp() * noise)
        gaussian = -0.5 * noise.square() - log_std - _LOG_SQRT_2_PI
        by_dimension = gaussian - (1.0 - actions.square() + _SQUASHING_EPSILON).log()
        return actions, by_dimension.sum(dim=1, keepdim=True)


def action_distribution(actor: SACActor, observations: PyTorchObs) -> Gaussian:
    """Return a Gaussian around the actor's deterministic action, in the scaled actions' units.

    SAC's own density squashes the sample; that of an action at a bound, where people's actions often are, is
    then infinitely unlikely. Squashing the mean alone is what IQL's authors do, and gives the same
    deterministic policy.
    """
    mean, log_std, _ = actor.get_action_dist_params(observations)
    return Gaussian(th.tanh(mean), log_std.clamp(*_LOG_STD).exp())


def policy_of(actor: SACActor | TD3Actor, observations: PyTorchObs) -> SquashedGaussian | Gaussian:
    """Return what an actor does: SAC's own distribution, or TD3's action with noise of 0.2 around it."""
    if isinstance(actor, SACActor):
        return SquashedGaussian(*actor.get_action_dist_params(observations)[:2])
    mean = actor(observations)
    return Gaussian(mean, th.full_like(mean, 0.2))


def values_of(critic: ContinuousCritic, observations: PyTorchObs, actions: th.Tensor) -> th.Tensor:
    """Return the value that each critic gives each action, ``(n, n_critics)``."""
    return th.cat(critic(observations, actions), dim=1)


def least_value(critic: ContinuousCritic, observations: PyTorchObs, actions: th.Tensor) -> th.Tensor:
    """Return the smallest of the critics' values, ``(n, 1)``."""
    return values_of(critic, observations, actions).min(dim=1, keepdim=True).values
