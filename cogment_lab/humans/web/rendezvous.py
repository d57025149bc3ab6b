"""Where processes that use one store find its page: a file beside the store, locked while the page runs."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from cogment_lab.humans.web.claim import lock_file

__all__ = ["Meeting", "Rendezvous", "find_page"]

_LOG = logging.getLogger("cogment_lab.humans")
_CLAIM_SECONDS = 1.0
_RETRY_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Meeting:
    """How to join a running page.

    Attributes:
        folder: Its seats' files.
        host: Where it listens.
        port: Where it listens.
        token: The page's.
        public_url: The address that people use, where a proxy stands before the page.
        root_path: Path under which a proxy serves it.
        pid: Of its process.
    """

    folder: str
    host: str
    port: int
    token: str
    public_url: str | None
    root_path: str
    pid: int


def _path(store: Path) -> Path:
    return store.with_name(f"{store.name}.web")


def find_page(store: Path) -> Meeting | None:
    """Return how to join the page of that store, ``None`` when none runs.

    A file that others may read or write, or that another user owns, is not trusted.
    """
    try:
        descriptor = os.open(_path(store), os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return None
    with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
        if sys.platform != "win32":
            facts = os.fstat(descriptor)
            if facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
                _LOG.warning("%s is not this user's alone, and is ignored", file.name)
                return None
        if lock_file(file, shared=True):
            return None  # its holder is gone
        try:
            meeting = Meeting(**json.loads(file.read()))
        except (ValueError, TypeError):  # just being written
            return None
    return meeting if Path(meeting.folder).is_dir() else None


class Rendezvous:
    """The page's side: holds the file of a store.

    Args:
        store: The store's path.

    Raises:
        BlockingIOError: another page holds it.
    """

    def __init__(self, store: Path) -> None:
        self._path = _path(store)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + _CLAIM_SECONDS
        while not self._take():
            if time.monotonic() > deadline:
                raise BlockingIOError(f"another page holds {self._path}")
            time.sleep(_RETRY_SECONDS)  # somebody may be looking whether it is held

    def _take(self) -> bool:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        self._file = os.fdopen(os.open(self._path, flags, 0o600), "r+", encoding="utf-8")
        if lock_file(self._file):
            try:
                ours = os.path.samestat(os.fstat(self._file.fileno()), os.stat(self._path))
            except FileNotFoundError:  # its previous holder removed it meanwhile
                ours = False
            if ours:
                return True
        self._file.close()
        return False

    def publish(self, meeting: Meeting) -> None:
        """Let others find the page."""
        if sys.platform != "win32":
            os.fchmod(self._file.fileno(), 0o600)
        self._file.truncate(0)
        self._file.write(json.dumps(asdict(meeting)))
        self._file.flush()

    def close(self) -> None:
        """Let another page serve the store."""
        if sys.platform == "win32":  # an open file cannot be removed there
            self._file.truncate(0)
        else:
            self._path.unlink(missing_ok=True)
        self._file.close()
