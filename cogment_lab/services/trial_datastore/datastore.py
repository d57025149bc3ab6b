"""The trial datastore as a whole."""

from __future__ import annotations

import contextlib

from cogment_lab.services.trial_datastore.backend import Backend
from cogment_lab.services.trial_datastore.columns import Columns
from cogment_lab.services.trial_datastore.database import Database
from cogment_lab.services.trial_datastore.servicers import Datalog, Datastore
from cogment_lab.services.trial_datastore.settings import TrialDatastoreSettings
from cogment_lab.wire.channel import ChannelPool
from cogment_lab.wire.directory import DirectoryClient, host_to_register, registration, resolve
from cogment_lab.wire.endpoint import ServiceType
from cogment_lab.wire.server import Server

__all__ = ["TrialDatastore"]


class TrialDatastore:
    """Keeps the samples of trials and hands them out, live and later.

    Args:
        settings: What it is told.

    Attributes:
        port: Port of both of its services, once started.

    Raises:
        NotAStoreError: the file is something else.
        StoreReadOnlyError: the file cannot be written.
        EndpointError: a TLS file cannot be read.
    """

    def __init__(self, settings: TrialDatastoreSettings | None = None) -> None:
        self.settings = settings if settings is not None else TrialDatastoreSettings()
        self.port = self.settings.port
        self._credentials = self.settings.credentials()
        self._channels = ChannelPool(self._credentials)
        self._registrations = contextlib.AsyncExitStack()
        self._backend: Backend | None = None
        self._server: Server | None = None

    async def start(self) -> int:
        """Listen, and return the port; raise PortInUseError when something else does."""
        settings = self.settings
        database = Database(settings.file_storage) if settings.file_storage is not None else None
        columns = Columns(settings.file_storage) if settings.file_storage is not None else None
        self._backend = Backend(settings.memory_storage_max_samples_size, database, columns)
        self._server = Server(
            {
                "cogmentAPI.TrialDatastoreSP": Datastore(self._backend),
                "cogmentAPI.DatalogSP": Datalog(self._backend),
            },
            port=settings.port,
            host=settings.host,
            credentials=self._credentials,
            reflection=settings.reflection,
        )
        self.port = await self._server.start()
        if settings.directory_endpoint:
            await self._register()
        return self.port

    async def stop(self, grace: float = 1.0) -> None:
        """Release followers, stop listening, and write what is left."""
        await self._registrations.aclose()
        backend, self._backend = self._backend, None
        if self._server is not None:
            if backend is not None:
                for trial in backend.trials.values():
                    backend.end(trial)
            await self._server.stop(grace)
        if backend is not None:
            await backend.close()
        await self._channels.close()

    async def _register(self) -> None:
        settings = self.settings
        target = await resolve(settings.directory_endpoint, None)
        client = DirectoryClient(self._channels.get(target), settings.directory_authentication_token)
        for kind in (ServiceType.DATASTORE, ServiceType.DATALOG):
            await self._registrations.enter_async_context(
                registration(
                    client,
                    kind,
                    port=self.port,
                    host=host_to_register(settings.directory_registration_host, settings.host),
                    properties=settings.directory_registration_properties,
                    use_ssl=self._credentials is not None,
                )
            )
