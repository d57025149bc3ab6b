"""The client of a model registry, with the official SDK's surface (protocol section 10)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import grpc

from cogment_lab.errors import ServiceError
from cogment_lab.wire.calls import call_error
from cogment_lab.wire.generated import model_registry_pb2 as api
from cogment_lab.wire.latest_model import LatestModel
from cogment_lab.wire.model_calls import (
    ModelInfo,
    ModelIterationInfo,
    RegistryClient,
    is_missing,
    iteration_of,
)
from cogment_lab.wire.model_registry_v1 import Model, ModelRegistryV1, VersionInfo

__all__ = [
    "LatestModel",
    "Model",
    "ModelInfo",
    "ModelIterationInfo",
    "ModelRegistry",
    "ModelRegistryV1",
    "VersionInfo",
]


class ModelRegistry(RegistryClient):
    """Publishes and retrieves models; the official SDK's second client."""

    def has_specs(self) -> bool:
        """Return ``True``: models need no settings."""
        return True

    async def publish_model(
        self, name: str, model: bytes, iteration_properties: Mapping[str, str] | None = None
    ) -> ModelIterationInfo:
        """Hand out a version that does not outlive the registry; the model is made when missing."""
        return await self._add(name, model, iteration_properties, archived=False)

    async def store_model(
        self, name: str, model: bytes, iteration_properties: Mapping[str, str] | None = None
    ) -> ModelIterationInfo:
        """Keep a version for good; the model is made when missing."""
        return await self._add(name, model, iteration_properties, archived=True)

    async def _add(
        self, name: str, model: bytes, properties: Mapping[str, str] | None, *, archived: bool
    ) -> ModelIterationInfo:
        try:
            await self.get_model_info(name)
        except ServiceError as error:
            if not is_missing(error):
                raise
            await self._update(name, {})
        return iteration_of(await self._send(name, model, properties or {}, archived))

    async def retrieve_model(self, name: str, iteration: int = -1) -> bytes | None:
        """Return the data of a version (-1 for the newest), ``None`` when there is none.

        Raises:
            ServiceError: there is no such model.
        """
        await self.get_model_info(name)
        try:
            return await self._receive(name, iteration)
        except ServiceError as error:
            if not is_missing(error):
                raise
            return None

    async def remove_model(self, name: str) -> None:
        """Remove a model and its versions; raise ServiceError when there is none."""
        await self._ask(self._stub.DeleteModel, api.DeleteModelRequest(model_id=name))

    async def list_models(self) -> list[ModelInfo]:
        """Return every model."""
        reply = await self._ask(self._stub.RetrieveModels, api.RetrieveModelsRequest())
        return [ModelInfo(info.model_id, dict(info.user_data)) for info in reply.model_infos]

    async def list_iterations(self, model_name: str) -> list[ModelIterationInfo]:
        """Return every version of a model, by number."""
        return [iteration_of(info) for info in await self._infos(model_name)]

    async def get_iteration_info(self, name: str, iteration: int) -> ModelIterationInfo:
        """Return one version (-1 for the newest); raise ServiceError when there is none."""
        (info,) = await self._infos(name, iteration)
        return iteration_of(info)

    async def update_model_info(self, name: str, properties: Mapping[str, str]) -> None:
        """Replace the properties of a model."""
        await self._update(name, properties)

    async def get_model_info(self, name: str) -> ModelInfo:
        """Return a model; raise ServiceError when there is none."""
        reply = await self._ask(self._stub.RetrieveModels, api.RetrieveModelsRequest(model_ids=[name]))
        (info,) = reply.model_infos
        return ModelInfo(info.model_id, dict(info.user_data))

    async def iteration_updates(self, model_name: str) -> AsyncGenerator[ModelIterationInfo, None]:
        """Yield the newest version, now and each time that there is a newer one."""
        request = api.VersionUpdateRequest(model_id=model_name)
        call = self._stub.VersionUpdate(request, metadata=self._metadata)
        try:
            async for reply in call:
                yield iteration_of(reply.version_info)
        except grpc.aio.AioRpcError as error:
            raise call_error(f"follow model {model_name!r}", error) from error
        finally:
            call.cancel()

    async def track_latest_model(
        self, name: str, deserialize_func: Callable[[bytes], Any] | None = None, initial_wait: float = 0
    ) -> LatestModel:
        """Return a model that keeps itself up to date; close it when done.

        Args:
            name: The model.
            deserialize_func: Makes the model from its data; the data itself without it.
            initial_wait: Seconds to wait for the model to exist.

        Raises:
            ServiceError: it does not.
        """
        deadline = asyncio.get_running_loop().time() + initial_wait
        while True:
            try:
                await self.get_model_info(name)
                break
            except ServiceError:
                if asyncio.get_running_loop().time() >= deadline:
                    raise
                await asyncio.sleep(0.1)
        return LatestModel(self, name, deserialize_func)
