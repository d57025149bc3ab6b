"""The directory: who registered is found, by those who may, while it answers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cogment_lab.errors import EndpointError, NotAStoreError, ServiceError, ServiceUnreachableError
from cogment_lab.services.directory import Directory, DirectorySettings
from cogment_lab.wire.channel import open_channel
from cogment_lab.wire.directory import DirectoryClient, registration, resolve
from cogment_lab.wire.endpoint import CLIENT, Discovery, ServiceType
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
        async with asyncio.timeout(20), directory(**settings) as client:
            return await work(client)

    return asyncio.run(main())


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

    run(work)


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
