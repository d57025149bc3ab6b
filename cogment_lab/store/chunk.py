"""Blocks of ticks as they are read: checked, cut to a trial, joined, and turned into columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from cogment_lab.store.codec import ValueCodec
from cogment_lab.store.columns import Column, assign
from cogment_lab.store.info import decode_info
from cogment_lab.store.info_table import InfoTable, unpack_tables
from cogment_lab.store.rows import BLOB_COLUMNS, PARTS, RowLayout, SparsePart, checksum, unpack_part

__all__ = ["CHUNK_COLUMNS", "AgentRows", "decode_chunk", "join"]

CHUNK_COLUMNS = ", ".join(("n_rows", "checksum", *BLOB_COLUMNS))
_NO_PART: SparsePart = (np.zeros(0, np.uint32), [])


@dataclass(frozen=True, slots=True)
class AgentRows:
    """Consecutive rows of one agent.

    Attributes:
        layout: Of the rows.
        table: ``(n,)``, the rows as a structured array, see ``RowLayout.dtype``.
        parts: By name (``rows.PARTS``) what some rows have besides.
        info_tables: The flat infos of the rows.
    """

    layout: RowLayout
    table: npt.NDArray[np.void]
    parts: dict[str, SparsePart]
    info_tables: Sequence[InfoTable] = ()

    def __len__(self) -> int:
        return len(self.table)

    def between(self, start: int, stop: int) -> AgentRows:
        """Return the rows ``start:stop``."""
        if start == 0 and stop == len(self.table):
            return self
        parts = {}
        for name, (indices, values) in self.parts.items():
            low, high = np.searchsorted(indices, (start, stop))
            if high > low:
                parts[name] = (indices[low:high] - np.uint32(start), values[low:high])
        tables = [table.between(start, stop) for table in self.info_tables]
        return AgentRows(self.layout, self.table[start:stop], parts, tables)

    def of_trial(self, number: int) -> AgentRows:
        """Return the rows of one trial."""
        trials = np.ascontiguousarray(self.table["trial"])
        start, stop = np.searchsorted(trials, number, "left"), np.searchsorted(trials, number, "right")
        return self.between(int(start), int(stop))

    def part(self, name: str) -> SparsePart:
        """Return a part; empty if no row has it."""
        return self.parts.get(name, _NO_PART)

    def actions(self) -> Column:
        """Return the executed actions, one for each row."""
        codec = self.layout.action
        if codec.is_fixed:
            return codec.unpack(self.table["action"])
        return codec.unpack_each(self.part("actions")[1])

    def exact_actions(self) -> dict[int, npt.NDArray[Any]]:
        """Return, by row, the executed actions of another dtype than the space's, as they were.

        Raises:
            ValueError: one of them is damaged.
        """
        if not self.layout.action.is_fixed:
            return {}
        indices, values = self.part("actions")
        unpack = self.layout.action.unpack_exactly
        return {index: unpack(value) for index, value in zip(indices.tolist(), values, strict=True)}

    def proposed_actions(self) -> Column:
        """Return what the player wanted: the executed actions, overwritten where it was something else."""
        proposed = self.actions()
        indices, values = self.part("proposed")
        if len(indices):
            assign(proposed, indices, self.layout.action.unpack_each(values))
        return proposed

    def infos(self) -> list[dict[str, Any]]:
        """Return the info of each row.

        Raises:
            ValueError: one of them is damaged.
        """
        infos: list[dict[str, Any]] = [{} for _ in range(len(self))]
        for table in self.info_tables:
            table.fill(infos)
        indices, texts = self.part("infos")
        for index, text in zip(indices.tolist(), texts, strict=True):
            infos[index] = decode_info(text)
        return infos

    def observed(self) -> npt.NDArray[np.intp]:
        """Return which rows have their observation, ascending."""
        if self.layout.inline:
            return np.arange(len(self.table))
        return self.part("observations")[0].astype(np.intp)

    def observations(self) -> Column:
        """Return the observations of the rows that have them."""
        codec: ValueCodec = self.layout.observation
        if self.layout.inline:
            return codec.unpack(self.table["observation"])
        return codec.unpack_each(self.part("observations")[1])


def decode_chunk(layout: RowLayout, row: tuple[Any, ...]) -> AgentRows:
    """Return a stored chunk (``CHUNK_COLUMNS``).

    Raises:
        ValueError: the stored bytes are damaged.
    """
    n_rows, expected, *blobs = row
    if checksum(blobs) != expected:
        raise ValueError("its checksum does not match")
    stored = dict(zip(BLOB_COLUMNS, blobs, strict=True))
    table = np.frombuffer(stored["ticks"], layout.dtype)
    if len(table) != n_rows:
        raise ValueError(f"it holds {len(table)} ticks instead of {n_rows}")
    parts = {name: unpack_part(stored[name]) for name in PARTS if stored[name] is not None}
    return AgentRows(layout, table, parts, unpack_tables(stored["info_tables"]))


def join(layout: RowLayout, pieces: Sequence[AgentRows]) -> AgentRows:
    """Return consecutive rows as one."""
    if len(pieces) == 1:
        return pieces[0]
    table = np.concatenate([piece.table for piece in pieces]) if pieces else np.zeros(0, layout.dtype)
    starts = [0, *accumulate(map(len, pieces))]
    parts: dict[str, SparsePart] = {}
    for name in PARTS:
        having = [
            (piece.parts[name], start)
            for piece, start in zip(pieces, starts, strict=False)
            if name in piece.parts
        ]
        if having:
            indices = np.concatenate([indices + np.uint32(start) for (indices, _), start in having])
            parts[name] = (indices, [value for (_, values), _ in having for value in values])
    tables = [
        info.shifted(start)
        for piece, start in zip(pieces, starts, strict=False)
        for info in piece.info_tables
    ]
    return AgentRows(layout, table, parts, tables)
