"""AWAC: actions of the data, weighted by how much better they are than the policy's own.

Source: Nair, Gupta, Dalal, Levine, "AWAC: Accelerating Online Reinforcement Learning with Offline Datasets",
2020 (arXiv:2006.09359); equation numbers below are its own.
"""

from __future__ import annotations

from typing import Any

import torch as th
from cogment_lab.algorithms.offline_actor_critic import OfflineActorCritic
from cogment_lab.algorithms.offline_batches import OfflineBatch
from cogment_lab.algorithms.offline_networks import action_distribution, least_value, values_of
from stable_baselines3.common.policies import BasePolicy
from torch.nn import functional as F

from cogment_lab.errors import ConfigurationError

__all__ = ["AWAC"]


class AWAC(OfflineActorCritic):
    """Advantage-weighted actor-critic, for Box actions; its policy is SAC's, and goes on in SAC by ``into``.

    Args:
        policy: As in :class:`OfflineAlgorithm`, like every argument not named here.
        data: What to learn from.
        temperature: The paper's lambda; small is greedy, large clones all actions alike. In
            units of return, after ``reward_scale``.
        max_weight: Bound of an action's weight (the paper's softmax over a batch bounds it, too).
        **kwargs: Of :class:`OfflineAlgorithm`.
    """

    def __init__(
        self,
        policy: str | type[BasePolicy],
        data: Any = None,
        *,
        temperature: float = 0.1,
        max_weight: float = 100.0,
        **kwargs: Any,
    ) -> None:
        if temperature <= 0.0 or max_weight <= 0.0:
            raise ConfigurationError(
                f"temperature={temperature} and max_weight={max_weight} must be positive"
            )
        self.temperature, self.max_weight = temperature, max_weight
        super().__init__(policy, data, **kwargs)

    def train_on(self, batch: OfflineBatch) -> dict[str, th.Tensor]:
        """Evaluate the policy (4) and improve it (13) on one batch."""
        # y = r(s,a) + gamma E_{a'~pi}[Q_target(s',a')]  (4), with one sample of a' and the lesser critic
        with th.no_grad():
            following = action_distribution(self.actor, batch.next_observations).sample()
            after = least_value(self.critic_target, batch.next_observations, following)
            targets = batch.rewards + self.gamma * (1.0 - batch.terminated) * after
        values = values_of(self.critic, batch.observations, batch.actions)
        critic_loss = F.mse_loss(values, targets.expand_as(values))
        self.critic_descent.step(critic_loss)

        # maximise E_{s,a~D}[log pi(a|s) exp(A(s,a) / lambda)]  (13), A(s,a) = Q(s,a) - E_{a~pi}[Q(s,a)]
        distribution = action_distribution(self.actor, batch.observations)
        with th.no_grad():
            own = distribution.sample()
            advantage = least_value(self.critic, batch.observations, batch.actions)
            advantage = advantage - least_value(self.critic, batch.observations, own)
            weights = (advantage / self.temperature).exp().clamp(max=self.max_weight)
        actor_loss = -(weights * distribution.log_prob(batch.actions)).mean()
        self.actor_descent.step(actor_loss)

        self._update_target()
        return {"critic_loss": critic_loss, "actor_loss": actor_loss, "weight": weights.mean()}
