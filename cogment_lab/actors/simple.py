"""Actors that need no learning: random and constant."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from cogment_lab.core import CogmentActor

__all__ = ["ConstantActor", "RandomActor"]


class RandomActor(CogmentActor[Any, Any]):
    """Samples its action space; honours an ``action_mask`` in the observation.

    Args:
        action_space: What it samples; by default the action space that its trial gives it.
    """

    _wants_frames = False

    def __init__(self, action_space: gym.Space[Any] | None = None) -> None:
        super().__init__(action_space)
        self.gym_action_space = action_space

    async def act(self, observation: Any, rendered_frame: Any = None) -> Any:
        """Return a random action."""
        mask = observation.get("action_mask") if isinstance(observation, dict) else None
        space = self.gym_action_space or self.action_space.gym_space
        return space.sample(mask=mask)


class ConstantActor(CogmentActor[Any, Any]):
    """Always does the same.

    Args:
        action: What it does.
    """

    _wants_frames = False

    def __init__(self, action: Any) -> None:
        super().__init__(action)
        self.action = np.array(action) if isinstance(action, list) else action

    async def act(self, observation: Any, rendered_frame: Any = None) -> Any:
        """Return the action."""
        return self.action
