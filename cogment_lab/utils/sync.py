"""``Cogment`` for code without ``await``."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from cogment_lab.wire.loop_thread import LoopThread

__all__ = ["SyncCogment"]


class SyncCogment:
    """A :class:`cogment_lab.Cogment` on an event loop of its own; every method waits for its result.

    Args:
        **arguments: Those of ``Cogment``.
    """

    def __init__(self, **arguments: Any) -> None:
        from cogment_lab.process_manager import Cogment

        self._loop = LoopThread("cogment_lab Cogment")

        async def make() -> Cogment:
            return Cogment(**arguments)

        try:
            self._cogment = self._loop.run(make())
        except BaseException:
            self._loop.close()
            raise

    def __enter__(self) -> SyncCogment:
        return self

    def __exit__(self, *exception: object) -> None:
        self.cleanup()

    def cleanup(self, timeout: float = 1.0) -> None:
        """Stop everything; idempotent."""
        if self._loop.is_open:
            self._loop.run(self._cogment.cleanup(timeout))
            self._loop.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        value = getattr(self._cogment, name)
        if not callable(value):
            return value

        @functools.wraps(value)
        def call(*args: Any, **kwargs: Any) -> Any:
            async def work() -> Any:
                result = value(*args, **kwargs)
                return await result if inspect.isawaitable(result) and name != "run_local_actor" else result

            return self._loop.run(work())

        return call
