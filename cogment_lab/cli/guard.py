"""Ends the children of a launcher that was killed: a program of its own, of the standard library only.

Its standard input is a pipe that the launcher holds: ``+PID`` and ``-PID`` lines say which children run, and
its end says that the launcher is gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable

__all__ = ["end", "main"]

_STOP_SECONDS = 6.0  # a service takes five at most
_LOOK_SECONDS = 0.05


def end(pids: Iterable[int]) -> None:
    """End processes, and the groups that they lead: gently for some seconds, then by force."""
    left = [pid for pid in pids if _signal(pid, signal.SIGTERM)]
    deadline = time.monotonic() + _STOP_SECONDS
    while left and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        left = [pid for pid in left if _signal(pid, 0)]
    for pid in left:
        _signal(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


def _signal(pid: int, number: int) -> bool:
    """Send a signal to a process and its group; return whether it was there."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(pid, number)
        elif number:
            os.kill(pid, number)
        else:
            return False  # Windows: no such question, and the first signal was by force
        return True
    return False


def main() -> None:
    """Listen to the launcher until it is gone, then end what it left."""
    running: set[int] = set()
    for line in sys.stdin:
        sign, pid = line[0], int(line[1:])
        if sign == "+":
            running.add(pid)
        else:
            running.discard(pid)
    end(running)


if __name__ == "__main__":
    main()
