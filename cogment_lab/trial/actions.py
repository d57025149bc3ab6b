"""Copies of actions, made by a function chosen once for the action space."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

__all__ = ["action_copier"]


def action_copier(space: gym.Space[Any]) -> Callable[[Any], Any]:
    """Return a function that copies an action of ``space``: an array with its dtype, a Discrete one as int.

    A caller may reuse its array for the next action; the record and ``info`` must not change with it.
    """
    if isinstance(space, gym.spaces.Discrete):
        return _copy_scalar
    if isinstance(space, gym.spaces.Box | gym.spaces.MultiDiscrete | gym.spaces.MultiBinary):
        return _copy_array
    return copy.deepcopy


def _copy_scalar(action: Any) -> Any:
    if type(action) is int:  # the usual case
        return action
    return action.item() if isinstance(action, np.ndarray | np.generic) else action


def _copy_array(action: Any) -> Any:
    return action.copy() if isinstance(action, np.ndarray) else np.array(action)
