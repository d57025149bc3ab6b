"""The directory as a whole: its rpcs, and the checks in the background."""

from __future__ import annotations

import asyncio
import hmac
import random
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import grpc

from cogment_lab.services.directory.health import check
from cogment_lab.services.directory.records import UNSERVICEABLE, Record, Records
from cogment_lab.services.directory.settings import DirectorySettings
from cogment_lab.wire.endpoint import ServiceType
from cogment_lab.wire.generated.directory_pb2 import (
    DeregisterReply,
    DeregisterRequest,
    FullServiceData,
    InquireReply,
    InquireRequest,
    RegisterReply,
    RegisterRequest,
    ServiceEndpoint,
)
from cogment_lab.wire.server import Server, Servicer

__all__ = ["Directory", "DirectoryServicer"]

_SCAN_SECONDS = 5.0
_STALE_SECONDS = 60.0
_FIRST_CHECKS = (0.0, 0.5, 2.0)
_FORGET_SECONDS = 180.0
"""A service that was registered before it listens may take that long, as with the official directory."""

_LOAD_RANGE = 10
_LAST_PORT = 65535


class DirectoryServicer(Servicer):
    """``DirectorySP``; its checks run between :meth:`start` and :meth:`stop`.

    Args:
        settings: What it is told.
    """

    def __init__(self, settings: DirectorySettings) -> None:
        self._settings = settings
        path = Path(settings.persistence_file) if settings.persistence_file else None
        self.records = Records(path)
        self._credentials = settings.credentials()
        self._tasks: set[asyncio.Task[Any]] = set()

    def statuses(self) -> Mapping[str, str]:
        """Return what ``Status`` knows."""
        balancing = "enabled" if self._settings.load_balancing else "disabled"
        return {"overall_load": "0", "nb_entries": str(len(self.records)), "load_balancing": balancing}

    def start(self) -> None:
        """Begin to check services; those of an earlier process at once."""
        for record in self.records:
            self._spawn(self._check(record))
        self._spawn(self._scan())

    async def stop(self) -> None:
        """End every check."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def Register(self, requests: Any, context: Any) -> AsyncIterator[RegisterReply]:
        """Register services, one reply each; their health is checked afterwards."""
        token = _token(context)
        async for request in requests:
            problem = _find_problem(request)
            if problem:
                yield RegisterReply(status=RegisterReply.FAILED, error_msg=problem)
                continue
            record = self.records.add(
                protocol=request.endpoint.protocol,
                host=request.endpoint.host,
                port=request.endpoint.port,
                kind=request.details.type,
                properties=request.details.properties,
                permanent=request.permanent or self._settings.force_permanent,
                token=token,
            )
            self._spawn(self._check_new(record))
            yield RegisterReply(status=RegisterReply.OK, service_id=record.service_id, secret=record.secret)

    async def Deregister(self, requests: Any, context: Any) -> AsyncIterator[DeregisterReply]:
        """Remove records, given their secrets."""
        token = _token(context)
        async for request in requests:
            record = self.records.get(request.service_id)
            if record is None or not _may_remove(record, request, token):
                yield DeregisterReply(
                    status=DeregisterReply.FAILED, error_msg="no such service, or not its secret"
                )
                continue
            self.records.remove(record)
            yield DeregisterReply(status=DeregisterReply.OK)

    async def Inquire(self, request: InquireRequest, context: Any) -> AsyncIterator[InquireReply]:
        """Answer the healthy services that match, the newest first."""
        kind = request.WhichOneof("inquiry")
        if kind is None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "ask by service_id or by details")
        token = _token(context)
        deadline = time.monotonic() + self._settings.registration_lag
        while True:
            found = await self._find(request, token)
            if found or time.monotonic() >= deadline:
                break
            await asyncio.sleep(min(0.2, max(0.0, deadline - time.monotonic())))
        for record in found:
            yield InquireReply(data=_data(record))

    async def _find(self, request: InquireRequest, token: str) -> list[Record]:
        if request.WhichOneof("inquiry") == "service_id":
            record = self.records.get(request.service_id)
            found = [record] if record is not None and record.matches(0, {}, token) else []
        else:
            wanted = request.details
            found = [r for r in self.records if r.matches(wanted.type, wanted.properties, token)]
        if self._settings.check_on_inquire and found:
            await asyncio.gather(*(self._check(record) for record in found))
        healthy = [record for record in found if record.failures == 0]
        healthy.sort(key=lambda record: record.registered, reverse=True)
        return self._balance(healthy) if self._settings.load_balancing else healthy

    @staticmethod
    def _balance(records: list[Record]) -> list[Record]:
        """Return the services with little load, in any order."""
        able = [record for record in records if record.load < UNSERVICEABLE]
        if not able:
            return []
        least = min(record.load for record in able)
        idle = [record for record in able if record.load <= least + _LOAD_RANGE]
        random.shuffle(idle)
        return idle

    async def _check(self, record: Record) -> None:
        load = await check(record, self._credentials)
        record.checked = time.monotonic()
        if load is None:
            record.failures += 1
        else:
            record.failures, record.load, record.answered = 0, load, record.checked

    async def _check_new(self, record: Record) -> None:
        """Check a record that was just made; a service may register before it listens."""
        for pause in _FIRST_CHECKS:
            await asyncio.sleep(pause)
            await self._check(record)
            if record.failures == 0:
                return

    async def _scan(self) -> None:
        while True:
            await asyncio.sleep(_SCAN_SECONDS)
            now = time.monotonic()
            stale = [r for r in self.records if r.failures or now - r.checked > _STALE_SECONDS]
            await asyncio.gather(*(self._check(record) for record in stale))
            for record in stale:
                if record.failures and time.monotonic() - record.answered > _FORGET_SECONDS:
                    self.records.remove(record)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Directory:
    """Where services register and are found.

    Args:
        settings: What it is told.

    Attributes:
        port: Its port, once started.

    Raises:
        NotAStoreError: the persistence file holds something else.
        EndpointError: a TLS file cannot be read.
    """

    def __init__(self, settings: DirectorySettings | None = None) -> None:
        self.settings = settings if settings is not None else DirectorySettings()
        self.port = self.settings.port
        self._servicer = DirectoryServicer(self.settings)
        self._server: Server | None = None

    async def start(self) -> int:
        """Listen, and return the port; raise PortInUseError when something else does."""
        self._server = Server(
            {"cogmentAPI.DirectorySP": self._servicer},
            port=self.settings.port,
            host=self.settings.host,
            credentials=self.settings.credentials(),
            reflection=self.settings.reflection,
        )
        self.port = await self._server.start()
        self._servicer.start()
        return self.port

    async def stop(self, grace: float = 1.0) -> None:
        """Stop listening and checking."""
        if self._server is not None:
            await self._server.stop(grace)
        await self._servicer.stop()


def _token(context: Any) -> str:
    return next((str(v) for k, v in context.invocation_metadata() if k == "authentication-token"), "")


def _find_problem(request: RegisterRequest) -> str:
    endpoint = request.endpoint
    if not endpoint.host:
        return "the endpoint has no host"
    if endpoint.port > _LAST_PORT:
        return f"port {endpoint.port} is above {_LAST_PORT}"
    if endpoint.protocol not in (ServiceEndpoint.GRPC, ServiceEndpoint.GRPC_SSL, ServiceEndpoint.COGMENT):
        return f"protocol {endpoint.protocol} is none of GRPC, GRPC_SSL, COGMENT"
    if request.details.type not in {int(kind) for kind in ServiceType if kind is not ServiceType.UNKNOWN}:
        return f"type {request.details.type} is no type of service"
    return ""


def _may_remove(record: Record, request: DeregisterRequest, token: str) -> bool:
    return record.matches(0, {}, token) and hmac.compare_digest(
        record.secret.encode(), request.secret.encode()
    )


def _data(record: Record) -> FullServiceData:
    data = FullServiceData(service_id=record.service_id, permanent=record.permanent)
    data.endpoint.protocol = record.protocol  # type: ignore[assignment]
    data.endpoint.host = record.host
    data.endpoint.port = record.port
    data.details.type = record.type  # type: ignore[assignment]
    data.details.properties.update(record.properties)
    return data
