"""Decoding many serialized messages at once, when they differ in their numbers only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from gymnasium import Space, spaces

from cogment_lab.specs.generated import data_pb2 as pb
from cogment_lab.specs.generated import ndarray_pb2 as nd

__all__ = ["cut_actions", "cut_observations"]

_CODES = {
    np.dtype("<f4"): nd.DTYPE_FLOAT32,
    np.dtype("<f8"): nd.DTYPE_FLOAT64,
    np.dtype("<i4"): nd.DTYPE_INT32,
    np.dtype("<i8"): nd.DTYPE_INT64,
    np.dtype("u1"): nd.DTYPE_UINT8,
}
_FLAGS = {2: "active", 3: "alive", 17: "terminated", 18: "truncated"}
_REWARD = 19
_RAW = 3

Places: TypeAlias = dict[tuple[int, str], tuple[int, int]]
Table: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]


def cut_observations(space: Space[Any], payloads: Sequence[bytes | None]) -> tuple[Any, ...] | None:
    """Return what ``trial_data.Observed`` holds, or ``None`` when these messages must be parsed one by one.

    Works for a plain Box, without info and frames; the first message may have another form than the rest (it
    has no reward).
    """
    if type(space) is not spaces.Box or space.dtype not in _CODES or not payloads or None in payloads:
        return None
    n = len(payloads)
    values = np.empty((n, *space.shape), space.dtype)
    columns: dict[str, Any] = {name: np.zeros(n, np.bool_) for name in _FLAGS.values()}
    said = np.zeros(n, np.bool_)
    rewards = np.full(n, np.nan)
    for rows in _groups(payloads):
        template = payloads[rows[0]]
        assert template is not None
        message = pb.Observation.FromString(template)
        if (
            message.HasField("exact_value")
            or message.HasField("rendered_frame")
            or message.info_json
            or message.value.dtype != _CODES[space.dtype]
            or message.value.is_scalar
            or len(message.value.raw_data) != values[0].nbytes
        ):
            return None
        table = np.frombuffer(b"".join(payloads[row] for row in rows), np.uint8)  # type: ignore[misc]
        table = table.reshape(len(rows), len(template))
        places = _places(template)
        if places is None or not _same_but(table, places):
            return None
        start, end = places[_RAW, "raw"]
        values[rows] = np.ascontiguousarray(table[:, start:end]).view(space.dtype).reshape(-1, *space.shape)
        for number, name in _FLAGS.items():
            if (number, name) in places:
                columns[name][rows] = table[:, places[number, name][0]] != 0
        said[rows] = (17, "terminated") in places
        if (_REWARD, "reward") in places:
            start, end = places[_REWARD, "reward"]
            rewards[rows] = np.ascontiguousarray(table[:, start:end]).view("<f8")[:, 0]
    ends = [
        [bool(flag) if known else None for flag, known in zip(columns[name], said, strict=True)]
        for name in ("terminated", "truncated")
    ]
    return values, columns["active"], *ends, rewards, [{} for _ in range(n)]


def cut_actions(space: Space[Any], payloads: Sequence[bytes | None]) -> Any:
    """Return the actions as one array, or ``None`` when these messages must be parsed one by one."""
    if not payloads or None in payloads or len({len(payload) for payload in payloads if payload}) != 1:
        return None
    template = payloads[0]
    assert template is not None
    message = pb.PlayerAction.FromString(template)
    places = _places(template)
    if message.HasField("exact_value") or places is None or (_RAW, "raw") not in places:
        return None
    table = np.frombuffer(b"".join(payloads), np.uint8).reshape(len(payloads), -1)  # type: ignore[arg-type]
    if not _same_but(table, places):
        return None
    start, end = places[_RAW, "raw"]
    raw = np.ascontiguousarray(table[:, start:end])
    if type(space) is spaces.Box and space.dtype in _CODES and message.value.dtype == _CODES[space.dtype]:
        if raw.shape[1] == int(np.prod(space.shape)) * space.dtype.itemsize and not message.value.is_scalar:
            return raw.view(space.dtype).reshape(-1, *space.shape)
    elif type(space) is spaces.Discrete and message.value.dtype == nd.DTYPE_INT64:
        hot = raw.view("<i8")
        if hot.shape[1] == space.n and np.all(np.abs(hot).sum(axis=1) == 1) and np.all(hot.max(axis=1) == 1):
            return (hot.argmax(axis=1) + int(space.start)).astype(space.dtype)
    return None


def _groups(payloads: Sequence[bytes | None]) -> list[list[int]]:
    """Return the rows of each length."""
    groups: dict[int, list[int]] = {}
    for row, payload in enumerate(payloads):
        groups.setdefault(len(payload or b""), []).append(row)
    return list(groups.values())


def _same_but(table: Table, places: Places) -> bool:
    """Return whether all rows are equal outside ``places``."""
    fixed = np.ones(table.shape[1], np.bool_)
    for start, end in places.values():
        fixed[start:end] = False
    return bool(np.all(table[:, fixed] == table[0, fixed]))


def _places(data: bytes) -> Places | None:
    """Return where the numbers of an encoded ``Observation`` or ``PlayerAction`` are.

    Returns:
        From field number and name to (start, end): the raw data of ``value``, the flags, the reward. ``None``
        for an encoding that is not read here.
    """
    found: Places = {}
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 2:
            length, at = _varint(data, at)
            if number == 1:
                inner = at
                while inner < at + length:
                    inner_key, inner = _varint(data, inner)
                    if inner_key & 7 == 2:
                        size, inner = _varint(data, inner)
                        if inner_key >> 3 == _RAW:
                            found[_RAW, "raw"] = (inner, inner + size)
                        inner += size
                    elif inner_key & 7 == 0:
                        _, inner = _varint(data, inner)
                    else:
                        return None
            at += length
        elif kind == 0:
            if number in _FLAGS:
                found[number, _FLAGS[number]] = (at, at + 1)
            _, at = _varint(data, at)
        elif kind == 1:
            if number == _REWARD:
                found[_REWARD, "reward"] = (at, at + 8)
            at += 8
        else:
            return None
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
