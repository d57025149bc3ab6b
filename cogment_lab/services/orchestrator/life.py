"""How far a trial is: its state, how long it has run, whether and why it is ending."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from cogment_lab.trial.states import TrialState, may_follow

__all__ = ["Life"]


class Life:
    """The life of one trial; it goes forward only.

    Args:
        on_state: Called at each change of state.

    Attributes:
        state: Where it is.
        is_ending: Whether END is on its way to the components, or out already.
        is_end_requested: Whether it is to end after the next complete tick.
        ended: Set once it is ENDED and its samples are handed to the log.
        failure: Why it was ended hard; empty otherwise.
    """

    def __init__(self, on_state: Callable[[], None]) -> None:
        self.state = TrialState.UNKNOWN
        self.is_ending = False
        self.is_end_requested = False
        self.ended = asyncio.Event()
        self.failure = ""
        self._on_state = on_state
        self._began = time.monotonic_ns()
        self._duration: int | None = None

    @property
    def elapsed(self) -> int:
        """Nanoseconds since it was started, until its end."""
        return self._duration if self._duration is not None else time.monotonic_ns() - self._began

    def advance(self, state: TrialState) -> None:
        """Go on to ``state``; nothing happens where the protocol has no such step."""
        if not may_follow(self.state, state):
            return
        self.state = state
        if state is TrialState.ENDED:
            self._duration = time.monotonic_ns() - self._began
        self._on_state()

    def finish(self) -> None:
        """Go on to ENDED, and let those go on who wait for it."""
        self.advance(TrialState.ENDED)
        self.ended.set()
