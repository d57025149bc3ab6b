"""A seat belongs to one environment at a time: a lock that its holder's death releases."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import IO, Any

from cogment_lab.errors import SeatTakenError

__all__ = ["SERVER_LOCK", "Claim", "holder_of", "is_locked", "lock_file"]

SERVER_LOCK = "server.lock"
"""The file, in the seats' folder, that the page's server holds locked as long as it lives."""

if sys.platform == "win32":
    import msvcrt

    _LOCKED_BYTE = 4096

    def _lock(file: IO[str], shared: bool) -> None:
        file.seek(_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)
else:
    import fcntl

    def _lock(file: IO[str], shared: bool) -> None:
        fcntl.flock(file.fileno(), (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def lock_file(file: IO[str], *, shared: bool = False) -> bool:
    """Lock an open file until it is closed; return ``False`` when another process (or handle) holds it."""
    try:
        _lock(file, shared)
    except OSError:
        return False
    return True


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock of a file; one that has died holds none."""
    try:
        with open(path, "r+", encoding="utf-8") as file:
            return not lock_file(file, shared=True)
    except OSError:  # nobody can tell
        return True


class Claim:
    """The holder's side of a seat's lock.

    Args:
        path: The lock file.
        seat: The seat's name, for the message.
        env_id: Who asks, for the next one's message.

    Raises:
        SeatTakenError: somebody holds it.
    """

    def __init__(self, path: Path, seat: str, env_id: str) -> None:
        self._file = open(path, "a+", encoding="utf-8")  # noqa: SIM115  # held as long as the seat
        if not lock_file(self._file):
            holder = holder_of(path)
            self._file.close()
            whose = f"{holder['env_id']} in process {holder['pid']}" if holder else "another environment"
            raise SeatTakenError(
                f"the seat {seat!r} is held by {whose}, and a seat belongs to one environment at a time: "
                "close that one, ask the page for a second seat (ui.seat(role, name=...)), or make this "
                "environment (an evaluation's, say) without a teacher"
            )
        self._file.truncate(0)
        self._file.write(json.dumps({"pid": os.getpid(), "env_id": env_id}))
        self._file.flush()

    def release(self) -> None:
        """Let somebody else take the seat."""
        self._file.truncate(0)
        self._file.close()


def holder_of(path: Path) -> dict[str, Any] | None:
    """Return ``{"pid", "env_id"}`` of who holds (or last held) the lock, ``None`` when nobody does."""
    try:
        text = path.read_text(encoding="utf-8")
        holder: dict[str, Any] = json.loads(text)
    except (OSError, ValueError):
        return None
    return holder
