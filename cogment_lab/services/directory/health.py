"""Whether a registered service answers (protocol section 11)."""

from __future__ import annotations

import asyncio
import contextlib

import grpc

from cogment_lab.services.directory.records import Record
from cogment_lab.wire.channel import open_channel
from cogment_lab.wire.directory import address
from cogment_lab.wire.endpoint import ServiceType
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


async def check(record: Record) -> int | None:
    """Return the load of a service, 0 where it tells none, ``None`` when it does not answer."""
    if record.permanent or record.protocol == ServiceEndpoint.COGMENT:
        return 0
    service = _SERVICES.get(record.type)
    if service is None or record.protocol == ServiceEndpoint.GRPC_SSL:
        return await _connects(record.host, record.port)
    channel = open_channel(address(record.host, record.port))
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
