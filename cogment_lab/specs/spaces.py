"""Gymnasium spaces <-> ``Space`` messages and bytes."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError
from gymnasium import Space, spaces

from cogment_lab.errors import SpecError
from cogment_lab.specs import leaf_spaces as leaf
from cogment_lab.specs.generated import spaces_pb2 as pb

__all__ = ["space_from_bytes", "space_from_message", "space_to_bytes", "space_to_message"]

MAX_DEPTH = 24
"""Levels of nested spaces; protobuf parses 100 levels of messages, and a Dict takes three of them."""


def space_to_message(space: Space[Any]) -> pb.Space:
    """Return the message of a space.

    Dtype, shape, bounds (infinities included), ``start``, the order of a Dict's keys and of a Text's
    characters are kept; the random generator is not. A space that Cogment Lab 0.1.5 knows is written so that
    0.1.5 reads it.

    Args:
        space: One of Gymnasium's own spaces, or of a class derived from one (it comes back as Gymnasium's).

    Raises:
        SpecError: Another kind of space, a Dict key that is no string, or more than 24 levels.
    """
    return _to_message(space, 1)


def space_from_message(message: pb.Space) -> Space[Any]:
    """Return the space of a message that this package or Cogment Lab 0.1.5 wrote.

    Raises:
        SpecError: The message holds no space that can be built.
    """
    try:
        return _from_message(message, 1)
    except (ValueError, TypeError, AssertionError, OverflowError) as error:
        if isinstance(error, SpecError):
            raise
        raise SpecError(f"Gymnasium refuses the space of this message: {error}") from error


def space_to_bytes(space: Space[Any]) -> bytes:
    """Return the serialized message of a space; equal spaces give equal bytes."""
    return space_to_message(space).SerializeToString(deterministic=True)


def space_from_bytes(data: bytes) -> Space[Any]:
    """Return the space that :func:`space_to_bytes` wrote.

    Raises:
        SpecError: ``data`` is no message, or holds no space that can be built.
    """
    try:
        message = pb.Space.FromString(data)
    except DecodeError as error:
        raise SpecError(
            f"{len(data)} bytes are no Space message: {error}; write them with space_to_bytes"
        ) from error
    return space_from_message(message)


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise SpecError(f"spaces nested deeper than {MAX_DEPTH} levels are refused; flatten some of them")


def _to_message(space: Space[Any], depth: int) -> pb.Space:
    _check_depth(depth)
    match space:
        case spaces.Box():
            return pb.Space(box=leaf.box_to_message(space))
        case spaces.Discrete():
            return pb.Space(discrete=leaf.discrete_to_message(space))
        case spaces.MultiBinary():
            return pb.Space(multi_binary=leaf.multi_binary_to_message(space))
        case spaces.MultiDiscrete():
            return pb.Space(multi_discrete=leaf.multi_discrete_to_message(space))
        case spaces.Text():
            return pb.Space(text=leaf.text_to_message(space))
        case spaces.Dict():
            return pb.Space(dict=_dict_to_message(space, depth))
        case spaces.Tuple():
            return pb.Space(tuple=pb.Tuple(spaces=[_to_message(item, depth + 1) for item in space.spaces]))
        case spaces.OneOf():
            return pb.Space(one_of=pb.OneOf(spaces=[_to_message(item, depth + 1) for item in space.spaces]))
        case spaces.Sequence():
            feature = _to_message(space.feature_space, depth + 1)
            return pb.Space(sequence=pb.Sequence(feature_space=feature, stack=bool(space.stack)))
        case spaces.Graph():
            edge = None if space.edge_space is None else _to_message(space.edge_space, depth + 1)
            return pb.Space(
                graph=pb.Graph(node_space=_to_message(space.node_space, depth + 1), edge_space=edge)
            )
    raise SpecError(
        f"{type(space).__name__} is not one of Gymnasium's spaces and cannot be sent: {space!r}; "
        "wrap the environment so that it uses one of them"
    )


def _dict_to_message(space: spaces.Dict, depth: int) -> pb.Dict:
    message = pb.Dict(unsorted=not getattr(space, "sort_keys", True))  # Gymnasium 1.0 always sorts
    for key, item in space.spaces.items():
        message.spaces.add(key=leaf.utf8(key), space=_to_message(item, depth + 1))
    return message


def _from_message(message: pb.Space, depth: int) -> Space[Any]:
    _check_depth(depth)
    match message.WhichOneof("kind"):
        case "box":
            return leaf.box_from_message(message.box)
        case "discrete":
            return leaf.discrete_from_message(message.discrete)
        case "multi_binary":
            return leaf.multi_binary_from_message(message.multi_binary)
        case "multi_discrete":
            return leaf.multi_discrete_from_message(message.multi_discrete)
        case "text":
            return leaf.text_from_message(message.text)
        case "dict":
            return _dict_from_message(message.dict, depth)
        case "tuple":
            return spaces.Tuple([_from_message(item, depth + 1) for item in message.tuple.spaces])
        case "one_of":
            return spaces.OneOf([_from_message(item, depth + 1) for item in message.one_of.spaces])
        case "sequence":
            feature = _from_message(message.sequence.feature_space, depth + 1)
            return spaces.Sequence(feature, stack=message.sequence.stack)
        case "graph":
            has_edges = message.graph.HasField("edge_space")
            edge = _from_message(message.graph.edge_space, depth + 1) if has_edges else None
            return spaces.Graph(_from_message(message.graph.node_space, depth + 1), edge)
    raise SpecError(
        "the Space message has no kind that this version knows; it is empty, or a newer cogment_lab wrote it"
    )


def _dict_from_message(message: pb.Dict, depth: int) -> spaces.Dict:
    items = [(item.key, _from_message(item.space, depth + 1)) for item in message.spaces]
    keys = [key for key, _ in items]
    if len(set(keys)) != len(keys):
        raise SpecError(f"a Dict message names a key twice: {keys}")
    space = spaces.Dict(items)
    if message.unsorted:
        space.sort_keys = False
    return space
