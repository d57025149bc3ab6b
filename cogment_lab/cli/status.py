"""``cogmentlab status``: which services listen, and how they are."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from http.client import HTTPException
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rich.console import Console
from rich.table import Table

from cogment_lab.cli.launch import chosen_services, reachable_host
from cogment_lab.services.tls import TlsFiles
from cogment_lab.wire.channel import open_channel
from cogment_lab.wire.directory import address
from cogment_lab.wire.endpoint import Credentials
from cogment_lab.wire.generated.common_pb2 import StatusRequest, VersionRequest
from cogment_lab.wire.rpc import Stub

__all__ = ["Report", "show_status"]

_SERVICES = {
    "orchestrator": "cogmentAPI.TrialLifecycleSP",
    "trial_datastore": "cogmentAPI.TrialDatastoreSP",
    "model_registry": "cogmentAPI.ModelRegistrySP",
    "directory": "cogmentAPI.DirectorySP",
}
_SERVING, _ILL, _ABSENT = "serving", "not serving", "absent"


@dataclass(frozen=True)
class Report:
    """What is known of a service.

    Attributes:
        name: The service.
        address: Where it was looked for.
        state: ``serving``, ``not serving`` (it answers wrongly, or says so itself) or ``absent``.
        versions: What its ``Version`` answers.
        statuses: What its ``Status`` answers; ``overall_load`` is 0 to 254, 255 for too much.
        problem: Why it is not serving.
    """

    name: str
    address: str
    state: str
    versions: Mapping[str, str] = field(default_factory=dict)
    statuses: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


def show_status(
    names: Sequence[str] = (),
    *,
    ports: Mapping[str, int] | None = None,
    host: str = "",
    tls: TlsFiles | None = None,
    timeout: float = 2.0,
    as_json: bool = False,
) -> bool:
    """Print how services are.

    Args:
        names: ``base``, ``all``, or names of services; none of them is ``all``.
        ports: Of these services, instead of the official ones.
        host: Where they are; this machine without it.
        tls: Files for services that speak TLS.
        timeout: Seconds to wait for each answer.
        as_json: One JSON object per line instead of a table.

    Returns:
        Whether those that were named serve; without names, whether one serves and none is ill.

    Raises:
        ConfigurationError: an unknown service.
        EndpointError: a TLS file cannot be read.
    """
    where = chosen_services(names or ["all"], ports or {})
    credentials = tls.credentials() if tls is not None else None
    reports = asyncio.run(_ask_all(where, host or reachable_host(), credentials, tls, timeout))
    if as_json:
        for report in reports:
            print(json.dumps(asdict(report)))
    else:
        _print_table(reports)
    states = [report.state for report in reports]
    if names:
        return all(state == _SERVING for state in states)
    return _SERVING in states and _ILL not in states


async def _ask_all(
    where: Mapping[str, int],
    host: str,
    credentials: Credentials | None,
    tls: TlsFiles | None,
    timeout: float,
) -> list[Report]:
    def ask(name: str, port: int) -> Any:
        if name in _SERVICES:
            return _ask(name, address(host, port), credentials, timeout)
        url = f"{'http' if credentials is None else 'https'}://{address(host, port)}"
        return asyncio.to_thread(_ask_web, name, url, tls, timeout)

    return list(await asyncio.gather(*(ask(name, port) for name, port in where.items())))


async def _ask(name: str, target: str, credentials: Credentials | None, timeout: float) -> Report:
    """Ask a gRPC service for its version, its health and its statuses."""
    channel = open_channel(target, credentials)
    try:
        stub = Stub(channel, _SERVICES[name])
        try:
            reply = await stub.Version(VersionRequest(), timeout=timeout, wait_for_ready=False)
        except grpc.aio.AioRpcError as error:
            return await _unanswered(name, target, error)
        versions = {each.name: each.version for each in reply.versions}
        statuses: dict[str, str] = {}
        with contextlib.suppress(grpc.aio.AioRpcError):  # older services have no Status
            statuses = dict((await stub.Status(StatusRequest(names=["*"]), timeout=timeout)).statuses)
        problem = await _find_illness(channel, _SERVICES[name], timeout)
        return Report(name, target, _ILL if problem else _SERVING, versions, statuses, problem)
    finally:
        await channel.close(None)


async def _unanswered(name: str, target: str, error: grpc.aio.AioRpcError) -> Report:
    """Tell a port where nobody listens from one where somebody else does."""
    details = error.details() or ""
    if error.code() is grpc.StatusCode.UNAVAILABLE and not await _listens(target):
        return Report(name, target, _ABSENT)
    return Report(name, target, _ILL, problem=f"{error.code().name}: {details.splitlines()[0][:200]}")


async def _listens(target: str) -> bool:
    host, _, port = target.rpartition(":")
    try:
        async with asyncio.timeout(1.0):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def _find_illness(channel: grpc.aio.Channel, service: str, timeout: float) -> str:
    """Return what the health service says against a service; the official ones have none."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    try:
        reply = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=timeout)
    except grpc.aio.AioRpcError as error:
        return "" if error.code() is grpc.StatusCode.UNIMPLEMENTED else f"health: {error.code().name}"
    if reply.status == health_pb2.HealthCheckResponse.SERVING:
        return ""
    return f"health: {health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)}"


def _ask_web(name: str, url: str, tls: TlsFiles | None, timeout: float) -> Report:
    """Ask the web proxy's HTTP API."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if tls is not None and url.startswith("https:"):
        context = ssl.create_default_context(cafile=tls.root_cert)
        if tls.trust_chain is not None:
            context.load_cert_chain(tls.trust_chain, tls.private_key)
        handlers.append(urllib.request.HTTPSHandler(context=context))
    opener = urllib.request.build_opener(*handlers)
    try:
        with opener.open(f"{url}/healthz", timeout=timeout) as reply:
            reply.read()
        with opener.open(f"{url}/", timeout=timeout) as reply:
            version = str(json.load(reply).get("version", ""))
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionRefusedError):
            return Report(name, url, _ABSENT)
        return Report(name, url, _ILL, problem=str(error.reason))
    except (OSError, HTTPException, ValueError, AttributeError) as error:
        return Report(name, url, _ILL, problem=f"no web proxy answers: {error!r}")
    return Report(name, url, _SERVING, {"cogment_lab": version})


def _print_table(reports: Sequence[Report]) -> None:
    colours = {_SERVING: "green", _ILL: "red", _ABSENT: "dim"}
    table = Table()
    for title in ("service", "address", "state", "load", "version"):
        table.add_column(title, overflow="fold")
    for report in reports:
        versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
        state = f"[{colours[report.state]}]{report.state}[/]"
        load = report.statuses.get("overall_load", "")
        table.add_row(report.name, report.address, state, load, versions)
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    for report in reports:
        if report.problem:
            console.print(f"{report.name}: {report.problem}", markup=False)
