"""A model that follows its newest version."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Any, Protocol

from cogment_lab.errors import ServiceError
from cogment_lab.wire.model_calls import ModelIterationInfo

__all__ = ["LatestModel"]


class _Registry(Protocol):
    def iteration_updates(self, model_name: str) -> AsyncGenerator[ModelIterationInfo, None]: ...

    async def retrieve_model(self, name: str, iteration: int = -1) -> bytes | None: ...


class LatestModel:
    """The newest version of a model, fetched as it appears; made by ``track_latest_model``.

    Args:
        registry: Where it is.
        name: The model.
        deserialize_func: Makes the model from its data.

    Attributes:
        name: As above.
    """

    def __init__(
        self, registry: _Registry, name: str, deserialize_func: Callable[[bytes], Any] | None
    ) -> None:
        self.name = name
        self._registry = registry
        self._make = deserialize_func
        self._model: Any = None
        self._info: ModelIterationInfo | None = None
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._follow(), name=f"latest {name}")
        self._task.add_done_callback(lambda _: self._announce())

    def is_deserialized(self) -> bool:
        """Return whether :meth:`get` gives models instead of data."""
        return self._make is not None

    def is_available(self) -> bool:
        """Return whether there is a version."""
        return self._info is not None

    async def get(self) -> tuple[Any, ModelIterationInfo]:
        """Return the newest version and its info, waiting for the first."""
        await self.wait_for_available()
        return self.get_no_wait()

    def get_no_wait(self) -> tuple[Any, ModelIterationInfo]:
        """Return the newest version and its info; raise ServiceError when there is none."""
        if self._info is None:
            raise ServiceError(f"model {self.name!r} has no version yet")
        return self._model, self._info

    async def wait_for_available(self) -> None:
        """Wait for the first version."""
        await self.wait_for_newer(0)

    async def wait_for_newer(self, iteration: int) -> None:
        """Wait for a version after ``iteration``.

        Raises:
            ServiceError: the model is not followed any more: it was closed, the registry is gone, or
                ``deserialize_func`` raised; the ``__cause__`` says.
        """
        while self._info is None or self._info.iteration <= iteration:
            if self._task.done():
                cause = None if self._task.cancelled() else self._task.exception()
                raise ServiceError(f"model {self.name!r} is not followed any more") from cause
            await self._changed.wait()

    async def close(self) -> None:
        """Stop following."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        async with contextlib.aclosing(self._registry.iteration_updates(self.name)) as updates:
            async for info in updates:
                data = await self._registry.retrieve_model(self.name, info.iteration)
                if data is None:  # dropped meanwhile: there is a newer one
                    continue
                self._model, self._info = data if self._make is None else self._make(data), info
                self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
