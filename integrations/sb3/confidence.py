"""How sure a learner is of what it proposes, for the people who watch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

__all__ = ["ActionProbabilities", "share_confidence"]


class ActionProbabilities:
    """The probability of each action of a Discrete space, given an observation of the trial.

    Policies with a distribution (PPO, A2C) say it themselves. For those with action values (DQN, QR-DQN) it
    is the softmax of the values (Boltzmann); what they propose may be an exploring action all the same.
    No generator is used, so that training goes on as if nobody had looked.

    Args:
        model: The algorithm that trains.
    """

    def __init__(self, model: BaseAlgorithm) -> None:
        self._model = model

    def __call__(self, observation: Any) -> list[float] | None:
        """Return the probabilities, ``None`` where wrappers outside the trial change what the model sees."""
        policy: Any = self._model.policy
        normalizer = self._model.get_vec_normalize_env()
        if normalizer is not None:
            observation = normalizer.normalize_obs(observation)
        try:
            tensor, _ = policy.obs_to_tensor(observation)
        except ValueError:
            return None
        with torch.no_grad():
            if isinstance(policy, ActorCriticPolicy):
                described: Any = policy.get_distribution(tensor).distribution
                chances = described.probs
            else:
                net = getattr(policy, "q_net", None)
                values = net(tensor) if net is not None else policy.quantile_net(tensor).mean(dim=1)
                chances = torch.softmax(values, dim=1)
        return [float(chance) for chance in np.ravel(chances.cpu().numpy())]


def share_confidence(model: BaseAlgorithm, vec_env: VecEnv, trials: list[int]) -> None:
    """Let the seats of these trials show it, where they are in this process and the model has it to tell."""
    policy: Any = model.policy
    tells = isinstance(policy, ActorCriticPolicy) or any(
        hasattr(policy, name) for name in ("q_net", "quantile_net")
    )
    if trials and tells and isinstance(model.action_space, spaces.Discrete):
        inner = vec_env.unwrapped
        if isinstance(inner, DummyVecEnv):
            vec_env.env_method("tell_seats", {"explain": ActionProbabilities(model)}, indices=trials)
