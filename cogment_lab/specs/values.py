"""Values of Gymnasium spaces <-> ``SpaceValue`` messages and bytes, exactly.

A value comes back as its space's ``sample()`` would return it: an array of the space's dtype and shape, a
NumPy integer for Discrete, str, tuple, dict, GraphInstance. What only concerns membership is not checked: an
observation may leave the bounds of its Box, hold NaN, or be a text of other characters. An index that a
Discrete, MultiDiscrete or OneOf space lacks is refused, since somebody would look something up with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from gymnasium import Space, spaces

from cogment_lab.errors import SpecError
from cogment_lab.specs.arrays import array_from_message, array_to_message
from cogment_lab.specs.generated import values_pb2 as pb
from cogment_lab.specs.leaf_spaces import utf8
from cogment_lab.specs.structure import (
    check_graph,
    choice,
    dict_items,
    fit,
    fit_stack,
    stack_length,
    tuple_items,
)

__all__ = ["value_from_bytes", "value_from_message", "value_to_bytes", "value_to_message"]

_Writer = Callable[[Space[Any], Any], pb.SpaceValue]
_Reader = Callable[[Space[Any], pb.SpaceValue], Any]


def value_to_message(space: Space[Any], value: Any) -> pb.SpaceValue:
    """Return the message of a value of ``space``.

    Args:
        space: One of Gymnasium's spaces.
        value: What ``space.sample()`` may return, or what casts to it without loss (Python numbers, lists,
            smaller integers; float64 is rounded to float32).

    Raises:
        SpecError: The value has another structure, shape or kind of numbers than the space.
    """
    match space:
        case spaces.Box() | spaces.Discrete() | spaces.MultiBinary() | spaces.MultiDiscrete():
            return pb.SpaceValue(array=array_to_message(fit(space, value)))
        case spaces.Text():
            return pb.SpaceValue(text=utf8(value))
        case spaces.Dict():
            return _write_items(value_to_message, space.spaces.values(), dict_items(space, value))
        case spaces.Tuple():
            return _write_items(value_to_message, space.spaces, tuple_items(value, len(space.spaces)))
        case spaces.Sequence():
            return _write_sequence(space, value)
        case spaces.Graph():
            return _write_graph(space, value)
        case spaces.OneOf():
            index, item = choice(space, value)
            item_message = value_to_message(space.spaces[index], item)
            return pb.SpaceValue(choice=pb.SpaceValue.Choice(index=index, value=item_message))
    raise SpecError(f"{type(space).__name__} is not one of Gymnasium's spaces: {space!r}")


def value_from_message(space: Space[Any], message: pb.SpaceValue) -> Any:
    """Return the value of a message that :func:`value_to_message` wrote for the same space.

    Raises:
        SpecError: The message does not fit the space.
    """
    match space:
        case spaces.Box() | spaces.Discrete() | spaces.MultiBinary() | spaces.MultiDiscrete():
            return fit(space, array_from_message(_part(space, message, "array")))
        case spaces.Text():
            return _part(space, message, "text")
        case spaces.Dict():
            values = _read_items(value_from_message, space, space.spaces.values(), message)
            return dict(zip(space.spaces, values, strict=True))
        case spaces.Tuple():
            return tuple(_read_items(value_from_message, space, space.spaces, message))
        case spaces.Sequence():
            return _read_sequence(space, message)
        case spaces.Graph():
            return _read_graph(space, message)
        case spaces.OneOf():
            part = _part(space, message, "choice")
            index, item = choice(space, (part.index, part.value))
            return np.int64(index), value_from_message(space.spaces[index], item)
    raise SpecError(f"{type(space).__name__} is not one of Gymnasium's spaces: {space!r}")


def value_to_bytes(space: Space[Any], value: Any) -> bytes:
    """Return the serialized message of a value; equal values give equal bytes."""
    return value_to_message(space, value).SerializeToString(deterministic=True)


def value_from_bytes(space: Space[Any], data: bytes) -> Any:
    """Return the value that :func:`value_to_bytes` wrote for the same space.

    Raises:
        SpecError: ``data`` is no message, or does not fit the space.
    """
    try:
        message = pb.SpaceValue.FromString(data)
    except DecodeError as error:
        raise SpecError(
            f"{len(data)} bytes are no SpaceValue message: {error}; use value_to_bytes"
        ) from error
    return value_from_message(space, message)


def _part(space: Space[Any], message: pb.SpaceValue, kind: str) -> Any:
    found = message.WhichOneof("kind")
    if found != kind:
        raise SpecError(f"the message of a {type(space).__name__} value must hold {kind}, but holds {found}")
    return getattr(message, kind)


def _write_items(write: _Writer, items: Iterable[Space[Any]], values: list[Any]) -> pb.SpaceValue:
    messages = [write(item, value) for item, value in zip(items, values, strict=True)]
    return pb.SpaceValue(items=pb.SpaceValue.Items(items=messages))


def _read_items(
    read: _Reader, space: Space[Any], items: Iterable[Space[Any]], message: pb.SpaceValue
) -> list[Any]:
    items, messages = list(items), _part(space, message, "items").items
    if len(messages) != len(items):
        raise SpecError(
            f"a {type(space).__name__} value of {len(messages)} items; its space has {len(items)}"
        )
    return [read(item, item_message) for item, item_message in zip(items, messages, strict=True)]


def _write_sequence(space: spaces.Sequence, value: Any) -> pb.SpaceValue:
    if not space.stack:
        values = tuple_items(value)
        return _write_items(value_to_message, [space.feature_space] * len(values), values)
    message = _write_stack(space.feature_space, value)
    stack_length(space.feature_space, value)
    return message


def _read_sequence(space: spaces.Sequence, message: pb.SpaceValue) -> Any:
    if not space.stack:
        items = _part(space, message, "items").items
        return tuple(value_from_message(space.feature_space, item) for item in items)
    stack = _read_stack(space.feature_space, message)
    stack_length(space.feature_space, stack)
    return stack


def _write_graph(space: spaces.Graph, value: Any) -> pb.SpaceValue:
    if not isinstance(value, spaces.GraphInstance):
        raise SpecError(f"a Graph value must be a GraphInstance, not {type(value).__name__}")
    parts = pb.SpaceValue.GraphParts(nodes=_write_stack(space.node_space, value.nodes))
    if value.edges is not None:
        parts.edges.CopyFrom(_write_stack(_edge_space(space), value.edges))
    check_graph(space, value)
    if value.edge_links is not None:
        parts.edge_links.CopyFrom(array_to_message(value.edge_links))
    return pb.SpaceValue(graph=parts)


def _read_graph(space: spaces.Graph, message: pb.SpaceValue) -> spaces.GraphInstance:
    parts = _part(space, message, "graph")
    value = spaces.GraphInstance(
        nodes=_read_stack(space.node_space, parts.nodes),
        edges=_read_stack(_edge_space(space), parts.edges) if parts.HasField("edges") else None,
        edge_links=array_from_message(parts.edge_links) if parts.HasField("edge_links") else None,
    )
    check_graph(space, value)
    return value


def _edge_space(space: spaces.Graph) -> Space[Any]:
    if space.edge_space is None:
        raise SpecError("a Graph value has edges, but its space has none; set edges and edge_links to None")
    return space.edge_space


def _write_stack(space: Space[Any], stack: Any) -> pb.SpaceValue:
    """Return the message of several values of ``space``, stacked as Gymnasium's ``concatenate`` does.

    Arrays get a first axis; Dict and Tuple hold stacks; of everything else a tuple holds the values.
    """
    match space:
        case spaces.Box() | spaces.Discrete() | spaces.MultiBinary() | spaces.MultiDiscrete():
            return pb.SpaceValue(array=array_to_message(fit_stack(space, stack)))
        case spaces.Dict():
            return _write_items(_write_stack, space.spaces.values(), dict_items(space, stack))
        case spaces.Tuple():
            return _write_items(_write_stack, space.spaces, tuple_items(stack, len(space.spaces)))
    values = tuple_items(stack)
    return _write_items(value_to_message, [space] * len(values), values)


def _read_stack(space: Space[Any], message: pb.SpaceValue) -> Any:
    match space:
        case spaces.Box() | spaces.Discrete() | spaces.MultiBinary() | spaces.MultiDiscrete():
            return fit_stack(space, array_from_message(_part(space, message, "array")))
        case spaces.Dict():
            stacks = _read_items(_read_stack, space, space.spaces.values(), message)
            return dict(zip(space.spaces, stacks, strict=True))
        case spaces.Tuple():
            return tuple(_read_items(_read_stack, space, space.spaces, message))
    return tuple(value_from_message(space, item) for item in _part(space, message, "items").items)
