"""Fewer calls per step: wrappers whose work is done leave the chain."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker

__all__ = ["streamline"]


def streamline(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """Return ``env`` without the wrappers that do nothing after the first trial.

    ``gymnasium.make`` adds a checker of the first step and an enforcer of the order of calls. They cost three
    calls per step for ever; a trial enforces the order itself.
    """
    _ = env.spec  # wrappers remember it: it goes on telling how the environment was made
    while isinstance(env, OrderEnforcing | PassiveEnvChecker):
        env = env.env
    outer = env
    while isinstance(outer, gym.Wrapper):
        while isinstance(outer.env, OrderEnforcing | PassiveEnvChecker):
            outer.env = outer.env.env
        outer = outer.env
    return env
