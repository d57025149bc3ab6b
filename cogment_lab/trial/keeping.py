"""Observations that stay what they were until they are recorded: some environments reuse their memory."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

__all__ = ["ObservationKeeper", "keep"]

_TICKS_WATCHED = 2  # of each trial: what reset returns may be another array than what steps do


class ObservationKeeper:
    """Copies observations where the environment reuses their memory, and finds out whether it does.

    Attributes:
        watches: Whether to call :meth:`keep` with the next observation; otherwise it may be kept as it is.
    """

    __slots__ = ("_is_reused", "_left", "_previous", "watches")

    def __init__(self) -> None:
        self._is_reused = False
        self._left = 0
        self._previous: Any = None
        self.watches = True

    def begin(self, observation: Any) -> Any:
        """Return the first observation of a trial, to be kept."""
        self.watches = True
        self._left = _TICKS_WATCHED
        self._previous = observation
        return keep(observation)

    def keep(self, observation: Any) -> Any:
        """Return the next observation, to be kept."""
        self._is_reused = self._is_reused or shares_memory(observation, self._previous)
        self._previous = observation
        self._left -= 1
        self.watches = self._is_reused or self._left > 0
        return keep(observation)


def keep(observation: Any) -> Any:
    """Return a copy."""
    return observation.copy() if isinstance(observation, np.ndarray) else copy.deepcopy(observation)


def shares_memory(one: Any, other: Any) -> bool:
    """Return whether writing into ``one`` may change ``other``."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.may_share_memory(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one is other or any(shares_memory(one[key], other[key]) for key in one.keys() & other.keys())
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        is_same = one is other and isinstance(one, list)
        return is_same or any(map(shares_memory, one, other))
    return False
