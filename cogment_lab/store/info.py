"""``info`` dicts <-> JSON bytes, exact for what JSON and numpy know, tagged text for everything else.

Plain JSON values stand for themselves. Everything else is an object with one key that begins with ``$``:
``$tuple``, ``$bytes``, ``$float`` (nan, inf), ``$array`` and ``$scalar`` (numpy), ``$dict`` (keys that are no plain
strings) and ``$text`` (the ``repr`` of a value of any other type).
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["TextOf", "decode_info", "encode_info"]

_LONGEST_TEXT = 1000
_DEEPEST = 50
_PLAIN = (str, int, bool, type(None))
_dumps = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class TextOf(str):
    """The ``repr`` of a value that could not be stored, at most 1,000 characters."""

    __slots__ = ()


def encode_info(info: Mapping[str, Any]) -> bytes:
    """Return the bytes of an info dict; never raises, and keeps no reference into it."""
    try:
        return _dumps(_encode(info, ())).encode()
    except Exception:  # a value's own methods may raise anything; recording goes on regardless
        return _dumps({"$text": _text(info)}).encode()


def decode_info(data: bytes) -> Any:
    """Return what :func:`encode_info` was given.

    Raises:
        ValueError: the bytes were not written by :func:`encode_info`.
    """
    try:
        return _decode(json.loads(data))
    except (TypeError, KeyError, AttributeError, IndexError) as error:
        raise ValueError(f"not an encoded info: {error}") from error


def _encode(value: Any, parents: tuple[int, ...]) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, np.ndarray | np.generic):
        return _encode_numpy(value)
    if kind is bytes:
        return {"$bytes": _base64(value)}
    if kind is tuple or kind is list or isinstance(value, dict):
        if id(value) in parents or len(parents) >= _DEEPEST:
            return {"$text": "<circular or too deep>"}
        parents = (*parents, id(value))
        if kind is list:
            return [_encode(part, parents) for part in value]
        if kind is tuple:
            return {"$tuple": [_encode(part, parents) for part in value]}
        if all(type(key) is str and not key.startswith("$") for key in value):
            return {key: _encode(part, parents) for key, part in value.items()}
        return {"$dict": [[_encode(key, parents), _encode(part, parents)] for key, part in value.items()]}
    return {"$text": _text(value)}


def _encode_numpy(value: np.ndarray[Any, Any] | np.generic) -> Any:
    dtype = value.dtype
    if dtype.hasobject or dtype.names is not None or type(value) not in (np.ndarray, dtype.type):
        return {"$text": _text(value)}
    if isinstance(value, np.ndarray):
        return {"$array": [dtype.str, list(value.shape), _base64(value.tobytes())]}
    return {"$scalar": [dtype.str, _base64(value.tobytes())]}


def _decode(value: Any) -> Any:
    if type(value) is list:
        return [_decode(part) for part in value]
    if type(value) is not dict:
        return value
    if len(value) == 1:
        ((tag, content),) = value.items()
        if tag.startswith("$"):
            return _decode_tagged(tag, content)
    return {key: _decode(part) for key, part in value.items()}


def _decode_tagged(tag: str, content: Any) -> Any:
    match tag:
        case "$tuple":
            return tuple(_decode(part) for part in content)
        case "$float":
            return float(content)
        case "$bytes":
            return base64.b64decode(content)
        case "$array":
            dtype, shape, data = content
            return np.frombuffer(base64.b64decode(data), np.dtype(dtype)).reshape(shape).copy()
        case "$scalar":
            dtype, data = content
            return np.frombuffer(base64.b64decode(data), np.dtype(dtype))[0]
        case "$dict":
            return {_decode(key): _decode(part) for key, part in content}
        case "$text":
            return TextOf(content)
    raise ValueError(f"unknown tag {tag!r} in a stored info")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _text(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as error:  # a broken __repr__ must not stop the record
        return f"<{type(value).__name__} object; its repr raised {type(error).__name__}>"
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "..."
