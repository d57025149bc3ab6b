"""TD3+BC: TD3 whose actor also clones the data.

Source: Fujimoto, Gu, "A Minimalist Approach to Offline Reinforcement Learning", NeurIPS 2021
(arXiv:2106.06860); equation numbers below are its own.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch as th
from cogment_lab.algorithms.descent import follow
from cogment_lab.algorithms.normalization import NormalizingExtractor
from cogment_lab.algorithms.offline_actor_critic import OfflineActorCritic
from cogment_lab.algorithms.offline_batches import OfflineBatch
from cogment_lab.algorithms.offline_networks import least_value, values_of
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.td3.policies import Actor, CnnPolicy, MlpPolicy, MultiInputPolicy, TD3Policy
from torch.nn import functional as F

from cogment_lab.errors import ConfigurationError

__all__ = ["TD3BC"]


class TD3BC(OfflineActorCritic):
    """TD3 with a behaviour cloning term, for Box actions; goes on in TD3 (or SAC) by ``into``.

    Args:
        policy: As in :class:`OfflineAlgorithm`, like every argument not named here.
        data: What to learn from.
        alpha: Weight of the value against cloning; 0 clones only.
        policy_delay: Critic steps per actor step.
        target_noise: Standard deviation of the noise on the target's action.
        noise_clip: Bound of that noise.
        normalize: Normalise observations by their mean and deviation over the data, inside the networks
            (Section 5); for Box observations that are no images, unless ``policy_kwargs`` names an extractor.
        **kwargs: Of :class:`OfflineAlgorithm`.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }

    actor: Actor
    actor_target: Actor
    policy: TD3Policy

    def __init__(
        self,
        policy: str | type[BasePolicy],
        data: Any = None,
        *,
        alpha: float = 2.5,
        policy_delay: int = 2,
        target_noise: float = 0.2,
        noise_clip: float = 0.5,
        normalize: bool = True,
        **kwargs: Any,
    ) -> None:
        if alpha < 0.0 or policy_delay < 1 or target_noise < 0.0 or noise_clip < 0.0:
            raise ConfigurationError(
                f"alpha={alpha}, target_noise={target_noise}, noise_clip={noise_clip} must not be negative, "
                f"policy_delay={policy_delay} at least 1"
            )
        self.alpha, self.policy_delay = alpha, policy_delay
        self.target_noise, self.noise_clip = target_noise, noise_clip
        self.normalize = normalize
        super().__init__(policy, data, **kwargs)

    def _setup_model(self) -> None:
        if self.normalize and self.data is not None and _is_flat(self.data.observation_space):
            self.policy_kwargs = {"features_extractor_class": NormalizingExtractor, **self.policy_kwargs}
        super()._setup_model()

    def _setup_networks(self) -> None:
        super()._setup_networks()
        self.actor_target = self.policy.actor_target
        if self.data is not None:  # a model that is loaded brings its own
            for module in self.policy.modules():
                if isinstance(module, NormalizingExtractor):
                    module.fit(np.asarray(self.data.observations))

    def train_on(self, batch: OfflineBatch) -> dict[str, th.Tensor]:
        """Make TD3's critic step, and every ``policy_delay`` times an actor step (3)."""
        following_observations: Any = batch.next_observations  # a dict of tensors is fine, too
        with th.no_grad():
            noise = (th.randn_like(batch.actions) * self.target_noise).clamp(
                -self.noise_clip, self.noise_clip
            )
            following = (self.actor_target(following_observations) + noise).clamp(-1.0, 1.0)
            after = least_value(self.critic_target, batch.next_observations, following)
            targets = batch.rewards + self.gamma * (1.0 - batch.terminated) * after
        values = values_of(self.critic, batch.observations, batch.actions)
        critic_loss = F.mse_loss(values, targets.expand_as(values))
        self.critic_descent.step(critic_loss)
        losses = {"critic_loss": critic_loss}
        if self._n_updates % self.policy_delay == 0:
            actor_loss = self.actor_loss(batch)
            self.actor_descent.step(actor_loss)
            self._update_target()
            follow(self.actor_target, self.actor, self.tau)
            # Means of the log are over all steps.
            losses["actor_loss"] = actor_loss * self.policy_delay
        return losses

    def actor_loss(self, batch: OfflineBatch) -> th.Tensor:
        """Return ``-lambda Q(s,pi(s)) + (pi(s) - a)^2``, ``lambda = alpha / mean |Q|`` (3 and 4)."""
        observations: Any = batch.observations
        actions = self.actor(observations)
        values = self.critic.q1_forward(observations, actions)
        weight = self.alpha / values.abs().mean().detach().clamp(min=1e-6)
        loss: th.Tensor = -weight * values.mean() + F.mse_loss(actions, batch.actions)
        return loss

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "actor_target"]


def _is_flat(space: spaces.Space[Any]) -> bool:
    return isinstance(space, spaces.Box) and not is_image_space(space)
