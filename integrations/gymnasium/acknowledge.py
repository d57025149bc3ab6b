"""Is a Stable-Baselines3 learner stepping this trial, and will it learn from takeovers?"""

from __future__ import annotations

import sys
from types import FrameType

__all__ = ["find_unacknowledged"]

_VECTOR_MODULES = (
    "stable_baselines3.common.vec_env.dummy_vec_env",
    "stable_baselines3.common.vec_env.subproc_vec_env",
)


def find_unacknowledged() -> str | None:
    """Look up the call stack of the step that is being executed.

    Returns:
        A sentence that says what is wrong and how to mend it, when an SB3 vector environment steps the trial
        and neither a callback nor the replay buffer that is being filled handles takeovers; otherwise
        ``None``.
    """
    if not any(module in sys.modules for module in _VECTOR_MODULES):
        return None
    frame: FrameType | None = sys._getframe(1)
    stepped_by_vector = False
    while frame is not None:
        if frame.f_globals.get("__name__") in _VECTOR_MODULES:
            stepped_by_vector = True
        elif stepped_by_vector and frame.f_code.co_name == "collect_rollouts":
            buffer = frame.f_locals.get("replay_buffer") or frame.f_locals.get("rollout_buffer")
            if getattr(buffer, "handles_takeovers", False):
                return None
        frame = frame.f_back
    if not stepped_by_vector:
        return None
    return (
        "a teacher's action was executed while Stable-Baselines3 steps this trial, and nobody learns from "
        "it: the replay buffer would hold the proposed action. Add callback=TrialCallback() to learn() (from "
        "cogment_lab.integrations.sb3 import TrialCallback), or use "
        "replay_buffer_class=TakeoverReplayBuffer; if this is an evaluation, pass "
        "on_unacknowledged='ignore' to make()"
    )
