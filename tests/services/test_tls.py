"""Every service by TLS, with and without client certificates."""

import asyncio
import contextlib
import http.client
import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cogment_lab.errors import EndpointError, ServiceUnreachableError
from cogment_lab.services.directory import Directory, DirectorySettings
from cogment_lab.services.model_registry import ModelRegistry, ModelRegistrySettings
from cogment_lab.services.orchestrator import Orchestrator, OrchestratorSettings
from cogment_lab.services.tls import TlsFiles
from cogment_lab.services.trial_datastore import TrialDatastore, TrialDatastoreSettings
from cogment_lab.services.web_proxy import WebProxy, WebProxySettings
from cogment_lab.wire.channel import open_channel
from cogment_lab.wire.directory import DirectoryClient
from cogment_lab.wire.endpoint import Credentials, Discovery, ServiceType
from cogment_lab.wire.generated.common_pb2 import VersionRequest
from cogment_lab.wire.rpc import Stub


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(60):
            await work()

    asyncio.run(main())


@contextlib.asynccontextmanager
async def serving(service: Any) -> AsyncIterator[Any]:
    await service.start()
    try:
        yield service
    finally:
        await service.stop(0.2)


async def answers(port: int, service: str, credentials: Credentials | None) -> bool:
    """Return whether a service lets this client in."""
    channel = open_channel(f"127.0.0.1:{port}", credentials)
    try:
        await Stub(channel, f"cogmentAPI.{service}").Version(VersionRequest(), timeout=30)
    except Exception as error:
        assert "UNAVAILABLE" in str(error), error
        return False
    finally:
        await channel.close(None)
    return True


KINDS: dict[str, Callable[..., Any]] = {
    "TrialDatastoreSP": lambda **files: TrialDatastore(TrialDatastoreSettings(port=0, **files)),
    "ModelRegistrySP": lambda **files: ModelRegistry(
        ModelRegistrySettings(port=0, archive_dir=Path("models"), **files)
    ),
    "DirectorySP": lambda **files: Directory(DirectorySettings(port=0, persistence_file="", **files)),
    "ServiceActorSP": lambda **files: WebProxy(WebProxySettings(port=0, web_port=0, **files)),
    "TrialLifecycleSP": lambda **files: Orchestrator(
        OrchestratorSettings(lifecycle_port=0, actor_port=0, own_directory=False, **files)
    ),
}


@pytest.mark.parametrize("mutual", [False, True], ids=["tls", "mutual"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_service_serves_by_tls(kind: str, mutual: bool, tls: dict[str, Path]) -> None:
    files = dict(tls) if mutual else {name: tls[name] for name in ("private_key", "trust_chain")}
    known, trusting = TlsFiles(**tls).credentials(), TlsFiles(root_cert=tls["root_cert"]).credentials()

    async def work() -> None:
        async with serving(KINDS[kind](**files)) as service:
            assert await answers(service.port, kind, known)
            assert await answers(service.port, kind, trusting) is not mutual
            assert not await answers(service.port, kind, None)

    run(work)


def test_a_stranger_with_a_certificate_of_its_own_is_refused(tls, make_certificate) -> None:
    stranger = make_certificate() | {"root_cert": tls["root_cert"]}

    async def work() -> None:
        async with serving(KINDS["DirectorySP"](**tls)) as directory:
            assert not await answers(directory.port, "DirectorySP", TlsFiles(**stranger).credentials())

    run(work)


def test_services_register_and_are_checked_by_tls(tls: dict[str, Path]) -> None:
    async def work() -> None:
        async with contextlib.AsyncExitStack() as stack:
            directory = await stack.enter_async_context(serving(KINDS["DirectorySP"](**tls)))
            where = {
                "directory_endpoint": f"grpc://localhost:{directory.port}",
                "directory_registration_host": "localhost",
            }
            for kind in set(KINDS) - {"DirectorySP"}:
                await stack.enter_async_context(serving(KINDS[kind](**tls, **where)))
            channel = open_channel(f"localhost:{directory.port}", TlsFiles(**tls).credentials())
            stack.push_async_callback(channel.close)
            client = DirectoryClient(channel)
            for kind in (
                ServiceType.LIFECYCLE,
                ServiceType.DATASTORE,
                ServiceType.MODELREGISTRY,
                ServiceType.ACTOR,
            ):
                while not (found := await client.inquire(Discovery(type=kind))):
                    await asyncio.sleep(0.01)
                assert found[0].use_ssl and found[0].target.startswith("localhost:")
            with pytest.raises(ServiceUnreachableError):
                plain = open_channel(f"localhost:{directory.port}")
                stack.push_async_callback(plain.close)
                await DirectoryClient(plain).inquire(Discovery(type=ServiceType.LIFECYCLE))

    run(work)


def get(port: int, path: str, context: ssl.SSLContext) -> Any:
    connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=context)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def test_the_web_proxys_pages_demand_certificates_too_and_reach_the_orchestrator(tls) -> None:
    trusting = ssl.create_default_context(cafile=tls["root_cert"])
    known = ssl.create_default_context(cafile=tls["root_cert"])
    known.load_cert_chain(tls["trust_chain"], tls["private_key"])

    async def work() -> None:
        async with serving(KINDS["TrialLifecycleSP"](**tls)) as orchestrator:
            endpoint = f"grpc://localhost:{orchestrator.port}"
            settings = WebProxySettings(port=0, web_port=0, orchestrator_endpoint=endpoint, **tls)
            async with serving(WebProxy(settings)) as proxy:
                assert await asyncio.to_thread(get, proxy.web_port, "/controller/trials", known) == []
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    await asyncio.to_thread(get, proxy.web_port, "/healthz", trusting)

    run(work)


def test_files_that_do_not_do_are_named(tls: dict[str, Path]) -> None:
    with pytest.raises(EndpointError, match=r"nowhere\.pem"):
        TrialDatastore(TrialDatastoreSettings(port=0, private_key=Path("nowhere.pem")))

    async def work() -> None:
        with pytest.raises(EndpointError, match="needs a private key and a certificate chain"):
            await WebProxy(WebProxySettings(web_port=0, root_cert=tls["root_cert"])).start()

    run(work)


def test_the_command_line_serves_asks_and_tells_by_tls(tls: dict[str, Path]) -> None:
    command = [sys.executable, "-m", "cogment_lab.cli.main"]
    flags = [f"--{name}={path}" for name, path in tls.items()]
    where = ["services", "directory", "--port=0", "--persistence_file="]
    with subprocess.Popen([*command, *where, *flags], stdout=subprocess.PIPE, text=True) as directory:
        try:
            port = directory.stdout.readline().strip().rpartition(":")[2]  # type: ignore[union-attr]
            for asked, status in (
                (["status", "directory", f"--port=directory={port}", *flags], 0),
                (["status", "directory", f"--port=directory={port}"], 1),
                (
                    [
                        *("client", "directory", "inquire", "--type=actor"),
                        *(f"--directory_endpoint=grpc://localhost:{port}", *flags),
                    ],
                    0,
                ),
            ):
                done = subprocess.run([*command, *asked], capture_output=True, timeout=60)
                assert done.returncode == status, (done.stdout, done.stderr)
        finally:
            directory.terminate()


def test_the_frequency_of_garbage_collection_is_taken_and_said_to_have_no_effect(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Orchestrator(OrchestratorSettings())
    assert not caplog.records
    Orchestrator(OrchestratorSettings(gc_frequency=10))
    assert "gc_frequency has no effect" in caplog.text
