"""Gymnasium spaces that contain no other space <-> messages."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gymnasium import spaces

from cogment_lab.errors import SpecError
from cogment_lab.specs.arrays import array_from_message, array_to_message
from cogment_lab.specs.generated import spaces_pb2 as pb
from cogment_lab.specs.shown import shown

__all__ = [
    "box_from_message",
    "box_to_message",
    "discrete_from_message",
    "discrete_to_message",
    "multi_binary_from_message",
    "multi_binary_to_message",
    "multi_discrete_from_message",
    "multi_discrete_to_message",
    "text_from_message",
    "text_to_message",
    "utf8",
]

MAX_BINARIES = 2**24
"""Largest MultiBinary: a few bytes from the network declare it, and batching it would allocate it."""

_INT32 = np.iinfo(np.int32)
_MAX_UINT64 = 2**64 - 1


def box_to_message(space: spaces.Box) -> pb.Box:
    """Return the message of a box; an integer box's infinities, for which a dtype has no number, too."""
    message = pb.Box(low=array_to_message(space.low), high=array_to_message(space.high))
    if space.dtype.kind in "iu":
        if not space.bounded_below.all():
            message.unbounded_below.CopyFrom(array_to_message(~space.bounded_below))
        if not space.bounded_above.all():
            message.unbounded_above.CopyFrom(array_to_message(~space.bounded_above))
    return message


def box_from_message(message: pb.Box) -> spaces.Box:
    """Return the box of a message; its dtype is that of the bounds."""
    low, high = np.asarray(array_from_message(message.low)), np.asarray(array_from_message(message.high))
    if (low.shape, low.dtype) != (high.shape, high.dtype):
        raise SpecError(
            f"the bounds of a Box differ: low is {low.dtype} {low.shape}, high is {high.dtype} {high.shape}"
        )
    space = spaces.Box(low, high, shape=low.shape, dtype=low.dtype)
    if message.HasField("unbounded_below"):
        space.bounded_below = ~_mask(message.unbounded_below, low.shape)
    if message.HasField("unbounded_above"):
        space.bounded_above = ~_mask(message.unbounded_above, low.shape)
    return space


def _mask(message: Any, shape: tuple[int, ...]) -> Any:
    mask = np.asarray(array_from_message(message))
    if mask.shape != shape or mask.dtype != np.bool_:
        raise SpecError(f"the mask of a Box's infinities is {mask.dtype} {mask.shape}, not bool {shape}")
    return mask


def discrete_to_message(space: spaces.Discrete) -> pb.Discrete:
    """Return the message of a Discrete space of any integer dtype."""
    n, start = int(space.n), int(space.start)
    n_fits, start_fits = n <= _INT32.max, _INT32.min <= start <= _INT32.max
    message = pb.Discrete(n=n if n_fits else 0, start=start if start_fits else 0)
    if not (n_fits and start_fits and space.dtype == np.int64):
        message.exact.CopyFrom(array_to_message(np.array([n, start], dtype=space.dtype)))
    return message


def discrete_from_message(message: pb.Discrete) -> spaces.Discrete:
    """Return the Discrete space of a message."""
    if not message.HasField("exact"):
        return spaces.Discrete(message.n, start=message.start)
    exact = array_from_message(message.exact)
    if exact.shape != (2,):
        raise SpecError(f"Discrete.exact must be [n, start], but has the shape {exact.shape}")
    n, start = exact.tolist()
    if exact.dtype == np.int64:  # Gymnasium 1.0 has no other, nor the argument
        return spaces.Discrete(n, start=start)
    return spaces.Discrete(n, start=start, dtype=exact.dtype.type)


def multi_binary_to_message(space: spaces.MultiBinary) -> pb.MultiBinary:
    """Return the message of a MultiBinary space of one or several axes."""
    _check_binaries(space.shape)
    n_is_tuple = isinstance(space.n, tuple)
    return pb.MultiBinary(n=array_to_message(np.array(space.shape, dtype=np.int32)), n_is_tuple=n_is_tuple)


def multi_binary_from_message(message: pb.MultiBinary) -> spaces.MultiBinary:
    """Return the MultiBinary space of a message."""
    n = np.asarray(array_from_message(message.n))
    if n.ndim != 1 or n.dtype.kind not in "iu":
        raise SpecError(f"MultiBinary.n must be one integer per axis, but is {n.dtype} {n.shape}")
    shape = tuple(n.tolist())
    _check_binaries(shape)
    return spaces.MultiBinary(shape if message.n_is_tuple or len(shape) != 1 else shape[0])


def _check_binaries(shape: tuple[int, ...]) -> None:
    if math.prod(shape) > MAX_BINARIES:
        raise SpecError(f"MultiBinary of shape {shape} has more than {MAX_BINARIES} entries; split it")


def multi_discrete_to_message(space: spaces.MultiDiscrete) -> pb.MultiDiscrete:
    """Return the message of a MultiDiscrete space of any integer dtype."""
    message = pb.MultiDiscrete(nvec=array_to_message(space.nvec))
    if np.any(space.start != 0):
        message.start.CopyFrom(array_to_message(space.start))
    return message


def multi_discrete_from_message(message: pb.MultiDiscrete) -> spaces.MultiDiscrete:
    """Return the MultiDiscrete space of a message."""
    nvec = np.asarray(array_from_message(message.nvec))
    start = np.asarray(array_from_message(message.start)) if message.HasField("start") else None
    if start is not None and start.dtype != nvec.dtype:
        raise SpecError(f"MultiDiscrete.start is {start.dtype}, but nvec is {nvec.dtype}")
    return spaces.MultiDiscrete(nvec, dtype=nvec.dtype.type, start=start)


def text_to_message(space: spaces.Text) -> pb.Text:
    """Return the message of a Text space, the order of its characters included."""
    if space.max_length > _MAX_UINT64:
        raise SpecError(
            f"Text(max_length={space.max_length}) is longer than {_MAX_UINT64}; give a smaller one"
        )
    message = pb.Text(charset=utf8("".join(sorted(space.character_set))))
    for name, length in (("max_length", space.max_length), ("min_length", space.min_length)):
        setattr(message, name if length <= _INT32.max else f"long_{name}", length)
    ordered = "".join(dict.fromkeys(space.character_list))
    if ordered != message.charset:
        message.ordered_charset = ordered
    return message


def text_from_message(message: pb.Text) -> spaces.Text:
    """Return the Text space of a message."""
    return spaces.Text(
        max_length=message.long_max_length or message.max_length,
        min_length=message.long_min_length or message.min_length,
        charset=message.ordered_charset or message.charset,
    )


def utf8(text: str) -> str:
    """Return ``text``, if it can be sent.

    Raises:
        SpecError: It is no string, or holds half a surrogate pair, which has no UTF-8.
    """
    if not isinstance(text, str):
        raise SpecError(f"expected a str, not {type(text).__name__}: {shown(text)}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SpecError(
            f"{shown(text)} cannot be written as UTF-8 ({error.reason}); remove that character"
        ) from error
    return text
