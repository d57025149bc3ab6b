"""Checks 47 and 48: reading stored trials while they come and run."""

import asyncio
import contextlib
import time

from peers import LAST, LAST_ACK, counting, echo

from cogment_lab.services.trial_datastore import TrialDatastore, TrialDatastoreSettings
from cogment_lab.wire.channel import open_channel
from cogment_lab.wire.generated.trial_datastore_pb2 import (
    RetrieveSampleReply,
    RetrieveSamplesRequest,
    RetrieveTrialsRequest,
)
from cogment_lab.wire.rpc import Stub


@contextlib.asynccontextmanager
async def storing():
    """Run a datastore; give its client, and what a trial's parameters say to be stored there."""
    store = TrialDatastore(TrialDatastoreSettings(port=0))
    port = await store.start()
    channel = open_channel(f"127.0.0.1:{port}")
    try:
        yield Stub(channel, "cogmentAPI.TrialDatastoreSP"), {"endpoint": f"grpc://127.0.0.1:{port}"}
    finally:
        await channel.close()
        await store.stop(0.1)


async def ids(client, **request):
    """Return the ids of one page, and the handle of the next."""
    reply = await client.RetrieveTrials(RetrieveTrialsRequest(**request))
    return [info.trial_id for info in reply.trial_infos], reply.next_trial_handle


async def stored(client, trial_id):
    """Wait until the datastore knows a trial."""
    found, _ = await ids(client, trial_ids=[trial_id], timeout=40_000)
    assert found == [trial_id]


async def samples(client, *trial_ids, **request):
    """Yield the samples of trials."""
    call = client.RetrieveSamples(RetrieveSamplesRequest(trial_ids=trial_ids, **request))
    async for data in call:
        yield RetrieveSampleReply.FromString(data).trial_sample


def test_47_waiting_for_trials_ends_when_there_are_enough(play):
    async def scenario(world):
        async with storing() as (client, log):
            began = time.monotonic()
            waiting = asyncio.create_task(ids(client, timeout=40_000, trials_count=2))
            by_id = asyncio.create_task(ids(client, timeout=40_000, trial_ids=["late"]))
            first = await world.begin(datalog=log)
            await world.begin(trial_id="late", datalog=log)
            assert (await waiting)[0] == [first, "late"]
            assert (await by_id)[0] == ["late"]
            assert time.monotonic() - began < 20.0

    play(scenario)


def test_47_waiting_for_trials_gives_a_partial_list_in_the_end(play):
    async def scenario(world):
        async with storing() as (client, log):
            trial_id = await world.begin(datalog=log)
            await stored(client, trial_id)
            assert (await ids(client, timeout=200, trials_count=3))[0] == [trial_id]
            assert (await ids(client, timeout=200, trial_ids=["never"]))[0] == []

    play(scenario)


def test_47_page_after_the_last_requested_trial_is_not_waited_for(play):
    """Bug D15 of the official datastore: the call lasts the whole time."""

    async def scenario(world):
        async with storing() as (client, log):
            trial_id = await world.begin(datalog=log)
            await stored(client, trial_id)
            wanted = {"trial_ids": [trial_id], "trials_count": 1, "timeout": 40_000}
            page, handle = await ids(client, **wanted)
            assert page == [trial_id]
            began = time.monotonic()
            assert (await ids(client, trial_handle=handle, **wanted))[0] == []
            assert time.monotonic() - began < 20.0

    play(scenario)


def test_47_pages_hold_every_trial_once_and_properties_choose(play):
    async def scenario(world):
        async with storing() as (client, log):
            trials = [await world.begin(datalog=log, properties={"odd": str(n % 2)}) for n in range(7)]
            for trial_id in trials:
                await stored(client, trial_id)
            seen, handle = [], ""
            while True:
                page, handle = await ids(client, trials_count=3, trial_handle=handle)
                seen += page
                if len(page) < 3:
                    break
            assert sorted(seen) == sorted(trials) and len(seen) == 7
            found, _ = await ids(client, properties={"odd": "1"})
            assert set(found) == set(trials[1::2])

    play(scenario)


def test_48_samples_of_a_running_trial_come_as_they_are_made_and_end_with_it(play):
    async def scenario(world):
        async with storing() as (client, log):
            trial_id = await world.begin(datalog=log)
            env, alice = await world.talks("alice")
            await stored(client, trial_id)
            live = samples(client, trial_id)
            for tick in range(3):
                await env.observe(b"t%d" % tick)
                await alice.expect(f"observation {tick}")
                if tick > 0:
                    assert (await anext(live)).tick_id == tick - 1
                await alice.act(tick)
                await env.expect(f"action_set {tick}")
            await env.say(LAST)
            await env.observe(b"t3")
            await env.say(LAST_ACK)
            await alice.until("LAST")
            await alice.say(LAST_ACK)
            rest = [sample.tick_id async for sample in live]
            assert rest == [2, 3]

    play(scenario)


def test_48_filters_choose_actors_and_fields_and_trials_keep_their_order(play):
    async def scenario(world):
        world.env.script, world.actor.script = counting(4), echo
        async with storing() as (client, log):
            cast = world.slot("a"), world.slot("b", "judge")
            trials = [await world.begin(*cast, datalog=log) for _ in range(2)]
            for trial_id in trials:
                await stored(client, trial_id)
            ticks = {trial_id: [] for trial_id in trials}
            wanted = {
                "actor_classes": ["judge"],
                "selected_sample_fields": ["STORED_TRIAL_SAMPLE_FIELD_ACTION"],
            }
            async for sample in samples(client, *trials, **wanted):
                ticks[sample.trial_id].append(sample.tick_id)
                (actor,) = sample.actor_samples
                assert actor.actor == 1 and not actor.HasField("observation")
                if sample.tick_id < 4:
                    assert sample.payloads[actor.action] == b"t%d" % sample.tick_id
            assert list(ticks.values()) == [[0, 1, 2, 3, 4]] * 2

    play(scenario)
