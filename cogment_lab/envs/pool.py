"""Environment instances: one for each trial at a time, used again for the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["EnvPool"]


class EnvPool:
    """Makes environments when all it has are in use.

    Args:
        make: Returns a new environment.
        reuse: Whether an environment serves several trials, one after the other.
    """

    def __init__(self, make: Callable[[], Any], *, reuse: bool = True) -> None:
        self._make = make
        self._reuse = reuse
        self._idle: list[Any] = []

    def take(self) -> Any:
        """Return an environment that nobody uses."""
        return self._idle.pop() if self._idle else self._make()

    def give_back(self, env: Any, *, usable: bool = True) -> None:
        """Keep ``env`` for the next trial, or close it."""
        if self._reuse and usable:
            self._idle.append(env)
        else:
            env.close()

    def close(self) -> None:
        """Close the environments that nobody uses."""
        while self._idle:
            self._idle.pop().close()
