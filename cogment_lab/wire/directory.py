"""Asking and telling the directory where services are (protocol sections 4 and 11)."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import grpc

from cogment_lab._version import __version__
from cogment_lab.errors import EndpointError, ProtocolError, ServiceError, ServiceUnreachableError
from cogment_lab.wire.calls import call_error
from cogment_lab.wire.endpoint import CLIENT, Discovery, ServiceType, check_context_name, parse
from cogment_lab.wire.generated.directory_pb2 import (
    DeregisterReply,
    DeregisterRequest,
    FullServiceData,
    InquireRequest,
    RegisterReply,
    RegisterRequest,
    ServiceEndpoint,
)
from cogment_lab.wire.rpc import Stub

__all__ = ["DirectoryClient", "FoundService", "address", "host_to_register", "registration", "resolve"]

_DEADLINE = 10.0
_KINDS = {int(kind): kind for kind in ServiceType}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class FoundService:
    """A record of the directory.

    Attributes:
        service_id: Its number.
        target: ``host:port``; :data:`~cogment_lab.wire.endpoint.CLIENT` for an actor that connects by itself.
        type: What it is.
        properties: What it was registered with.
        use_ssl: Whether it wants TLS.
        permanent: Whether its health goes unchecked.
    """

    service_id: int
    target: str
    type: ServiceType
    properties: Mapping[str, str]
    use_ssl: bool = False
    permanent: bool = False


class DirectoryClient:
    """Speaks with a directory.

    Args:
        channel: To the directory.
        token: Only records that were made with the same token are seen.
        deadline: Seconds to wait for each answer.
    """

    def __init__(self, channel: grpc.aio.Channel, token: str = "", deadline: float = _DEADLINE) -> None:
        self._stub = Stub(channel, "cogmentAPI.DirectorySP")
        self._token = token
        self._deadline = deadline

    async def register(
        self,
        kind: ServiceType,
        *,
        host: str,
        port: int,
        properties: Mapping[str, str] | None = None,
        use_ssl: bool = False,
        permanent: bool = False,
        protocol: str = "",
    ) -> tuple[int, str]:
        """Register a service and return its id, and the secret that deregisters it.

        Raises:
            ServiceUnreachableError: no directory answers.
            ServiceError: it refuses the record; says why.
        """
        request = RegisterRequest(permanent=permanent)
        spoken = protocol or ("GRPC_SSL" if use_ssl else "GRPC")
        request.endpoint.protocol = ServiceEndpoint.Protocol.Value(spoken)  # type: ignore[assignment]
        request.endpoint.host = host
        request.endpoint.port = port
        request.details.type = int(kind)  # type: ignore[assignment]
        request.details.properties.update(properties or {})
        reply = await self._one("register a service", self._stub.Register, request)
        if reply.status != RegisterReply.OK:
            raise ServiceError(f"the directory refuses {host}:{port}: {reply.error_msg}")
        return reply.service_id, reply.secret

    async def deregister(self, service_id: int, secret: str) -> None:
        """Remove a record; raise ServiceError when the secret is not its own, or no directory answers."""
        request = DeregisterRequest(service_id=service_id, secret=secret)
        reply = await self._one("deregister a service", self._stub.Deregister, request)
        if reply.status != DeregisterReply.OK:
            raise ServiceError(f"the directory keeps service {service_id}: {reply.error_msg}")

    async def inquire(self, question: Discovery) -> list[FoundService]:
        """Return what the directory finds, the newest first.

        Raises:
            ServiceUnreachableError: no directory answers.
            ServiceError: it refuses the question, or does not answer in time.
        """
        request = InquireRequest()
        if question.service_id:
            request.service_id = question.service_id
        else:
            request.details.type = int(question.type)  # type: ignore[assignment]
            request.details.properties.update(question.properties)
        token = self._token if question.token is None else question.token
        call = self._stub.Inquire(request, **self._how(token))
        return [_found(reply.data) for reply in await self._read("find a service", call)]

    def _how(self, token: str) -> dict[str, Any]:
        metadata = (("authentication-token", token),) if token else ()
        return {"metadata": metadata, "timeout": self._deadline}

    async def _one(self, what: str, rpc: Any, request: Any) -> Any:
        replies = await self._read(what, rpc(iter([request]), **self._how(self._token)))
        if len(replies) != 1:
            raise ProtocolError(f"cannot {what}: the directory gave {len(replies)} replies to one request")
        return replies[0]

    async def _read(self, what: str, call: Any) -> list[Any]:
        try:
            return [reply async for reply in call]
        except grpc.aio.AioRpcError as error:
            raise call_error(f"{what} with the directory", error) from error


def address(host: str, port: int) -> str:
    """Return the gRPC target of a host, which may be an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _found(data: FullServiceData) -> FoundService:
    endpoint = data.endpoint
    is_client = endpoint.protocol == ServiceEndpoint.COGMENT
    return FoundService(
        service_id=data.service_id,
        target=CLIENT if is_client else address(endpoint.host, endpoint.port),
        type=_KINDS.get(data.details.type, ServiceType.UNKNOWN),
        properties=dict(data.details.properties),
        use_ssl=endpoint.protocol == ServiceEndpoint.GRPC_SSL,
        permanent=data.permanent,
    )


async def resolve(
    url: str,
    directory: DirectoryClient | None,
    kind: ServiceType = ServiceType.UNKNOWN,
    *,
    use_ssl: bool | None = None,
    **context: str,
) -> str:
    """Return the gRPC target of ``url``, or :data:`~cogment_lab.wire.endpoint.CLIENT`.

    Args:
        url: An address of protocol section 4.1.
        directory: Whom to ask when it is no direct one.
        kind: What is wanted, for an address that leaves it to the context.
        use_ssl: Whether the service has to want TLS; ``None`` takes either.
        **context: ``actor_class`` and ``implementation``, likewise; empty ones do not matter.

    Raises:
        EndpointError: the address is wrong, or there is no directory to ask.
        ServiceUnreachableError: the directory does not answer, or knows no such service.
    """
    parsed = parse(url)
    if isinstance(parsed, str):
        return parsed
    question = parsed.complete(kind, **{name: check_context_name(value) for name, value in context.items()})
    if directory is None:
        raise EndpointError(f"endpoint {url!r} asks a directory, and none is configured")
    found = await directory.inquire(question)
    if use_ssl is not None:
        found = [service for service in found if service.use_ssl == use_ssl or service.target == CLIENT]
    if not found:
        wanted = f"service {question.service_id}" if question.service_id else question.type.name.lower()
        how = "" if use_ssl is None else f" served {'by TLS' if use_ssl else 'in the clear'}"
        others = await _others(directory, question)
        raise ServiceUnreachableError(
            f"the directory knows no {wanted} with {question.properties}{how}{others}"
        )
    return found[0].target


async def _others(directory: DirectoryClient, question: Discovery) -> str:
    """Return which implementations of the wanted kind there are, where one was named."""
    if question.service_id or "__implementation" not in question.properties:
        return ""
    found = await directory.inquire(replace(question, properties={}))
    names = sorted({service.properties.get("__implementation", "") for service in found} - {""})
    return f"; there {'is' if len(names) == 1 else 'are'} {', '.join(map(repr, names)) or 'none'}"


@contextlib.asynccontextmanager
async def registration(
    directory: DirectoryClient,
    kind: ServiceType,
    *,
    port: int,
    host: str = "",
    properties: Mapping[str, str] | None = None,
    use_ssl: bool = False,
) -> AsyncIterator[int]:
    """Keep a served service registered.

    Args:
        directory: Where.
        kind: What it is.
        port: Where it listens.
        host: Its host as others reach it; empty takes the address of this machine.
        properties: Besides ``__version`` and ``__registration_source``.
        use_ssl: Whether it wants TLS.

    Yields:
        The id of the record.
    """
    source = "Self-Command_Line" if host else "Self-Implicit"
    known = {"__version": __version__, "__registration_source": source, **(properties or {})}
    service_id, secret = await directory.register(
        kind,
        host=host or _own_address(),
        port=port,
        properties=known,
        use_ssl=use_ssl,
    )
    try:
        yield service_id
    finally:
        with contextlib.suppress(ServiceError):  # a directory that is gone has forgotten it
            await directory.deregister(service_id, secret)


def host_to_register(chosen: str, listening: str) -> str:
    """Return the host under which a service is found: the chosen one, or loopback when it listens there only.

    Args:
        chosen: What the user says; empty for nothing.
        listening: Address that the service listens on.
    """
    return chosen or (listening if listening in _LOOPBACK else "")


def _own_address() -> str:
    """Return the address from which this machine reaches others; loopback when it reaches none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
            address: str = probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"
    return address
