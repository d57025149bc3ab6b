"""Finds the chunks in which trials lie, and reads them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from cogment_lab.errors import CorruptStoreError
from cogment_lab.store.catalog import StoredStream
from cogment_lab.store.chunk import CHUNK_COLUMNS, AgentRows, decode_chunk
from cogment_lab.store.database import Database
from cogment_lab.store.ledger import TRIAL_BITS
from cogment_lab.store.rows import RowLayout

__all__ = ["ChunkSource"]

_CACHED = 4
_LATEST = 16
"""Agents of streams whose last chunk is kept: trials of several environments at once come in turns."""


class ChunkSource:
    """Reads chunks; the last few stay decoded, since trials that follow each other share them.

    Args:
        database: Where to ask.
        name: The store's path, for messages.
    """

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name
        self._decoded: OrderedDict[tuple[int, int], AgentRows] = OrderedDict()
        # Of each agent of a stream, the chunk that was read last, and the numbers of the trials in its rows.
        self._latest: OrderedDict[tuple[int, int, int], tuple[AgentRows, npt.NDArray[np.uint32]]] = (
            OrderedDict()
        )

    def of_trial(self, stream: StoredStream, agent: int, layout: RowLayout, number: int) -> list[AgentRows]:
        """Return the rows of one trial, one piece for each chunk it lies in.

        Raises:
            CorruptStoreError: one of them is damaged.
        """
        key = (self._database.generation, stream.id, agent)
        latest = self._latest.get(key)
        if latest is not None:
            rows, numbers = latest
            if numbers[0] < number < numbers[-1]:  # all of it is there: trials do not overlap
                start, stop = np.searchsorted(numbers, (number, number + 1)).tolist()
                return [rows.between(start, stop)]
        # All chunks that end with the trial, and the first that goes on beyond it.
        found = self._database.query(
            "SELECT id FROM chunks WHERE stream = ? AND agent = ? AND last_trial = ? UNION ALL"
            " SELECT id FROM (SELECT id, first_trial FROM chunks WHERE stream = ? AND agent = ?"
            " AND last_trial > ? ORDER BY last_trial, id LIMIT 1) WHERE first_trial <= ?",
            (stream.id, agent, number, stream.id, agent, number, number),
        )
        pieces = []
        for chunk in sorted(row[0] for row in found):
            rows = self.read(chunk, layout)
            if len(rows):
                latest = rows, np.ascontiguousarray(rows.table["trial"])
            pieces.append(rows.of_trial(number))
        if latest is not None:
            self._latest.pop(key, None)
            self._latest[key] = latest
            while len(self._latest) > _LATEST:
                self._latest.popitem(last=False)
        return pieces

    def of_trials(
        self, stream: StoredStream, agent: int, layout: RowLayout, numbers: npt.NDArray[np.int64]
    ) -> Iterator[AgentRows]:
        """Yield the chunks, in order, that hold ticks of any of these trials (ascending numbers)."""
        found = self._database.query(
            "SELECT id, first_trial, last_trial FROM chunks WHERE stream = ? AND agent = ? ORDER BY id",
            (stream.id, agent),
        )
        if not found:
            return
        chunks = np.array(found, np.int64)
        wanted = np.searchsorted(numbers, chunks[:, 1], "left") < np.searchsorted(
            numbers, chunks[:, 2], "right"
        )
        for chunk in chunks[wanted, 0].tolist():
            yield self.read(chunk, layout)

    def read(self, chunk: int, layout: RowLayout) -> AgentRows:
        """Return a chunk.

        Raises:
            CorruptStoreError: it is damaged; names the trials in it.
        """
        key = (self._database.generation, chunk)
        rows = self._decoded.pop(key, None)
        if rows is None:
            found = self._database.query(f"SELECT {CHUNK_COLUMNS} FROM chunks WHERE id = ?", (chunk,))
            if not found:
                return AgentRows(layout, np.zeros(0, layout.dtype), {})  # deleted since it was looked up
            try:
                rows = decode_chunk(layout, found[0])
            except ValueError as error:
                raise self._damaged(chunk, error) from error
        self._decoded[key] = rows
        while len(self._decoded) > _CACHED:
            self._decoded.popitem(last=False)
        return rows

    def forget(self) -> None:
        """Drop what is kept in memory."""
        self._decoded.clear()
        self._latest.clear()

    def _damaged(self, chunk: int, error: Exception) -> CorruptStoreError:
        names: list[Any] = self._database.query(
            "SELECT trial_id FROM chunks c JOIN trials t ON t.id"
            f" BETWEEN c.stream << {TRIAL_BITS} | c.first_trial AND c.stream << {TRIAL_BITS} | c.last_trial"
            " WHERE c.id = ? LIMIT 6",
            (chunk,),
        )
        shown = ", ".join(repr(row[0]) for row in names[:5]) + (", ..." if len(names) > 5 else "")
        return CorruptStoreError(
            f"ticks of trial {shown} in {self._name} cannot be read (chunk {chunk}: {error}); other trials "
            "can, and TrialStore.delete removes these"
        )
