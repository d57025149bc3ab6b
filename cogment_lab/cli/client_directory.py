"""``cogmentlab client directory``: register, deregister, inquire, WaitForReady."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc

from cogment_lab._version import __version__
from cogment_lab.errors import ConfigurationError, EndpointError, ServiceUnreachableError
from cogment_lab.wire.channel import open_channel
from cogment_lab.wire.directory import DirectoryClient, FoundService
from cogment_lab.wire.endpoint import CLIENT, Discovery, ServiceType, parse
from cogment_lab.wire.generated.common_pb2 import VersionRequest
from cogment_lab.wire.rpc import Stub

__all__ = ["deregister", "inquire", "register", "wait_for_ready"]

_DEFAULT = "grpc://localhost:9005"
_RETRY_SECONDS = 0.2


async def register(given: Mapping[str, Any], as_json: bool) -> None:
    """Register a service, and print its id and secret."""
    missing = [f"--{name}" for name in ("host", "port", "type") if name not in given]
    if missing:
        raise ConfigurationError(f"register needs {', '.join(missing)}")
    protocol = given.get("protocol", "grpc").upper()
    if protocol not in ("GRPC", "COGMENT"):
        raise ConfigurationError(f"--protocol={given['protocol']}: grpc or cogment")
    kind = _kind(given["type"])
    known = {"__version": __version__, "__registration_source": "Cogment-Command_Line"}
    async with _directory(given) as directory:
        service_id, secret = await directory.register(
            kind,
            host=given["host"],
            port=given["port"],
            properties={**given.get("properties", {}), **known},
            use_ssl=given.get("ssl_required", False),
            permanent=given.get("permanent", False),
            protocol="COGMENT" if protocol == "COGMENT" else "",
        )
    if as_json:
        print(json.dumps({"service_id": str(service_id), "secret": secret}))
    else:
        print(f"Service ID [{service_id}] \tSecret [{secret}]")


async def deregister(given: Mapping[str, Any], as_json: bool) -> None:
    """Remove a record."""
    if "service_id" not in given or "secret" not in given:
        raise ConfigurationError("deregister needs --service_id and --secret, as printed by register")
    async with _directory(given) as directory:
        await directory.deregister(given["service_id"], given["secret"])


async def inquire(given: Mapping[str, Any], as_json: bool) -> None:
    """Print the services of a type or with properties, or that of an id."""
    service_id = given.get("service_id", 0)
    if service_id and ("type" in given or "properties" in given):
        raise ConfigurationError("inquire takes --service_id, or --type and --properties, not both")
    kind = _kind(given["type"]) if "type" in given else ServiceType.UNKNOWN
    question = Discovery(type=kind, properties=given.get("properties", {}), service_id=service_id)
    async with _directory(given) as directory:
        found = await directory.inquire(question)
    if as_json:
        print(json.dumps([_as_dict(service) for service in found], indent=2))
        return
    print(f"[{len(found)}] Services found")
    for service in found:
        text = _as_dict(service)
        print(f"Service ID [{text['service_id']}]")
        print(f"\tEndpoint [{text['endpoint']}] SSL required [{str(service.use_ssl).lower()}]")
        print(f"\tType [{text['type']}]\n\tPermanent [{str(service.permanent).lower()}]")
        for name, value in service.properties.items():
            print(f"\t[{name}] = [{value}]")


async def wait_for_ready(given: Mapping[str, Any], as_json: bool) -> None:
    """Return when the directory answers."""
    async with _directory(given):
        pass


def _kind(text: str) -> ServiceType:
    kind = ServiceType.__members__.get(text.upper(), ServiceType.UNKNOWN)
    if kind is ServiceType.UNKNOWN:
        known = ", ".join(name.lower() for name in ServiceType.__members__ if name != "UNKNOWN")
        raise ConfigurationError(f"--type={text} is none of {known}")
    return kind


def _as_dict(service: FoundService) -> dict[str, Any]:
    return {
        "service_id": str(service.service_id),
        "endpoint": "cogment://client" if service.target == CLIENT else f"grpc://{service.target}",
        "ssl_required": service.use_ssl,
        "type": service.type.name.lower(),
        "permanent": service.permanent,
        "properties": dict(service.properties),
    }


@contextlib.asynccontextmanager
async def _directory(given: Mapping[str, Any]) -> AsyncIterator[DirectoryClient]:
    """Yield a client of the directory once that answers; the caller's deadline ends the wait."""
    url = given.get("directory_endpoint", _DEFAULT)
    target = parse(url)
    if not isinstance(target, str) or target == CLIENT:
        raise EndpointError(f"--directory_endpoint={url}: grpc://host:port")
    channel = open_channel(target, given["credentials"])
    try:
        await _answering(channel, url)
        yield DirectoryClient(channel, given.get("directory_authentication_token", ""))
    finally:
        await channel.close(None)


async def _answering(channel: grpc.aio.Channel, url: str) -> None:
    ask = Stub(channel, "cogmentAPI.DirectorySP").Version
    while True:
        try:
            await ask(VersionRequest(), wait_for_ready=True)
            return
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise ServiceUnreachableError(
                    f"what answers at {url} is no directory: {error.code().name}: {error.details()}"
                ) from error
        await asyncio.sleep(_RETRY_SECONDS)
