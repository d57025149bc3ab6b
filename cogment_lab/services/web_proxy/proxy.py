"""The web proxy as a whole: an actor service for orchestrators, and its HTTP side."""

from __future__ import annotations

import asyncio
import contextlib
import secrets

from cogment_lab.services.web_proxy.actors import Actors
from cogment_lab.services.web_proxy.app import make_app
from cogment_lab.services.web_proxy.settings import WebProxySettings
from cogment_lab.services.web_proxy.spec import load_spec
from cogment_lab.services.web_server import WebServer
from cogment_lab.wire.actor import ActorServicer
from cogment_lab.wire.channel import ChannelPool
from cogment_lab.wire.controller import Controller
from cogment_lab.wire.directory import DirectoryClient, registration, resolve
from cogment_lab.wire.endpoint import ServiceType
from cogment_lab.wire.registered import Implementation
from cogment_lab.wire.server import Server
from cogment_lab.wire.serving import Sessions

__all__ = ["WebProxy"]

_USER = "web_proxy"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SECRET_BYTES = 32


class WebProxy:
    """Lets clients that speak HTTP and JSON play actors, and start and list trials.

    Args:
        settings: What it is told.

    Attributes:
        port: Port of the actors' gRPC service, once started.
        web_port: Port of the HTTP API, once started.

    Raises:
        ConfigurationError: the spec file is wrong.
        MissingExtraError: there is a spec file, and no protobuf compiler.
        EndpointError: a TLS file cannot be read.
    """

    def __init__(self, settings: WebProxySettings | None = None) -> None:
        self.settings = settings if settings is not None else WebProxySettings()
        self.port = self.settings.port
        self.web_port = self.settings.web_port
        self._spec = load_spec(self.settings.spec_file)
        self._actors = Actors(self.settings.last_word_seconds)
        self._sessions = Sessions()
        self._credentials = self.settings.credentials()
        self._channels = ChannelPool(self._credentials)
        self._registrations = contextlib.AsyncExitStack()
        self._grpc: Server | None = None
        self._web: WebServer | None = None

    async def start(self) -> int:
        """Listen, and return the port of the HTTP API; raise PortInUseError when something else does."""
        settings = self.settings
        classes = tuple(actor_class.name for actor_class in self._spec.actor_classes)
        implementation = Implementation(self._actors.run, settings.implementation, classes)
        servicer = ActorServicer(self._spec, self._sessions, {settings.implementation: implementation})
        self._grpc = Server(
            {"cogmentAPI.ServiceActorSP": servicer},
            port=settings.port,
            host=settings.host,
            credentials=self._credentials,
            reflection=True,
        )
        secret = settings.secret.encode() or secrets.token_bytes(_SECRET_BYTES)
        app = make_app(settings, secret, self._spec, self._actors, self._controller)
        self._web = WebServer(app, host=settings.host, port=settings.web_port, tls=settings)
        self.web_port = self._web.listen()
        try:
            self.port = await self._grpc.start()
        except BaseException:
            await self._web.stop()
            raise
        self._web.start()
        await self._register(classes)
        return self.web_port

    async def stop(self, grace: float = 1.0) -> None:
        """Leave every trial, answer the requests that wait, and stop listening."""
        await self._registrations.aclose()
        await self._actors.close()
        if self._web is not None:
            await self._web.stop(grace)
            self._web = None
        if self._grpc is not None:
            await asyncio.gather(self._grpc.stop(grace / 2), self._sessions.stop(grace))
            self._grpc = None
        await self._channels.close()

    async def _directory(self) -> DirectoryClient | None:
        endpoint = self.settings.directory_endpoint
        if not endpoint:
            return None
        channel = self._channels.get(await resolve(endpoint, None))
        return DirectoryClient(channel, self.settings.directory_authentication_token)

    async def _controller(self) -> Controller:
        endpoint = self.settings.orchestrator_endpoint
        uses_tls = True if self._credentials is not None else None
        target = await resolve(endpoint, await self._directory(), ServiceType.LIFECYCLE, use_ssl=uses_tls)
        return Controller(self._channels.get(target), _USER)

    async def _register(self, classes: tuple[str, ...]) -> None:
        directory, settings = await self._directory(), self.settings
        if directory is None:
            return
        own = settings.host if settings.host in _LOOPBACK else ""  # nobody reaches it by another address
        for actor_class in classes:
            names = {"__actor_class": actor_class, "__implementation": settings.implementation}
            await self._registrations.enter_async_context(
                registration(
                    directory,
                    ServiceType.ACTOR,
                    port=self.port,
                    host=settings.directory_registration_host or own,
                    properties={**settings.directory_registration_properties, **names},
                    use_ssl=self._credentials is not None,
                )
            )
