"""Checks 39 to 42: actors that connect by themselves."""

import asyncio
import contextlib
import time

import grpc
import pytest
from peers import HEARTBEAT, LAST, LAST_ACK, counting, echo

from cogment_lab.wire.generated import common_pb2 as common
from cogment_lab.wire.generated.common_pb2 import ActorInitialOutput, ActorRunTrialOutput

CLIENT = "cogment://client"


def human(world, name="human", actor_class="player", **more):
    return world.slot(name, actor_class, **({"endpoint": CLIENT} | more))


def test_39_client_joins_by_name(play):
    async def scenario(world):
        world.env.script = counting(2)
        trial_id = await world.begin(human(world))
        talk = await world.join(trial_id, actor_name="human")
        assert talk.who == "human"
        await echo(talk)
        await world.ended(trial_id)

    play(scenario)


def test_39_client_joins_the_first_free_slot_of_its_class(play):
    async def scenario(world):
        trial_id = await world.begin(
            world.slot("service"), human(world, "h1"), human(world, "judge", "judge"), human(world, "h2")
        )
        talks = [await world.join(trial_id, actor_class="player") for _ in range(2)]
        assert [talk.who for talk in talks] == ["h1", "h2"]
        code, _ = await world.refused(trial_id, actor_class="player")
        assert code is not grpc.StatusCode.OK

    play(scenario)


@pytest.mark.parametrize(
    "slot",
    [
        {"actor_name": "nobody"},
        {"actor_class": "pilot"},
        {"actor_name": "alice"},
        {"actor_name": "taken"},
        {"actor_name": ""},
        {},
    ],
    ids=["unknown name", "unknown class", "service actor", "taken", "empty name", "neither"],
)
def test_39_wrong_slot_is_refused_and_the_trial_goes_on(play, slot):
    async def scenario(world):
        trial_id = await world.begin(world.slot("alice"), human(world, "taken"), human(world, "free"))
        taken = await world.join(trial_id, actor_name="taken")
        code, details = await world.refused(trial_id, **slot)
        assert code not in (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE) and details
        free = await world.join(trial_id, actor_name="free")
        env, _ = await world.talks("alice")
        await env.observe(b"t0")
        await taken.expect("observation 0")
        await free.expect("observation 0")

    play(scenario)


def test_39_unknown_trial_and_missing_trial_id_are_refused(play):
    async def scenario(world):
        code, details = await world.refused("nobody's", actor_name="human")
        assert code is grpc.StatusCode.NOT_FOUND and "nobody's" in details
        code, details = await world.refused(None, actor_name="human")
        assert code is grpc.StatusCode.INVALID_ARGUMENT and "trial-id" in details

    play(scenario)


def test_39_a_client_that_hesitates_hears_why_it_is_refused(play):
    async def scenario(world):
        talk = await world.knock("nobody's")
        await talk.call.wait_for_connection()
        await asyncio.sleep(0.1)
        init = ActorInitialOutput(actor_name="human")
        await talk.send(ActorRunTrialOutput(state=common.NORMAL, init_output=init))
        assert await talk.rest() == []
        assert await talk.call.code() is grpc.StatusCode.NOT_FOUND

    play(scenario)


def test_39_running_trial_cannot_be_joined(play):
    async def scenario(world):
        trial_id = await world.begin(human(world, optional=True, initial_connection_timeout=0.05))
        env = await world.env.talk()
        await env.begin()
        await env.observe(b"t0")
        await env.expect("action_set 0")
        code, details = await world.refused(trial_id, actor_name="human")
        assert code is not grpc.StatusCode.OK and "state" in details

    play(scenario)


def test_39_clients_that_race_for_a_slot_share_it_out(play):
    """Bug O17 of the official orchestrator: both pass, and the second disengages the slot."""

    async def scenario(world):
        trial_id = await world.begin(human(world))

        async def attempt():
            talk = await world.knock(trial_id)
            init = ActorInitialOutput(actor_name="human")
            with contextlib.suppress(Exception):
                await talk.send(ActorRunTrialOutput(state=common.NORMAL, init_output=init))
            return talk if await talk.next() is not None else None

        attempts = await asyncio.gather(*(attempt() for _ in range(8)))
        (winner,) = [talk for talk in attempts if talk is not None]
        env = await world.env.talk()
        await env.begin()
        await env.observe(b"t0")
        await winner.expect("observation 0")

    play(scenario)


def test_40_heartbeats_are_answered_before_init_and_at_any_time(play):
    async def scenario(world):
        trial_id = await world.begin(human(world), world.slot("alice"))
        talk = await world.knock(trial_id)
        await talk.say(HEARTBEAT)
        await talk.expect("HEARTBEAT")
        await talk.send(
            ActorRunTrialOutput(state=common.NORMAL, init_output=ActorInitialOutput(actor_name="human"))
        )
        await talk.expect("init_input")
        await talk.say(HEARTBEAT)
        await talk.expect("HEARTBEAT")
        env, alice = await world.talks("alice")
        for peer in (env, alice, talk):
            await peer.say(HEARTBEAT)
            await peer.expect("HEARTBEAT")

    play(scenario)


def test_40_heartbeat_of_services_before_init_is_answered(play):
    async def scenario(world):
        await world.begin()
        alice = await world.actor.talk()
        await alice.expect("init_input")
        await alice.say(HEARTBEAT)
        await alice.expect("HEARTBEAT")
        await alice.send(ActorRunTrialOutput(state=common.NORMAL, init_output={}))
        env = await world.env.talk()
        await env.expect("init_input")
        await env.say(HEARTBEAT)
        await env.expect("HEARTBEAT")

    play(scenario)


@pytest.mark.parametrize("hard", [False, True])
def test_41_after_end_the_rpc_is_completed_with_ok(play, hard):
    async def scenario(world):
        trial_id = await world.begin(human(world))
        talk = await world.join(trial_id, actor_name="human")
        env = await world.env.talk()
        await env.begin()
        await env.observe(b"t0")
        await talk.expect("observation 0")
        if hard:
            await world.terminate(trial_id, hard=True)
        else:
            await talk.act(0)
            await env.expect("action_set 0")
            await env.say(LAST)
            await env.observe(b"t1")
            await env.say(LAST_ACK)
            await talk.expect("LAST", "observation 1")
            await talk.say(LAST_ACK)
        await talk.expect("END")
        assert await talk.next() is None
        assert await talk.call.code() is grpc.StatusCode.OK

    play(scenario)


def test_42_the_old_name_of_the_client_endpoint_is_accepted(play):
    async def scenario(world):
        trial_id = await world.begin(*(human(world, name, endpoint=name) for name in ("client", "CLIENT")))
        await world.join(trial_id, actor_name="client")
        await world.join(trial_id, actor_name="CLIENT")

    play(scenario)


def test_required_client_that_leaves_ends_the_trial_for_everybody(play):
    async def scenario(world):
        async with world.bystander():
            trial_id = await world.begin(human(world), human(world, "stays"))
            leaves = await world.join(trial_id, actor_name="human")
            stays = await world.join(trial_id, actor_name="stays")
            env = await world.env.talk()
            await env.begin()
            await env.observe(b"t0")
            await leaves.expect("observation 0")
            began = time.monotonic()
            leaves.call.cancel()
            assert "human" in (await env.expect("END")).details
            await stays.expect("observation 0", "END")
            await world.ended(trial_id)
            assert time.monotonic() - began < 4.0  # not after the 5 s that others have to finish

    play(scenario)


def test_optional_client_that_leaves_is_unavailable_from_then_on(play):
    async def scenario(world):
        trial_id = await world.begin(human(world, optional=True), human(world, "stays"))
        leaves = await world.join(trial_id, actor_name="human")
        stays = await world.join(trial_id, actor_name="stays")
        env = await world.env.talk()
        await env.begin()
        await env.observe(b"t0")
        await leaves.expect("observation 0")
        leaves.call.cancel()
        for tick in range(2):
            await stays.expect(f"observation {tick}")
            await stays.act(tick)
            actions = (await env.expect(f"action_set {tick}")).action_set
            assert list(actions.unavailable_actors) == [0]
            await env.observe(b"next")

    play(scenario)


def test_client_that_leaves_breaks_off_nothing_that_is_on_its_way(play):
    async def scenario(world):
        content = bytes(8_000_000)  # more than a stream takes that nobody reads
        trial_id = await world.begin(human(world, optional=True), human(world, "stays"))
        leaves = await world.join(trial_id, actor_name="human")
        stays = await world.join(trial_id, actor_name="stays")
        env = await world.env.talk()
        await env.begin()
        await env.observe(b"t0")
        for talk in (leaves, stays):
            await talk.expect("observation 0")
        await stays.act(0)
        await leaves.act(0, content)
        await asyncio.sleep(0.2)
        leaves.call.cancel()
        await asyncio.sleep(0.1)
        assert list((await env.expect("action_set 0")).action_set.actions) == [content, b"act"]
        await env.observe(b"t1")
        await stays.expect("observation 1")

    play(scenario)


def test_client_that_leaves_while_another_is_awaited(play):
    async def scenario(world):
        required = await world.begin(human(world), human(world, "never comes"))
        (await world.join(required, actor_name="human")).call.cancel()
        await world.ended(required)
        optional = await world.begin(human(world, optional=True), human(world, "comes"))
        (await world.join(optional, actor_name="human")).call.cancel()
        stays = await world.join(optional, actor_name="comes")
        env = await world.env.talk()
        await env.begin()
        await env.observe(b"t0")
        await stays.expect("observation 0")

    play(scenario)


def test_client_that_says_nothing_is_refused_in_time(play):
    async def scenario(world):
        await world.restart(join_frame=0.2)
        trial_id = await world.begin(human(world))
        silent = await world.knock(trial_id)
        assert await silent.rest() == []
        assert await silent.call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await world.join(trial_id, actor_name="human")

    play(scenario)


def test_client_whose_trial_ends_before_it_names_its_slot_gets_an_empty_ok(play):
    async def scenario(world):
        trial_id = await world.begin(human(world))
        talk = await world.knock(trial_id)
        await talk.say(HEARTBEAT)
        await talk.expect("HEARTBEAT")
        await world.terminate(trial_id, hard=True)
        with contextlib.suppress(Exception):
            init = ActorInitialOutput(actor_name="human")
            await talk.send(ActorRunTrialOutput(state=common.NORMAL, init_output=init))
        assert await talk.rest() == []
        assert await talk.call.code() is grpc.StatusCode.OK

    play(scenario)
