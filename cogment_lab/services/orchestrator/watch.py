"""Telling watchers about state changes (protocol section 7.1)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Protocol

from cogment_lab.wire.generated.orchestrator_pb2 import TrialInfo, TrialListEntry

__all__ = ["Listener", "Watcher", "Watchers"]


class Watcher:
    """One client's view: a bounded queue of entries.

    Args:
        states: Numbers of the states it wants; empty for all.
        full_info: Whether it wants everything, or id and state only.
        bound: How many entries may wait.

    Attributes:
        overflowed: It did not read fast enough; what it missed is gone, so its stream is ended.
    """

    def __init__(self, states: Collection[int], full_info: bool, bound: int) -> None:
        self.overflowed = False
        self._states = frozenset(states)
        self._full_info = full_info
        self._bound = bound
        self._queue: asyncio.Queue[TrialListEntry | None] = asyncio.Queue()

    def notify(self, info: TrialInfo) -> None:
        """Queue a state change, when it is one of the wanted ones."""
        if self.overflowed or (self._states and info.state not in self._states):
            return
        if self._queue.qsize() >= self._bound:
            self.overflowed = True
            self._queue.put_nowait(None)
            return
        if self._full_info:
            self._queue.put_nowait(TrialListEntry(info=info))
        else:
            self._queue.put_nowait(TrialListEntry(trial_id=info.trial_id, state=info.state))

    def close(self) -> None:
        """End the stream after what is queued."""
        self._queue.put_nowait(None)

    async def next(self) -> TrialListEntry | None:
        """Return the next entry, ``None`` at the end."""
        return await self._queue.get()


class Listener(Protocol):
    """Whoever hears of state changes."""

    def notify(self, info: TrialInfo) -> None:
        """Hear of a change."""

    def close(self) -> None:
        """Hear that there will be no more."""


class Watchers:
    """Everybody who watches."""

    def __init__(self) -> None:
        self._watchers: set[Listener] = set()

    def __bool__(self) -> bool:
        return bool(self._watchers)

    def add(self, watcher: Listener) -> None:
        """Let ``watcher`` hear of changes from now on."""
        self._watchers.add(watcher)

    def remove(self, watcher: Listener) -> None:
        """Forget ``watcher``."""
        self._watchers.discard(watcher)

    def notify(self, info: TrialInfo) -> None:
        """Tell everybody."""
        for watcher in self._watchers:
            watcher.notify(info)

    def close(self) -> None:
        """End every stream."""
        for watcher in self._watchers:
            watcher.close()
