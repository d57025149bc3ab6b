"""The older, deprecated client of a model registry, with the official SDK's surface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from cogment_lab.errors import ServiceError
from cogment_lab.wire.generated import model_registry_pb2 as api
from cogment_lab.wire.metadata import GrpcMetadata
from cogment_lab.wire.model_calls import ModelInfo, RegistryClient, is_missing

__all__ = ["Model", "ModelRegistryV1", "VersionInfo"]

_CACHED = 128


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


class ModelRegistryV1(RegistryClient):
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
                if not is_missing(error):
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
            if not is_missing(error):
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
