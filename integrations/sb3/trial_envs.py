"""Which environments of a vector environment are trials, and what they say of themselves."""

from __future__ import annotations

import sys
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

__all__ = ["acknowledge", "find_trials", "model_under_construction"]


def find_trials(vec_env: VecEnv) -> list[int]:
    """Return the indices of the environments that are trials.

    A vector environment that cannot be asked (one that simulates natively, say) holds none. Asking for
    Gymnasium's own ``has_wrapper_attr`` matters: a worker of ``SubprocVecEnv`` dies of a missing attribute.
    """
    try:
        answers = vec_env.env_method("has_wrapper_attr", "acknowledge_takeovers")
    except (AttributeError, NotImplementedError):
        return []
    return [index for index, is_trial in enumerate(answers) if is_trial]


def acknowledge(vec_env: VecEnv, consumer: str) -> list[int]:
    """Tell every trial in ``vec_env`` that ``consumer`` learns from takeovers; return their indices."""
    trials = find_trials(vec_env)
    if trials:
        vec_env.env_method("acknowledge_takeovers", consumer, indices=trials)
    return trials


def model_under_construction() -> BaseAlgorithm | None:
    """Return the algorithm whose ``_setup_model`` is making the caller's buffer, ``None`` outside of one.

    Stable-Baselines3 gives a buffer neither the model nor its environment (HER's excepted), and a trial in
    another process cannot look for the buffer on its own call stack; so the buffer looks for the model.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name == "_setup_model":
            owner: Any = frame.f_locals.get("self")
            if isinstance(owner, BaseAlgorithm):
                return owner
    return None
