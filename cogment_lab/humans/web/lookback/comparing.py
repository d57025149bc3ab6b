"""What the comparison page asks for."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from cogment_lab.errors import ConfigurationError
from cogment_lab.store import PreferenceQueue, TrialStore
from cogment_lab.store.preferences import Choice, Query

__all__ = ["Comparing"]

_CHOICES: dict[str, Choice] = {"left": "left", "right": "right", "equal": "equal", "unsure": "unsure"}
_LONGEST_SECONDS = 86_400.0


class Comparing:
    """Queries as people see them: two sides, and no hint of which policy is which.

    Args:
        store: Holds the queues.
    """

    def __init__(self, store: TrialStore) -> None:
        self._store = store

    def queues(self) -> dict[str, Any]:
        """Return the queues, and how many queries wait in each."""
        names = PreferenceQueue.names(self._store)
        return {"queues": [{"name": name, "open": self._queue(name).progress().open} for name in names]}

    def next(self, queue: str, annotator: str) -> dict[str, Any]:
        """Return the next query for this person, and how far they are."""
        found = self._queue(queue)
        query = found.next(_person(annotator))
        return {"query": None if query is None else _shown(query), **self._progress(found, annotator)}

    def film(self, queue: str, query: int, annotator: str, side: str) -> bytes:
        """Return the clip that this person sees on that side."""
        if side not in ("left", "right"):
            raise ConfigurationError(f"side={side!r} is neither left nor right")
        found = self._queue(queue)
        is_first = found.query(query, _person(annotator)).first_is_left == (side == "left")
        return found.film(query, 0 if is_first else 1)

    def answer(
        self, queue: str, query: int, choice: str, annotator: str, seconds: float | None
    ) -> dict[str, Any]:
        """Record an answer and return the next query."""
        if choice not in _CHOICES:
            raise ConfigurationError(f"choice={choice!r} is unknown; choose one of {', '.join(_CHOICES)}")
        took = seconds
        if took is not None and not (math.isfinite(took) and 0 <= took <= _LONGEST_SECONDS):
            took = None
        self._queue(queue).answer(query, _CHOICES[choice], annotator=_person(annotator), seconds=took)
        return self.next(queue, annotator)

    def undo(self, queue: str, annotator: str) -> dict[str, Any]:
        """Take back the last answer and return its query."""
        found = self._queue(queue)
        query = found.query(found.undo(_person(annotator)), annotator)
        return {"query": _shown(query), **self._progress(found, annotator)}

    def _queue(self, name: str) -> PreferenceQueue:
        return PreferenceQueue(self._store, name)

    def _progress(self, queue: PreferenceQueue, annotator: str) -> dict[str, Any]:
        return {"progress": asdict(queue.progress(annotator))}


def _person(annotator: str) -> str:
    if not annotator.strip():
        raise ConfigurationError("say who you are first: answers are kept with a name")
    return annotator


def _shown(query: Query) -> dict[str, Any]:
    left, right = query.segments if query.first_is_left else query.segments[::-1]
    return {
        "id": query.query_id,
        "expires": query.expires,
        "left_fps": left.fps,
        "right_fps": right.fps,
    }
