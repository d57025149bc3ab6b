"""The clients of a model registry, when models come, go, or cannot be reached."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cogment_lab.errors import ServiceError, ServiceUnreachableError
from cogment_lab.services.model_registry import ModelRegistry as Service
from cogment_lab.services.model_registry import ModelRegistrySettings
from cogment_lab.wire import model_registry_v1
from cogment_lab.wire.channel import open_channel
from cogment_lab.wire.model_registry import Model, ModelRegistry, ModelRegistryV1


def run(folder: Path, work: Callable[[Any, Any], Awaitable[None]]) -> None:
    async def main() -> None:
        service = Service(ModelRegistrySettings(port=0, archive_dir=folder))
        channel = open_channel(f"localhost:{await service.start()}")
        try:
            async with asyncio.timeout(60):
                await work(channel, service)
        finally:
            await channel.close(None)
            await service.stop(0.0)

    asyncio.run(main())


def test_a_registry_that_is_gone_is_an_error_and_no_missing_model(tmp_path: Path) -> None:
    async def work(channel: Any, service: Service) -> None:
        await service.stop(0.0)
        older, client = ModelRegistryV1(channel), ModelRegistry(channel)
        for call in (
            older.retrieve_model_info("m"),
            older.retrieve_version("m"),
            client.retrieve_model("m"),
            client.publish_model("m", b"1"),
            client.track_latest_model("m"),
        ):
            with pytest.raises(ServiceUnreachableError, match="nothing answers"):
                await call

    run(tmp_path, work)


def test_publishing_keeps_the_properties_of_the_model(tmp_path: Path) -> None:
    async def work(channel: Any, service: Service) -> None:
        client = ModelRegistry(channel)
        await client.update_model_info("m", {"by": "us"})
        await client.publish_model("m", b"1")
        assert (await client.get_model_info("m")).properties == {"by": "us"}

    run(tmp_path, work)


def test_a_latest_model_waits_for_the_model_and_then_for_its_first_version(tmp_path: Path) -> None:
    async def work(channel: Any, service: Service) -> None:
        client = ModelRegistry(channel)
        tracking = asyncio.create_task(client.track_latest_model("m", initial_wait=10))
        await client.update_model_info("m", {})
        latest = await tracking
        assert not latest.is_available()
        with pytest.raises(ServiceError, match="no version yet"):
            latest.get_no_wait()
        waiting = asyncio.create_task(latest.get())
        await client.publish_model("m", b"1")
        model, info = await waiting
        assert (model, info.iteration, latest.is_deserialized()) == (b"1", 1, False)
        await latest.close()
        with pytest.raises(ServiceError, match="not followed"):
            await latest.wait_for_newer(1)

    run(tmp_path, work)


def test_a_latest_model_says_why_it_is_not_followed_any_more(tmp_path: Path) -> None:
    async def work(channel: Any, service: Service) -> None:
        client = ModelRegistry(channel)
        await client.publish_model("number", b"one")
        broken = await client.track_latest_model("number", int)
        with pytest.raises(ServiceError, match="not followed") as failure:
            await broken.get()
        assert isinstance(failure.value.__cause__, ValueError)
        latest = await client.track_latest_model("number")
        await latest.get()
        await service.stop(0.0)
        with pytest.raises(ServiceError, match="not followed") as failure:
            await latest.wait_for_newer(1)
        assert isinstance(failure.value.__cause__, ServiceError)

    run(tmp_path, work)


def test_the_older_client_asks_once_for_what_it_remembers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_registry_v1, "_CACHED", 2)

    async def work(channel: Any, service: Service) -> None:
        client = ModelRegistryV1(channel)
        for name in ("a", "b", "c"):
            await client.store_initial_version(Model(name, name.encode()))
        assert list(client._info_cache) == ["b", "c"]
        await ModelRegistry(channel).update_model_info("c", {"new": "1"})
        assert (await client.retrieve_model_info("c")).user_data == {}
        assert (await client.retrieve_version("a")).serialized_model == b"a"
        assert list(client._info_cache) == ["c", "a"]
        assert len(client._data_cache) == 2

    run(tmp_path, work)


def test_a_model_takes_no_unknown_attribute() -> None:
    with pytest.raises(ServiceError, match="'colour'"):
        Model("m", b"", colour="red")
