"""Commit before a signal ends the process; the user's own handlers run as before."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["SignalGuard"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class SignalGuard:
    """Calls ``flush`` when SIGINT or SIGTERM arrives, then does what would have been done without it.

    Python's own SIGINT handler raises KeyboardInterrupt, after which ``atexit`` runs; it is left alone.

    Args:
        flush: Commits what is pending; must be safe to call between any two bytecodes.
    """

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._previous: dict[int, Any] = {}

    def install(self) -> None:
        """Put the handlers in place; without effect outside the main thread, or if they are."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            if number in self._previous or handler in (None, signal.SIG_IGN, signal.default_int_handler):
                continue
            self._previous[number] = handler
            signal.signal(number, self._handle)

    def remove(self) -> None:
        """Restore the previous handlers, where nobody has replaced ours meanwhile."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number, handler in tuple(self._previous.items()):
            if signal.getsignal(number) == self._handle:  # else somebody's handler may go on to call ours
                signal.signal(number, handler)
                del self._previous[number]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._flush()
        previous = self._previous.get(number, signal.SIG_DFL)
        if callable(previous):
            previous(number, frame)
            return
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
