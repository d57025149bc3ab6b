"""The orchestrator as a whole: its servers, its registration, its end."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import grpc

from cogment_lab.services.directory import DirectoryServicer, DirectorySettings
from cogment_lab.services.orchestrator.addresses import AddressBook
from cogment_lab.services.orchestrator.hooks import read_params_file
from cogment_lab.services.orchestrator.metrics import Metrics, TickMeter
from cogment_lab.services.orchestrator.servicers import ClientActors, Lifecycle
from cogment_lab.services.orchestrator.settings import OrchestratorSettings
from cogment_lab.services.orchestrator.trials import Trials
from cogment_lab.wire.channel import open_channel
from cogment_lab.wire.directory import address, host_to_register, registration
from cogment_lab.wire.endpoint import ServiceType
from cogment_lab.wire.generated.common_pb2 import TrialParams
from cogment_lab.wire.server import Server

if TYPE_CHECKING:
    from cogment_lab.services.web_server import WebServer

__all__ = ["Orchestrator"]

_LOG = logging.getLogger(__name__)
_LIFECYCLE, _ACTORS = "cogmentAPI.TrialLifecycleSP", "cogmentAPI.ClientActorSP"
_DIRECTORY = "cogmentAPI.DirectorySP"
_LOOPBACK, _ANYWHERE = ("127.0.0.1", "localhost", "::1"), ("0.0.0.0", "::", "")


class Orchestrator:
    """Runs trials between environments and actors that are other processes, or parts of this one.

    Args:
        settings: What it is told.

    Attributes:
        port: Port of the lifecycle service, once started.
        actor_port: Port for client actors, often the same.
        actor_web_port: Port for browsers, once started; 0 without one.

    Raises:
        ConfigurationError: the parameters file is wrong.
        EndpointError: a TLS file cannot be read.
    """

    def __init__(self, settings: OrchestratorSettings | None = None) -> None:
        self.settings = settings if settings is not None else OrchestratorSettings()
        if self.settings.gc_frequency is not None:
            _LOG.warning("gc_frequency has no effect: timers end inactive trials and forget ended ones")
        self.port = self.settings.lifecycle_port
        self.actor_port = self.settings.actor_port
        self.actor_web_port = 0
        path = self.settings.params
        default_params = read_params_file(path) if path is not None else TrialParams()
        self._credentials = self.settings.credentials()
        self._addresses = AddressBook(self.settings, self._credentials)
        self._metrics = Metrics()
        self.trials = Trials(self.settings, self._addresses, default_params, self._metrics.trial_ended)
        self._servers: list[Server] = []
        self._web: WebServer | None = None
        self._web_channel: grpc.aio.Channel | None = None
        self._status_file: IO[bytes] | None = None
        self._directory: DirectoryServicer | None = None
        self._registrations = contextlib.AsyncExitStack()

    async def start(self) -> int:
        """Listen, and return the lifecycle port.

        Raises:
            PortInUseError: something else listens there.
        """
        self._write_status(b"I")
        lifecycle = Lifecycle(self.trials, self.settings)
        actors = ClientActors(self.trials, self.settings)
        served: dict[str, object] = {_LIFECYCLE: lifecycle}
        if self.settings.own_directory and not self.settings.directory_endpoint:
            self._directory = DirectoryServicer(DirectorySettings(persistence_file=""))
            self._directory.start()
            served[_DIRECTORY] = self._directory
        if self.settings.lifecycle_port == self.settings.actor_port:
            both = {**served, _ACTORS: actors}
            self.port = self.actor_port = await self._serve(both, self.settings.lifecycle_port)
        else:
            self.port = await self._serve(served, self.settings.lifecycle_port)
            self.actor_port = await self._serve({_ACTORS: actors}, self.settings.actor_port)
        if self.settings.actor_web_port is not None:
            self._serve_web(self.settings.actor_web_port)
        if self.settings.prometheus_port is not None:
            ticks = TickMeter(self._progress)
            self.trials.watchers.add(ticks)
            self._metrics.serve(self.settings.prometheus_port, self.settings.host, ticks)
        if self._directory is not None:
            self._addresses.use_directory(f"localhost:{self.port}")
        await self._register()
        self._write_status(b"R")
        return self.port

    async def stop(self, grace: float = 1.0) -> None:
        """End every trial (its components get END), then stop listening."""
        await self._registrations.aclose()
        await self.trials.close()
        if self._web is not None and self._web_channel is not None:
            await self._web.stop(grace)
            await self._web_channel.close(None)
            self._web = self._web_channel = None
        for server in self._servers:
            await server.stop(grace)
        self._servers.clear()
        if self._directory is not None:
            await self._directory.stop()
        await self._addresses.close()
        self._metrics.close()
        self._write_status(b"T")
        if self._status_file is not None:
            self._status_file.close()
            self._status_file = None

    async def _serve(self, servicers: Mapping[str, object], port: int) -> int:
        server = Server(
            servicers,
            port=port,
            host=self.settings.host,
            credentials=self._credentials,
            reflection=self.settings.reflection,
        )
        self._servers.append(server)
        return await server.start()

    def _serve_web(self, port: int) -> None:
        from cogment_lab.services.orchestrator.web import make_web_app
        from cogment_lab.services.web_server import WebServer

        host, credentials = self.settings.host, self._credentials
        if host in (*_LOOPBACK, *_ANYWHERE):
            host = "localhost"
        if credentials is not None and credentials.root_certificates is None:  # ourselves we trust
            credentials = replace(credentials, root_certificates=credentials.certificate_chain)
        self._web_channel = open_channel(address(host, self.actor_port), credentials)
        app = make_web_app(self._web_channel, self.settings.actor_web_origins)
        self._web = WebServer(app, host=self.settings.host, port=port, tls=self.settings, websockets=True)
        self.actor_web_port = self._web.listen()
        self._web.start()

    async def _register(self) -> None:
        directory = await self._addresses.directory()
        if directory is None or not self.settings.directory_auto_register:
            return
        for kind, port in ((ServiceType.LIFECYCLE, self.port), (ServiceType.ACTSERVICE, self.actor_port)):
            await self._registrations.enter_async_context(
                registration(
                    directory,
                    kind,
                    port=port,
                    host=host_to_register(self.settings.directory_registration_host, self.settings.host),
                    properties=dict(self.settings.directory_registration_properties),
                    use_ssl=self._credentials is not None,
                )
            )

    def _progress(self, trial_id: str) -> tuple[int, float] | None:
        trial = self.trials.find(trial_id)
        return None if trial is None else (trial.tick, trial.duration)

    def _write_status(self, status: bytes) -> None:
        path = self.settings.status_file
        if path is None:
            return
        if self._status_file is None:
            self._status_file = Path(path).open("ab", buffering=0)  # noqa: SIM115  # a FIFO must see no end
        with contextlib.suppress(BrokenPipeError):
            self._status_file.write(status)
