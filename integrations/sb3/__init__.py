"""Stable-Baselines3, unmodified, as the learner of a trial.

``TrialCallback`` alone is enough to learn from takeovers off-policy; the replay buffers do the same without a
callback and keep who decided; ``MaskedRolloutBuffer`` is for PPO and A2C.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from cogment_lab.errors import MissingExtraError

if importlib.util.find_spec("stable_baselines3") is None:
    raise MissingExtraError(
        'cogment_lab.integrations.sb3 needs Stable-Baselines3: pip install "cogment_lab[sb3]"'
    )

if TYPE_CHECKING:
    from cogment_lab.integrations.sb3.callback import TrialCallback
    from cogment_lab.integrations.sb3.fill import fill_replay_buffer
    from cogment_lab.integrations.sb3.mixed_buffer import (
        MixedDictReplayBuffer,
        MixedHerReplayBuffer,
        MixedNStepReplayBuffer,
        MixedReplayBuffer,
        linear_schedule,
    )
    from cogment_lab.integrations.sb3.replay_buffers import (
        TakeoverDictReplayBuffer,
        TakeoverHerReplayBuffer,
        TakeoverNStepReplayBuffer,
        TakeoverReplayBuffer,
    )
    from cogment_lab.integrations.sb3.rollout_buffers import MaskedDictRolloutBuffer, MaskedRolloutBuffer
    from cogment_lab.integrations.sb3.vec_env import make_trial_vec_env

__all__ = [
    "MaskedDictRolloutBuffer",
    "MaskedRolloutBuffer",
    "MixedDictReplayBuffer",
    "MixedHerReplayBuffer",
    "MixedNStepReplayBuffer",
    "MixedReplayBuffer",
    "TakeoverDictReplayBuffer",
    "TakeoverHerReplayBuffer",
    "TakeoverNStepReplayBuffer",
    "TakeoverReplayBuffer",
    "TrialCallback",
    "fill_replay_buffer",
    "linear_schedule",
    "make_trial_vec_env",
]

_MODULES = {
    "MaskedDictRolloutBuffer": "rollout_buffers",
    "MaskedRolloutBuffer": "rollout_buffers",
    "MixedDictReplayBuffer": "mixed_buffer",
    "MixedHerReplayBuffer": "mixed_buffer",
    "MixedNStepReplayBuffer": "mixed_buffer",
    "MixedReplayBuffer": "mixed_buffer",
    "TakeoverDictReplayBuffer": "replay_buffers",
    "TakeoverHerReplayBuffer": "replay_buffers",
    "TakeoverNStepReplayBuffer": "replay_buffers",
    "TakeoverReplayBuffer": "replay_buffers",
    "TrialCallback": "callback",
    "fill_replay_buffer": "fill",
    "linear_schedule": "mixed_buffer",
    "make_trial_vec_env": "vec_env",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
