"""Peers that break the protocol, stop reading or die: the trials of others do not notice."""

import contextlib

import grpc
import pytest
from peers import END, LAST, LAST_ACK, RawActor, RawEnv, counting, echo

from cogment_lab.wire.generated import common_pb2 as common
from cogment_lab.wire.generated.common_pb2 import ActorRunTrialOutput, VersionRequest
from cogment_lab.wire.generated.environment_pb2 import EnvRunTrialOutput
from cogment_lab.wire.generated.orchestrator_pb2 import TrialStartRequest
from cogment_lab.wire.rpc import Stub, handler

GARBAGE = b"\xff\xff\xff\xff\xff"
CLIENT = "cogment://client"


async def write_raw(talk, data):
    """Send bytes that need not be a frame."""
    await talk.call.write(data)


@pytest.mark.parametrize("phase", ["init", "running"])
@pytest.mark.parametrize("optional", [False, True], ids=["required", "optional"])
def test_malformed_frame_of_an_actor_is_its_loss(play, phase, optional):
    async def scenario(world):
        async with world.bystander():
            trial_id = await world.begin(world.slot("bad", optional=optional), world.slot("good"))
            talks = {}
            for _ in range(2):
                talk = await world.actor.talk()
                await talk.expect("init_input")
                talks[talk.who] = talk
            bad, good = talks["bad"], talks["good"]
            await good.send(ActorRunTrialOutput(state=common.NORMAL, init_output={}))
            if phase == "init":
                await write_raw(bad, GARBAGE)
                if not optional:
                    await good.expect("END")
                    assert world.env.talks == []
            else:
                await bad.send(ActorRunTrialOutput(state=common.NORMAL, init_output={}))
            if phase == "running" or optional:
                env = await world.env.talk()
                await env.begin()
                await env.observe(b"t0")
                await good.expect("observation 0")
                if phase == "running":
                    await bad.expect("observation 0")
                    await write_raw(bad, GARBAGE)
                if optional:
                    await good.act(0)
                    actions = (await env.expect("action_set 0")).action_set
                    assert list(actions.unavailable_actors) == [0]
                    return
                await env.expect("END")
                await good.expect("END")
            await world.ended(trial_id)

    play(scenario)


@pytest.mark.parametrize("phase", ["init", "running"])
def test_malformed_frame_of_an_environment_ends_its_trial(play, phase):
    async def scenario(world):
        async with world.bystander():
            trial_id = await world.begin()
            alice = await world.actor.talk()
            await alice.begin()
            env = await world.env.talk()
            if phase == "init":
                await env.expect("init_input")
            else:
                await env.begin()
                await env.observe(b"t0")
                await alice.expect("observation 0")
            await write_raw(env, GARBAGE)
            await alice.expect("END")
            await world.ended(trial_id)

    play(scenario)


@pytest.mark.parametrize("data", [GARBAGE, b""], ids=["garbage", "empty"])
def test_malformed_first_frame_of_a_client_is_refused(play, data):
    async def scenario(world):
        async with world.bystander():
            trial_id = await world.begin(world.slot("human", endpoint=CLIENT))
            talk = await world.knock(trial_id)
            with contextlib.suppress(Exception):
                await talk.call.write(data)
            assert await talk.rest() == []
            assert await talk.call.code() is not grpc.StatusCode.OK
            await world.join(trial_id, actor_name="human")

    play(scenario)


def test_malformed_request_is_a_status_and_no_more(play):
    async def scenario(world):
        async with world.bystander():
            for rpc in ("StartTrial", "TerminateTrial", "GetTrialInfo"):
                call = world.channel.unary_unary(f"/cogmentAPI.TrialLifecycleSP/{rpc}")
                with pytest.raises(grpc.aio.AioRpcError):
                    await call(GARBAGE)

    play(scenario)


@pytest.mark.parametrize(
    "frame",
    [
        ActorRunTrialOutput(state=common.NORMAL),
        ActorRunTrialOutput(state=common.NORMAL, action={}),
        ActorRunTrialOutput(state=common.LAST),
        ActorRunTrialOutput(state=common.LAST_ACK),
        ActorRunTrialOutput(state=common.END),
        ActorRunTrialOutput(state=99),
        ActorRunTrialOutput(),
    ],
    ids=["no data", "action", "LAST", "LAST_ACK", "END", "state 99", "no state"],
)
def test_actor_that_begins_with_something_else_is_a_failed_one(play, frame):
    async def scenario(world):
        async with world.bystander():
            trial_id = await world.begin()
            alice = await world.actor.talk()
            await alice.expect("init_input")
            await alice.send(frame)
            await world.ended(trial_id)

    play(scenario)


@pytest.mark.parametrize(
    "frames",
    [
        [ActorRunTrialOutput(state=common.NORMAL, init_output={})],
        [ActorRunTrialOutput(state=99)],
        [ActorRunTrialOutput()],
        [ActorRunTrialOutput(state=common.LAST_ACK)] * 2,
    ],
    ids=["init twice", "state 99", "no state", "LAST_ACK twice"],
)
def test_optional_actor_that_breaks_the_protocol_is_disengaged(play, frames):
    async def scenario(world):
        await world.begin(world.slot("bad", optional=True), world.slot("good"))
        env, bad, good = await world.talks("bad", "good")
        await env.observe(b"t0")
        await bad.expect("observation 0")
        await good.expect("observation 0")
        await bad.send(*frames)
        await good.act(0)
        actions = (await env.expect("action_set 0")).action_set
        assert list(actions.unavailable_actors) == [0]

    play(scenario)


@pytest.mark.parametrize(
    "frame",
    [
        ActorRunTrialOutput(state=common.NORMAL),
        ActorRunTrialOutput(state=LAST),
        ActorRunTrialOutput(state=END),
    ],
    ids=["no data", "LAST", "END"],
)
def test_odd_frame_of_an_actor_is_tolerated(play, frame):
    async def scenario(world):
        await world.begin()
        env, alice = await world.talks("alice")
        await env.observe(b"t0")
        await alice.expect("observation 0")
        await alice.send(frame)
        await alice.act(0)
        await env.expect("action_set 0")

    play(scenario)


@pytest.mark.parametrize(
    "wrong",
    [
        {"tick": 5},
        {"tick": -2},
        {"actors_map": [0]},
        {"actors_map": []},
        {"actors_map": [0, 1, 0]},
        {"actors_map": [0, 7]},
        {"actors_map": [-1, 0]},
    ],
    ids=["future", "negative", "short", "empty", "long", "outside", "below"],
)
def test_wrong_observation_set_ends_the_trial_with_its_reason(play, wrong):
    """Bugs O15 and O16 of the official orchestrator: out-of-bounds reads, frozen trials."""

    async def scenario(world):
        async with world.bystander():
            trial_id = await world.begin(world.slot("a"), world.slot("b"))
            env, a, b = await world.talks("a", "b")
            await env.observe(b"t0")
            await a.expect("observation 0")
            await b.expect("observation 0")
            await env.observe(b"t1", **wrong)
            for talk in (env, a, b):
                assert "observation set" in (await talk.expect("END")).details
            await world.ended(trial_id)

    play(scenario)


def test_observation_set_may_name_its_tick(play):
    async def scenario(world):
        await world.begin()
        env, alice = await world.talks("alice")
        await env.observe(b"t0", tick=0)
        await alice.expect("observation 0")
        await alice.act(0)
        await env.expect("action_set 0")
        await env.observe(b"t1", tick=1)
        await alice.expect("observation 1")

    play(scenario)


@pytest.mark.parametrize(
    "frame",
    [
        EnvRunTrialOutput(state=common.NORMAL),
        EnvRunTrialOutput(state=common.NORMAL, details="hm"),
        EnvRunTrialOutput(state=END),
        EnvRunTrialOutput(state=99),
    ],
    ids=["no data", "details", "END", "state 99"],
)
def test_odd_frame_of_an_environment_is_tolerated(play, frame):
    async def scenario(world):
        await world.begin()
        env, alice = await world.talks("alice")
        await env.send(frame)
        await env.observe(b"t0")
        await alice.expect("observation 0")

    play(scenario)


def test_environment_that_initialises_twice_is_ended(play):
    async def scenario(world):
        trial_id = await world.begin()
        env, alice = await world.talks("alice")
        await env.send(EnvRunTrialOutput(state=common.NORMAL, init_output={}))
        await alice.expect("END")
        await world.ended(trial_id)

    play(scenario)


@pytest.mark.parametrize("name", ["a.b", "*", "a*", "."])
def test_environment_name_that_breaks_routing_is_refused(play, name):
    async def scenario(world):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await world.begin(env={"name": name})
        assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert name in refusal.value.details()

    play(scenario)


def test_parameters_that_are_no_utf8_are_a_status(play):
    async def scenario(world):
        call = world.channel.unary_unary("/cogmentAPI.TrialLifecycleSP/StartTrial")
        params = world.params(world.slot("alic\x7f"))
        data = TrialStartRequest(params=params).SerializeToString().replace(b"alic\x7f", b"alic\xff")
        with pytest.raises(grpc.aio.AioRpcError):
            await call(data)
        async with world.bystander():
            pass

    play(scenario)


@pytest.mark.parametrize("who", ["actor", "environment"])
def test_messages_to_a_peer_that_does_not_read_do_not_stop_their_sender(play, who):
    async def scenario(world):
        async with world.bystander():
            trial_id = await world.begin(world.slot("deaf", optional=True), world.slot("a"))
            env, deaf, a = await world.talks("deaf", "a")
            await env.observe(b"t0")
            for talk in (a, deaf):
                await talk.expect("observation 0")

            sender, receiver = (env, "deaf") if who == "actor" else (a, "env")
            for _ in range(200):
                await sender.message(receiver, bytes(100_000))
            await sender.message("a", b"still heard")
            await a.expect("message 0")

            await world.terminate(trial_id, hard=True)
            assert await world.state(trial_id) == "ENDED"

    play(scenario, end=0.3)


def test_tick_goes_on_without_an_actor_that_does_not_read(play):
    async def scenario(world):
        async with world.bystander():
            trial_id = await world.begin(
                world.slot("deaf", optional=True, response_timeout=0.02), world.slot("a")
            )
            env, _, a = await world.talks("deaf", "a")
            for tick in range(20):
                await env.observe(bytes(500_000))
                await a.expect(f"observation {tick}")
                await a.act(tick)
                await env.expect(f"action_set {tick}")
            await world.terminate(trial_id, hard=True)
            assert await world.state(trial_id) == "ENDED"

    play(scenario, end=0.3)


def test_end_does_not_wait_long_for_an_environment_that_does_not_read(play):
    async def scenario(world):
        async with world.bystander():
            trial_id = await world.begin()
            env, alice = await world.talks("alice")
            await env.observe(b"t0")
            await alice.expect("observation 0")
            await alice.act(0, bytes(5_000_000))
            await world.terminate(trial_id, hard=True)
            await alice.expect("END")
            await world.ended(trial_id)

    play(scenario, end=0.3)


@pytest.mark.parametrize("answers_end", [False, True])
def test_component_that_never_finishes_its_rpc_is_cut_off(play, answers_end):
    async def scenario(world):
        trial_id = await world.begin()
        env, alice = await world.talks("alice")
        await env.observe(b"t0")
        await alice.expect("observation 0")
        await world.terminate(trial_id, hard=True)
        if answers_end:
            await env.expect("END")
            await alice.expect("END")
        trial = world.orchestrator.trials.find(trial_id)
        await trial.released()
        assert await world.state(trial_id) == "ENDED"

    play(scenario, end=0.2)


def test_same_service_may_play_many_actors_and_trials_at_once(play):
    async def scenario(world):
        env = RawEnv(counting(3))
        url = await world.serve(env)
        world.actor.script = echo
        ids = [
            await world.begin(*(world.slot(f"p{n}") for n in range(5)), env={"endpoint": url})
            for _ in range(4)
        ]
        for trial_id in ids:
            await world.ended(trial_id)
        assert {talk.trial_id for talk in env.talks} == set(ids)

    play(scenario)


def test_unknown_service_and_rpc_are_unimplemented(play):
    async def scenario(world):
        stub = Stub(world.channel, "cogmentAPI.ModelRegistrySP")
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await stub.Version(VersionRequest())
        assert refusal.value.code() is grpc.StatusCode.UNIMPLEMENTED

    play(scenario)


def test_actor_killed_after_the_final_observation_is_taken_as_acknowledging(play):
    async def scenario(world):
        trial_id = await world.begin()
        env, alice = await world.talks("alice")
        await env.say(LAST)
        await env.observe(b"t0")
        await alice.expect("LAST", "observation 0")
        alice.kill()
        await env.say(LAST_ACK)
        await env.expect("END")
        await world.ended(trial_id)

    play(scenario)


@pytest.mark.parametrize("required", [True, False])
def test_actor_killed_before_it_answers_init(play, required):
    async def scenario(world):
        async with world.bystander():
            trial_id = await world.begin(world.slot("dies", optional=not required), world.slot("a"))
            talks = {}
            for _ in range(2):
                talk = await world.actor.talk()
                await talk.expect("init_input")
                talks[talk.who] = talk
            await talks["a"].send(ActorRunTrialOutput(state=common.NORMAL, init_output={}))
            talks["dies"].kill()
            if required:
                await talks["a"].expect("END")
                await world.ended(trial_id)
            else:
                await (await world.env.talk()).begin()

    play(scenario)


def test_message_that_is_too_big_for_a_peer_ends_its_trial_with_the_reason(play):
    """Official components keep grpc's limit of 4 MiB on what they receive."""

    async def scenario(world):
        limited = RawActor()
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((handler(RawActor.service, limited),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with world.bystander():
                trial_id = await world.begin(world.slot("small", endpoint=f"grpc://127.0.0.1:{port}"))
                small = await limited.talk()
                await small.begin()
                env = await world.env.talk()
                await env.begin()
                await env.observe(bytes(5 << 20))
                assert await small.next() is None
                assert "small" in (await env.expect("END")).details
                await world.ended(trial_id)
                small.kill()
        finally:
            await server.stop(0)

    play(scenario)


@pytest.mark.parametrize("now", [0, 1 << 62], ids=["back", "forward"])
def test_jump_of_the_clock_disturbs_no_trial(play, monkeypatch, now):
    async def scenario(world):
        async with world.bystander():
            trial_id = await world.begin(world.slot(response_timeout=5.0), max_inactivity=5)
            env, alice = await world.talks("alice")
            await env.observe(b"t0")
            await alice.expect("observation 0")
            monkeypatch.setattr("time.time", lambda: now / 1e9)
            monkeypatch.setattr("time.time_ns", lambda: now)
            await alice.act(0)
            await env.expect("action_set 0")
            await env.observe(b"t1")
            await alice.expect("observation 1")
            (info,) = await world.info(trial_id)
            assert info.state == common.RUNNING and 0 < info.trial_duration < 10e9

    play(scenario)
