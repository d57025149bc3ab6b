"""What is known about one tick."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cogment_lab.trial.takeover import DecidedBy, Phase

__all__ = ["LATE_FEEDBACK", "VERDICT", "VERDICTS", "Feedback", "Tick"]

LATE_FEEDBACK = "late_feedback"
"""Kind of the event that holds an opinion which came after the last tick of its trial."""

VERDICTS = ("success", "failure", "discard")
"""Kinds of the events by which a person judges a whole trial."""

VERDICT = "verdict"
"""Property of a trial: its newest verdict."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """One piece of a person's (or a script's) opinion about a tick.

    Attributes:
        source: Name of the actor it came from.
        value: Praise is positive, scolding negative; usually in ``[-1, 1]``.
        confidence: Weight in the aggregate, in ``[0, 1]``.
        time: When it was given, in ns of the server's monotonic clock.
        tick: The tick it is about (the one that was shown when it was given).
    """

    source: str
    value: float
    confidence: float = 1.0
    time: int = 0
    tick: int = -1

    def __iter__(self) -> Iterator[Any]:
        """Yield source, value, confidence and time, to unpack."""
        return iter((self.source, self.value, self.confidence, self.time))


class Tick:
    """The record of one tick, mutated in place by the embedded driver and handed to recorder and seats.

    Whoever keeps something of it beyond the call copies it: ``observation``, ``info`` and the actions may be
    overwritten by the next tick.

    Attributes:
        number: 0 for the first tick of a trial.
        observation: What the actors saw before they acted.
        proposed_action: What the player wanted.
        executed_action: What the environment received.
        decided_by: Who chose the executed action (a :class:`DecidedBy` value).
        phase: The takeover phase (a :class:`Phase` value).
        reward: The environment's own reward, bit-exact.
        feedback: What evaluators said since the previous tick, or ``None``.
        terminated: The environment reached a terminal state.
        truncated: The environment (or a time limit inside the trial) cut the episode.
        info: The environment's own info of this step.
        next_observation: What the step returned.
        t_shown: When the observation was there to be acted on (ns, monotonic).
        t_acted: When the executed action was decided (ns, monotonic).
        reaction_ns: A person's reaction time measured in the browser, or 0.
    """

    __slots__ = (
        "decided_by",
        "executed_action",
        "feedback",
        "info",
        "next_observation",
        "number",
        "observation",
        "phase",
        "proposed_action",
        "reaction_ns",
        "reward",
        "t_acted",
        "t_shown",
        "terminated",
        "truncated",
    )

    def __init__(self) -> None:
        self.number = 0
        self.observation: Any = None
        self.proposed_action: Any = None
        self.executed_action: Any = None
        self.decided_by: int = DecidedBy.PLAYER
        self.phase: int = Phase.AUTONOMOUS
        self.reward: float = 0.0
        self.feedback: list[Feedback] | None = None
        self.terminated = False
        self.truncated = False
        self.info: dict[str, Any] = {}
        self.next_observation: Any = None
        self.t_shown = 0
        self.t_acted = 0
        self.reaction_ns = 0
