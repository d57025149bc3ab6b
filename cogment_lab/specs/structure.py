"""The parts of a value, checked against its space: what both directions, writing and reading, agree on."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from cogment_lab.errors import SpecError
from cogment_lab.specs.casting import cast_array
from cogment_lab.specs.shown import shown

__all__ = [
    "ArraySpace",
    "check_graph",
    "choice",
    "dict_items",
    "fit",
    "fit_stack",
    "stack_length",
    "tuple_items",
]

ArraySpace = spaces.Box | spaces.Discrete | spaces.MultiBinary | spaces.MultiDiscrete
"""The spaces whose values are arrays or NumPy scalars."""


def fit(space: ArraySpace, value: Any) -> NDArray[Any] | np.generic:
    """Return ``value`` with the dtype and shape of ``space``; a Discrete value as a NumPy integer.

    Bounds of a Box and the 0 or 1 of a MultiBinary are not checked: environments leave them.

    Raises:
        SpecError: Another shape, numbers that the dtype cannot hold, or an index that the space lacks.
    """
    array = _cast(space, value)
    if array.shape != space.shape:
        raise SpecError(
            f"a {type(space).__name__} value of shape {array.shape} does not fit the space's {space.shape}: "
            f"{shown(value)}"
        )
    _check_range(space, array)
    is_scalar = array.ndim == 0 and (isinstance(value, np.generic) or isinstance(space, spaces.Discrete))
    return array[()] if is_scalar else array


def fit_stack(space: ArraySpace, values: Any) -> NDArray[Any]:
    """Return stacked ``values`` of ``space`` as one array ``(n, *space.shape)``.

    Raises:
        SpecError: As :func:`fit` does.
    """
    array = _cast(space, values)
    if array.ndim == 0 or array.shape[1:] != space.shape:
        raise SpecError(
            f"stacked {type(space).__name__} values of shape {array.shape} do not fit the space's "
            f"{space.shape}; the first axis counts them"
        )
    _check_range(space, array)
    return array


def _cast(space: ArraySpace, value: Any) -> NDArray[Any]:
    return cast_array(value, space.dtype, f"a {type(space).__name__} value")


def _check_range(space: ArraySpace, array: NDArray[Any]) -> None:
    match space:
        case spaces.Discrete():
            lowest, highest = int(space.start), int(space.start) + int(space.n) - 1
            is_inside = array.size == 0 or (lowest <= int(array.min()) and int(array.max()) <= highest)
        case spaces.MultiDiscrete():
            is_inside = bool(np.all(array >= space.start) and np.all(array <= space.start + (space.nvec - 1)))
        case _:
            return
    if not is_inside:
        raise SpecError(f"{shown(array.tolist())} is not in {space}")


def dict_items(space: spaces.Dict, value: Any) -> list[Any]:
    """Return the values of a dict in the order of the space's keys.

    Raises:
        SpecError: No dict, or one with other keys.
    """
    if not isinstance(value, dict):
        raise SpecError(f"a Dict value must be a dict, not {type(value).__name__}: {shown(value)}")
    if value.keys() != space.spaces.keys():
        missing, unknown = space.spaces.keys() - value.keys(), value.keys() - space.spaces.keys()
        raise SpecError(f"a Dict value has other keys than its space: missing {missing}, unknown {unknown}")
    return [value[key] for key in space.spaces]


def tuple_items(value: Any, length: int | None = None) -> list[Any]:
    """Return the items of a Tuple or Sequence value.

    Raises:
        SpecError: Neither tuple nor list, or not of the given length.
    """
    if not isinstance(value, tuple | list):
        raise SpecError(f"expected a tuple, not {type(value).__name__}: {shown(value)}")
    if length is not None and len(value) != length:
        raise SpecError(f"a tuple of {len(value)} items, but the space has {length}: {shown(value)}")
    return list(value)


def choice(space: spaces.OneOf[Any], value: Any) -> tuple[int, Any]:
    """Return index and value of a OneOf value.

    Raises:
        SpecError: No pair, or an index that the space does not have.
    """
    index, item = tuple_items(value, 2)
    if not isinstance(index, int | np.integer) or not 0 <= index < len(space.spaces):
        raise SpecError(f"a OneOf value begins with an index below {len(space.spaces)}, not {index!r}")
    return int(index), item


def stack_length(space: Space[Any], stack: Any) -> int:
    """Return how many values of ``space`` are stacked in ``stack`` (which has the structure of a stack).

    Raises:
        SpecError: The parts of a stacked Dict or Tuple differ in length.
    """
    lengths = _stack_lengths(space, stack)
    if len(lengths) > 1:
        raise SpecError(
            f"the parts of stacked {type(space).__name__} values differ in length: {sorted(lengths)}"
        )
    return max(lengths, default=0)


def _stack_lengths(space: Space[Any], stack: Any) -> set[int]:
    match space:
        case spaces.Dict():
            parts = [(item, stack[key]) for key, item in space.spaces.items()]
        case spaces.Tuple():
            parts = list(zip(space.spaces, stack, strict=True))
        case _:
            return {len(stack)}
    return set().union(*(_stack_lengths(item, part) for item, part in parts))


def check_graph(space: spaces.Graph, value: Any) -> None:
    """Check nodes, edges and links of a GraphInstance against each other.

    Raises:
        SpecError: Edges without links or links without edges, links that are not integers ``(n_edges, 2)``,
            or one that names a node which is not there.
    """
    if (value.edges is None) != (value.edge_links is None):
        raise SpecError("a GraphInstance has both edges and edge_links, or neither")
    n_nodes = stack_length(space.node_space, value.nodes)
    if value.edges is None or space.edge_space is None:
        return
    n_edges, links = stack_length(space.edge_space, value.edges), np.asarray(value.edge_links)
    if links.dtype.kind not in "iu" or links.shape != (n_edges, 2):
        raise SpecError(f"edge_links must be integers ({n_edges}, 2), not {links.dtype} {links.shape}")
    if np.any(links < 0) or np.any(links >= n_nodes):
        raise SpecError(f"edge_links name nodes up to {links.max()}, but there are {n_nodes}")
