"""The calls that both clients of a model registry make, and what they tell (protocol section 10)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc

from cogment_lab.errors import ServiceError
from cogment_lab.wire.calls import answer, call_error
from cogment_lab.wire.generated import model_registry_pb2 as api
from cogment_lab.wire.metadata import GrpcMetadata
from cogment_lab.wire.rpc import Stub

__all__ = ["ModelInfo", "ModelIterationInfo", "RegistryClient", "is_missing", "iteration_of"]

_CHUNK = 2 << 20
_TRANSFER_SECONDS = 600.0


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


def iteration_of(info: api.ModelVersionInfo) -> ModelIterationInfo:
    """Return what a message says of a version."""
    return ModelIterationInfo(
        model_name=info.model_id,
        iteration=info.version_number,
        timestamp=info.creation_timestamp,
        hash=info.data_hash,
        size=info.data_size,
        stored=info.archived,
        properties=dict(info.user_data),
    )


def is_missing(error: ServiceError) -> bool:
    """Return whether a call failed because there is no such model or version."""
    cause = error.__cause__
    return isinstance(cause, grpc.aio.AioRpcError) and cause.code() is grpc.StatusCode.NOT_FOUND


class RegistryClient:
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
