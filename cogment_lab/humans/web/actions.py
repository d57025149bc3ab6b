"""From what the page's controls say, which is JSON, to an action; or why it is none."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from cogment_lab.errors import InvalidActionError

__all__ = ["parse_action"]


def parse_action(value: Any, space: gym.Space[Any], rest: Any = None, *, bounded: bool = True) -> Any:
    """Return the action of ``space`` that ``value`` says.

    Args:
        value: Numbers, text, lists (nested or flat) and objects, as JSON gives them. ``None`` in the place
            of the whole, of a component of a Box, MultiBinary or MultiDiscrete, or of a part of a Dict or
            Tuple, leaves that to ``rest``.
        space: The action space.
        rest: An action of the space (the player's), or an array of NaN for a Box of floats.
        bounded: Whether numbers must lie within a Box; added ones need not.

    Raises:
        InvalidActionError: it is no action of the space; the message says which part, and why.
    """
    return _parse(value, space, rest, bounded, "the action")


def _parse(value: Any, space: gym.Space[Any], rest: Any, bounded: bool, where: str) -> Any:
    if value is None:
        if rest is None:
            raise InvalidActionError(f"{where} is left out, and nobody else decides it")
        return rest
    if isinstance(space, spaces.Discrete):
        return space.dtype.type(_checked(_whole(value, where), space, value, where))
    if isinstance(space, spaces.Box | spaces.MultiBinary | spaces.MultiDiscrete):
        return _array(value, space, rest, bounded, where)
    if isinstance(space, spaces.Text):
        if not isinstance(value, str):
            raise InvalidActionError(f"{where} is text, not {_short(value)}")
        return _checked(value, space, value, where)
    if isinstance(space, spaces.Dict):
        return _mapping(value, space, rest, bounded, where)
    if isinstance(space, spaces.Tuple):
        if not isinstance(value, list) or len(value) != len(space.spaces):
            raise InvalidActionError(f"{where} has {len(space.spaces)} parts, and this is {_short(value)}")
        rests = rest if rest is not None else [None] * len(value)
        parts = zip(value, space.spaces, rests, strict=True)
        return tuple(_parse(*part, bounded, f"part {index} of {where}") for index, part in enumerate(parts))
    raise InvalidActionError(f"{where} is of {space}, for which the page has no controls")


def _mapping(value: Any, space: spaces.Dict, rest: Any, bounded: bool, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping) or value.keys() - space.spaces.keys():
        names = ", ".join(map(repr, space.spaces))
        raise InvalidActionError(f"{where} has the parts {names}, and this is {_short(value)}")
    return {
        name: _parse(
            value.get(name), part, None if rest is None else rest[name], bounded, f"{name!r} of {where}"
        )
        for name, part in space.spaces.items()
    }


def _array(
    value: Any,
    space: spaces.Box | spaces.MultiBinary | spaces.MultiDiscrete,
    rest: Any,
    bounded: bool,
    where: str,
) -> Any:
    given = _flat(value)
    size = math.prod(space.shape or ())
    if len(given) != size:
        raise InvalidActionError(f"{where} has {size} components, not {len(given)}")
    if any(part is None for part in given):
        if rest is None:
            raise InvalidActionError(f"a component of {where} is left out, and nobody else decides it")
        others = np.asarray(rest).reshape(-1)
    assert space.dtype is not None
    array = np.zeros(size, space.dtype)
    real = np.issubdtype(space.dtype, np.floating)
    said = np.zeros(size, np.bool_)
    for index, part in enumerate(given):
        if part is None:
            array[index] = others[index]
            continue
        said[index] = True
        number = _real(part, where) if real else _whole(part, where)
        if not real and not _fits(number, space.dtype):
            raise InvalidActionError(f"{where} holds {_short(part)}, which is no {space.dtype}")
        with np.errstate(over="ignore"):
            array[index] = number
        if real and not np.isfinite(array[index]):
            raise InvalidActionError(f"{where} holds {_short(part)}, which is no {space.dtype}")
    shaped = array.reshape(space.shape)
    if not isinstance(space, spaces.Box):
        return _checked(shaped, space, value, where)
    low, high = space.low.reshape(-1), space.high.reshape(-1)
    if bounded and not (((array >= low) & (array <= high)) | ~said).all():
        raise InvalidActionError(f"{where} lies outside {space}: {_short(value)}")
    return shaped


def _flat(value: Any) -> list[Any]:
    if not isinstance(value, list):
        return [value]
    return [part for each in value for part in _flat(each)]


def _real(value: Any, where: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) or not isinstance(value, int | float) else float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InvalidActionError(f"{where} holds {_short(value)}, which is no number")
    return number


def _whole(value: Any, where: str) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        return operator.index(value)
    except TypeError:
        raise InvalidActionError(f"{where} holds {_short(value)}, which is no whole number") from None


def _fits(number: float, dtype: np.dtype[Any]) -> bool:
    limits = np.iinfo(dtype)
    return bool(limits.min <= number <= limits.max)


def _checked(action: Any, space: gym.Space[Any], value: Any, where: str) -> Any:
    if isinstance(space, spaces.Discrete):
        inside = int(space.start) <= action < int(space.start) + int(space.n)
    else:
        inside = bool(space.contains(action))
    if not inside:
        raise InvalidActionError(f"{where} lies outside {space}: {_short(value)}")
    return action


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
