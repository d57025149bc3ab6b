"""The regularisers of CQL and Cal-QL: what holds values of actions down that the data do not show."""

from __future__ import annotations

import math

import torch as th
from cogment_lab.algorithms.offline_batches import OfflineBatch
from cogment_lab.algorithms.offline_networks import Gaussian, SquashedGaussian, values_of
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.type_aliases import PyTorchObs

__all__ = ["conservative_values", "log_mean_exp_values"]


def conservative_values(
    critic: ContinuousCritic,
    batch: OfflineBatch,
    here: SquashedGaussian | Gaussian,
    there: SquashedGaussian | Gaussian,
    *,
    floor: bool,
    n_actions: int = 4,
) -> tuple[th.Tensor, th.Tensor]:
    """Return the values ``(n, n_critics)`` of the data, and how far a soft maximum exceeds them: a scalar.

    CQL(H) of Kumar et al., "Conservative Q-Learning for Offline Reinforcement Learning", NeurIPS 2020
    (arXiv:2006.04779), Equation 4 without its first factor:
    ``E_s[log sum_a exp Q(s,a)] - E_{s,a~D}[Q(s,a)]``, with the integral estimated from random actions, the
    actor's at ``s``, and the actor's at ``s'``, each weighted by its density (Appendix F).

    With ``floor``, that of Cal-QL (Nakamoto et al., NeurIPS 2023, arXiv:2303.05479, Equation 5.1): the values
    of the actor's actions count as ``max(Q(s,a), V(s))`` with ``V(s)`` the data's return from there on, so
    that they are not pushed below what the data show to be possible.

    Args:
        critic: Whose values; each of its networks is regularised.
        batch: The data.
        here: The policy at ``s`` (:func:`policy_of`).
        there: The policy at ``s'``.
        floor: Cal-QL's rather than CQL's.
        n_actions: Actions of each of the three kinds per state.
    """
    n, dimensions = batch.actions.shape
    with th.no_grad():
        uniform = th.rand(n * n_actions, dimensions, device=batch.actions.device) * 2.0 - 1.0
        uniform_density = th.full((n * n_actions, 1), -dimensions * math.log(2.0), device=uniform.device)
        actions_here, here_density = here.draw(n_actions)
        actions_there, there_density = there.draw(n_actions)
    actions = th.cat([batch.actions, uniform, actions_here, actions_there])
    log_densities = th.cat([uniform_density, here_density, there_density])
    of_actions = values_of(critic, _once_and_thrice(batch.observations, n_actions), actions)
    values, of_candidates = of_actions[:n], of_actions[n:]
    if floor:
        returns = batch.returns.repeat_interleave(n_actions, dim=0)
        lowest = th.cat([th.full_like(returns, -th.inf), returns, returns])
        of_candidates = th.maximum(of_candidates, lowest)
    soft_maximum = log_mean_exp_values(of_candidates - log_densities, n_actions)
    return values, (soft_maximum - values).mean(dim=0).sum()


def log_mean_exp_values(weighted: th.Tensor, n_actions: int) -> th.Tensor:
    """Return ``log 1/(3m) sum exp`` over each state's ``3m`` candidates, ``(n, n_critics)``.

    Args:
        weighted: ``(3 * n * m, n_critics)``: ``Q - log density``; kind by kind, state by state, ``m`` each.
        n_actions: ``m``.
    """
    by_state = weighted.reshape(3, -1, n_actions, weighted.shape[1])
    return by_state.logsumexp(dim=(0, 2)) - math.log(3 * n_actions)


def _once_and_thrice(observations: PyTorchObs, times: int) -> PyTorchObs:
    """Return observations for the data's actions, and ``times`` of each for all three kinds of candidates."""
    if isinstance(observations, dict):
        return {key: _rows_once_and_thrice(part, times) for key, part in observations.items()}
    return _rows_once_and_thrice(observations, times)


def _rows_once_and_thrice(rows: th.Tensor, times: int) -> th.Tensor:
    repeated = rows.repeat_interleave(times, dim=0)
    return th.cat([rows, repeated, repeated, repeated])
