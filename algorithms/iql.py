"""Implicit Q-learning: values of the best actions in the data, without ever asking about others.

Source: Kostrikov, Nair, Levine, "Offline Reinforcement Learning with Implicit Q-Learning", ICLR 2022
(arXiv:2110.06169); equation numbers below are its own.
"""

from __future__ import annotations

from typing import Any

import torch as th
from cogment_lab.algorithms.descent import Descent
from cogment_lab.algorithms.offline_actor_critic import OfflineActorCritic
from cogment_lab.algorithms.offline_batches import OfflineBatch
from cogment_lab.algorithms.offline_networks import (
    ValueNetwork,
    action_distribution,
    least_value,
    values_of,
)
from stable_baselines3.common.policies import BasePolicy
from torch.nn import functional as F

from cogment_lab.errors import ConfigurationError

__all__ = ["IQL", "expectile_loss"]


class IQL(OfflineActorCritic):
    """Implicit Q-learning, for Box actions; its policy is SAC's, and goes on in SAC by ``into``.

    Args:
        policy: As in :class:`OfflineAlgorithm`, like every argument not named here.
        data: What to learn from.
        expectile: Of the action values that a state's value estimates, in (0.5, 1): 0.5 is their mean, 1 the
            best that the data have.
        beta: Inverse temperature of the policy: 0 clones all actions alike. In units of ``1 / return``, after
            ``reward_scale``.
        max_weight: Bound of an action's weight.
        **kwargs: Of :class:`OfflineAlgorithm`.

    Example:
        >>> import cogment_lab
        >>> from cogment_lab.algorithms import IQL
        >>> from cogment_lab.humans.scripted import scripted_policy
        >>> store = cogment_lab.TrialStore(":memory:")
        >>> _ = cogment_lab.run("Pendulum-v1", scripted_policy("Pendulum-v1"), trials=1, seed=1, store=store)
        >>> model = IQL("MlpPolicy", store, policy_kwargs={"net_arch": [16]}, seed=1).learn(10)
        >>> model.predict(model.observation_space.sample())[0].shape
        (1,)
    """

    def __init__(
        self,
        policy: str | type[BasePolicy],
        data: Any = None,
        *,
        expectile: float = 0.7,
        beta: float = 10.0,
        max_weight: float = 100.0,
        **kwargs: Any,
    ) -> None:
        if not 0.0 < expectile < 1.0:
            raise ConfigurationError(f"expectile={expectile} must lie between 0 and 1; 0.7 to 0.9 are usual")
        if beta < 0.0 or max_weight <= 0.0:
            raise ConfigurationError(f"beta={beta} must not be negative, max_weight={max_weight} positive")
        self.expectile, self.beta, self.max_weight = expectile, beta, max_weight
        super().__init__(policy, data, **kwargs)

    def _setup_networks(self) -> None:
        super()._setup_networks()
        self.value = ValueNetwork(self.policy, self.lr_schedule(1))
        self.value_descent = Descent(self.value.optimizer)

    def train_on(self, batch: OfflineBatch) -> dict[str, th.Tensor]:
        """Learn values (5), action values (6) and the policy (7) from one batch."""
        with th.no_grad():
            q = least_value(self.critic_target, batch.observations, batch.actions)
        v = self.value(batch.observations)
        # L_V(psi) = E[L2^tau(Q_target(s,a) - V(s))]  (5)
        advantage = q - v
        value_loss = expectile_loss(advantage, self.expectile)
        self.value_descent.step(value_loss)

        # L_Q(theta) = E[(r(s,a) + gamma V(s') - Q(s,a))^2]  (6)
        with th.no_grad():
            targets = batch.rewards + self.gamma * (1.0 - batch.terminated) * self.value(
                batch.next_observations
            )
        values = values_of(self.critic, batch.observations, batch.actions)
        critic_loss = F.mse_loss(values, targets.expand_as(values))
        self.critic_descent.step(critic_loss)

        # L_pi(phi) = E[exp(beta (Q_target(s,a) - V(s))) log pi(a|s)]  (7), to be maximised
        weights = (self.beta * advantage.detach()).exp().clamp(max=self.max_weight)
        log_probs = action_distribution(self.actor, batch.observations).log_prob(batch.actions)
        actor_loss = -(weights * log_probs).mean()
        self.actor_descent.step(actor_loss)

        self._update_target()
        return {
            "value_loss": value_loss,
            "critic_loss": critic_loss,
            "actor_loss": actor_loss,
            "value": v.mean(),
            "weight": weights.mean(),
        }

    def optimizers(self) -> list[th.optim.Optimizer]:
        """Return those of actor, critics and value."""
        return [*super().optimizers(), self.value.optimizer]

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "value", "value_descent"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        names, variables = super()._get_torch_save_params()
        return [*names, "value", "value.optimizer"], variables


def expectile_loss(differences: th.Tensor, expectile: float) -> th.Tensor:
    """Return the mean of ``|tau - 1(u < 0)| u^2`` (Equation 3)."""
    weights = th.where(differences < 0.0, 1.0 - expectile, expectile)
    return (weights * differences.square()).mean()
