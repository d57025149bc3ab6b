"""The trial datastore: what goes in comes out, live and later, from memory and from a file."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from cogment_lab.errors import NotAStoreError
from cogment_lab.services.trial_datastore import TrialDatastore, TrialDatastoreSettings
from cogment_lab.wire.channel import open_channel
from cogment_lab.wire.generated import common_pb2 as common
from cogment_lab.wire.generated.bundle_pb2 import SampleReplies
from cogment_lab.wire.generated.common_pb2 import (
    Action,
    ActorParams,
    Message,
    Reward,
    RewardSource,
    SerializedMessage,
    TrialParams,
)
from cogment_lab.wire.generated.datalog_pb2 import DatalogSample, RunTrialDatalogInput, SampleInfo
from cogment_lab.wire.generated.environment_pb2 import ObservationSet
from cogment_lab.wire.generated.trial_datastore_pb2 import (
    AddSampleRequest,
    AddTrialRequest,
    DeleteTrialsRequest,
    RetrieveSampleReply,
    RetrieveSamplesRequest,
    RetrieveTrialsRequest,
    StoredTrialSample,
)
from cogment_lab.wire.rpc import Stub
from cogment_lab.wire.stream import BUNDLES, bundle

PARAMS = TrialParams(
    actors=[
        ActorParams(name="one", actor_class="player", implementation="a"),
        ActorParams(
            name="two",
            actor_class="teacher",
            optional=True,
            default_action=SerializedMessage(content=b"default"),
        ),
    ],
    properties={"study": "pilot"},
)


class Client:
    """Both services of one datastore."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.store = Stub(channel, "cogmentAPI.TrialDatastoreSP")
        self.log = Stub(channel, "cogmentAPI.DatalogSP")

    async def send(
        self, trial_id: str, samples: Sequence[DatalogSample], *, bundled: bool = False, hold: bool = False
    ) -> Any:
        """Log a trial; ``hold`` leaves the stream open and returns it."""
        metadata = (("trial-id", trial_id), ("user-id", "someone"), *(BUNDLES if bundled else ()))
        call = self.log.RunTrialDatalog(metadata=metadata)
        await call.write(RunTrialDatalogInput(trial_params=PARAMS).SerializeToString())
        encoded = [RunTrialDatalogInput(sample=sample).SerializeToString() for sample in samples]
        if bundled:
            await call.initial_metadata()
            await call.write(bundle(encoded))
        else:
            for data in encoded:
                await call.write(data)
            for _ in range(len(encoded) + 1):  # one acknowledgement per message
                assert await call.read() == b""
        if hold:
            return call
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.OK
        return call

    async def samples(self, *trial_ids: str, bundled: bool = False, **wanted: Any) -> list[StoredTrialSample]:
        request = RetrieveSamplesRequest(trial_ids=trial_ids, **wanted)
        found: list[StoredTrialSample] = []
        async for data in self.store.RetrieveSamples(request, metadata=BUNDLES if bundled else ()):
            if bundled:
                found += [frame.trial_sample for frame in SampleReplies.FromString(data).frames]
            else:
                found.append(RetrieveSampleReply.FromString(data).trial_sample)
        return found

    async def trials(self, **wanted: Any) -> Any:
        return await self.store.RetrieveTrials(RetrieveTrialsRequest(**wanted))


@asynccontextmanager
async def datastore(**settings: Any) -> AsyncIterator[Client]:
    service = TrialDatastore(TrialDatastoreSettings(port=0, **settings))
    channel = open_channel(f"localhost:{await service.start()}")
    try:
        yield Client(channel)
    finally:
        await channel.close()
        await service.stop(0.1)


def run(work: Callable[[Client], Awaitable[Any]], **settings: Any) -> Any:
    async def main() -> Any:
        async with asyncio.timeout(60), datastore(**settings) as client:
            return await work(client)

    return asyncio.run(main())


def tick(number: int, *, last: bool = False, **more: Any) -> DatalogSample:
    observed = ObservationSet(tick_id=-1, observations=[b"obs%d" % number], actors_map=[0, 0])
    actions = [Action(tick_id=-2), Action(tick_id=-2)]
    if not last:
        actions = [Action(tick_id=number, content=b"act%d" % number), Action(tick_id=number, content=b"")]
    info = SampleInfo(tick_id=number, timestamp=number + 1, state=common.ENDED if last else common.RUNNING)
    return DatalogSample(info=info, observations=observed, actions=actions, **more)


def episode(n: int) -> list[DatalogSample]:
    return [*(tick(number) for number in range(n)), tick(n, last=True)]


@pytest.mark.parametrize("logged_in_bundles", [False, True])
@pytest.mark.parametrize("read_in_bundles", [False, True])
@pytest.mark.parametrize("in_file", [False, True])
def test_what_was_logged_is_retrieved(
    logged_in_bundles: bool, read_in_bundles: bool, in_file: bool, tmp_path: Path
) -> None:
    async def work(client: Client) -> None:
        await client.send("t", episode(3), bundled=logged_in_bundles)
        samples = await client.samples("t", bundled=read_in_bundles)
        assert [sample.tick_id for sample in samples] == [0, 1, 2, 3]
        assert [sample.state for sample in samples] == [3, 3, 3, 5]
        first, last = samples[0], samples[-1]
        assert first.user_id == "someone"
        assert first.payloads[first.actor_samples[0].observation] == b"obs0"
        assert first.payloads[first.actor_samples[0].action] == b"act0"
        assert first.actor_samples[1].HasField("action")  # empty is an action
        assert not last.actor_samples[0].HasField("action")  # none is none
        reply = await client.trials()
        assert reply.trial_infos[0].samples_count == 4
        assert reply.trial_infos[0].last_state == common.ENDED

    run(work, file_storage=tmp_path / "d.db" if in_file else None)


def test_a_default_action_is_what_the_environment_received_and_unavailable_is_none() -> None:
    async def work(client: Client) -> None:
        samples = episode(2)
        samples[0].default_actors.append(1)
        samples[1].unavailable_actors.append(1)
        await client.send("t", samples)
        first, second, _ = await client.samples("t")
        assert first.payloads[first.actor_samples[1].action] == b"default"
        assert not second.actor_samples[1].HasField("action")

    run(work)


def test_rewards_and_messages_reach_everybody_that_a_pattern_names() -> None:
    payload = common.Message().payload
    payload.type_url, payload.value = "type.googleapis.com/x.Y", b"data"

    async def work(client: Client) -> None:
        sources = [
            RewardSource(sender_name="one", value=1.0, confidence=0.5, user_data=payload),
            RewardSource(sender_name="env", value=4.0, confidence=1.0),
        ]
        rewards = [Reward(tick_id=-1, receiver_name="*", sources=sources)]
        messages = [Message(tick_id=-1, sender_name="one", receiver_name="teacher.*", payload=payload)]
        await client.send("t", [tick(0, rewards=rewards, messages=messages), tick(1, last=True)])
        sample = (await client.samples("t"))[0]
        one, two = sample.actor_samples
        assert one.reward == pytest.approx(3.0) and two.reward == pytest.approx(3.0)
        assert [(each.sender, each.reward) for each in two.received_rewards] == [(0, 1.0), (-1, 4.0)]
        assert [each.receiver for each in one.sent_rewards] == [0, 1]
        assert [each.sender for each in two.received_messages] == [0]
        assert [each.receiver for each in one.sent_messages] == [1]
        stored = sample.payloads[two.received_messages[0].payload]
        assert stored == payload.SerializeToString()  # the whole Any, its type too

    run(work)


@pytest.mark.parametrize("in_file", [False, True])
def test_45_a_late_reward_joins_the_sample_of_its_tick(in_file: bool, tmp_path: Path) -> None:
    async def work(client: Client) -> None:
        late = DatalogSample(info=SampleInfo(tick_id=1, out_of_sync=True))
        late.rewards.add(receiver_name="one", sources=[RewardSource(value=2.0, confidence=1.0)])
        await client.send("t", [tick(0), tick(1), tick(2), late, tick(3, last=True)])
        samples = await client.samples("t")
        assert [sample.tick_id for sample in samples] == [0, 1, 2, 3]
        assert [sample.actor_samples[0].reward for sample in samples] == [0.0, 2.0, 0.0, 0.0]

    run(work, file_storage=tmp_path / "d.db" if in_file else None)


def test_47_trials_are_waited_for_filtered_and_paged() -> None:
    async def work(client: Client) -> None:
        waiting = asyncio.create_task(client.trials(trials_count=2, timeout=10_000))
        for name in ("a", "b", "c"):
            await client.send(name, episode(1))
        assert [info.trial_id for info in (await waiting).trial_infos] == ["a", "b"]
        handle, seen = "", []
        while True:
            page = await client.trials(trials_count=2, trial_handle=handle)
            if not page.trial_infos:
                break
            seen += [info.trial_id for info in page.trial_infos]
            handle = page.next_trial_handle
        assert seen == ["a", "b", "c"]
        assert page.next_trial_handle == "3"  # an empty page does not send anybody back to the start
        assert len((await client.trials(properties={"study": "pilot"})).trial_infos) == 3
        assert not (await client.trials(properties={"study": "other"})).trial_infos
        late = await client.trials(trial_ids=["nobody"], timeout=50)
        assert not late.trial_infos
        with pytest.raises(grpc.aio.AioRpcError, match="no handle"):
            await client.trials(trial_handle="x")

    run(work)


def test_48_a_running_trial_is_followed_to_its_end_beside_another() -> None:
    async def work(client: Client) -> None:
        await client.send("done", episode(2))
        call = await client.send("live", [tick(0)], hold=True)
        following = asyncio.create_task(client.samples("live", "done"))
        await call.write(RunTrialDatalogInput(sample=tick(1)).SerializeToString())
        await call.read()
        assert not following.done()
        await call.write(RunTrialDatalogInput(sample=tick(2, last=True)).SerializeToString())
        samples = await following
        for name in ("live", "done"):
            assert [sample.tick_id for sample in samples if sample.trial_id == name] == [0, 1, 2]
        await call.done_writing()

    run(work)


def test_48_actors_and_fields_are_chosen() -> None:
    async def work(client: Client) -> None:
        await client.send("t", episode(1))
        sample = (await client.samples("t", actor_classes=["player"], selected_sample_fields=[2]))[0]
        (entry,) = sample.actor_samples
        assert entry.actor == 0 and not entry.HasField("observation")
        assert list(sample.payloads) == [b"", b"act0", b""]
        assert not (await client.samples("t", actor_names=["two"], actor_implementations=["a"]))[
            0
        ].actor_samples

    run(work)


def test_49_samples_can_be_added_and_trials_deleted_and_added_again() -> None:
    async def work(client: Client) -> None:
        metadata = (("trial-id", "t"),)
        samples = [StoredTrialSample(tick_id=0), StoredTrialSample(tick_id=1, state=common.ENDED)]

        def requests(trial_id: str = "") -> Any:
            return iter([AddSampleRequest(trial_sample=StoredTrialSample(trial_id=trial_id))])

        for _ in range(2):
            await client.store.AddTrial(AddTrialRequest(user_id="u", trial_params=PARAMS), metadata=metadata)
            adding = iter([AddSampleRequest(trial_sample=sample) for sample in samples])
            await client.store.AddSample(adding, metadata=metadata)
            assert [sample.tick_id for sample in await client.samples("t")] == [0, 1]
            await client.store.DeleteTrials(DeleteTrialsRequest(trial_ids=["t", "unknown"]))
            assert not (await client.trials()).trial_infos
        with pytest.raises(grpc.aio.AioRpcError, match="no trial") as unknown:
            await client.store.AddSample(requests(), metadata=metadata)
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
        await client.store.AddTrial(AddTrialRequest(trial_params=PARAMS), metadata=metadata)
        for wrong in (
            client.store.AddSample(requests("other"), metadata=metadata),
            client.store.AddTrial(AddTrialRequest()),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as invalid:
                await wrong
            assert invalid.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    run(work)


def test_50_beyond_the_cap_the_oldest_ended_trial_loses_its_samples_and_says_so() -> None:
    async def work(client: Client) -> None:
        await client.send("old", episode(50))
        await client.send("new", episode(50))
        assert len(await client.samples("new")) == 51
        with pytest.raises(grpc.aio.AioRpcError, match="dropped to make room"):
            await client.samples("old")
        assert {info.samples_count for info in (await client.trials()).trial_infos} == {51}

    run(work, memory_storage_max_samples_size=4000)


def test_a_trial_whose_log_breaks_off_is_over_for_its_followers() -> None:
    async def work(client: Client) -> None:
        call = await client.send("t", [tick(0)], hold=True)
        following = asyncio.create_task(client.samples("t"))
        call.cancel()
        assert len(await following) == 1

    run(work)


def test_a_sample_without_info_and_one_after_the_end_do_no_harm() -> None:
    async def work(client: Client) -> None:
        await client.send("t", [DatalogSample(), tick(1, last=True), tick(2)])
        assert len(await client.samples("t")) == 3

    run(work)


def test_what_is_no_log_is_refused() -> None:
    async def work(client: Client) -> None:
        for first in (b"\xff\xff", RunTrialDatalogInput(sample=tick(0)).SerializeToString()):
            call = client.log.RunTrialDatalog(metadata=(("trial-id", "t"),))
            await call.write(first)
            assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
        call = client.log.RunTrialDatalog()
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.aio.AioRpcError, match='no trial "t"'):
            await client.samples("t")

    run(work)


def test_a_file_outlives_its_datastore(tmp_path: Path) -> None:
    path = tmp_path / "d.db"
    run(lambda client: client.send("t", episode(1500), bundled=True), file_storage=path)

    async def work(client: Client) -> None:
        for bundled in (True, False):
            samples = await client.samples("t", bundled=bundled)
            assert [sample.tick_id for sample in samples] == list(range(1501))
        (info,) = (await client.trials()).trial_infos
        assert info.params == PARAMS and info.user_id == "someone"

    run(work, file_storage=path)


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are no samples, and long enough to be looked at" * 20)
    with pytest.raises(NotAStoreError, match=r"notes\.txt"):
        run(lambda client: client.trials(), file_storage=path)
