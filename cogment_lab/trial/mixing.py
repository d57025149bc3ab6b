"""What the environment receives: a pure function of the player's and the teacher's actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from cogment_lab.errors import ConfigurationError
from cogment_lab.trial.sample import Feedback

__all__ = ["ActionMix", "RewardMixing", "check_action_mix", "mix_actions", "mix_rewards", "override_mask"]

ActionMix = Literal["replace", "touched", "add"]
RewardMixing = Literal["add", "replace"]


def check_action_mix(mix: str, space: gym.Space[Any]) -> None:
    """Refuse a mix that the action space does not allow.

    Raises:
        ConfigurationError: unknown name, or a mix other than ``replace`` for a space that is not a float Box.
    """
    if mix not in ("replace", "touched", "add"):
        raise ConfigurationError(f"mix={mix!r} is unknown; choose 'replace', 'touched' or 'add'")
    if mix != "replace" and not (
        isinstance(space, gym.spaces.Box) and np.issubdtype(space.dtype, np.floating)
    ):
        raise ConfigurationError(
            f"mix={mix!r} needs a Box action space of floats, not {space}; use 'replace'"
        )


def override_mask(override: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.bool_]:
    """Return which dimensions the teacher touched: those that are not NaN."""
    touched: npt.NDArray[np.bool_] = np.logical_not(np.isnan(override))
    return touched


def mix_actions(proposed: Any, override: Any, mix: ActionMix, space: gym.Space[Any]) -> Any:
    """Return the executed action.

    Args:
        proposed: The player's action.
        override: The teacher's; for ``touched`` and ``add``, NaN in a dimension leaves it to the player.
        mix: ``replace`` takes the teacher's action, ``touched`` takes it in the touched dimensions, ``add``
            adds it to the player's and clips to the space.
        space: The action space (a Box unless ``mix`` is ``replace``).
    """
    if mix == "replace":
        return override
    assert isinstance(space, gym.spaces.Box)
    touched = override_mask(override)
    if mix == "touched":
        return np.where(touched, override, proposed).astype(space.dtype)
    summed = np.where(touched, proposed + np.nan_to_num(override), proposed)
    return np.clip(summed, space.low, space.high).astype(space.dtype)


def mix_rewards(reward: float, feedback: Sequence[Feedback], mixing: RewardMixing, weight: float) -> float:
    """Return the reward that the learner sees, by a named rule.

    ``add`` adds the weighted feedback to the environment's reward, ``replace`` uses the feedback alone.
    Several opinions are averaged by confidence (protocol section 6.7).
    """
    confidence = sum(opinion.confidence for opinion in feedback)
    value = 0.0
    if confidence > 0.0:
        value = sum(opinion.value * opinion.confidence for opinion in feedback) / confidence
    return reward + weight * value if mixing == "add" else weight * value
