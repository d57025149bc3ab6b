"""How fast a trial runs: pure arithmetic on a clock that the caller reads."""

from __future__ import annotations

from enum import Enum

__all__ = ["LEARNING_GAP_NS", "SLOW_START_NS", "Pace", "Pacer"]

LEARNING_GAP_NS = 150_000_000
"""A longer gap between two calls of ``step`` means that the learner computes gradients."""

SLOW_START_NS = 300_000_000
"""For so long after a learner's update, or after a takeover, a live trial runs at a quarter of its pace."""


class Pace(Enum):
    """The pace of a trial; the value is the number of ticks per frame time, 0 for no limit."""

    MAX = 0.0
    LIVE = 1.0
    HALF = 0.5
    SLOW = 0.5  # another name of HALF
    QUARTER = 0.25
    STEP = -1.0
    """Each tick waits until the person asks for it."""

    @classmethod
    def parse(cls, name: str) -> Pace:
        """Return the pace of that name: ``max``, ``live``, ``half`` (or ``slow``), ``quarter`` or ``step``.

        Raises:
            ValueError: for any other name.
        """
        try:
            return cls[name.upper()]
        except KeyError:
            names = ", ".join(repr(pace.name.lower()) for pace in cls)
            raise ValueError(f"pace={name!r} is unknown; choose one of {names}") from None


class Pacer:
    """Says when the next tick of a paced trial is due.

    Args:
        fps: Ticks per second at pace ``live``.
    """

    __slots__ = ("_due", "_slow_until", "period_ns")

    def __init__(self, fps: float) -> None:
        self.period_ns = round(1e9 / fps)
        self._due = 0
        self._slow_until = 0

    def slow_start(self, now: int) -> None:
        """Run at a quarter of the pace for the next 300 ms: a person has to find the controls."""
        self._slow_until = now + SLOW_START_NS

    def due(self, now: int, pace: Pace) -> int:
        """Return when the tick that is asked for at ``now`` may run, in the caller's clock (ns).

        A trial that fell behind by more than the learning gap starts afresh instead of catching up.
        """
        if pace.value <= 0.0:
            return now
        if self._due and now - self._due > LEARNING_GAP_NS:
            self.slow_start(now)
            self._due = now
        speed = min(pace.value, 0.25) if now < self._slow_until else pace.value
        self._due = max(self._due, now - self.period_ns) + round(self.period_ns / speed)
        return self._due

    def forget(self) -> None:
        """Start afresh: the next tick owes nothing to the previous one (after a reset or a pause)."""
        self._due = 0
