"""The store behind a page, opened when there is something in it."""

from __future__ import annotations

import logging
import math
import threading
from pathlib import Path
from typing import Any

from cogment_lab.errors import StoreError
from cogment_lab.store import TrialStore

__all__ = ["Shelf"]

_LOG = logging.getLogger("cogment_lab.humans")
_NEWEST = 8


class Shelf:
    """What the lobby says of the store.

    Args:
        path: Of the store; it may come to be later. ``None`` for a page without one.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._store: TrialStore | None = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str | None:
        """The store's file name."""
        return self._path.name if self._path is not None else None

    def newest(self) -> dict[str, Any] | None:
        """Return how much there is and the newest trials; blocks, so ask in a thread."""
        if self._path is None:
            return None
        with self._lock:
            if self._store is None:
                if not self._path.exists():
                    return {"trials": 0, "ticks": 0, "newest": []}
                self._store = TrialStore(self._path)
            try:
                stats = self._store.stats()
                infos = self._store.trials(limit=_NEWEST, newest_first=True)
                newest = [
                    {
                        "trial_id": info.trial_id,
                        "env_id": info.env_id,
                        "state": info.state,
                        "n_ticks": info.n_ticks,
                        "total_reward": info.total_reward if math.isfinite(info.total_reward) else None,
                        "n_interventions": info.n_interventions,
                        "started": info.started,
                    }
                    for info in infos
                ]
            except StoreError as error:
                _LOG.warning("the lobby cannot read the store: %s", error)
                return {"trials": 0, "ticks": 0, "newest": [], "error": str(error)}
        return {"trials": stats.trials, "ticks": stats.ticks, "newest": newest}

    def close(self) -> None:
        """Close the store."""
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None
