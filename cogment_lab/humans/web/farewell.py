"""How a page learns that the program of its seats ends: by itself, or by an error that nobody caught.

Without this a person would be told that the connection is lost and the agent flies on.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
import weakref
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

__all__ = ["describe_error", "end_all", "remember", "story_of_a_crash"]

_LONGEST_STORY = 3000


class _Leaver(Protocol):
    folder: Path
    """Its page's."""
    thread: int
    """The one that steps its trial."""

    def fail(self, error: BaseException) -> None:
        """Say that the program has stopped by an error."""

    def leave(self) -> None:
        """Say that the program ends."""


_seats: weakref.WeakSet[_Leaver] = weakref.WeakSet()
_owner = 0


def remember(seat: _Leaver) -> None:
    """Tell the page of this seat how the program ends, for as long as somebody holds the seat."""
    global _owner
    if _owner != os.getpid():  # the first one here; a forked child's parent keeps its own
        _seats.clear()
        _owner = os.getpid()
        _watch_errors()
    _seats.add(seat)


def end_all(folder: Path | None = None) -> None:
    """Say at the seats of this process that it is over, before their page's server ends.

    Args:
        folder: Only at the seats of this page whose trials the calling thread steps: others go on.
    """
    if _owner == os.getpid():
        for seat in list(_seats):
            if folder is None or (seat.folder == folder and seat.thread == threading.get_ident()):
                error = sys.exception()
                if isinstance(error, Exception):
                    seat.fail(error)
                seat.leave()


def describe_error(error: BaseException) -> str:
    """Return what a traceback ends with, in one line: ``RuntimeError: out of memory``."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def story_of_a_crash(error: BaseException) -> str:
    """Return the error in one line and, below it, the end of its traceback."""
    trace = "".join(traceback.format_exception(error))
    return f"{describe_error(error)[:400]}\n\n{trace[-_LONGEST_STORY:]}"


def _watch_errors() -> None:
    before, before_in_thread = sys.excepthook, threading.excepthook

    def uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        _fail(error, None)
        before(kind, error, trace)

    def uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and args.thread is not None:
            _fail(args.exc_value, args.thread.ident)
        before_in_thread(args)

    sys.excepthook, threading.excepthook = uncaught, uncaught_in_thread
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:  # a notebook goes on after an error, and its next trial forgets it
        shell.events.register("post_run_cell", _after_cell)


def _after_cell(result: Any) -> None:
    if result.error_in_exec is not None:
        _fail(result.error_in_exec, threading.get_ident())


def _fail(error: BaseException, thread: int | None) -> None:
    """Tell the seats of a thread, of all for ``None``; an interrupt is a person's wish and no failure."""
    if isinstance(error, Exception) and _owner == os.getpid():
        for seat in list(_seats):
            if thread in (None, seat.thread):
                seat.fail(error)
