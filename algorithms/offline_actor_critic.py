"""What IQL, AWAC, CQL and TD3+BC have in common: an actor, two critics, and their targets."""

from __future__ import annotations

from typing import Any, ClassVar

import torch as th
from cogment_lab.algorithms.offline import OfflineAlgorithm
from stable_baselines3.common.policies import BasePolicy, ContinuousCritic
from stable_baselines3.common.utils import polyak_update
from stable_baselines3.sac.policies import CnnPolicy, MlpPolicy, MultiInputPolicy

__all__ = ["OfflineActorCritic", "step"]


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
        self.actor = policy.actor
        self.critic: ContinuousCritic = policy.critic
        self.critic_target: ContinuousCritic = policy.critic_target

    def optimizers(self) -> list[th.optim.Optimizer]:
        """Return those of actor and critics."""
        return [self.actor.optimizer, self.critic.optimizer]

    def _update_target(self) -> None:
        polyak_update(self.critic.parameters(), self.critic_target.parameters(), self.tau)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "actor", "critic", "critic_target"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "actor.optimizer", "critic.optimizer"], []


def step(optimizer: th.optim.Optimizer, loss: th.Tensor) -> None:
    """Make one step down the gradient of a loss."""
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
