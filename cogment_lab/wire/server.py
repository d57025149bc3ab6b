"""What every service's server has in common: options, health, reflection, a deadline for stopping.

A service is a *servicer* for each gRPC service it offers; :class:`Server` listens, embedded in a running
event loop or for a process of its own (:mod:`cogment_lab.cli.services`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import grpc
from grpc_health.v1 import _async as health_aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from cogment_lab._version import __version__
from cogment_lab.errors import PortInUseError
from cogment_lab.wire.endpoint import Credentials
from cogment_lab.wire.generated.common_pb2 import StatusReply, StatusRequest, VersionInfo, VersionRequest
from cogment_lab.wire.pool import POOL
from cogment_lab.wire.rpc import SERVER_OPTIONS, handler

__all__ = ["Server", "Servicer", "hear_out"]

_ALL = "*"
_HEAR_OUT_S = 1.0


async def hear_out(context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """Take a caller's first message, before its stream is refused whatever it says.

    A refusal that meets a write on its way is lost: grpc's Python client then reports its own "Internal error
    from Core" instead of the status. Whoever says nothing for a second is not waited for.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_HEAR_OUT_S):
            await context.read()


class Servicer:
    """The two rpcs that every service of Cogment's API has (protocol sections 3.2 and 3.3)."""

    def versions(self) -> Mapping[str, str]:
        """Return what ``Version`` answers: name to version."""
        return {"cogment_lab": __version__}

    def statuses(self) -> Mapping[str, str]:
        """Return what ``Status`` knows: name to text."""
        return {"overall_load": "0"}

    async def Version(self, request: VersionRequest, context: Any) -> VersionInfo:
        """Answer the names and versions of what serves here."""
        return VersionInfo(
            versions=[
                VersionInfo.Version(name=name, version=version) for name, version in self.versions().items()
            ]
        )

    async def Status(self, request: StatusRequest, context: Any) -> StatusReply:
        """Answer the statuses that are asked for; ``*`` asks for all."""
        known = self.statuses()
        wanted = known if _ALL in request.names else set(request.names)
        return StatusReply(statuses={name: text for name, text in known.items() if name in wanted})


class Server:
    """A gRPC server with services of Cogment's API.

    Args:
        servicers: Full service name (``cogmentAPI.DirectorySP``) to its servicer.
        port: Port to listen on; 0 takes a free one.
        host: Address to listen on; loopback unless told otherwise.
        credentials: TLS material, ``None`` to serve in the clear.
        reflection: Whether clients may ask for the schema.

    Attributes:
        port: The port that is served, once started.
    """

    def __init__(
        self,
        servicers: Mapping[str, object],
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        credentials: Credentials | None = None,
        reflection: bool = False,
    ) -> None:
        self.port = port
        self._servicers = servicers
        self._host = host
        self._credentials = credentials
        self._reflection = reflection
        self._server: grpc.aio.Server | None = None
        self._health = health_aio.HealthServicer()

    async def start(self) -> int:
        """Listen, and return the port.

        Raises:
            PortInUseError: something else listens there.
        """
        server = grpc.aio.server(options=SERVER_OPTIONS)
        server.add_generic_rpc_handlers(
            tuple(handler(name, servicer) for name, servicer in self._servicers.items())
        )
        self._add_health(server)
        if self._reflection:
            self._add_reflection(server)
        address = f"{self._host}:{self.port}"
        try:
            if self._credentials is None:
                self.port = server.add_insecure_port(address)
            else:
                self.port = server.add_secure_port(address, self._credentials.for_server())
        except RuntimeError as error:
            raise PortInUseError(f"cannot listen on {address}; is something else running there?") from error
        await server.start()
        for name in ("", *self._servicers):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        self._server = server
        return self.port

    async def stop(self, grace: float = 1.0) -> None:
        """Refuse new calls, give those in progress ``grace`` seconds, then cancel them."""
        server, self._server = self._server, None
        if server is not None:
            await self._health.enter_graceful_shutdown()
            await server.stop(grace)

    async def wait_for_termination(self) -> None:
        """Wait until the server is stopped."""
        if self._server is not None:
            await self._server.wait_for_termination()

    def _add_health(self, server: grpc.aio.Server) -> None:
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)

    def _add_reflection(self, server: grpc.aio.Server) -> None:
        names = (*self._servicers, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server, pool=POOL)
