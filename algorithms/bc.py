"""Behaviour cloning: do what was done.

Source: Pomerleau, "Efficient Training of Artificial Neural Networks for Autonomous Navigation", Neural
Computation 3(1), 1991; in the notation of today, maximise ``E_{s,a~D}[log pi(a|s)]``.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch as th
from cogment_lab.algorithms.descent import Descent
from cogment_lab.algorithms.offline import OfflineAlgorithm
from cogment_lab.algorithms.offline_batches import OfflineBatch
from cogment_lab.algorithms.offline_networks import action_distribution
from gymnasium import spaces
from stable_baselines3 import A2C, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.sac.policies import Actor as SACActor
from torch.nn import functional as F

from cogment_lab.errors import ConfigurationError

__all__ = ["BC"]


class BC(OfflineAlgorithm):
    """Behaviour cloning with the actor of an algorithm that may go on from it by ``into``.

    Maximises the likelihood of the executed actions; TD3's actor, which has none, minimises the squared
    distance.

    Args:
        policy: As in :class:`OfflineAlgorithm`, like every argument not named here.
        data: What to clone.
        actor_of: ``SAC``, ``TD3``, ``PPO`` or ``A2C``; by default SAC for Box actions and PPO for others.
        learning_rate: Of Adam.
        **kwargs: Of :class:`OfflineAlgorithm`.

    Example:
        >>> import cogment_lab
        >>> from cogment_lab.algorithms import BC
        >>> from cogment_lab.humans.scripted import scripted_policy
        >>> store = cogment_lab.TrialStore(":memory:")
        >>> _ = cogment_lab.run("CartPole-v1", scripted_policy("CartPole-v1"), trials=2, seed=1, store=store)
        >>> model = BC("MlpPolicy", store, seed=1).learn(200)
        >>> int(model.predict(model.observation_space.sample())[0]) in (0, 1)
        True
    """

    data_needs = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
    has_critic = False
    actor_of: type[BaseAlgorithm] | None = None
    _supported: ClassVar[tuple[type[BaseAlgorithm], ...]] = (SAC, TD3, PPO, A2C)

    def __init__(
        self,
        policy: str | type[BasePolicy],
        data: Any = None,
        *,
        actor_of: type[BaseAlgorithm] | None = None,
        learning_rate: Any = 1e-3,
        **kwargs: Any,
    ) -> None:
        if actor_of is not None and actor_of not in self._supported:
            raise ConfigurationError(
                f"actor_of={actor_of!r}: choose {', '.join(known.__name__ for known in self._supported)}; "
                "for DQN, learn with DiscreteCQL, or give the trials to DQfD.add_demonstrations"
            )
        self.actor_of = actor_of
        super().__init__(policy, data, learning_rate=learning_rate, **kwargs)

    def _get_policy_from_name(self, policy_name: str) -> type[BasePolicy]:
        space = self.data.action_space if self.data is not None else None
        if self.actor_of is None:
            self.actor_of = SAC if isinstance(space, spaces.Box) else PPO
        if self.actor_of in (SAC, TD3) and not isinstance(space, spaces.Box):
            raise ConfigurationError(f"{self.actor_of.__name__}'s actor has no {space}: pass actor_of=PPO")
        aliases = self.actor_of.policy_aliases
        if policy_name not in aliases:
            raise ConfigurationError(f"policy={policy_name!r} is unknown: choose {', '.join(aliases)}")
        return aliases[policy_name]

    def _setup_networks(self) -> None:
        self.descent = Descent(self.optimizers()[0])

    def train_on(self, batch: OfflineBatch) -> dict[str, th.Tensor]:
        """Make one step towards the actions of a batch."""
        loss = self.loss(batch)
        self.descent.step(loss)
        return {"actor_loss": loss}

    def loss(self, batch: OfflineBatch) -> th.Tensor:
        """Return the mean of ``-log pi(a|s)``, or of ``(pi(s) - a)^2``."""
        if isinstance(self.policy, ActorCriticPolicy):
            actions = batch.actions
            if isinstance(self.action_space, spaces.Box):  # PPO acts in the environment's units
                bounds = self.action_space.low, self.action_space.high
                low, high = (th.as_tensor(bound.ravel(), device=self.device) for bound in bounds)
                actions = low + 0.5 * (actions + 1.0) * (high - low)
            elif isinstance(self.action_space, spaces.Discrete):
                actions = actions.reshape(-1)
            elif isinstance(self.action_space, spaces.MultiBinary):
                actions = actions.float()  # Bernoulli's likelihood is made of numbers, not of indices
            log_probs = self.policy.get_distribution(batch.observations).log_prob(actions)
            return -log_probs.mean()
        actor: Any = self.policy.actor
        if isinstance(actor, SACActor):
            return -action_distribution(actor, batch.observations).log_prob(batch.actions).mean()
        actions = actor(batch.observations)
        return F.mse_loss(actions, batch.actions)

    def optimizers(self) -> list[th.optim.Optimizer]:
        """Return the actor's."""
        if isinstance(self.policy, ActorCriticPolicy):
            return [self.policy.optimizer]
        actor: Any = self.policy.actor
        return [actor.optimizer]

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "descent"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        is_one = isinstance(self.policy, ActorCriticPolicy)
        return ["policy", "policy.optimizer" if is_one else "policy.actor.optimizer"], []
