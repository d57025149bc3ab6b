"""The model registry: versions in, the same versions out, now or when they appear."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from cogment_lab.errors import NotAStoreError, ServiceError, ServiceUnreachableError, StoreReadOnlyError
from cogment_lab.services.directory import Directory, DirectorySettings
from cogment_lab.services.model_registry import ModelRegistry as Service
from cogment_lab.services.model_registry import ModelRegistrySettings
from cogment_lab.wire.channel import open_channel
from cogment_lab.wire.directory import DirectoryClient
from cogment_lab.wire.endpoint import Discovery, ServiceType
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
        async with asyncio.timeout(60), registry(folder, **settings) as channel:
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
    stored = []

    async def before(channel: Any) -> None:
        client = ModelRegistry(channel)
        stored.append(await client.store_model("m", b"kept", {"a": "b"}))
        await client.publish_model("m", b"gone")

    async def after(channel: Any) -> None:
        client = ModelRegistry(channel)
        (kept,) = await client.list_iterations("m")
        assert kept == stored[0]
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


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden", "x" * 300, "é" * 150])
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
            (chunks(2_000), "limit of 1000"),
            (chunks(2), "more than"),
            (chunks(4), "announced"),
            (chunks(3, "x"), "hash"),
            (iter([api.CreateVersionRequestChunk()]), "one header"),
        ]:
            with pytest.raises(grpc.aio.AioRpcError, match=complaint) as refusal:
                await create(wrong)
            assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert not list(tmp_path.rglob("*.part"))

    run(tmp_path, work, max_version_size=1000)


def test_pages_end_where_the_list_ends(tmp_path: Path) -> None:
    async def work(channel: Any) -> None:
        client, stub = ModelRegistry(channel), Stub(channel, "cogmentAPI.ModelRegistrySP")
        for name in ("a", "b", "c"):
            await client.publish_model(name, b"1")
            await client.publish_model("a", b"2")
        ask = stub.RetrieveModels
        first = await ask(api.RetrieveModelsRequest(models_count=2))
        rest = await ask(api.RetrieveModelsRequest(models_count=2, model_handle=first.next_model_handle))
        assert [[info.model_id for info in page.model_infos] for page in (first, rest)] == [["a", "b"], ["c"]]
        beyond = await ask(api.RetrieveModelsRequest(model_ids=["a"], models_count=9, model_handle="7"))
        assert not beyond.model_infos
        request = api.RetrieveVersionInfosRequest(model_id="a", versions_count=3)
        versions = await stub.RetrieveVersionInfos(request)
        request.version_handle = versions.next_version_handle
        versions = await stub.RetrieveVersionInfos(request)
        assert [info.version_number for info in versions.version_infos] == [4]
        for handle in ("-1", "x", "9" * 5000):
            with pytest.raises(grpc.aio.AioRpcError, match="no handle") as refusal:
                await ask(api.RetrieveModelsRequest(model_handle=handle))
            assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    run(tmp_path, work)


def test_a_version_that_is_dropped_while_it_is_read_is_not_found(tmp_path: Path) -> None:
    async def work(channel: Any) -> None:
        client = ModelRegistry(channel)
        await client.publish_model("m", bytes(8 << 20))
        stub = Stub(channel, "cogmentAPI.ModelRegistrySP")
        reading = stub.RetrieveVersionData(
            api.RetrieveVersionDataRequest(model_id="m", version_number=1), timeout=30
        )
        chunks = aiter(reading)
        await anext(chunks)
        await client.remove_model("m")
        with pytest.raises(grpc.aio.AioRpcError, match="dropped") as refusal:
            async for _ in chunks:
                pass
        assert refusal.value.code() is grpc.StatusCode.NOT_FOUND

    run(tmp_path, work, sent_version_chunk_size=4096)


def test_52_followers_of_a_model_that_is_made_anew_get_its_first_version(tmp_path: Path) -> None:
    async def work(channel: Any) -> None:
        client = ModelRegistry(channel)
        await client.publish_model("m", b"old")
        updates = client.iteration_updates("m")
        assert (await anext(updates)).iteration == 1
        await client.remove_model("m")
        await client.publish_model("m", b"anew")
        assert (await anext(updates)).size == 4
        await updates.aclose()

    run(tmp_path, work)


def test_archives_of_the_official_registry_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "m.yaml").write_text("model_id: m\nuser_data:\n  by: them\n")
    (folder / "m-v000004.yaml").write_text(
        "model_id: m\nversion_number: 4\ncreation_timestamp: 2023-01-02T03:04:05.5Z\n"
        "data_hash: abc=\ndata_size: 3\nuser_data: {}\n"
    )
    (folder / "m-v000004.data").write_bytes(b"abc")
    (folder / "m-v000005.yaml").write_text("written, and then the disk was full: [")
    (folder / "left.part").write_bytes(b"of a registry that was killed")

    async def work(channel: Any) -> None:
        client = ModelRegistry(channel)
        assert (await client.get_model_info("m")).properties == {"by": "them"}
        (info,) = await client.list_iterations("m")
        assert (info.iteration, info.timestamp, info.hash) == (4, 1672628645_500_000_000, "abc=")
        assert await client.retrieve_model("m", 4) == b"abc"
        assert (await client.store_model("m", b"five")).iteration == 5

    run(tmp_path, work)
    assert not (folder / "left.part").exists()


def test_what_cannot_be_served_fails_at_the_start(tmp_path: Path) -> None:
    async def start(**settings: Any) -> None:
        await Service(ModelRegistrySettings(port=0, **settings)).start()

    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "m.yaml").write_text("just words")
    with pytest.raises(NotAStoreError, match=r"m\.yaml"):
        asyncio.run(start(archive_dir=tmp_path))
    with pytest.raises(StoreReadOnlyError, match="kept"):
        asyncio.run(start(archive_dir=tmp_path / "m" / "m.yaml"))
    with pytest.raises(ServiceUnreachableError):
        asyncio.run(start(archive_dir=tmp_path / "new", directory_endpoint="grpc://localhost:1"))


def test_a_registry_is_found_in_its_directory_while_it_serves(tmp_path: Path) -> None:
    async def main() -> None:
        directory = Directory(DirectorySettings(port=0, persistence_file=""))
        channel = open_channel(f"localhost:{await directory.start()}")
        client = DirectoryClient(channel, "token")
        service = Service(
            ModelRegistrySettings(
                port=0,
                archive_dir=tmp_path,
                directory_endpoint=f"grpc://localhost:{directory.port}",
                directory_authentication_token="token",
                directory_registration_properties={"of": "us"},
            )
        )
        port = await service.start()
        question = Discovery(type=ServiceType.MODELREGISTRY, properties={"of": "us"})
        (found,) = await client.inquire(question)
        assert found.target == f"127.0.0.1:{port}"
        await service.stop(0.0)
        assert await client.inquire(question) == []
        await channel.close(None)
        await directory.stop(0.0)

    asyncio.run(main())
