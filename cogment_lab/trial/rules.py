"""What holds for every trial of an environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from cogment_lab.trial.mixing import ActionMix, RewardMixing
from cogment_lab.trial.pace import Pace

__all__ = ["TrialRules"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRules:
    """What holds for every trial of an environment.

    Attributes:
        pace: Fixed, even where nobody sits; ``None`` follows the seats (``max`` until somebody who can take
            over is there).
        fps: Ticks per second at pace ``live``; ``None`` follows the environment.
        watch_every: Of how many trials one is paced for those who watch; the others run at ``max``.
        mix: How a teacher's action and the player's make the executed one.
        fallback: What is executed while the teacher is in control and gives no usable action: the player's
            proposal, or the teacher's previous action.
        max_pause: Seconds after which a pause ends by itself.
        reward_mixing: Rule by which feedback enters the reward that ``step`` returns; ``None`` keeps it out.
        feedback_weight: Weight of the feedback in that rule.
        on_unacknowledged: What to do when a takeover is executed and nobody learns from it.
        fixed_info: Leave out the info keys that are present only in some steps; what was asked for is kept
            for :meth:`EmbeddedTrial.take_requests`.
        properties: Stored with each trial.
        user_id: Stored with each trial.
    """

    pace: Pace | None = None
    fps: float | None = None
    watch_every: int = 1
    mix: ActionMix = "replace"
    fallback: Literal["agent", "repeat"] = "agent"
    max_pause: float = 600.0
    reward_mixing: RewardMixing | None = None
    feedback_weight: float = 1.0
    on_unacknowledged: Literal["raise", "warn", "ignore"] = "raise"
    fixed_info: bool = False
    properties: Mapping[str, str] = field(default_factory=dict)
    user_id: str | None = None
