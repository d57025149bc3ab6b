"""Critics that know the data before they go on by trial and error; the actors stay as they are."""

from __future__ import annotations

from typing import Any

import torch as th
from cogment_lab.algorithms.conservative import conservative_values
from cogment_lab.algorithms.descent import follow
from cogment_lab.algorithms.offline_batches import OfflineBatch, OfflineBuffer
from cogment_lab.algorithms.offline_networks import least_value, policy_of
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.policies import ActorCriticPolicy
from torch.nn import functional as F

__all__ = ["CONSERVATISM", "hold_critic", "warm_up_critic", "warm_up_values"]

CONSERVATISM = 1.0
"""Weight of Cal-QL's regulariser, in units of the unscaled reward."""

_HELD_STATES = 64


def warm_up_critic(model: SAC | TD3, buffer: OfflineBuffer, steps: int, batch_size: int) -> None:
    """Evaluate the actor on the data; where they say nothing, no action may look better than theirs.

    Q(s,a) <- r + gamma min_i Q_i'(s', pi(s')), plus Cal-QL's regulariser (see :mod:`.conservative`).
    """
    policy = model.policy
    for _ in range(steps):
        batch = buffer.sample(batch_size)
        with th.no_grad():
            following = (
                policy.actor(batch.next_observations, deterministic=True)
                if isinstance(model, SAC)
                else policy.actor(batch.next_observations)
            )
            after = least_value(policy.critic_target, batch.next_observations, following)
            targets = batch.rewards + model.gamma * (1.0 - batch.terminated) * after
        values, gap = _calibrated_values(model, batch)
        loss = F.mse_loss(values, targets.expand_as(values)) + CONSERVATISM * gap
        policy.critic.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        policy.critic.optimizer.step()
        follow(policy.critic_target, policy.critic, model.tau)


def _calibrated_values(model: SAC | TD3, batch: OfflineBatch) -> tuple[th.Tensor, th.Tensor]:
    with th.no_grad():
        here = policy_of(model.policy.actor, batch.observations)
        there = policy_of(model.policy.actor, batch.next_observations)
    return conservative_values(model.policy.critic, batch, here, there, floor=True)


def hold_critic(model: SAC | TD3, buffer: OfflineBuffer, steps: int, weight: float) -> None:
    """Add Cal-QL's regulariser to the gradient of each of the critics' next ``steps`` steps.

    ``learn`` of Stable-Baselines3 has its loss in one piece; gradients add up, so that what is added just
    before the optimiser's step is added to the loss.
    """
    policy, done = model.policy, 0

    def add_gradient(*_: Any) -> None:
        nonlocal done
        batch = buffer.sample(_HELD_STATES)
        gap = _calibrated_values(model, batch)[1]
        (weight * (1.0 - done / steps) * gap).backward()  # type: ignore[no-untyped-call]
        done += 1
        if done >= steps:
            hook.remove()

    hook = policy.critic.optimizer.register_step_pre_hook(add_gradient)


def warm_up_values(policy: ActorCriticPolicy, buffer: OfflineBuffer, steps: int, batch_size: int) -> None:
    """Fit the state values to the returns of the data; the actor's layers stay as they are."""
    parameters = [
        parameter
        for name, parameter in policy.named_parameters()
        if name.startswith(("value_net", "mlp_extractor.value_net", "vf_features_extractor"))
    ]
    optimizer = th.optim.Adam(parameters, lr=1e-3)
    for _ in range(steps):
        batch = buffer.sample(batch_size)
        loss = F.mse_loss(policy.predict_values(batch.observations), batch.returns)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
