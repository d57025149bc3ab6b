"""How the ticks of an agent lie in bytes: rows of one size, and sparse parts for what few ticks have.

A row is packed by one ``struct`` call when its tick is recorded; a chunk is many rows joined, which numpy
reads as a structured array. What not every tick has is kept beside the rows, as *parts*:

- ``proposed``: the proposed action, where it differs from the executed one;
- ``feedback`` and ``infos``: JSON, where there was any; flat infos in ``info_tables`` instead;
- ``actions``: executed actions of no fixed size; of others, those of another dtype than the space's, exactly;
- ``observations``: observations that are large, have no fixed size, or were recorded for some ticks only.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cogment_lab.store.codec import ValueCodec
from cogment_lab.store.info_table import pack_tables
from cogment_lab.trial.sample import Feedback

__all__ = [
    "BLOB_COLUMNS",
    "CONTEXT",
    "PARTS",
    "Row",
    "RowLayout",
    "SparsePart",
    "checksum",
    "decode_feedback",
    "encode_feedback",
    "join_rows",
    "pack_part",
    "unpack_part",
]

PARTS = ("proposed", "feedback", "infos", "actions", "observations")

Row: TypeAlias = bytes | tuple[Any, ...]
"""A packed row. If it has parts: the row, those of ``PARTS``, its flat info, and the memory they take."""

SparsePart: TypeAlias = "tuple[npt.NDArray[np.uint32], list[bytes]]"
"""Which rows of a chunk have the part (ascending), and its bytes for each of them."""

BLOB_COLUMNS = ("proposed", "feedback", "infos", "info_tables", "actions", "ticks", "observations")
"""Of table ``chunks``; the largest ones last, so that the others are read without them."""

CONTEXT = 255
"""In ``decided_by``: the row is no recorded tick, it only holds the observation that follows a takeover."""

LARGEST_INLINE = 1024
"""Observations of more bytes are kept beside the rows, so that rewards and actions are read without them."""

_HEAD = "<IiqqqdBB??"
_FIELDS = (
    ("trial", "<u4"),
    ("tick", "<i4"),
    ("t_shown", "<i8"),
    ("t_acted", "<i8"),
    ("reaction_ns", "<i8"),
    ("reward", "<f8"),
    ("decided_by", "u1"),
    ("phase", "u1"),
    ("terminated", "?"),
    ("truncated", "?"),
)


@dataclass(frozen=True, slots=True)
class RowLayout:
    """The row of one agent.

    Attributes:
        observation: Packs its observations.
        action: Packs its actions.
        inline: Whether each row holds its observation; otherwise the observation is a part, or absent.
        pack: Packs trial number, tick, t_shown, t_acted, reaction_ns, reward, decided_by, phase, terminated,
            truncated, the observation's bytes if inline, and the action (an int, or its bytes) if of fixed
            size.
        dtype: The row for numpy; ``observation`` and ``action`` are ``(size,) uint8``.
    """

    observation: ValueCodec
    action: ValueCodec
    inline: bool
    pack: Callable[..., bytes]
    dtype: np.dtype[np.void]

    @classmethod
    def of(cls, observation: ValueCodec, action: ValueCodec, inline: bool) -> RowLayout:
        """Return the layout for these codecs."""
        observation_size = observation.size if inline else 0
        action_size = action.size if action.is_fixed else 0
        code = f"{_HEAD}{observation_size}s" if inline else _HEAD
        if action.is_fixed:
            code += "q" if action.is_integer else f"{action_size}s"
        fields = [*_FIELDS, ("observation", "u1", (observation_size,)), ("action", "u1", (action_size,))]
        return cls(observation, action, inline, struct.Struct(code).pack, np.dtype(fields))

    @staticmethod
    def can_be_inline(observation: ValueCodec, action: ValueCodec) -> bool:
        """Return whether new rows of fully recorded ticks hold their observation."""
        return observation.is_fixed and action.is_fixed and observation.size <= LARGEST_INLINE


def join_rows(rows: Sequence[Row]) -> tuple[bytes, dict[str, bytes], int]:
    """Return the joined rows, by name what some of them have besides, and how much memory that took."""
    try:
        return b"".join(rows), {}, 0  # type: ignore[arg-type]  # the usual case: no row has parts
    except TypeError:
        heads: list[bytes] = [row if isinstance(row, bytes) else row[0] for row in rows]
    with_parts = [(index, row) for index, row in enumerate(rows) if type(row) is tuple]
    parts: dict[str, bytes] = {}
    for position, name in enumerate(PARTS, 1):
        entries = [(index, row[position]) for index, row in with_parts if row[position] is not None]
        if entries:
            parts[name] = pack_part(entries)
    flat_infos = [(index, row[-2]) for index, row in with_parts if row[-2] is not None]
    if flat_infos:
        parts["info_tables"] = pack_tables(flat_infos)
    return b"".join(heads), parts, sum(row[-1] for _, row in with_parts)


def pack_part(entries: Sequence[tuple[int, bytes]]) -> bytes:
    """Return count, row numbers, lengths (uint32, little endian) and then the bytes of each entry."""
    indices, values = zip(*entries, strict=True)
    lengths = list(map(len, values))
    head = np.array([len(values), *indices, *lengths], "<u4").tobytes()
    return b"".join((head, *values))


def unpack_part(data: bytes | None) -> SparsePart:
    """Return what :func:`pack_part` was given.

    Raises:
        ValueError: the lengths and the bytes do not agree.
    """
    if data is None:
        return np.zeros(0, np.uint32), []
    count = int(np.frombuffer(data, "<u4", 1)[0])
    indices = np.frombuffer(data, "<u4", count, 4)
    lengths = np.frombuffer(data, "<u4", count, 4 + 4 * count)
    start = 4 + 8 * count
    ends = start + np.cumsum(lengths, dtype=np.int64)
    if len(data) != (ends[-1] if count else start):
        raise ValueError("a stored part is shorter or longer than its lengths say")
    bounds = [start, *ends.tolist()]
    return indices, [data[bounds[i] : bounds[i + 1]] for i in range(count)]


def checksum(blobs: Sequence[bytes | None]) -> int:
    """Return the CRC-32 of the blobs of a chunk, in the order of ``BLOB_COLUMNS``."""
    found = 0
    for blob in blobs:
        if blob is not None:
            found = zlib.crc32(blob, found)
    return found


def encode_feedback(feedback: Sequence[Feedback]) -> bytes:
    """Return the opinions as JSON."""
    opinions = [[each.source, each.value, each.confidence, each.time, each.tick] for each in feedback]
    return json.dumps(opinions, default=float, separators=(",", ":")).encode()


def decode_feedback(data: bytes) -> list[Feedback]:
    """Return the opinions.

    Raises:
        ValueError: the bytes were not written by :func:`encode_feedback`.
    """
    try:
        return [Feedback(*opinion) for opinion in json.loads(data)]
    except TypeError as error:
        raise ValueError(f"not encoded feedback: {error}") from error
