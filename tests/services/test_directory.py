"""The directory: who registered is found, by those who may, while it answers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cogment_lab.errors import (
    EndpointError,
    NotAStoreError,
    ProtocolError,
    ServiceError,
    ServiceUnreachableError,
)
from cogment_lab.services.directory import Directory, DirectorySettings
from cogment_lab.services.directory import directory as served
from cogment_lab.wire.channel import open_channel
from cogment_lab.wire.directory import DirectoryClient, registration, resolve
from cogment_lab.wire.endpoint import CLIENT, Discovery, ServiceType
from cogment_lab.wire.generated.common_pb2 import StatusRequest
from cogment_lab.wire.server import Server, Servicer

ACTOR = ServiceType.ACTOR


@asynccontextmanager
async def directory(**settings: Any) -> AsyncIterator[Callable[..., DirectoryClient]]:
    service = Directory(DirectorySettings(port=0, **{"persistence_file": "", **settings}))
    channel = open_channel(f"localhost:{await service.start()}")
    try:
        yield lambda token="": DirectoryClient(channel, token)
    finally:
        await channel.close(None)
        await service.stop(0.1)


def run(work: Callable[..., Awaitable[Any]], **settings: Any) -> Any:
    async def main() -> Any:
        async with asyncio.timeout(60), directory(**settings) as client:
            return await work(client)

    return asyncio.run(main())


async def status(client: DirectoryClient) -> dict[str, str]:
    reply = await client._stub.Status(StatusRequest(names=["*"]), timeout=30)
    return dict(reply.statuses)


async def eventually(question: Callable[[], Awaitable[list[Any]]], count: int) -> list[Any]:
    while len(found := await question()) != count:
        await asyncio.sleep(0.02)
    return found


def test_53_what_is_registered_is_found_by_id_type_and_properties_the_newest_first() -> None:
    async def work(connect: Any) -> None:
        client = connect()
        ids = []
        for name in ("a", "b"):
            properties = {"__implementation": name, "gpu": "yes"}
            service_id, _ = await client.register(
                ACTOR, host="h", port=1, properties=properties, permanent=True
            )
            ids.append(service_id)
        found = await client.inquire(Discovery(type=ACTOR, properties={"gpu": "yes"}))
        assert [service.service_id for service in found] == ids[::-1]
        assert found[0].target == "h:1"
        assert await client.inquire(Discovery(type=ACTOR, properties={"gpu": "no"})) == []
        assert await client.inquire(Discovery(type=ServiceType.ENVIRONMENT)) == []
        (by_id,) = await client.inquire(Discovery(service_id=ids[0]))
        assert by_id.properties["__implementation"] == "a"
        again, _ = await client.register(
            ACTOR, host="other", port=2, properties={"__implementation": "a", "gpu": "yes"}, permanent=True
        )
        assert again == ids[0]  # a permanent service keeps its number
        assert (await client.inquire(Discovery(service_id=again)))[0].target == "other:2"

    run(work)


def test_53_tokens_and_secrets_are_asked_for() -> None:
    async def work(connect: Any) -> None:
        mine, theirs = connect("s3cret"), connect("other")
        service_id, secret = await mine.register(ACTOR, host="h", port=1, permanent=True)
        assert len(secret) >= 16
        assert await theirs.inquire(Discovery(type=ACTOR)) == []
        assert await theirs.inquire(Discovery(service_id=service_id)) == []
        assert len(await theirs.inquire(Discovery(type=ACTOR, token="s3cret"))) == 1
        with pytest.raises(ServiceError, match="secret"):
            await mine.deregister(service_id, "guess")
        with pytest.raises(ServiceError, match="secret"):
            await theirs.deregister(service_id, secret)
        await mine.deregister(service_id, secret)
        assert await mine.inquire(Discovery(type=ACTOR)) == []

    run(work)


def test_54_a_dead_service_disappears_and_a_permanent_one_stays() -> None:
    async def work(connect: Any) -> None:
        client = connect()
        server = Server({"cogmentAPI.ServiceActorSP": Servicer()})
        port = await server.start()
        await client.register(ACTOR, host="localhost", port=port)
        await client.register(ACTOR, host="localhost", port=1, permanent=True)
        await eventually(lambda: client.inquire(Discovery(type=ACTOR)), 2)
        await server.stop(0.0)
        (left,) = await eventually(lambda: client.inquire(Discovery(type=ACTOR)), 1)
        assert left.permanent

    run(work, check_on_inquire=True)


def test_a_wrong_registration_says_why() -> None:
    async def work(connect: Any) -> None:
        client = connect()
        with pytest.raises(ServiceError, match="no host"):
            await client.register(ACTOR, host="", port=1)
        with pytest.raises(ServiceError, match="no type"):
            await client.register(ServiceType.UNKNOWN, host="h", port=1)
        with pytest.raises(ServiceError, match="port 70000"):
            await client.register(ServiceType.OTHER, host="h", port=70000)

    run(work)


def test_54_a_service_that_is_registered_before_it_listens_is_found_once_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(served, "_FIRST_CHECKS", (0.0,))
    monkeypatch.setattr(served, "_SCAN_SECONDS", 0.01)
    checked, seen = asyncio.Event(), []
    check = served.check

    async def spy(record: Any, credentials: Any) -> int | None:
        seen.append(await check(record, credentials))
        if len(seen) == 10:
            checked.set()
        return seen[-1]

    monkeypatch.setattr(served, "check", spy)

    async def work(connect: Any) -> None:
        client = connect()
        first = Server({"cogmentAPI.ServiceActorSP": Servicer()})
        port = await first.start()
        await first.stop(0.0)
        await client.register(ACTOR, host="localhost", port=port)
        await checked.wait()
        assert set(seen) == {None}
        assert await client.inquire(Discovery(type=ACTOR)) == []
        late = Server({"cogmentAPI.ServiceActorSP": Servicer()}, port=port)
        await late.start()
        await eventually(lambda: client.inquire(Discovery(type=ACTOR)), 1)
        await late.stop(0.0)
        monkeypatch.setattr(served, "_FORGET_SECONDS", 0.0)
        monkeypatch.setattr(served, "_STALE_SECONDS", 0.0)
        while (await status(client))["nb_entries"] != "0":
            await asyncio.sleep(0.02)

    run(work)


def test_a_host_that_is_no_name_harms_no_other_record() -> None:
    async def work(connect: Any) -> None:
        client = connect()
        for kind in (ACTOR, ServiceType.OTHER):
            for host in ("a b\n", "\0", "é" * 300, "[::", "." * 70):
                await client.register(kind, host=host, port=1)
        await client.register(ACTOR, host="localhost", port=1, permanent=True)
        (left,) = await eventually(lambda: client.inquire(Discovery()), 1)
        assert left.target == "localhost:1"

    run(work, check_on_inquire=True)


def test_an_ipv6_address_is_written_in_brackets() -> None:
    async def work(connect: Any) -> None:
        client = connect()
        await client.register(ACTOR, host="::1", port=1, permanent=True)
        assert (await client.inquire(Discovery(type=ACTOR)))[0].target == "[::1]:1"

    run(work)


class Loaded(Servicer):
    def __init__(self, load: str) -> None:
        self.load = load

    def statuses(self) -> dict[str, str]:
        return {"overall_load": self.load}


@pytest.mark.parametrize(
    ("loads", "found"), [(["0", "9", "11", "254", "255"], {0, 1}), (["255", "255"], set()), (["many"], {0})]
)
def test_load_balancing_gives_services_with_little_load(loads: list[str], found: set[int]) -> None:
    async def work(connect: Any) -> None:
        client = connect()
        servers = [Server({"cogmentAPI.ServiceActorSP": Loaded(load)}) for load in loads]
        ids = []
        for server in servers:
            await server.start()
            ids.append((await client.register(ACTOR, host="localhost", port=server.port))[0])
        services = await client.inquire(Discovery(type=ACTOR))
        assert {ids.index(service.service_id) for service in services} == found
        for server in servers:
            await server.stop(0.0)

    run(work, load_balancing=True, check_on_inquire=True)


def test_services_that_are_made_permanent_are_not_registered_twice() -> None:
    async def work(connect: Any) -> None:
        client = connect()
        first = await client.register(ACTOR, host="h", port=1, properties={"a": "b"})
        assert await client.register(ACTOR, host="h", port=2, properties={"a": "b"}) == first
        (left,) = await client.inquire(Discovery(type=ACTOR))
        assert (left.target, left.permanent) == ("h:2", True)

    run(work, force_permanent=True)


def test_records_outlive_the_directory(tmp_path: Path) -> None:
    path = tmp_path / "records"
    run(
        lambda connect: connect().register(ACTOR, host="h", port=1, permanent=True),
        persistence_file=str(path),
    )
    assert path.stat().st_mode & 0o077 == 0  # it holds secrets
    found = run(lambda connect: connect().inquire(Discovery(type=ACTOR)), persistence_file=str(path))
    assert len(found) == 1
    path.write_text("{nonsense")
    with pytest.raises(NotAStoreError, match="records"):
        run(lambda connect: connect().inquire(Discovery(type=ACTOR)), persistence_file=str(path))


def test_a_service_that_is_late_is_waited_for() -> None:
    async def work(connect: Any) -> None:
        client = connect()
        asking = asyncio.create_task(client.inquire(Discovery(type=ACTOR)))
        await client.register(ACTOR, host="h", port=1, permanent=True)
        assert len(await asking) == 1

    run(work, registration_lag=10.0)


def test_addresses_are_resolved_by_context() -> None:
    async def work(connect: Any) -> None:
        client = connect()
        assert await resolve("grpc://a:1", None) == "a:1"
        assert await resolve("cogment://client", None) == CLIENT
        with pytest.raises(EndpointError, match="none is configured"):
            await resolve("", None, ServiceType.ENVIRONMENT)
        with pytest.raises(ServiceUnreachableError, match="knows no environment"):
            await resolve("", client, ServiceType.ENVIRONMENT, implementation="lunar")
        async with registration(
            client, ServiceType.ENVIRONMENT, port=7, host="h", properties={"__implementation": "lunar"}
        ):
            record = await client.inquire(Discovery(type=ServiceType.ENVIRONMENT))
            assert record == [] or record[0].properties["__registration_source"] == "Self-Command_Line"
        assert await client.inquire(Discovery(type=ServiceType.ENVIRONMENT)) == []

    run(work)


def test_a_service_of_an_earlier_process_that_is_gone_is_hidden(tmp_path: Path) -> None:
    path = str(tmp_path / "records")

    async def before(connect: Any) -> None:
        server = Server({"cogmentAPI.ServiceActorSP": Servicer()})
        await connect().register(ACTOR, host="localhost", port=await server.start())
        await eventually(lambda: connect().inquire(Discovery(type=ACTOR)), 1)
        await server.stop(0.0)

    async def after(connect: Any) -> None:
        await eventually(lambda: connect().inquire(Discovery(type=ACTOR)), 0)

    run(before, persistence_file=path)
    run(after, persistence_file=path)


def test_tls_is_asked_for() -> None:
    async def work(connect: Any) -> None:
        client = connect()
        await client.register(ACTOR, host="clear", port=1, permanent=True, properties={"n": "1"})
        await client.register(ACTOR, host="tls", port=1, permanent=True, properties={"n": "2"}, use_ssl=True)
        url = "cogment://discover/actor"
        assert await resolve(url, client, use_ssl=False) == "clear:1"
        assert await resolve(url, client, use_ssl=True) == "tls:1"
        with pytest.raises(ServiceUnreachableError, match="by TLS"):
            await resolve(url + "?n=1", client, use_ssl=True)

    run(work)


def test_a_directory_that_is_none_is_an_error() -> None:
    class Mute(Servicer):
        async def Register(self, requests: Any, context: Any) -> AsyncIterator[Any]:
            async for _ in requests:
                return
                yield

    async def main() -> None:
        server = Server({"cogmentAPI.DirectorySP": Mute()})
        channel = open_channel(f"localhost:{await server.start()}")
        client = DirectoryClient(channel, deadline=5)
        with pytest.raises(ProtocolError, match="0 replies"):
            await client.register(ACTOR, host="h", port=1)
        with pytest.raises(ServiceError, match="UNIMPLEMENTED"):
            await client.inquire(Discovery(type=ACTOR))
        await server.stop(0.0)
        with pytest.raises(ServiceUnreachableError, match="nothing answers"):
            await client.deregister(1, "s")
        await channel.close(None)

    asyncio.run(main())
