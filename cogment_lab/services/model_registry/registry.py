"""The model registry's rpcs, and its server (protocol section 10)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator
from typing import IO, Any

import grpc

from cogment_lab.errors import ConfigurationError
from cogment_lab.services.model_registry.models import Models
from cogment_lab.services.model_registry.settings import ModelRegistrySettings
from cogment_lab.wire.channel import ChannelPool
from cogment_lab.wire.directory import DirectoryClient, host_to_register, registration, resolve
from cogment_lab.wire.endpoint import ServiceType
from cogment_lab.wire.generated.model_registry_pb2 import (
    CreateOrUpdateModelReply,
    CreateOrUpdateModelRequest,
    CreateVersionReply,
    DeleteModelReply,
    DeleteModelRequest,
    ModelVersionInfo,
    RetrieveModelsReply,
    RetrieveModelsRequest,
    RetrieveVersionDataReplyChunk,
    RetrieveVersionDataRequest,
    RetrieveVersionInfosReply,
    RetrieveVersionInfosRequest,
    VersionUpdateReply,
    VersionUpdateRequest,
)
from cogment_lab.wire.server import Server, Servicer

__all__ = ["ModelRegistry"]

_INVALID, _NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND


class _Registry(Servicer):
    """``ModelRegistrySP``."""

    def __init__(self, settings: ModelRegistrySettings) -> None:
        self._settings = settings
        self.models = Models(settings.archive_dir, settings.cache_max_items)
        self._changed = asyncio.Event()

    async def CreateOrUpdateModel(
        self, request: CreateOrUpdateModelRequest, context: Any
    ) -> CreateOrUpdateModelReply:
        """Make a model, or replace its user data."""
        try:
            self.models.update(request.model_info)
        except ConfigurationError as error:
            await context.abort(_INVALID, str(error))
        return CreateOrUpdateModelReply()

    async def DeleteModel(self, request: DeleteModelRequest, context: Any) -> DeleteModelReply:
        """Forget a model and its versions."""
        await self._known(request.model_id, context)
        self.models.delete(request.model_id)
        return DeleteModelReply()

    async def RetrieveModels(self, request: RetrieveModelsRequest, context: Any) -> RetrieveModelsReply:
        """Answer one page of models, by id."""
        for model_id in request.model_ids:
            await self._known(model_id, context)
        ids = list(request.model_ids) or self.models.ids()
        start = await self._handle(request.model_handle, context)
        page = ids[start : start + request.models_count] if request.models_count else ids[start:]
        return RetrieveModelsReply(
            model_infos=[self.models.info(model_id) for model_id in page],
            next_model_handle=str(start + len(page)),
        )

    async def CreateVersion(self, requests: Any, context: Any) -> CreateVersionReply:
        """Take a version: a header, then its data in chunks."""
        info = await self._announced(requests, context)
        data = self.models.receive(info)
        try:
            await self._fill(info, data, requests, context)
            if info.model_id not in self.models:
                await context.abort(_NOT_FOUND, f"model {info.model_id!r} was deleted meanwhile")
            stored = self.models.add(info, data)
        except OSError as error:
            self.models.discard(info, data)
            await context.abort(grpc.StatusCode.INTERNAL, f"the registry cannot keep the version: {error}")
            raise
        except BaseException:
            self.models.discard(info, data)
            raise
        self._changed.set()
        self._changed = asyncio.Event()
        return CreateVersionReply(version_info=stored)

    async def _announced(self, requests: Any, context: Any) -> ModelVersionInfo:
        """Return the header that a stream of chunks begins with."""
        async for chunk in requests:
            if chunk.WhichOneof("msg") != "header":
                break
            info: ModelVersionInfo = chunk.header.version_info
            await self._known(info.model_id, context)
            most = self._settings.max_version_size
            if info.data_size > most:
                await context.abort(_INVALID, f"{info.data_size} bytes are more than the limit of {most}")
            return info
        await context.abort(_INVALID, "a version is one header, then its data")
        raise AssertionError("abort() raises")

    async def _fill(self, info: ModelVersionInfo, data: IO[bytes], requests: Any, context: Any) -> None:
        """Write the data as it comes, check it against ``info``, and complete that."""
        digest, size = hashlib.sha256(), 0
        async for chunk in requests:
            if chunk.WhichOneof("msg") != "body":
                await context.abort(_INVALID, "a version is one header, then its data")
            size += len(chunk.body.data_chunk)
            if size > info.data_size:
                await context.abort(_INVALID, f"more than the {info.data_size} bytes that were announced")
            digest.update(chunk.body.data_chunk)
            data.write(chunk.body.data_chunk)
        if size != info.data_size:
            await context.abort(_INVALID, f"{size} bytes came, and {info.data_size} were announced")
        found = base64.b64encode(digest.digest()).decode()
        if info.data_hash and info.data_hash != found:
            await context.abort(_INVALID, f"the data's hash is {found}, not {info.data_hash}")
        info.data_hash = found
        info.creation_timestamp = info.creation_timestamp or time.time_ns()

    async def RetrieveVersionInfos(
        self, request: RetrieveVersionInfosRequest, context: Any
    ) -> RetrieveVersionInfosReply:
        """Answer one page of versions, by number."""
        await self._known(request.model_id, context)
        start = await self._handle(request.version_handle, context)
        if request.version_numbers:
            infos = [
                await self._version(request.model_id, number, context) for number in request.version_numbers
            ]
        else:
            infos = [info for _, info in sorted(self.models.versions(request.model_id).items())]
        infos = [info for info in infos if info.version_number >= start]
        page = infos[: request.versions_count] if request.versions_count else infos
        following = page[-1].version_number + 1 if page else start
        return RetrieveVersionInfosReply(version_infos=page, next_version_handle=str(following))

    async def RetrieveVersionData(
        self, request: RetrieveVersionDataRequest, context: Any
    ) -> AsyncIterator[RetrieveVersionDataReplyChunk]:
        """Stream the data of a version."""
        info = await self._version(request.model_id, request.version_number, context)
        file = self.models.open(info)
        position, size = 0, self._settings.sent_version_chunk_size
        try:
            while True:
                if file.closed:
                    await context.abort(_NOT_FOUND, "the version was dropped meanwhile")
                file.seek(position)  # others may read the same file meanwhile
                chunk = file.read(size)
                if not chunk and position:
                    return
                position += len(chunk)
                yield RetrieveVersionDataReplyChunk(data_chunk=chunk)
                if not chunk:
                    return
        finally:
            if info.archived:
                file.close()

    async def VersionUpdate(
        self, request: VersionUpdateRequest, context: Any
    ) -> AsyncIterator[VersionUpdateReply]:
        """Stream the newest version, now and each time that there is a newer one."""
        if request.model_id not in self.models:
            await context.abort(_INVALID, f"no model {request.model_id!r}")
        sent = None
        while True:
            changed = self._changed
            info = self.models.resolve(request.model_id, -1)
            if info is not None and info is not sent:  # a model that is made anew has the same numbers
                sent = info
                yield VersionUpdateReply(version_info=info)
            else:
                await changed.wait()

    async def _known(self, model_id: str, context: Any) -> None:
        if model_id not in self.models:
            await context.abort(_NOT_FOUND, f"no model {model_id!r}")

    async def _version(self, model_id: str, number: int, context: Any) -> ModelVersionInfo:
        info = self.models.resolve(model_id, number) if number else None
        if info is None:
            await context.abort(_NOT_FOUND, f"no version {number} of model {model_id!r}")
            raise AssertionError("abort() raises")
        return info

    @staticmethod
    async def _handle(handle: str, context: Any) -> int:
        if handle and not (handle.isdecimal() and len(handle) < 20):
            await context.abort(_INVALID, f"{handle!r} is no handle")
        return int(handle or 0)


class ModelRegistry:
    """Keeps versions of models and hands them out.

    Args:
        settings: What it is told.

    Attributes:
        port: Its port, once started.

    Raises:
        EndpointError: a TLS file cannot be read.
    """

    def __init__(self, settings: ModelRegistrySettings | None = None) -> None:
        self.settings = settings if settings is not None else ModelRegistrySettings()
        self.port = self.settings.port
        self._credentials = self.settings.credentials()
        self._channels = ChannelPool(self._credentials)
        self._registrations = contextlib.AsyncExitStack()
        self._registry: _Registry | None = None
        self._server: Server | None = None

    async def start(self) -> int:
        """Listen, and return the port.

        Raises:
            PortInUseError: something else listens there.
            StoreReadOnlyError: models cannot be kept in ``archive_dir``.
            NotAStoreError: a file there holds something else.
            ServiceError: the directory does not answer, or refuses.
        """
        settings = self.settings
        self._registry = _Registry(settings)
        self._server = Server(
            {"cogmentAPI.ModelRegistrySP": self._registry},
            port=settings.port,
            host=settings.host,
            credentials=self._credentials,
            reflection=settings.reflection,
        )
        self.port = await self._server.start()
        if settings.directory_endpoint:
            try:
                await self._register()
            except BaseException:
                await self.stop(0.0)
                raise
        return self.port

    async def stop(self, grace: float = 1.0) -> None:
        """Stop listening; versions that are not archived are gone."""
        await self._registrations.aclose()
        if self._server is not None:
            await self._server.stop(grace)
        if self._registry is not None:
            self._registry.models.close()
        await self._channels.close()

    async def _register(self) -> None:
        settings = self.settings
        target = await resolve(settings.directory_endpoint, None)
        client = DirectoryClient(self._channels.get(target), settings.directory_authentication_token)
        await self._registrations.enter_async_context(
            registration(
                client,
                ServiceType.MODELREGISTRY,
                port=self.port,
                host=host_to_register(settings.directory_registration_host, settings.host),
                properties=settings.directory_registration_properties,
                use_ssl=self._credentials is not None,
            )
        )
