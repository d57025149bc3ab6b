"""Whether a registered service answers (protocol section 11)."""

from __future__ import annotations

import asyncio
import contextlib

import grpc

from cogment_lab.services.directory.records import Record
from cogment_lab.wire.channel import open_channel
from cogment_lab.wire.directory import address
from cogment_lab.wire.endpoint import Credentials, ServiceType
from cogment_lab.wire.generated.common_pb2 import StatusRequest, VersionRequest
from cogment_lab.wire.generated.directory_pb2 import ServiceEndpoint
from cogment_lab.wire.rpc import Stub

__all__ = ["check"]

_SECONDS = 2.0
_SERVICES: dict[int, str] = {
    ServiceType.LIFECYCLE: "TrialLifecycleSP",
    ServiceType.ACTSERVICE: "ClientActorSP",
    ServiceType.ACTOR: "ServiceActorSP",
    ServiceType.ENVIRONMENT: "EnvironmentSP",
    ServiceType.PREHOOK: "TrialHooksSP",
    ServiceType.DATALOG: "DatalogSP",
    ServiceType.DATASTORE: "TrialDatastoreSP",
    ServiceType.MODELREGISTRY: "ModelRegistrySP",
    ServiceType.DIRECTORY: "DirectorySP",
}


async def check(record: Record, credentials: Credentials | None = None) -> int | None:
    """Return the load of a service, 0 where it tells none, ``None`` when it does not answer.

    Args:
        record: The service.
        credentials: TLS material for a service that wants it; one that cannot be asked with it, or without
            any, is well when it listens.
    """
    if record.permanent or record.protocol == ServiceEndpoint.COGMENT:
        return 0
    service = _SERVICES.get(record.type)
    is_secret = record.protocol == ServiceEndpoint.GRPC_SSL
    if service is None or (is_secret and credentials is None):
        return await _connects(record.host, record.port)
    load = await _ask(record, service, credentials if is_secret else None)
    return await _connects(record.host, record.port) if load is None and is_secret else load


async def _ask(record: Record, service: str, credentials: Credentials | None) -> int | None:
    channel = open_channel(address(record.host, record.port), credentials)
    try:
        stub = Stub(channel, f"cogmentAPI.{service}")
        with contextlib.suppress(grpc.aio.AioRpcError):
            reply = await stub.Status(StatusRequest(names=["overall_load"]), timeout=_SECONDS)
            load = reply.statuses.get("overall_load", "")
            return int(load) if load.isdecimal() and int(load) <= 255 else 0
        with contextlib.suppress(grpc.aio.AioRpcError):
            await stub.Version(VersionRequest(), timeout=_SECONDS)
            return 0
    finally:
        await channel.close(None)
    return None


async def _connects(host: str, port: int) -> int | None:
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return 0
    except (OSError, ValueError):  # ValueError: a host that is no name
        return None
