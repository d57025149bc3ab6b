"""Conservative Q-learning: values are pushed down where the policy leaves the data.

Source: Kumar, Zhou, Tucker, Levine, "Conservative Q-Learning for Offline Reinforcement Learning", NeurIPS
2020 (arXiv:2006.04779); equation numbers below are its own. The policy learns as in SAC (Haarnoja et al.
2018, arXiv:1812.05905), on which CQL stands.
"""

from __future__ import annotations

from typing import Any

import torch as th
from cogment_lab.algorithms.conservative import conservative_values
from cogment_lab.algorithms.offline_actor_critic import OfflineActorCritic
from cogment_lab.algorithms.offline_batches import OfflineBatch
from cogment_lab.algorithms.offline_networks import SquashedGaussian, least_value
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import PyTorchObs
from torch.nn import functional as F

from cogment_lab.errors import ConfigurationError

__all__ = ["CQL"]

_MOST_CONSERVATISM = 1e6
"""Bound of an adapted weight, as in the authors' code."""


class CQL(OfflineActorCritic):
    """CQL(H), for Box actions; its policy is SAC's, and goes on in SAC by ``into``.

    Args:
        policy: As in :class:`OfflineAlgorithm`, like every argument not named here.
        data: What to learn from.
        conservatism: Weight of the regulariser, the paper's alpha. In each step it may lift the values of the
            data's actions by this much, as a reward would: choose it below what a step brings after
            ``reward_scale``, a few tenths. The paper's 5 goes with rewards of about 5 per step; here it makes
            values grow that nothing was paid for.
        n_actions: Actions of each kind (random, the policy's here, the policy's next) that it compares.
        first_temperature: Of the entropy; adapted from there on towards minus the number of dimensions.
        target_gap: The paper's tau: ``conservatism`` is adapted, from where it starts, until the soft maximum
            exceeds the values of the data's actions by this much (Appendix F, Equation 30). Fixed by default.
        **kwargs: Of :class:`OfflineAlgorithm`.
    """

    is_conservative = True
    floor = False
    """Whether values are held above the returns in the data (Cal-QL)."""

    def __init__(
        self,
        policy: str | type[BasePolicy],
        data: Any = None,
        *,
        conservatism: float = 0.1,
        n_actions: int = 4,
        first_temperature: float = 0.1,
        target_gap: float | None = None,
        **kwargs: Any,
    ) -> None:
        if conservatism < 0.0 or n_actions < 1 or first_temperature <= 0.0:
            raise ConfigurationError(
                f"conservatism={conservatism} must not be negative, n_actions={n_actions} at least 1, "
                f"first_temperature={first_temperature} positive"
            )
        if target_gap is not None and conservatism == 0.0:
            raise ConfigurationError(f"target_gap={target_gap} adapts conservatism by factors: start above 0")
        self.conservatism, self.n_actions = conservatism, n_actions
        self.first_temperature, self.target_gap = first_temperature, target_gap
        super().__init__(policy, data, **kwargs)

    def _setup_networks(self) -> None:
        super()._setup_networks()
        self.log_ent_coef = th.full((1,), self.first_temperature, device=self.device).log_().requires_grad_()
        self.ent_coef_optimizer = th.optim.Adam([self.log_ent_coef], lr=self.lr_schedule(1))
        if self.target_gap is not None:
            self._log_conservatism = th.tensor(self.conservatism, device=self.device).log_()
            self._log_conservatism.requires_grad_()
            self.conservatism_optimizer = th.optim.Adam([self._log_conservatism], lr=self.lr_schedule(1))

    def train_on(self, batch: OfflineBatch) -> dict[str, th.Tensor]:
        """Make SAC's steps, with the regulariser in the critics' (4)."""
        policy = self._policy(batch.observations)
        actions, log_probs = policy.draw()
        target_entropy = -float(actions.shape[1])
        temperature = self.log_ent_coef.detach().exp()
        # The gradient of -log_ent_coef (log pi(a|s) + target_entropy).
        self.log_ent_coef.grad = -(log_probs.detach() + target_entropy).mean(dim=0)
        self.ent_coef_optimizer.step()
        # The critic first: the actor's graph does not go through what is changed here.
        with th.no_grad():
            following_policy = self._policy(batch.next_observations)
            following, _ = following_policy.draw()
            after = least_value(self.critic_target, batch.next_observations, following)
            targets = batch.rewards + self.gamma * (1.0 - batch.terminated) * after
        # min_Q alpha (E[log sum_a exp Q(s,a)] - E_D[Q(s,a)]) + 1/2 E[(Q - B^pi Q)^2]  (4)
        values, gap = conservative_values(
            self.critic, batch, policy, following_policy, floor=self.floor, n_actions=self.n_actions
        )
        td_loss = 0.5 * F.mse_loss(values, targets.expand_as(values), reduction="none").mean(dim=0).sum()
        self.critic_descent.step(td_loss + self.conservatism * gap)
        if self.target_gap is not None:
            self._adapt_conservatism(gap.detach() / values.shape[1] - self.target_gap)

        actor_loss = (temperature * log_probs - least_value(self.critic, batch.observations, actions)).mean()
        self.actor_descent.step(actor_loss)
        self._update_target()
        return {
            "critic_loss": td_loss,
            "conservative_gap": gap,
            "actor_loss": actor_loss,
            "ent_coef": temperature.squeeze(),
            "conservatism": th.tensor(self.conservatism),
        }

    def _adapt_conservatism(self, excess: th.Tensor) -> None:
        """Make one step of the outer problem, ``max_{alpha >= 0} alpha (gap - tau)`` (30)."""
        self._log_conservatism.grad = -self.conservatism * excess
        self.conservatism_optimizer.step()
        self.conservatism = min(float(self._log_conservatism.detach().exp()), _MOST_CONSERVATISM)

    def _policy(self, observations: PyTorchObs) -> SquashedGaussian:
        return SquashedGaussian(*self.actor.get_action_dist_params(observations)[:2])

    def optimizers(self) -> list[th.optim.Optimizer]:
        """Return those of actor, critics and temperature."""
        adapted = [] if self.target_gap is None else [self.conservatism_optimizer]
        return [*super().optimizers(), self.ent_coef_optimizer, *adapted]

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_log_conservatism"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        names, variables = super()._get_torch_save_params()
        adapted = [] if self.target_gap is None else ["conservatism_optimizer"]
        return [*names, "ent_coef_optimizer", *adapted], [*variables, "log_ent_coef"]
