"""What IQL, AWAC, CQL and TD3+BC have in common: an actor, two critics, and their targets."""

from __future__ import annotations

from typing import Any, ClassVar

import torch as th
from cogment_lab.algorithms.descent import Descent, follow
from cogment_lab.algorithms.offline import OfflineAlgorithm
from stable_baselines3.common.policies import BasePolicy, ContinuousCritic
from stable_baselines3.sac.policies import CnnPolicy, MlpPolicy, MultiInputPolicy

from cogment_lab.errors import ConfigurationError

__all__ = ["OfflineActorCritic"]


class OfflineActorCritic(OfflineAlgorithm):
    """An :class:`OfflineAlgorithm` with the policy of SAC (or TD3), so that either can go on from it."""

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    has_critic = True

    def _setup_networks(self) -> None:
        policy: Any = self.policy
        if getattr(policy.actor, "use_sde", False):
            raise ConfigurationError("use_sde=True: what is learned from data explores nothing, leave it out")
        self.actor = policy.actor
        self.critic: ContinuousCritic = policy.critic
        self.critic_target: ContinuousCritic = policy.critic_target
        self.actor_descent = Descent(policy.actor.optimizer)
        self.critic_descent = Descent(policy.critic.optimizer)

    def optimizers(self) -> list[th.optim.Optimizer]:
        """Return those of actor and critics."""
        return [self.actor.optimizer, self.critic.optimizer]

    def _update_target(self) -> None:
        follow(self.critic_target, self.critic, self.tau)

    def _excluded_save_params(self) -> list[str]:
        own = ["actor", "critic", "critic_target", "actor_descent", "critic_descent"]
        return [*super()._excluded_save_params(), *own]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "actor.optimizer", "critic.optimizer"], []
