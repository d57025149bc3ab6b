"""The client of a model registry, with the official SDK's surface (protocol section 10)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc

from cogment_lab.errors import ServiceError
from cogment_lab.wire.calls import answer, call_error
from cogment_lab.wire.generated import model_registry_pb2 as api
from cogment_lab.wire.metadata import GrpcMetadata
from cogment_lab.wire.rpc import Stub

__all__ = [
    "LatestModel",
    "Model",
    "ModelInfo",
    "ModelIterationInfo",
    "ModelRegistry",
    "ModelRegistryV1",
    "VersionInfo",
]

_CHUNK = 2 << 20
_TRANSFER_SECONDS = 600.0
_CACHED = 128


@dataclass(frozen=True, slots=True)
class ModelIterationInfo:
    """One version of a model.

    Attributes:
        model_name: The model.
        iteration: Its number, from 1.
        timestamp: When it was made, ns since the epoch.
        hash: Base64 of the data's SHA-256.
        size: Bytes of data.
        stored: Whether it outlives the registry's process.
        properties: What was given with it.
    """

    model_name: str
    iteration: int
    timestamp: int
    hash: str
    size: int
    stored: bool
    properties: Mapping[str, str]


@dataclass(slots=True)
class ModelInfo:
    """A model.

    Attributes:
        name: Its id.
        properties: What was given with it.
    """

    name: str
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The name; what the older client calls it."""
        return self.name

    @property
    def user_data(self) -> dict[str, str]:
        """The properties; what the older client calls them."""
        return self.properties


def _iteration(info: api.ModelVersionInfo) -> ModelIterationInfo:
    return ModelIterationInfo(
        model_name=info.model_id,
        iteration=info.version_number,
        timestamp=info.creation_timestamp,
        hash=info.data_hash,
        size=info.data_size,
        stored=info.archived,
        properties=dict(info.user_data),
    )


def _is_missing(error: ServiceError) -> bool:
    cause = error.__cause__
    return isinstance(cause, grpc.aio.AioRpcError) and cause.code() is grpc.StatusCode.NOT_FOUND


class _Client:
    """What both clients do.

    Args:
        channel: To the registry.
        metadata: Sent with each call.
    """

    def __init__(self, channel: grpc.aio.Channel, metadata: GrpcMetadata | None = None) -> None:
        self._stub = Stub(channel, "cogmentAPI.ModelRegistrySP")
        self._metadata = tuple(metadata.to_grpc_metadata()) if metadata is not None else ()

    def __await__(self) -> Generator[Any, None, Any]:
        return self
        yield

    async def _ask(self, rpc: Any, request: Any, timeout: float = 30.0) -> Any:
        return await answer(rpc, request, "ask the model registry", metadata=self._metadata, timeout=timeout)

    async def _update(self, name: str, properties: Mapping[str, str]) -> None:
        texts = {key: str(value) for key, value in properties.items()}
        info = api.ModelInfo(model_id=name, user_data=texts)
        await self._ask(self._stub.CreateOrUpdateModel, api.CreateOrUpdateModelRequest(model_info=info))

    async def _send(
        self, name: str, data: bytes, properties: Mapping[str, str], archived: bool
    ) -> api.ModelVersionInfo:
        def chunks() -> Iterator[api.CreateVersionRequestChunk]:
            texts = {key: str(value) for key, value in properties.items()}
            first = api.CreateVersionRequestChunk()
            first.header.version_info.CopyFrom(
                api.ModelVersionInfo(model_id=name, archived=archived, data_size=len(data), user_data=texts)
            )
            yield first
            for start in range(0, len(data), _CHUNK):
                chunk = api.CreateVersionRequestChunk()
                chunk.body.data_chunk = data[start : start + _CHUNK]
                yield chunk

        reply = await self._ask(self._stub.CreateVersion, chunks(), _TRANSFER_SECONDS)
        info: api.ModelVersionInfo = reply.version_info
        return info

    async def _receive(self, name: str, number: int) -> bytes:
        request = api.RetrieveVersionDataRequest(model_id=name, version_number=number)
        call = self._stub.RetrieveVersionData(request, metadata=self._metadata, timeout=_TRANSFER_SECONDS)
        try:
            return b"".join([chunk.data_chunk async for chunk in call])
        except grpc.aio.AioRpcError as error:
            raise call_error(f"retrieve version {number} of model {name!r}", error) from error

    async def _infos(self, name: str, *numbers: int) -> list[api.ModelVersionInfo]:
        request = api.RetrieveVersionInfosRequest(model_id=name, version_numbers=numbers)
        return list((await self._ask(self._stub.RetrieveVersionInfos, request)).version_infos)


class ModelRegistry(_Client):
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
            if not _is_missing(error):
                raise
            await self._update(name, {})
        return _iteration(await self._send(name, model, properties or {}, archived))

    async def retrieve_model(self, name: str, iteration: int = -1) -> bytes | None:
        """Return the data of a version (-1 for the newest), ``None`` when there is none.

        Raises:
            ServiceError: there is no such model.
        """
        await self.get_model_info(name)
        try:
            return await self._receive(name, iteration)
        except ServiceError as error:
            if not _is_missing(error):
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
        return [_iteration(info) for info in await self._infos(model_name)]

    async def get_iteration_info(self, name: str, iteration: int) -> ModelIterationInfo:
        """Return one version (-1 for the newest); raise ServiceError when there is none."""
        (info,) = await self._infos(name, iteration)
        return _iteration(info)

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
                yield _iteration(reply.version_info)
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
        self, registry: ModelRegistry, name: str, deserialize_func: Callable[[bytes], Any] | None
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


class VersionInfo:
    """One version, as the older client gives it."""

    def __init__(self, info: api.ModelVersionInfo) -> None:
        self.model_id = info.model_id
        self.version_number = info.version_number
        self.creation_timestamp = info.creation_timestamp
        self.data_hash = info.data_hash
        self.data_size = info.data_size
        self.archived = info.archived
        self.user_data = dict(info.user_data)


class Model:
    """A model with its data, for the older client.

    Args:
        model_id: The model.
        serialized_model: Its data.
        **attributes: ``user_data``, ``version_user_data``, ``stored_version_info``, ``deserialized_model``.

    Raises:
        ServiceError: an unknown attribute.
    """

    def __init__(self, model_id: str, serialized_model: bytes | None, **attributes: Any) -> None:
        self.id = model_id
        self.serialized_model = serialized_model
        self.user_data: dict[str, str] = {}
        self.version_user_data: dict[str, str] = {}
        self.stored_version_info: VersionInfo | None = None
        self.deserialized_model: Any = None
        for name, value in attributes.items():
            if name.startswith("_") or not hasattr(self, name):
                raise ServiceError(f"a Model has no attribute {name!r}")
            setattr(self, name, value)


class ModelRegistryV1(_Client):
    """The older, deprecated client: it keeps what it retrieved."""

    def __init__(self, channel: grpc.aio.Channel, metadata: GrpcMetadata | None = None) -> None:
        super().__init__(channel, metadata)
        self._info_cache: dict[str, ModelInfo] = {}
        self._data_cache: dict[str, bytes] = {}

    async def store_initial_version(self, model: Model) -> VersionInfo:
        """Make a model and keep its first version."""
        await self._update(model.id, model.user_data)
        _remember(self._info_cache, model.id, ModelInfo(model.id, dict(model.user_data)))
        return await self.store_version(model)

    async def store_version(self, model: Model, archived: bool = False) -> VersionInfo:
        """Keep a version of a model that exists."""
        data = model.serialized_model or b""
        info = await self._send(model.id, data, model.version_user_data, archived)
        _remember(self._data_cache, info.data_hash, data)
        return VersionInfo(info)

    async def retrieve_model_info(self, model_id: str) -> ModelInfo | None:
        """Return a model, ``None`` when there is none."""
        info = self._info_cache.get(model_id)
        if info is None:
            request = api.RetrieveModelsRequest(model_ids=[model_id])
            try:
                reply = await self._ask(self._stub.RetrieveModels, request)
            except ServiceError as error:
                if not _is_missing(error):
                    raise
                return None
            info = ModelInfo(model_id, dict(reply.model_infos[0].user_data))
        _remember(self._info_cache, model_id, info)
        return info

    async def retrieve_version(
        self, model_id: str, version_number: int = -1, deserialize_func: Callable[[bytes], Any] | None = None
    ) -> Model | None:
        """Return a version (-1 for the newest), ``None`` when there is none."""
        model_info = await self.retrieve_model_info(model_id)
        if model_info is None:
            return None
        try:
            (info,) = await self._infos(model_id, version_number)
            data = self._data_cache.get(info.data_hash)
            if data is None:
                data = await self._receive(model_id, info.version_number)
        except ServiceError as error:
            if not _is_missing(error):
                raise
            return None
        _remember(self._data_cache, info.data_hash, data)
        return Model(
            model_id,
            data,
            user_data=dict(model_info.properties),
            version_user_data=dict(info.user_data),
            stored_version_info=VersionInfo(info),
            deserialized_model=deserialize_func(data) if deserialize_func is not None else None,
        )


def _remember(cache: dict[str, Any], key: str, value: Any) -> None:
    """Keep a value as the one used last, and no more than the cache holds."""
    cache.pop(key, None)
    cache[key] = value
    if len(cache) > _CACHED:
        del cache[next(iter(cache))]
