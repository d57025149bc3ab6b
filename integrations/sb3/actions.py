"""From what a trial says about a step to the action that Stable-Baselines3 should have stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

__all__ = ["ActionEncoder", "overriding_action"]


def overriding_action(info: Mapping[str, Any]) -> Any:
    """Return the action that a teacher's takeover executed in this step, ``None`` if the player's was.

    Understands ``intervene_action`` (HIL-SERL's key, so that wrappers of others work as well) and, for trials
    with ``info_keys="fixed"``, ``is_intervention`` with ``executed_action``.
    """
    if "intervene_action" in info:
        return info["intervene_action"]
    return info.get("executed_action") if info.get("is_intervention") else None


class ActionEncoder:
    """Writes actions of an environment the way a Stable-Baselines3 buffer holds them.

    Args:
        space: The action space that the learner sees.
        scaled: Whether Box actions are held in [-1, 1], as off-policy algorithms and squashed policies do
            (``BasePolicy.scale_action``). A space with infinite bounds cannot be scaled and is held as is;
            Stable-Baselines3's own algorithms refuse such spaces.
    """

    def __init__(self, space: gym.Space[Any], *, scaled: bool) -> None:
        self._low: npt.NDArray[Any] | None = None
        self._high: npt.NDArray[Any] | None = None
        if scaled and isinstance(space, gym.spaces.Box) and space.is_bounded():
            self._low, self._high = space.low, space.high

    def encode(self, actions: Any) -> npt.NDArray[Any]:
        """Return one action ``(*shape,)``, or many ``(n, *shape)``, as a buffer holds them."""
        array = np.asarray(actions)
        if self._low is None or self._high is None:
            return array
        # The formula of BasePolicy.scale_action, so that both give the same bits.
        scaled: npt.NDArray[Any] = 2.0 * ((array - self._low) / (self._high - self._low)) - 1.0
        return scaled
