"""The seats of a page, found by the files that ``WebUI.seat`` leaves in its folder."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cogment_lab.humans.web.access import Grant
from cogment_lab.humans.web.claim import SERVER_LOCK, lock_file
from cogment_lab.humans.web.room import Room
from cogment_lab.store.process import process_exists

__all__ = ["Rooms"]

_LOG = logging.getLogger("cogment_lab.humans")
_ENCODERS = min(4, os.cpu_count() or 1)
_LOOK_SECONDS = 0.002
_IDLE_SECONDS = 0.05
_STATUS_SECONDS = 0.05
_CHECK_SECONDS = 0.5
_TIDY_SECONDS = 2.0


class Rooms:
    """All seats, and the one task that watches them.

    Args:
        folder: Where the seats' files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rooms: dict[str, Room] = {}
        self._encoders = ThreadPoolExecutor(_ENCODERS, "encoder")
        self._task: asyncio.Task[None] | None = None
        self._lock = open(folder / SERVER_LOCK, "a", encoding="utf-8")  # noqa: SIM115  # until close()
        lock_file(self._lock)

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.get_running_loop().create_task(self._watch())
        self._task.add_done_callback(_report)

    async def close(self) -> None:
        """Tell everybody how it ended, and send them home."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await asyncio.gather(*(room.close() for room in self._rooms.values()))  # seats may come meanwhile
        await asyncio.to_thread(self._encoders.shutdown, True, cancel_futures=True)
        self._lock.close()

    def find(self, name: str) -> Room | None:
        """Return the seat of that name, ``None`` when there is none."""
        return self._rooms.get(name) or next((room for room in self._all() if room.name == name), None)

    def describe(self, grant: Grant) -> list[dict[str, Any]]:
        """Return what the lobby says of each seat that a token opens."""
        return [
            {**room.describe(), "may_act": room.role != "observer" and grant.may_act(room.name)}
            for room in self._all()
            if grant.may_see(room.name)
        ]

    def messages(self) -> list[dict[str, Any]]:
        """Return what people said to the experimenter, newest first."""
        said = [message for room in self._rooms.values() for message in room.messages]
        return sorted(said, key=lambda message: -message["time"])

    def _all(self) -> list[Room]:
        """Return the seats, in the order they were made."""
        found = []
        for seat in self._seats():
            name = seat["name"]
            if name not in self._rooms:
                self._rooms[name] = Room(self._folder, name, seat["role"], self._encoders)
            self._rooms[name].role = seat["role"]
            allows = seat.get("allows")
            self._rooms[name].allows = None if allows is None else frozenset(allows)
            found.append(self._rooms[name])
        return found

    def _seats(self) -> list[dict[str, Any]]:
        paths = []
        for path in self._folder.glob("*.json"):
            with contextlib.suppress(OSError):
                paths.append((path.stat().st_mtime_ns, path))
        seats = []
        for _, path in sorted(paths):
            with contextlib.suppress(OSError, ValueError):  # removed, or being written, meanwhile
                seats.append(json.loads(path.read_text(encoding="utf-8")))
        return seats

    async def _watch(self) -> None:
        """Follow frames and statuses of the seats that somebody looks at."""
        next_status = next_check = next_tidy = 0.0
        while True:
            now = time.monotonic()
            watched = [room for room in self._rooms.values() if room.viewers]
            for room in watched:
                room.look()
            if now >= next_status:
                next_status = now + _STATUS_SECONDS
                for room in watched:
                    room.follow()
            if now >= next_check:
                next_check = now + _CHECK_SECONDS
                for room in watched:
                    room.check_alive()
            if now >= next_tidy:
                next_tidy = now + _TIDY_SECONDS
                self._tidy()
            await asyncio.sleep(_LOOK_SECONDS if watched else _IDLE_SECONDS)

    def _tidy(self) -> None:
        """Forget seats that nobody offers, holds or looks at any more."""
        offered = set()
        for seat in self._seats():
            room = self._rooms.get(seat["name"])
            used = room is not None and (room.viewers or room.holder is not None)
            if process_exists(seat["pid"]) or used:
                offered.add(seat["name"])
            else:
                (self._folder / f"{seat['name']}.json").unlink(missing_ok=True)
        for name in [name for name, room in self._rooms.items() if name not in offered and not room.viewers]:
            if self._rooms[name].holder is None:
                self._rooms.pop(name).remove_files()


def _report(task: asyncio.Task[None]) -> None:
    """Say on the server's log why the watch ended, unless it was told to."""
    if not task.cancelled() and task.exception() is not None:
        _LOG.error("the watch of the seats ended", exc_info=task.exception())
