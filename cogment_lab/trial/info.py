"""What a step's info says of the people in the trial."""

from __future__ import annotations

from typing import Any

from cogment_lab.trial.sample import Tick
from cogment_lab.trial.takeover import DecidedBy

__all__ = ["add_what_happened"]


def add_what_happened(info: dict[str, Any], tick: Tick, requests: tuple[str, ...]) -> None:
    """Add the keys that are present only when something happened.

    Args:
        info: The info that the step returns.
        tick: The tick that was executed.
        requests: What the learner is asked for, by name.
    """
    if tick.decided_by:
        info["intervene_action"] = tick.executed_action
        if "override_mask" in tick.info:
            info["override_mask"] = tick.info["override_mask"]
        if tick.reaction_ns:
            info["reaction_ms"] = tick.reaction_ns / 1e6
        if tick.decided_by == DecidedBy.FALLBACK:
            info["is_fallback"] = True
    if tick.feedback:
        info["feedback"] = [(opinion.source, opinion.value, opinion.confidence) for opinion in tick.feedback]
    if requests:
        info["requests"] = requests
