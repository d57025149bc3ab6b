"""Calling asyncio code from code that is not: an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from cogment_lab.errors import ServiceTimeoutError

__all__ = ["LoopThread"]

T = TypeVar("T")
_STOP_SECONDS = 10.0


class LoopThread:
    """Owns a thread that runs an event loop, until :meth:`close`.

    Works wherever the caller is: in a script, in a notebook whose own loop is running, in a learner's thread.

    Args:
        name: Name of the thread.
    """

    def __init__(self, name: str = "cogment_lab loop") -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    @property
    def is_open(self) -> bool:
        """Whether it was not closed yet."""
        return not self._loop.is_closed()

    def run(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run ``work`` on the loop and return its result.

        Raises:
            ServiceTimeoutError: it took longer than ``timeout`` seconds; it is cancelled.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout)
        except concurrent.futures.TimeoutError:
            if future.done():
                raise  # a TimeoutError of the work itself
            future.cancel()
            raise ServiceTimeoutError(f"no answer within {timeout:g} s") from None
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Cancel what is still running, stop the loop and join the thread; idempotent."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop).result(_STOP_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_SECONDS)
        self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=_STOP_SECONDS / 2)
