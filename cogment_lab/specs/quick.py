"""The two everyday cases of :mod:`cogment_lab.specs.flat`, several times faster: Box and small Discrete.

An environment and an actor that are processes of their own convert four values per tick. Whatever is not
exactly such a case is left to the general way, which checks and explains.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from gymnasium import Space, spaces

from cogment_lab.specs.generated import ndarray_pb2 as pb

__all__ = ["quick_message", "quick_value"]

_CODES = {
    np.dtype("<f4"): pb.DTYPE_FLOAT32,
    np.dtype("<f8"): pb.DTYPE_FLOAT64,
    np.dtype("<i4"): pb.DTYPE_INT32,
    np.dtype("<i8"): pb.DTYPE_INT64,
    np.dtype("u1"): pb.DTYPE_UINT8,
}
_LONGEST_ONE_HOT = 64


def quick_message(space: Space[Any], value: Any) -> pb.Array | None:
    """Return what ``flat_to_message`` would, or ``None`` when it has to be asked."""
    kind = type(space)
    if kind is spaces.Box:
        if (
            type(value) is np.ndarray
            and value.dtype == space.dtype
            and value.shape == space.shape
            and value.ndim > 0
        ):
            code = _CODES.get(value.dtype)
            if code is not None:
                return pb.Array(dtype=code, shape=(value.size,), raw_data=value.tobytes())
    elif kind is spaces.Discrete and (type(value) is int or isinstance(value, np.integer)):
        length = int(space.n)  # type: ignore[attr-defined]
        place = int(value) - int(space.start)  # type: ignore[attr-defined]
        if 0 <= place < length <= _LONGEST_ONE_HOT:
            return pb.Array.FromString(_one_hot(length, place, isinstance(value, np.generic)))
    return None


def quick_value(space: Space[Any], message: pb.Array) -> Any:
    """Return what ``flat_from_message`` would, or ``None`` when it has to be asked."""
    kind = type(space)
    data = message.raw_data
    if kind is spaces.Box:
        dtype = space.dtype
        code = _CODES.get(dtype) if dtype is not None else None
        if code is not None and code == message.dtype and space.shape and not message.is_scalar:
            array = np.frombuffer(data, dtype) if len(data) % dtype.itemsize == 0 else None  # type: ignore[union-attr]
            if array is not None and message.shape == [array.size]:
                try:
                    return array.reshape(space.shape).copy()
                except ValueError:
                    return None
    elif kind is spaces.Discrete and message.dtype == pb.DTYPE_INT64:
        length = int(space.n)  # type: ignore[attr-defined]
        if len(data) == 8 * length and message.shape == [length]:
            place = data.find(1)
            if place % 8 == 0 and data.count(0) == len(data) - 1:
                return space.dtype.type(int(space.start) + place // 8)  # type: ignore[union-attr, attr-defined]
    return None


@functools.lru_cache(maxsize=1024)
def _one_hot(length: int, place: int, is_scalar: bool) -> bytes:
    vector = np.zeros(length, dtype=np.int64)
    vector[place] = 1
    return pb.Array(
        dtype=pb.DTYPE_INT64, shape=(length,), raw_data=vector.tobytes(), is_scalar=is_scalar
    ).SerializeToString()
