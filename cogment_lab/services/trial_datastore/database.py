"""The datastore's SQLite file: trials, and their samples in chunks.

The file is a :class:`~cogment_lab.TrialStore` too: these tables stand beside the store's own.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cogment_lab.store.location import prepare_for_writing
from cogment_lab.store.schema import connect

__all__ = ["Database", "StoredTrial"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS wire_trials (
    place INTEGER PRIMARY KEY AUTOINCREMENT, trial_id TEXT NOT NULL UNIQUE, user_id TEXT NOT NULL,
    params BLOB NOT NULL, last_state INTEGER NOT NULL, samples INTEGER NOT NULL, ended INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS wire_samples (
    trial_id TEXT NOT NULL, first INTEGER NOT NULL, samples INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (trial_id, first)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class StoredTrial:
    """A row of ``wire_trials``.

    Attributes:
        trial_id: The trial.
        user_id: Whose.
        params: Its serialized ``TrialParams``.
        last_state: State of its newest sample.
        samples: How many samples it has.
        ended: Whether no more will come.
    """

    trial_id: str
    user_id: str
    params: bytes
    last_state: int
    samples: int
    ended: bool | int


class Database:
    """One connection, used from worker threads one at a time.

    A chunk is an encoded ``SampleReplies`` (:mod:`cogment_lab.wire.stream`), so that it can be sent as it is.

    Args:
        path: The file; made when missing.

    Raises:
        NotAStoreError: the file is something else.
        StoreReadOnlyError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        prepare_for_writing(str(path.absolute()))
        self._connection = connect(str(path.absolute()))
        self._connection.execute("PRAGMA wal_autocheckpoint = 1000")
        self._connection.executescript(_SCHEMA)

    def trials(self) -> list[StoredTrial]:
        """Return every trial, in order of insertion."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT trial_id, user_id, params, last_state, samples, ended FROM wire_trials ORDER BY place"
            ).fetchall()
        return [StoredTrial(*row) for row in rows]

    def write(self, trials: Sequence[StoredTrial], chunks: Sequence[tuple[str, int, int, bytes]]) -> None:
        """Store trials and chunks ``(trial_id, first, samples, data)`` in one transaction."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(
                    "INSERT INTO wire_trials (trial_id, user_id, params, last_state, samples, ended) "
                    "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (trial_id) DO UPDATE SET "
                    "user_id=excluded.user_id, params=excluded.params, last_state=excluded.last_state, "
                    "samples=excluded.samples, ended=excluded.ended",
                    [
                        (t.trial_id, t.user_id, t.params, t.last_state, t.samples, int(t.ended))
                        for t in trials
                    ],
                )
                self._connection.executemany(
                    "INSERT OR REPLACE INTO wire_samples VALUES (?, ?, ?, ?)", chunks
                )
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise

    def chunk(self, trial_id: str, index: int) -> tuple[int, int, int, bytes] | None:
        """Return the chunk that holds sample ``index``: ``(first, valid, samples, data)``.

        Of its samples only the first ``valid`` count: a later chunk may replace the others.
        """
        with self._lock:
            row = self._connection.execute(
                "SELECT first, samples, data FROM wire_samples WHERE trial_id = ? AND first <= ? "
                "ORDER BY first DESC LIMIT 1",
                (trial_id, index),
            ).fetchone()
            if row is None or index >= row[0] + row[1]:
                return None
            (following,) = self._connection.execute(
                "SELECT MIN(first) FROM wire_samples WHERE trial_id = ? AND first > ?", (trial_id, row[0])
            ).fetchone()
        first, samples, data = row
        valid = samples if following is None else min(samples, following - first)
        return first, valid, samples, data

    def delete(self, trial_ids: Sequence[str]) -> None:
        """Remove trials and their samples."""
        ids = [(trial_id,) for trial_id in trial_ids]
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("DELETE FROM wire_samples WHERE trial_id = ?", ids)
            self._connection.executemany("DELETE FROM wire_trials WHERE trial_id = ?", ids)
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()
