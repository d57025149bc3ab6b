"""The model registry: versions in, the same versions out, now or when they appear."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cogment_lab.errors import ServiceError
from cogment_lab.services.model_registry import ModelRegistry as Service
from cogment_lab.services.model_registry import ModelRegistrySettings
from cogment_lab.wire.channel import open_channel
from cogment_lab.wire.generated import model_registry_pb2 as api
from cogment_lab.wire.model_registry import Model, ModelRegistry, ModelRegistryV1
from cogment_lab.wire.rpc import Stub

BIG = bytes(range(256)) * 20_000  # more than one chunk


@asynccontextmanager
async def registry(folder: Path, **settings: Any) -> AsyncIterator[Any]:
    service = Service(ModelRegistrySettings(port=0, archive_dir=folder, **settings))
    channel = open_channel(f"localhost:{await service.start()}")
    try:
        yield channel
    finally:
        await channel.close(None)
        await service.stop(0.1)


def run(folder: Path, work: Callable[[Any], Awaitable[Any]], **settings: Any) -> Any:
    async def main() -> Any:
        async with asyncio.timeout(20), registry(folder, **settings) as channel:
            return await work(channel)

    return asyncio.run(main())


def test_51_versions_are_numbered_hashed_and_handed_out(tmp_path: Path) -> None:
    async def work(channel: Any) -> None:
        client = ModelRegistry(channel)
        first = await client.publish_model("m", b"one", {"score": 1})  # type: ignore[dict-item]
        second = await client.store_model("m", BIG)
        assert (first.iteration, second.iteration) == (1, 2)
        assert second.hash == base64.b64encode(hashlib.sha256(BIG).digest()).decode()
        assert (first.stored, second.stored) == (False, True)
        assert first.properties == {"score": "1"}
        assert await client.retrieve_model("m", 1) == b"one"
        assert await client.retrieve_model("m") == BIG
        assert await client.retrieve_model("m", -2) == b"one"
        assert await client.retrieve_model("m", 3) is None
        assert [info.iteration for info in await client.list_iterations("m")] == [1, 2]
        assert (await client.get_iteration_info("m", -1)).size == len(BIG)
        await client.update_model_info("m", {"by": "us"})
        assert (await client.get_model_info("m")).properties == {"by": "us"}
        with pytest.raises(ServiceError, match="NOT_FOUND"):
            await client.retrieve_model("nobody")
        await client.remove_model("m")
        assert await client.list_models() == []

    run(tmp_path, work)


def test_51_the_older_client_keeps_what_it_saw(tmp_path: Path) -> None:
    async def work(channel: Any) -> None:
        client = ModelRegistryV1(channel)
        model = Model("m", b"one", user_data={"a": "b"}, version_user_data={"n": "1"})
        assert (await client.store_initial_version(model)).version_number == 1
        assert (await client.store_version(Model("m", b"two"), archived=True)).version_number == 2
        found = await ModelRegistryV1(channel).retrieve_version("m", 1, lambda data: data.decode())
        assert found is not None
        assert (found.serialized_model, found.deserialized_model) == (b"one", "one")
        assert (found.user_data, found.version_user_data) == ({"a": "b"}, {"n": "1"})
        assert await client.retrieve_version("m", 9) is None
        assert await client.retrieve_model_info("nobody") is None

    run(tmp_path, work)


def test_52_followers_get_the_newest_now_and_later(tmp_path: Path) -> None:
    async def work(channel: Any) -> None:
        client = ModelRegistry(channel)
        await client.publish_model("m", b"1")
        latest = await client.track_latest_model("m", lambda data: int(data))
        assert (await latest.get())[0] == 1
        await client.publish_model("m", b"2")
        await latest.wait_for_newer(1)
        assert latest.get_no_wait()[0] == 2
        await latest.close()
        with pytest.raises(ServiceError, match="INVALID_ARGUMENT"):
            await anext(client.iteration_updates("nobody"))

    run(tmp_path, work)


def test_archived_versions_and_the_numbering_outlive_the_registry(tmp_path: Path) -> None:
    async def before(channel: Any) -> None:
        client = ModelRegistry(channel)
        await client.store_model("m", b"kept", {"a": "b"})
        await client.publish_model("m", b"gone")

    async def after(channel: Any) -> None:
        client = ModelRegistry(channel)
        (kept,) = await client.list_iterations("m")
        assert (kept.iteration, kept.properties) == (1, {"a": "b"})
        assert await client.retrieve_model("m") == b"kept"
        assert (await client.publish_model("m", b"new")).iteration == 3  # 2 was handed out already

    run(tmp_path, before)
    run(tmp_path, after)


def test_the_newest_version_is_never_dropped(tmp_path: Path) -> None:
    async def work(channel: Any) -> None:
        client = ModelRegistry(channel)
        for name in ("a", "b", "c"):
            for data in (b"1", b"2"):
                await client.publish_model(name, data)
        for name in ("a", "b", "c"):
            assert await client.retrieve_model(name) == b"2"

    run(tmp_path, work, cache_max_items=1)


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden", "x" * 300])
def test_a_name_that_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    async def work(channel: Any) -> None:
        with pytest.raises(ServiceError, match="model id"):
            await ModelRegistry(channel).update_model_info(name, {})

    run(tmp_path / "models", work)
    assert not any(path.name == "evil" for path in tmp_path.rglob("*"))


def test_data_that_is_not_what_was_announced_is_refused(tmp_path: Path) -> None:
    async def work(channel: Any) -> None:
        await ModelRegistry(channel).update_model_info("m", {})
        create = Stub(channel, "cogmentAPI.ModelRegistrySP").CreateVersion

        def chunks(size: int, data_hash: str = "") -> Any:
            first = api.CreateVersionRequestChunk()
            first.header.version_info.model_id = "m"
            first.header.version_info.data_size = size
            first.header.version_info.data_hash = data_hash
            second = api.CreateVersionRequestChunk()
            second.body.data_chunk = b"abc"
            return iter([first, second])

        for wrong, complaint in [
            (chunks(2), "more than"),
            (chunks(4), "announced"),
            (chunks(3, "x"), "hash"),
            (iter([api.CreateVersionRequestChunk()]), "one header"),
        ]:
            with pytest.raises(Exception, match=complaint):
                await create(wrong)

    run(tmp_path, work)
