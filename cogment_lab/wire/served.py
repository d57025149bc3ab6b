"""What a context serves: its registered implementations as services and as records of the directory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from cogment_lab.errors import ServiceError
from cogment_lab.wire.actor import ActorServicer
from cogment_lab.wire.datalog import DatalogServicer
from cogment_lab.wire.directory import DirectoryClient, registration
from cogment_lab.wire.endpoint import ServedEndpoint, ServiceType
from cogment_lab.wire.environment import EnvironmentServicer
from cogment_lab.wire.prehook import HookServicer
from cogment_lab.wire.registered import Implementation
from cogment_lab.wire.server import Server
from cogment_lab.wire.serving import Sessions
from cogment_lab.wire.session_metrics import SessionMetrics, metrics_page
from cogment_lab.wire.settings import Settings

__all__ = ["Served"]

_LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


@dataclass
class Served:
    """The implementations of a context, and their server while there is one.

    Attributes:
        actors: By name.
        environments: By name.
        hooks: One, under the empty name.
        datalogs: One, under the empty name.
        sessions: The user code that runs.
        is_serving: Whether registration is over.
        port: The port that is served, 0 while none is.
        registry: Where sessions are counted; ``None`` does not count them.
        metrics_port: Port of the page of metrics, 0 while there is none.
    """

    actors: dict[str, Implementation] = field(default_factory=dict)
    environments: dict[str, Implementation] = field(default_factory=dict)
    hooks: dict[str, Implementation] = field(default_factory=dict)
    datalogs: dict[str, Implementation] = field(default_factory=dict)
    sessions: Sessions = field(default_factory=Sessions)
    is_serving: bool = False
    port: int = 0
    registry: CollectorRegistry | None = None
    metrics_port: int = 0

    def register(self, kind: dict[str, Implementation], implementation: Implementation) -> None:
        """Add to one of the four; raise ServiceError when the name is taken, or it is too late."""
        if self.is_serving:
            raise ServiceError("register before serving")
        if implementation.name in kind:
            raise ServiceError(f"an implementation of the name {implementation.name!r} is registered already")
        kind[implementation.name] = implementation

    async def serve(
        self,
        settings: Settings,
        endpoint: ServedEndpoint,
        directory: DirectoryClient | None,
        host: str | None,
        grace: float,
        prometheus_port: int | None,
    ) -> None:
        """Serve until cancelled.

        Args:
            settings: The application's messages.
            endpoint: Where to listen.
            directory: Where to register, ``None`` for nowhere.
            host: Under which host; ``None`` is that of ``endpoint``, or this machine's own address.
            grace: Seconds that sessions have to end.
            prometheus_port: Port of a page of metrics, ``None`` for none.

        Raises:
            ServiceError: nothing is registered, or it is served already.
            PortInUseError: the port is taken.
        """
        servicers = self._servicers(settings)
        if self.is_serving or not servicers:
            raise ServiceError(
                "this context serves already" if self.is_serving else "nothing is registered to be served"
            )
        server = Server(servicers, port=endpoint.port, host=endpoint.host, credentials=endpoint.credentials)
        if host is None:
            host = endpoint.host if endpoint.host in _LOOPBACK else ""
        self.is_serving = True
        try:
            async with contextlib.AsyncExitStack() as more:
                self._count(more, prometheus_port, endpoint.host)
                self.port = await server.start()
                if directory is not None:
                    await self._register(more, directory, host, endpoint.credentials is not None)
                await asyncio.Event().wait()
        finally:
            self.is_serving = False
            self.port = self.metrics_port = 0
            await asyncio.gather(server.stop(grace / 2), self.sessions.stop(grace))

    def _count(self, more: contextlib.AsyncExitStack, port: int | None, host: str) -> None:
        if self.registry is None and port is not None:
            self.registry = CollectorRegistry()
        if self.registry is not None:
            self.sessions.metrics = SessionMetrics.of(self.registry)
            if port is not None:
                self.metrics_port = more.enter_context(metrics_page(self.registry, port, host))

    async def _register(
        self, registrations: contextlib.AsyncExitStack, directory: DirectoryClient, host: str, use_ssl: bool
    ) -> None:
        for kind, properties in self._records():
            record = registration(
                directory,
                kind,
                port=self.port,
                host=host,
                properties={"__registration_source": "PythonSDK-Implicit", **properties},
                use_ssl=use_ssl,
            )
            await registrations.enter_async_context(record)

    def _servicers(self, settings: Settings) -> dict[str, object]:
        servicers: dict[str, object] = {}
        if self.actors:
            servicers["cogmentAPI.ServiceActorSP"] = ActorServicer(settings, self.sessions, self.actors)
        if self.environments:
            servicers["cogmentAPI.EnvironmentSP"] = EnvironmentServicer(
                settings, self.sessions, self.environments
            )
        for hook in self.hooks.values():
            servicers["cogmentAPI.TrialHooksSP"] = HookServicer(settings, self.sessions, hook)
        for datalog in self.datalogs.values():
            servicers["cogmentAPI.DatalogSP"] = DatalogServicer(settings, self.sessions, datalog)
        return servicers

    def _records(self) -> Iterator[tuple[ServiceType, dict[str, str]]]:
        for actor in self.actors.values():
            for actor_class in actor.actor_classes:
                names = {"__actor_class": actor_class, "__implementation": actor.name}
                yield ServiceType.ACTOR, {**actor.properties, **names}
        for environment in self.environments.values():
            properties = {**environment.properties, "__implementation": environment.name}
            yield ServiceType.ENVIRONMENT, properties
        for hook in self.hooks.values():
            yield ServiceType.PREHOOK, dict(hook.properties)
        for datalog in self.datalogs.values():
            yield ServiceType.DATALOG, dict(datalog.properties)
