"""Values of a Gymnasium space <-> bytes, one value or a whole column at a time.

A value is packed as its array leaves, one after the other in the space's order, each with the space's dtype,
little endian; so the values of most spaces have one size, and a column of them is read with
``numpy.frombuffer``. Leaves without a fixed size (Text, Sequence, Graph, OneOf) follow, each as its length
and its value bytes (:mod:`cogment_lab.specs`).
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from cogment_lab.errors import SpecError
from cogment_lab.specs import value_from_bytes, value_to_bytes
from cogment_lab.store.columns import Column, value_at

__all__ = ["ValueCodec"]

_PACK_INT = struct.Struct("<q").pack
_PACK_LENGTH = struct.Struct("<I").pack
_LENGTH = struct.Struct("<I")
_Put: TypeAlias = "Callable[[Any, list[bytes], list[bytes]], None]"
_Take: TypeAlias = "Callable[[npt.NDArray[np.uint8], Sequence[list[bytes]]], Column]"


class ValueCodec:
    """Packs and unpacks the values of one space.

    Args:
        space: Any Gymnasium space; spaces that ``cogment_lab.specs`` does not know are refused when first
            packed.

    Attributes:
        size: Bytes of the leaves of fixed size.
        is_fixed: Whether there are no other leaves, so that each value has ``size`` bytes.
        is_integer: Whether the space is Discrete: its values are packed as one int64.
        dtype: The dtype when the space is one array, else ``None``; such a value is packed by ``tobytes``.
    """

    def __init__(self, space: gym.Space[Any]) -> None:
        self.space = space
        self.size = 0
        self.is_integer = isinstance(space, gym.spaces.Discrete)
        self.dtype: np.dtype[Any] | None = None
        self._elements = -1
        self._ragged: list[gym.Space[Any]] = []
        self._put, self._take = self._plan(space)
        self.is_fixed = not self._ragged
        if isinstance(space, gym.spaces.Box | gym.spaces.MultiDiscrete | gym.spaces.MultiBinary):
            self.dtype = _stored_dtype(space)
            self._elements = self.size // self.dtype.itemsize

    def pack(self, value: Any) -> bytes:
        """Return the value's bytes; arrays of another dtype are cast, as SB3's vector environments do.

        Raises:
            SpecError: the value does not have the space's structure or number of elements.
        """
        is_whole = type(value) is np.ndarray and value.size == self._elements
        if is_whole and value.dtype is self.dtype:  # the usual case
            return value.tobytes()  # type: ignore[no-any-return]
        fixed: list[bytes] = []
        ragged: list[bytes] = []
        try:
            if is_whole:
                return value.astype(self.dtype).tobytes()  # type: ignore[no-any-return]
            self._put(value, fixed, ragged)
        except SpecError:
            raise
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
            raise SpecError(
                f"a value of type {type(value).__name__} does not fit the space {self.space}: {error}"
            ) from error
        for data in ragged:
            fixed += (_PACK_LENGTH(len(data)), data)
        return b"".join(fixed)

    def pack_exactly(self, value: Any) -> bytes | None:
        """Return the whole array where :meth:`pack` would change what comes of it, else ``None``.

        That is an array of another dtype where the space is a Box of floats: an environment goes on in the
        precision that it is given. Of integers only what they cannot hold matters.
        """
        dtype = self.dtype
        if dtype is None or type(value) is not np.ndarray or value.dtype == dtype:
            return None
        if value.dtype.kind not in "biuf":
            return None
        if dtype.kind != "f" and np.array_equal(value.astype(dtype), value):
            return None
        return _head(value.dtype, value.shape) + value.tobytes()

    @staticmethod
    def unpack_exactly(data: bytes) -> npt.NDArray[Any]:
        """Return the array that :meth:`pack_exactly` was given.

        Raises:
            ValueError: the bytes are damaged.
        """
        head, _, content = data.partition(b"\n")
        try:
            dtype, *shape = head.decode().split()
            return np.frombuffer(content, np.dtype(dtype)).reshape([int(length) for length in shape]).copy()
        except TypeError as error:
            raise ValueError(f"a stored action has no dtype: {error}") from error

    def unpack(self, values: npt.NDArray[np.uint8]) -> Column:
        """Return a column of values of fixed size, from an array ``(n, size) uint8``."""
        return self._take(values, ())

    def unpack_each(self, values: Sequence[bytes]) -> Column:
        """Return a column from the bytes of each value.

        Raises:
            ValueError: the bytes do not fit the space.
        """
        count = len(values)
        if self.is_fixed:
            return self.unpack(np.frombuffer(b"".join(values), np.uint8).reshape(count, self.size))
        heads = np.frombuffer(b"".join([value[: self.size] for value in values]), np.uint8)
        return self._take(heads.reshape(count, self.size), [self._split(value) for value in values])

    def unpack_one(self, value: bytes) -> Any:
        """Return one value, as an observation or action of the space."""
        return value_at(self.unpack_each([value]), 0)

    def _split(self, value: bytes) -> list[bytes]:
        """Return the bytes of each leaf without a fixed size."""
        parts = []
        position = self.size
        for _ in self._ragged:
            (length,) = _LENGTH.unpack_from(value, position)
            position += 4
            if position + length > len(value):
                raise ValueError("a stored value is shorter than its lengths say")
            parts.append(value[position : position + length])
            position += length
        return parts

    def _plan(self, space: gym.Space[Any]) -> tuple[_Put, _Take]:
        """Return how values of ``space`` are put into bytes and taken out of them, from ``self.size`` on."""
        if isinstance(space, gym.spaces.Dict):
            return self._plan_dict(space)
        if isinstance(space, gym.spaces.Tuple):
            return self._plan_tuple(space)
        if isinstance(space, gym.spaces.Discrete):
            _, take = self._plan_array(np.dtype("<i8"), ())
            return _put_integer, take
        if isinstance(space, gym.spaces.Box | gym.spaces.MultiDiscrete | gym.spaces.MultiBinary):
            return self._plan_array(_stored_dtype(space), tuple(space.shape))
        index = len(self._ragged)
        self._ragged.append(space)

        def put(value: Any, fixed: list[bytes], ragged: list[bytes]) -> None:
            ragged.append(value_to_bytes(space, value))

        def take_ragged(values: npt.NDArray[np.uint8], ragged: Sequence[list[bytes]]) -> Column:
            return [value_from_bytes(space, parts[index]) for parts in ragged]

        return put, take_ragged

    def _plan_array(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[_Put, _Take]:
        elements = int(np.prod(shape))
        start, stop = self.size, self.size + elements * dtype.itemsize
        self.size = stop

        def put(value: Any, fixed: list[bytes], ragged: list[bytes]) -> None:
            array = np.asarray(value, dtype)
            if array.size != elements:
                raise SpecError(
                    f"an array of shape {array.shape} was given where the space has shape {shape}"
                )
            fixed.append(array.tobytes())

        def take(values: npt.NDArray[np.uint8], ragged: Sequence[list[bytes]]) -> Column:
            column = np.array(values[:, start:stop], order="C")
            if not column.size:
                return np.zeros((len(values), *shape), dtype)
            return column.view(dtype).reshape(len(values), *shape)

        return put, take

    def _plan_dict(self, space: gym.spaces.Dict) -> tuple[_Put, _Take]:
        plans = [(key, *self._plan(part)) for key, part in space.spaces.items()]

        def put(value: Any, fixed: list[bytes], ragged: list[bytes]) -> None:
            for key, put_part, _ in plans:
                put_part(value[key], fixed, ragged)

        def take(values: npt.NDArray[np.uint8], ragged: Sequence[list[bytes]]) -> Column:
            return {key: take_part(values, ragged) for key, _, take_part in plans}

        return put, take

    def _plan_tuple(self, space: gym.spaces.Tuple[Any]) -> tuple[_Put, _Take]:
        plans = [self._plan(part) for part in space.spaces]

        def put(value: Any, fixed: list[bytes], ragged: list[bytes]) -> None:
            if len(value) != len(plans):
                raise SpecError(f"a tuple of {len(value)} values was given where the space has {len(plans)}")
            for part, (put_part, _) in zip(value, plans, strict=True):
                put_part(part, fixed, ragged)

        def take(values: npt.NDArray[np.uint8], ragged: Sequence[list[bytes]]) -> Column:
            return tuple(take_part(values, ragged) for _, take_part in plans)

        return put, take


@functools.lru_cache(maxsize=256)
def _head(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    return " ".join((dtype.str, *map(str, shape))).encode() + b"\n"


def _put_integer(value: Any, fixed: list[bytes], ragged: list[bytes]) -> None:
    fixed.append(_PACK_INT(int(np.asarray(value).item())))


def _stored_dtype(space: gym.Space[Any]) -> np.dtype[Any]:
    # By its name, which gives the one dtype object of arrays in native order: recording compares with `is`.
    return np.dtype(np.dtype(space.dtype).newbyteorder("<").str)
