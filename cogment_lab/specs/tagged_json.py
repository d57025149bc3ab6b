"""JSON for info dictionaries and reset options: what JSON lacks is written as an object with one ``$`` key.

Arrays, NumPy scalars, tuples, bytes, non-finite floats and dicts with other keys than strings come back as
they were.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cogment_lab.errors import SpecError
from cogment_lab.specs.npy import array_from_buffer
from cogment_lab.specs.shown import shown

__all__ = ["from_json", "to_json"]

_MAX_DEPTH = 64
_MAX_BITS = 4096
"""Longer integers are not written: Python refuses to read decimals of more than 4,300 digits."""


def to_json(value: Any, *, lossy: bool = False) -> str:
    """Return ``value`` as ASCII JSON.

    Args:
        value: Nested dicts, lists, tuples, numbers, strings, bytes, None and arrays.
        lossy: Write anything else as its ``repr``, cut to a few characters, and not raise.

    Raises:
        SpecError: ``value`` holds something else, an integer of thousands of digits, or more than 64 levels.
    """
    return json.dumps(_encode(value, lossy, ()), allow_nan=False, separators=(",", ":"))


def from_json(text: str) -> Any:
    """Return the value of :func:`to_json`; what was written as a ``repr`` is that string.

    Raises:
        SpecError: No JSON, or a tag that does not fit its content.
    """
    try:
        return _DECODER.decode(text)
    except (ValueError, TypeError, RecursionError) as error:
        if isinstance(error, SpecError):
            raise
        raise SpecError(f"not the JSON of to_json: {error}: {shown(text)}") from error


def _encode(value: Any, lossy: bool, enclosing: tuple[int, ...]) -> Any:
    """Encode ``value``, which stands inside the containers of those ids: one of them again is a cycle."""
    if value is None or type(value) in (bool, str):
        return value
    if type(value) is int and value.bit_length() <= _MAX_BITS:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if type(value) is bytes:
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufU":
        data = base64.b64encode(value.tobytes()).decode()
        if isinstance(value, np.generic):
            return {"$scalar": [value.dtype.str, data]}
        return {"$array": [value.dtype.str, value.shape, data]}
    if len(enclosing) < _MAX_DEPTH and id(value) not in enclosing:
        inside = (*enclosing, id(value))
        if type(value) is list:
            return [_encode(item, lossy, inside) for item in value]
        if type(value) is tuple:
            return {"$tuple": [_encode(item, lossy, inside) for item in value]}
        if isinstance(value, dict):
            return _encode_dict(value, lossy, inside)
    if lossy:
        return {"$text": shown(value)}
    raise SpecError(
        f"{type(value).__name__} cannot be written as JSON (or nests too deep, or in itself): {shown(value)}"
    )


def _encode_dict(value: dict[Any, Any], lossy: bool, inside: tuple[int, ...]) -> dict[str, Any]:
    if all(type(key) is str and not key.startswith("$") for key in value):
        return {key: _encode(item, lossy, inside) for key, item in value.items()}
    pairs = [[_encode(key, lossy, inside), _encode(item, lossy, inside)] for key, item in value.items()]
    return {"$dict": pairs}


def _decode(content: dict[str, Any]) -> Any:
    if len(content) != 1:
        return content
    ((tag, value),) = content.items()
    decode = _DECODERS.get(tag)
    return content if decode is None else decode(value)


def _decode_array(value: list[Any]) -> Any:
    dtype, shape, data = value
    array = array_from_buffer(base64.b64decode(data), np.dtype(dtype), math.prod(shape))
    return array.reshape(shape)


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "$float": float,
    "$bytes": base64.b64decode,
    "$array": _decode_array,
    "$scalar": lambda value: _decode_array([value[0], (), value[1]])[()],
    "$tuple": tuple,
    "$dict": dict,
    "$text": str,
}


_DECODER = json.JSONDecoder(object_hook=_decode)  # json.loads makes one for each text
