"""From the endpoints in a trial's parameters to the stubs that are called."""

from __future__ import annotations

from cogment_lab.errors import EndpointError
from cogment_lab.services.orchestrator.settings import OrchestratorSettings
from cogment_lab.wire.channel import ChannelPool
from cogment_lab.wire.directory import DirectoryClient, resolve
from cogment_lab.wire.endpoint import CLIENT, Credentials, ServiceType, parse
from cogment_lab.wire.generated.common_pb2 import ActorParams, EnvironmentParams
from cogment_lab.wire.rpc import Stub

__all__ = ["AddressBook"]


class AddressBook:
    """Finds components, directly or by the directory; shares channels and stubs among trials.

    Args:
        settings: Those of the orchestrator.
        credentials: TLS material for outgoing connections, ``None`` for none.
    """

    def __init__(self, settings: OrchestratorSettings, credentials: Credentials | None) -> None:
        self._settings = settings
        self._channels = ChannelPool(credentials)
        self._tls = credentials is not None
        self._stubs: dict[tuple[str, str], Stub] = {}
        self._directory: DirectoryClient | None = None

    async def env(self, params: EnvironmentParams) -> Stub:
        """Return the ``EnvironmentSP`` of a trial."""
        return await self._service(
            params.endpoint,
            "cogmentAPI.EnvironmentSP",
            ServiceType.ENVIRONMENT,
            implementation=params.implementation,
        )

    async def actor(self, params: ActorParams) -> Stub | None:
        """Return the ``ServiceActorSP`` of an actor, ``None`` for one that connects by itself."""
        target = await self._resolve(
            params.endpoint,
            ServiceType.ACTOR,
            actor_class=params.actor_class,
            implementation=params.implementation,
        )
        return None if target == CLIENT else self._stub(target, "cogmentAPI.ServiceActorSP")

    async def hook(self, endpoint: str) -> Stub:
        """Return the ``TrialHooksSP`` at ``endpoint``."""
        return await self._service(endpoint, "cogmentAPI.TrialHooksSP", ServiceType.PREHOOK)

    async def datalog(self, endpoint: str) -> Stub:
        """Return the ``DatalogSP`` at ``endpoint``."""
        return await self._service(endpoint, "cogmentAPI.DatalogSP", ServiceType.DATALOG)

    async def directory(self) -> DirectoryClient | None:
        """Return the client of the configured directory, ``None`` without one."""
        endpoint = self._settings.directory_endpoint
        if endpoint and self._directory is None:
            target = await resolve(endpoint, None, ServiceType.DIRECTORY)
            token = self._settings.directory_authentication_token
            self._directory = DirectoryClient(self._channels.get(target), token)
        return self._directory

    def use_directory(self, target: str) -> None:
        """Ask the directory at ``target``."""
        token = self._settings.directory_authentication_token
        self._directory = DirectoryClient(self._channels.get(target), token)

    async def close(self) -> None:
        """Close every channel."""
        await self._channels.close()

    async def _service(self, endpoint: str, service: str, kind: ServiceType, **context: str) -> Stub:
        target = await self._resolve(endpoint, kind, **context)
        if target == CLIENT:
            raise EndpointError(f"{endpoint!r} is an actor's endpoint, not one of {service}")
        return self._stub(target, service)

    async def _resolve(self, endpoint: str, kind: ServiceType, **context: str) -> str:
        target = parse(endpoint)
        if isinstance(target, str):
            return target
        uses_tls = True if self._tls else None
        return await resolve(endpoint, await self.directory(), kind, use_ssl=uses_tls, **context)

    def _stub(self, target: str, service: str) -> Stub:
        stub = self._stubs.get((target, service))
        if stub is None:
            stub = self._stubs[target, service] = Stub(self._channels.get(target), service)
        return stub
