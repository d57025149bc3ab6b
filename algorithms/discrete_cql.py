"""Conservative Q-learning for discrete actions, on DQN's network.

Source: Kumar et al. 2020 (arXiv:2006.04779), Equation 4 with the sum over all actions, as in its Atari
experiments; double Q-learning as in van Hasselt et al. 2016 (arXiv:1509.06461).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch as th
from cogment_lab.algorithms.descent import Descent, follow
from cogment_lab.algorithms.offline import OfflineAlgorithm
from cogment_lab.algorithms.offline_batches import OfflineBatch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.dqn.policies import CnnPolicy, DQNPolicy, MlpPolicy, MultiInputPolicy
from torch.nn import functional as F

from cogment_lab.errors import ConfigurationError

__all__ = ["DiscreteCQL"]


class DiscreteCQL(OfflineAlgorithm):
    """CQL(H) for Discrete actions; its policy is DQN's, and goes on in DQN by ``into``.

    Args:
        policy: As in :class:`OfflineAlgorithm`, like every argument not named here.
        data: What to learn from.
        conservatism: Weight of the regulariser.
        **kwargs: Of :class:`OfflineAlgorithm`.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    data_needs = (spaces.Discrete,)
    has_critic = True
    is_conservative = True
    policy: DQNPolicy

    def __init__(
        self, policy: str | type[BasePolicy], data: Any = None, *, conservatism: float = 1.0, **kwargs: Any
    ) -> None:
        if conservatism < 0.0:
            raise ConfigurationError(f"conservatism={conservatism} must not be negative")
        self.conservatism = conservatism
        super().__init__(policy, data, **kwargs)

    def _setup_networks(self) -> None:
        self.descent = Descent(self.policy.optimizer)

    def train_on(self, batch: OfflineBatch) -> dict[str, th.Tensor]:
        """Make one step of double Q-learning with the regulariser (4)."""
        network, target = self.policy.q_net, self.policy.q_net_target
        with th.no_grad():
            following = network(batch.next_observations).argmax(dim=1, keepdim=True)
            after = target(batch.next_observations).gather(1, following)
            targets = batch.rewards + self.gamma * (1.0 - batch.terminated) * after
        values = network(batch.observations)
        taken = values.gather(1, batch.actions)
        td_loss = F.smooth_l1_loss(taken, targets)
        # alpha (log sum_a exp Q(s,a) - Q(s,a_D))
        gap = (values.logsumexp(dim=1, keepdim=True) - taken).mean()
        self.descent.step(td_loss + self.conservatism * gap)
        follow(target, network, self.tau)
        return {"critic_loss": td_loss, "conservative_gap": gap, "value": values.mean()}

    def optimizers(self) -> list[th.optim.Optimizer]:
        """Return the network's."""
        return [self.policy.optimizer]

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "descent"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "policy.optimizer"], []
