"""Flat infos in columns: telling the same few numbers at each step then costs 2 us a step, not 40.

A flat info (plain values, numpy numbers and arrays; no dict, list or tuple inside) is kept as its keys, the
kinds of its values, and the values. Those of a chunk that agree in keys and kinds become one table, whose
columns are arrays. Any other info is kept as JSON, see ``info.py``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cogment_lab.errors import SpecError
from cogment_lab.specs.tagged_json import from_json, to_json

__all__ = ["FlatInfo", "InfoTable", "flatten_info", "pack_tables", "unpack_tables"]

Kind: TypeAlias = "type | tuple[str, tuple[int, ...]]"
"""The type of a value; of an array, its dtype and shape."""
FlatInfo: TypeAlias = tuple[tuple[str, ...], tuple[Kind, ...], tuple[Any, ...], int]
"""Keys, kinds, values, and the bytes of those that are arrays."""

_LENGTH = struct.Struct("<I")
_PLAIN = {float: "<f8", int: "<i8", bool: "|b1"}
_MOST_KNOWN = 1000
_known: dict[tuple[tuple[Any, ...], tuple[type, ...]], bool] = {}
"""Whether infos with these keys and types are flat; looked up at each step."""


def flatten_info(info: Mapping[str, Any]) -> FlatInfo | None:
    """Return a copy of a flat info, ``None`` if it is not flat."""
    keys, values = tuple(info), tuple(info.values())
    types = tuple(map(type, values))
    is_flat = _known.get((keys, types))
    if is_flat is None:
        is_flat = _learn(keys, types)
    if not is_flat:
        return None
    if np.ndarray not in types:
        return keys, types, values, 0
    kinds: list[Kind] = []
    copies = []
    for kind, value in zip(types, values, strict=True):
        if kind is np.ndarray:
            if value.dtype.kind not in "biufc" or not value.ndim:
                return None
            kinds.append((value.dtype.str, value.shape))
            copies.append(value.copy())
        else:
            kinds.append(kind)
            copies.append(value)
    size = sum(copied.nbytes for copied in copies if type(copied) is np.ndarray)
    return keys, tuple(kinds), tuple(copies), size


def _learn(keys: tuple[Any, ...], types: tuple[type, ...]) -> bool:
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    numbers = (np.number, np.bool_)
    others = (str, type(None), np.ndarray)
    is_flat = all(type(key) is str for key in keys) and all(
        kind in _PLAIN or kind in others or issubclass(kind, numbers) for kind in types
    )
    _known[keys, types] = is_flat
    return is_flat


@dataclass(frozen=True, slots=True)
class InfoTable:
    """Infos of several rows, with the same keys and kinds.

    Attributes:
        rows: ``(n,) uint32``, the rows that have them, ascending.
        keys: Their keys, in order.
        columns: For each key ``n`` values: an array, or a list of values that are no numbers.
        are_plain: For each key, whether the values of an array are Python's, and not numpy's.
    """

    rows: npt.NDArray[np.uint32]
    keys: tuple[str, ...]
    columns: tuple[npt.NDArray[Any] | list[Any], ...]
    are_plain: tuple[bool, ...]

    def between(self, start: int, stop: int) -> InfoTable:
        """Return the part that belongs to the rows ``start:stop``, which are counted anew."""
        low, high = np.searchsorted(self.rows, (start, stop))
        columns = tuple(column[low:high] for column in self.columns)
        return InfoTable(self.rows[low:high] - np.uint32(start), self.keys, columns, self.are_plain)

    def shifted(self, by: int) -> InfoTable:
        """Return the same infos for rows that come later by so many."""
        return InfoTable(self.rows + np.uint32(by), self.keys, self.columns, self.are_plain)

    def fill(self, infos: list[dict[str, Any]]) -> None:
        """Put each info into its place."""
        columns = [
            column if isinstance(column, list) else column.tolist() if is_plain else list(column.copy())
            for column, is_plain in zip(self.columns, self.are_plain, strict=True)
        ]
        for row, values in zip(self.rows.tolist(), zip(*columns, strict=True), strict=True):
            infos[row] = dict(zip(self.keys, values, strict=True))


def pack_tables(entries: Sequence[tuple[int, FlatInfo]]) -> bytes:
    """Return the infos of these rows (ascending) as bytes: for each table a JSON header and its columns."""
    groups: dict[tuple[tuple[str, ...], tuple[Kind, ...]], list[tuple[int, tuple[Any, ...]]]] = {}
    for row, (keys, kinds, values, _) in entries:
        groups.setdefault((keys, kinds), []).append((row, values))
    packed: list[bytes] = []
    for (keys, kinds), members in groups.items():
        columns = zip(*(values for _, values in members), strict=True)
        encoded = [_encode(kind, column) for kind, column in zip(kinds, columns, strict=True)]
        layouts = [[dtype, shape, is_plain, len(data)] for dtype, shape, is_plain, data in encoded]
        header = json.dumps([len(members), keys, layouts]).encode()
        packed += (_LENGTH.pack(len(header)), header, np.array([row for row, _ in members], "<u4").tobytes())
        packed += (data for _, _, _, data in encoded)
    return b"".join(packed)


def unpack_tables(data: bytes | None) -> list[InfoTable]:
    """Return what :func:`pack_tables` was given.

    Raises:
        ValueError: the bytes are damaged.
    """
    tables = []
    position = 0
    try:
        while data is not None and position < len(data):
            (length,) = _LENGTH.unpack_from(data, position)
            position += 4
            count, keys, layouts = json.loads(data[position : position + length])
            position += length
            rows = np.frombuffer(data, "<u4", count, position)
            position += 4 * count
            columns: list[npt.NDArray[Any] | list[Any]] = []
            for dtype, shape, _, size in layouts:
                columns.append(_decode(dtype, (count, *shape), data[position : position + size]))
                position += size
            tables.append(
                InfoTable(rows, tuple(keys), tuple(columns), tuple(layout[2] for layout in layouts))
            )
    except (struct.error, TypeError, SpecError) as error:
        raise ValueError(f"not a table of infos: {error}") from error
    return tables


def _encode(kind: Kind, values: tuple[Any, ...]) -> tuple[str, tuple[int, ...], bool, bytes]:
    """Return dtype (empty: JSON), shape of a value, whether values are Python's, and the column's bytes."""
    if isinstance(kind, tuple):
        return kind[0], kind[1], False, np.stack(values).tobytes()
    dtype = _PLAIN.get(kind)
    if dtype is not None:
        try:
            return dtype, (), True, np.array(values, dtype).tobytes()
        except OverflowError:  # an int of more than 64 bits
            return "", (), True, to_json(values, lossy=True).encode()
    if issubclass(kind, np.generic):
        column = np.array(values)
        return column.dtype.str, (), False, column.tobytes()
    return "", (), True, to_json(values, lossy=True).encode()


def _decode(dtype: str, shape: tuple[int, ...], data: bytes) -> npt.NDArray[Any] | list[Any]:
    if dtype:
        return np.frombuffer(data, np.dtype(dtype)).reshape(shape)
    values = list(from_json(data.decode()))
    if len(values) != shape[0]:
        raise ValueError(f"a column of infos has {len(values)} values instead of {shape[0]}")
    return values
