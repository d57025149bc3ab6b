"""The entrance to Cogment's services: register implementations and serve them, control and join trials."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import grpc

from cogment_lab.errors import EndpointError, ServiceError
from cogment_lab.wire.channel import open_channel
from cogment_lab.wire.controller import Controller
from cogment_lab.wire.directory import DirectoryClient, resolve
from cogment_lab.wire.endpoint import CLIENT, Credentials, Endpoint, ServedEndpoint, ServiceType, parse
from cogment_lab.wire.generated.common_pb2 import ActorInitialOutput
from cogment_lab.wire.joining import join
from cogment_lab.wire.metadata import GrpcMetadata
from cogment_lab.wire.registered import Implementation
from cogment_lab.wire.served import Served
from cogment_lab.wire.settings import Settings

__all__ = ["Context"]

Run = Callable[[Any], Awaitable[None]]


class Context:
    """What a program does with Cogment, as the official SDK's ``Context``.

    Args:
        user_id: Whose trials are started.
        cog_settings: The application's messages, a module written by ``cogment.generate`` or
            :data:`cogment_lab.wire.settings.LAB_SETTINGS`; ``None`` where no session is run.
        asyncio_loop: The event loop; the running one otherwise.
        prometheus_registry: Where metrics are kept; without one, they are when they are served as a page.
        directory_endpoint: The directory; otherwise that of ``COGMENT_DIRECTORY_ENDPOINT``, or none.
        directory_auth_token: Its token; otherwise ``COGMENT_DIRECTORY_AUTHENTICATION_TOKEN``.
        metadata: Sent with the calls to controllers, stores and registries, and when joining.

    Raises:
        ServiceError: no event loop is running.
    """

    def __init__(
        self,
        user_id: str,
        cog_settings: Settings | None = None,
        asyncio_loop: asyncio.AbstractEventLoop | None = None,
        prometheus_registry: Any = None,
        directory_endpoint: Endpoint | None = None,
        directory_auth_token: str | None = None,
        metadata: GrpcMetadata | None = None,
    ) -> None:
        try:
            self.asyncio_loop = asyncio_loop or asyncio.get_running_loop()
        except RuntimeError:
            raise ServiceError("make the Context in a coroutine: it belongs to the running loop") from None
        self._user_id = user_id
        self._settings = cog_settings
        self._metadata = GrpcMetadata() if metadata is None else metadata.copy()
        url = os.environ.get("COGMENT_DIRECTORY_ENDPOINT", "")
        self._directory_endpoint = directory_endpoint or (Endpoint(url) if url else None)
        token = os.environ.get("COGMENT_DIRECTORY_AUTHENTICATION_TOKEN", "")
        self._directory_token = token if directory_auth_token is None else directory_auth_token
        self._channels: dict[tuple[str, Credentials | None], grpc.aio.Channel] = {}
        self._served = Served(registry=prometheus_registry)

    def __repr__(self) -> str:
        return f"Context({self._user_id!r}, served_port={self.served_port})"

    @property
    def served_port(self) -> int:
        """The port that is served, 0 before."""
        return self._served.port

    def has_specs(self) -> bool:
        """Return whether there are settings."""
        return self._settings is not None

    def register_actor(
        self,
        impl: Run,
        impl_name: str,
        actor_classes: Sequence[str] = (),
        properties: Mapping[str, str] | None = None,
    ) -> None:
        """Register a coroutine function that plays actors.

        Args:
            impl: Called with an :class:`~cogment_lab.wire.actor.ActorSession`.
            impl_name: Its name.
            actor_classes: Classes that it can be, all of them when empty.
            properties: For the directory.

        Raises:
            ServiceError: the name is taken, or the context serves already.
        """
        classes = tuple(actor_classes) or tuple(one.name for one in self._specs().actor_classes)
        implementation = Implementation(impl, impl_name, classes, dict(properties or {}))
        self._served.register(self._served.actors, implementation)

    def register_environment(
        self,
        impl: Run,
        impl_name: str = "default",
        properties: Mapping[str, str] | None = None,
        statuses: Mapping[str, str] | None = None,
    ) -> None:
        """Register a coroutine function that is called with an ``EnvironmentSession``.

        Args:
            impl: The function.
            impl_name: Its name.
            properties: For the directory.
            statuses: Answered by the service's ``Status``, besides its own.

        Raises:
            ServiceError: the name is taken, or the context serves already.
        """
        implementation = Implementation(impl, impl_name, (), dict(properties or {}), dict(statuses or {}))
        self._served.register(self._served.environments, implementation)

    def register_pre_trial_hook(self, impl: Run, properties: Mapping[str, str] | None = None) -> None:
        """Register the coroutine function that is called with a ``PrehookSession``; there can be one.

        Args:
            impl: The function.
            properties: For the directory.

        Raises:
            ServiceError: there is one, or the context serves already.
        """
        implementation = Implementation(impl, properties=dict(properties or {}))
        self._served.register(self._served.hooks, implementation)

    def register_datalog(self, impl: Run, properties: Mapping[str, str] | None = None) -> None:
        """Register the coroutine function that is called with a ``DatalogSession``; there can be one.

        Args:
            impl: The function.
            properties: For the directory.

        Raises:
            ServiceError: there is one, or the context serves already.
        """
        implementation = Implementation(impl, properties=dict(properties or {}))
        self._served.register(self._served.datalogs, implementation)

    async def serve_all_registered(
        self,
        served_endpoint: ServedEndpoint | None = None,
        prometheus_port: int | None = None,
        directory_registration_host: str | None = None,
        *,
        grace: float = 2.0,
    ) -> None:
        """Serve what is registered until this is cancelled.

        Args:
            served_endpoint: Where to listen; a free port of the loopback interface otherwise.
            prometheus_port: Port of a page of metrics; ``None`` for none.
            directory_registration_host: Host under which the directory shows us; our own address otherwise.
            grace: Seconds that sessions have to end, once cancelled.

        Raises:
            ServiceError: nothing is registered, or it is served already.
            PortInUseError: the port is taken.
        """
        await self._served.serve(
            self._specs(),
            served_endpoint or ServedEndpoint(),
            self._directory(),
            directory_registration_host,
            grace,
            prometheus_port,
        )

    def get_controller(self, endpoint: Endpoint | None = None) -> Any:
        """Return the :class:`Controller` of an orchestrator; a coroutine when the directory is asked for it.

        Args:
            endpoint: Where it is.
        """
        return self._client(
            endpoint,
            ServiceType.LIFECYCLE,
            lambda channel: Controller(channel, self._user_id, self._metadata),
        )

    def get_datastore(self, endpoint: Endpoint | None = None) -> Any:
        """Return the client of a trial datastore; a coroutine when the directory is asked for it.

        Args:
            endpoint: Where it is.
        """
        from cogment_lab.wire.datastore import Datastore

        return self._client(
            endpoint,
            ServiceType.DATASTORE,
            lambda channel: Datastore(channel, self._settings, self._metadata),
        )

    async def get_model_registry(self, endpoint: Endpoint | None = None) -> Any:
        """Return the older client of a model registry; deprecated.

        Args:
            endpoint: Where it is.
        """
        from cogment_lab.wire.model_registry import ModelRegistryV1

        channel = await self._channel(endpoint or Endpoint(), ServiceType.MODELREGISTRY)
        return ModelRegistryV1(channel, self._metadata)

    async def get_model_registry_v2(self, endpoint: Endpoint | None = None) -> Any:
        """Return the client of a model registry.

        Args:
            endpoint: Where it is.
        """
        from cogment_lab.wire.model_registry import ModelRegistry

        channel = await self._channel(endpoint or Endpoint(), ServiceType.MODELREGISTRY)
        return ModelRegistry(channel, self._metadata)

    async def join_trial(
        self,
        trial_id: str,
        endpoint: Endpoint | None = None,
        impl_name: str | None = None,
        actor_name: str | None = None,
        actor_class: str | None = None,
    ) -> None:
        """Play an actor of a trial with a registered implementation, until that returns.

        Args:
            trial_id: The trial.
            endpoint: Its orchestrator.
            impl_name: Deprecated: join as this implementation's first class.
            actor_name: The actor to be; goes before ``actor_class``.
            actor_class: Be the first free actor of this class.

        Raises:
            ServiceError: neither name nor class, the orchestrator refuses, or no implementation fits.
            ServiceUnreachableError: no orchestrator answers.
        """
        if actor_name is not None:
            slot = ActorInitialOutput(actor_name=actor_name)
        elif actor_class is not None:
            slot = ActorInitialOutput(actor_class=actor_class)
        elif impl_name in self._served.actors:
            slot = ActorInitialOutput(actor_class=self._served.actors[impl_name].actor_classes[0])
        else:
            raise ServiceError("name the actor to join as, or its class")
        implementations = self._served.actors
        if impl_name in implementations:
            implementations = {"": implementations[impl_name]}
        channel = await self._channel(endpoint or Endpoint(), ServiceType.ACTSERVICE)
        metadata = self._metadata.to_grpc_metadata()
        await join(channel, trial_id, slot, implementations, self._specs(), metadata)

    async def close(self) -> None:
        """Close the connections; calls in progress are cancelled."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close(None)

    def _specs(self) -> Settings:
        if self._settings is None:
            raise ServiceError("this needs a Context with cog_settings")
        return self._settings

    def _directory(self) -> DirectoryClient | None:
        endpoint = self._directory_endpoint
        if endpoint is None:
            return None
        target = parse(endpoint.url)
        if not isinstance(target, str):
            raise EndpointError(f"the directory's own endpoint {endpoint.url!r} is grpc://host:port")
        return DirectoryClient(self._open(target, endpoint), self._directory_token)

    def _client(self, endpoint: Endpoint | None, kind: ServiceType, make: Callable[[Any], Any]) -> Any:
        endpoint = endpoint or Endpoint()
        target = parse(endpoint.url)
        if isinstance(target, str):
            return make(self._open(target, endpoint))

        async def discovered() -> Any:
            return make(await self._channel(endpoint, kind))

        return discovered()

    async def _channel(self, endpoint: Endpoint, kind: ServiceType) -> grpc.aio.Channel:
        target = await resolve(endpoint.url, self._directory(), kind, use_ssl=endpoint.use_ssl)
        return self._open(target, endpoint)

    def _open(self, target: str, endpoint: Endpoint) -> grpc.aio.Channel:
        if target == CLIENT:
            raise EndpointError(f"{endpoint.url!r} is no address of a service")
        key = (target, endpoint.credentials if endpoint.use_ssl else None)
        if key not in self._channels:
            self._channels[key] = open_channel(*key)
        return self._channels[key]
