"""The vector in which Cogment Lab 0.1.5 sends a value: what ``flatten`` of Gymnasium 0.29 made of it.

Discrete and MultiDiscrete become one-hot int64, Text becomes int32 positions in its sorted characters, and a
Dict concatenates its parts in the dtype that holds them all. Later Gymnasium releases flatten differently, so
this is written out here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, TypeAlias, TypeGuard

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from cogment_lab.errors import SpecError
from cogment_lab.specs.arrays import array_from_message, array_to_message
from cogment_lab.specs.casting import cast_array
from cogment_lab.specs.generated import ndarray_pb2 as pb
from cogment_lab.specs.leaf_spaces import utf8
from cogment_lab.specs.quick import quick_message, quick_value
from cogment_lab.specs.shown import shown
from cogment_lab.specs.structure import ArraySpace, dict_items, fit

__all__ = ["flat_from_message", "flat_is_exact", "flat_to_message"]

_Leaf: TypeAlias = ArraySpace | spaces.Text

FLAT_LIMIT = 4 * 2**20
"""Bytes of the largest expanded value that is written: gRPC delivers no larger message unless told to."""


def flat_is_exact(space: Space[Any]) -> bool:
    """Return whether the vector alone gives the value back, with its type and dtype."""
    return isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiBinary | spaces.MultiDiscrete)


def flat_to_message(space: Space[Any], value: Any) -> pb.Array | None:
    """Return the flattened value, or None where Cogment Lab 0.1.5 could not express or receive it.

    Raises:
        SpecError: The value does not fit the space.
    """
    quick = quick_message(space, value)
    if quick is not None:
        return quick
    leaves = list(_leaves(space))
    is_raw = isinstance(space, spaces.Box | spaces.MultiBinary)
    if not _is_known(leaves) or not (is_raw or _n_bytes(leaves) <= FLAT_LIMIT):
        return None
    parts = [_flatten(leaf, part) for leaf, part in zip(leaves, _leaf_values(space, value), strict=True)]
    vectors = [part for part in parts if part is not None]
    if len(vectors) < len(parts):
        return None
    message = array_to_message(np.concatenate(vectors))
    message.is_scalar = isinstance(value, np.generic)
    return message


def flat_from_message(space: Space[Any], message: pb.Array) -> Any:
    """Return the value of a flattened one.

    Raises:
        SpecError: Cogment Lab 0.1.5 has no such space, or the vector does not fit it.
    """
    quick = quick_value(space, message)
    if quick is not None:
        return quick
    leaves = list(_leaves(space))
    if not _is_known(leaves):
        raise SpecError(f"{space} has no flattened values; the peer must send exact_value")
    unknown_dtype = None if message.dtype else _dtype(leaves)
    vector = np.asarray(array_from_message(message, unknown_dtype)).reshape(-1)
    ends = list(itertools.accumulate(_length(leaf) for leaf in leaves))
    if vector.size != ends[-1]:
        raise SpecError(f"a flattened value of {vector.size} entries, but {space} flattens to {ends[-1]}")
    parts = [vector[start:end] for start, end in itertools.pairwise([0, *ends])]
    values = [_unflatten(leaf, part) for leaf, part in zip(leaves, parts, strict=True)]
    value = _rebuild(space, iter(values))
    return value[()] if message.is_scalar and isinstance(value, np.ndarray) else value


def _leaves(space: Space[Any]) -> Iterator[Space[Any]]:
    """Yield the spaces at the ends of nested Dicts, in their order; an empty Dict as itself."""
    if isinstance(space, spaces.Dict) and space.spaces:
        for item in space.spaces.values():
            yield from _leaves(item)
    else:
        yield space


def _leaf_values(space: Space[Any], value: Any) -> Iterator[Any]:
    if isinstance(space, spaces.Dict):
        for item, part in zip(space.spaces.values(), dict_items(space, value), strict=True):
            yield from _leaf_values(item, part)
    else:
        yield value


def _rebuild(space: Space[Any], values: Iterator[Any]) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: _rebuild(item, values) for key, item in space.spaces.items()}
    return next(values)


def _is_known(leaves: list[Space[Any]]) -> TypeGuard[list[_Leaf]]:
    return all(flat_is_exact(leaf) or isinstance(leaf, spaces.Text) for leaf in leaves)


def _n_bytes(leaves: list[_Leaf]) -> int:
    return sum(_length(leaf) for leaf in leaves) * _dtype(leaves).itemsize


def _dtype(leaves: list[_Leaf]) -> np.dtype[Any]:
    return np.result_type(*(_leaf_dtype(leaf) for leaf in leaves))


def _leaf_dtype(leaf: _Leaf) -> np.dtype[Any]:
    match leaf:
        case spaces.Text():
            return np.dtype(np.int32)
        case spaces.Box() | spaces.MultiBinary():
            return leaf.dtype
    return np.dtype(np.int64)


def _length(leaf: _Leaf) -> int:
    match leaf:
        case spaces.Discrete():
            return int(leaf.n)
        case spaces.MultiDiscrete():
            return sum(leaf.nvec.ravel().tolist())
        case spaces.Text():
            return leaf.max_length
    return math.prod(leaf.shape)


def _flatten(leaf: _Leaf, value: Any) -> NDArray[Any] | None:
    """Return the vector of a leaf's value; None for a text with characters that the space lacks."""
    match leaf:
        case spaces.Discrete():
            return _one_hot(_length(leaf), int(fit(leaf, value)) - int(leaf.start))
        case spaces.MultiDiscrete():
            indices = (np.asarray(fit(leaf, value)) - leaf.start).ravel().astype(np.int64)
            return _one_hot(_length(leaf), _offsets(leaf)[:-1] + indices)
        case spaces.Text():
            return _positions(leaf, utf8(value))
    return np.asarray(fit(leaf, value)).reshape(-1)


def _one_hot(length: int, positions: int | NDArray[np.int64]) -> NDArray[np.int64]:
    vector = np.zeros(length, dtype=np.int64)
    vector[positions] = 1
    return vector


def _offsets(space: spaces.MultiDiscrete) -> NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(space.nvec.ravel(), dtype=np.int64)))


def _positions(space: spaces.Text, text: str) -> NDArray[np.int32] | None:
    characters = {character: position for position, character in enumerate(sorted(space.character_set))}
    if len(text) > space.max_length or not space.character_set.issuperset(text):
        return None
    positions = np.full(space.max_length, len(characters), dtype=np.int32)
    positions[: len(text)] = [characters[character] for character in text]
    return positions


def _unflatten(leaf: _Leaf, vector: NDArray[Any]) -> Any:
    match leaf:
        case spaces.Discrete():
            return fit(leaf, int(leaf.start) + int(_hot(vector, 1, leaf)[0]))
        case spaces.MultiDiscrete():
            offsets = _offsets(leaf)
            hot = _hot(vector, leaf.nvec.size, leaf)
            if np.any(hot < offsets[:-1]) or np.any(hot >= offsets[1:]):
                raise SpecError(
                    f"a flattened value of {leaf} must be one-hot in each stretch: {shown(vector)}"
                )
            return (hot - offsets[:-1]).reshape(leaf.shape).astype(leaf.dtype) + leaf.start
        case spaces.Text():
            characters = sorted(leaf.character_set)
            positions = cast_array(vector, np.dtype(np.int64), "a flattened Text value")
            if np.any(positions < 0):
                raise SpecError(f"a flattened Text value holds the position {positions.min()}")
            return "".join(characters[position] for position in positions if position < len(characters))
    return fit(leaf, vector.reshape(leaf.shape))


def _hot(vector: NDArray[Any], count: int, space: Space[Any]) -> NDArray[np.int64]:
    """Return the positions of the ``count`` entries that are set."""
    hot = np.flatnonzero(vector)
    if hot.size != count:
        raise SpecError(f"a flattened value of {space} must have {count} one-hot entries, not {hot.size}")
    return hot
