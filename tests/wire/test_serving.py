"""What a served environment or actor shows to an orchestrator, here a raw peer."""

import asyncio
import contextlib

import grpc
import pytest
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

import cogment_lab.wire as cogment
from cogment_lab.wire.channel import open_channel
from cogment_lab.wire.generated import common_pb2 as common
from cogment_lab.wire.generated.common_pb2 import ActorRunTrialInput, StatusRequest, VersionRequest
from cogment_lab.wire.generated.environment_pb2 import EnvRunTrialInput
from cogment_lab.wire.rpc import Stub
from cogment_lab.wire.stream import (
    BUNDLES,
    offers_bundles,
    orchestrator_side_of_actor,
    orchestrator_side_of_env,
)


@contextlib.asynccontextmanager
async def service(world, kind):
    """Serve what is registered and yield a raw stub."""
    await world.serve()
    channel = open_channel(world.service.removeprefix("grpc://"))
    try:
        yield Stub(channel, f"cogmentAPI.{kind}")
    finally:
        await channel.close(None)


def actor_init(**fields):
    init = {"actor_name": "alice", "actor_class": "player", "env_name": "env"} | fields
    return ActorRunTrialInput(state=common.NORMAL, init_input=init)


def env_init(*actors):
    actors = [{"name": name, "actor_class": actor_class} for name, actor_class in actors]
    return EnvRunTrialInput(state=common.NORMAL, init_input={"name": "env", "actors_in_trial": actors})


def observation(tick, text="o"):
    content = StringValue(value=text).SerializeToString()
    return ActorRunTrialInput(state=common.NORMAL, observation={"tick_id": tick, "content": content})


async def opened(stub, init, trial_id="t1", bundles=True):
    """Open a session like an orchestrator; return the call and its frames."""
    call = stub.RunTrial(metadata=(("trial-id", trial_id), *(BUNDLES if bundles else ())))
    is_actor = isinstance(init, ActorRunTrialInput)
    stream = orchestrator_side_of_actor(call) if is_actor else orchestrator_side_of_env(call)
    await stream.write(init)
    (first,) = await stream.read()
    assert first.HasField("init_output")
    stream.bundled = offers_bundles(await call.initial_metadata())
    assert stream.bundled == bundles
    return call, stream


async def refusal(stub, init, metadata=(("trial-id", "t1"),)):
    """Return the status that a session is refused with."""
    call = stub.RunTrial(metadata=metadata)
    await call.write(init.SerializeToString())
    assert await status(call)
    return await call.code(), await call.details()


async def status(call):
    """Read until the call fails; return its code."""
    with contextlib.suppress(grpc.aio.AioRpcError):
        while await call.read() is not grpc.aio.EOF:
            pass
    return await call.code()


async def echo(session):
    """Answer each observation."""
    session.start()
    async for event in session.all_events():
        if event.observation:
            session.do_action(Int64Value(value=event.observation.tick_id))


@pytest.mark.parametrize("bundles", [True, False])
def test_actions_leave_before_and_during_other_waits(play, bundles):
    async def actor(session):
        session.start()
        async for event in session.all_events():
            if event.observation:
                session.add_reward(1.0, 1.0, ["*"])
                session.do_action(Int64Value(value=1))
                await asyncio.sleep(30)

    async def scenario(world):
        world.context.register_actor(actor, "sleeper", ["player"])
        async with service(world, "ServiceActorSP") as stub:
            call, stream = await opened(stub, actor_init(), bundles=bundles)
            await stream.write(observation(0))
            frames = []
            while len(frames) < 2:
                frames += await stream.read()
            assert [frame.WhichOneof("data") for frame in frames] == ["reward", "action"]
            call.cancel()
            world.context._served.sessions._tasks[("t1", "alice")].cancel()

    play(scenario)


def test_reward_and_observations_leave_in_one_bundle(play):
    async def environment(session):
        session.start([("*", StringValue(value="first"))])
        async for event in session.all_events():
            if event.actions:
                session.add_reward(1.0, 1.0, ["*"])
                session.produce_observations([("*", StringValue(value="next"))])

    async def scenario(world):
        world.context.register_environment(environment)
        async with service(world, "EnvironmentSP") as stub:
            call, stream = await opened(stub, env_init(("alice", "player"), ("bob", "player")))
            (first,) = await stream.read()
            assert list(first.observation_set.actors_map) == [0, 0]
            assert len(first.observation_set.observations) == 1
            await stream.write(
                EnvRunTrialInput(
                    state=common.NORMAL, action_set={"actions": [b"", b""], "unavailable_actors": [1]}
                )
            )
            frames = await stream.read()
            assert [frame.WhichOneof("data") for frame in frames] == ["reward", "observation_set"]
            call.cancel()

    play(scenario)


def test_heartbeats_are_answered_even_when_user_code_does_not_read(play):
    async def sleeper(session):
        session.start()
        await asyncio.sleep(30)

    async def scenario(world):
        world.context.register_actor(sleeper, "sleeper", ["player"])
        async with service(world, "ServiceActorSP") as stub:
            call, stream = await opened(stub, actor_init())
            for _ in range(2):
                await stream.write(ActorRunTrialInput(state=common.HEARTBEAT))
                (answer,) = await stream.read()
                assert answer.state == common.HEARTBEAT
            call.cancel()
            world.context._served.sessions._tasks[("t1", "alice")].cancel()

    play(scenario)


def test_heartbeat_before_init_is_answered(play):
    async def scenario(world):
        world.context.register_actor(echo, "echo", ["player"])
        async with service(world, "ServiceActorSP") as stub:
            call = stub.RunTrial(metadata=(("trial-id", "t1"),))
            stream = orchestrator_side_of_actor(call)
            await stream.write(ActorRunTrialInput(state=common.HEARTBEAT))
            (answer,) = await stream.read()
            assert answer.state == common.HEARTBEAT
            await stream.write(actor_init())
            (answer,) = await stream.read()
            assert answer.HasField("init_output")
            call.cancel()

    play(scenario)


def test_failing_user_code_is_named_in_the_status_and_frees_its_place(play):
    async def failing(session):
        session.start()
        async for _ in session.all_events():
            raise ValueError("no such policy")

    async def scenario(world):
        world.context.register_actor(failing, "clumsy", ["player"])
        async with service(world, "ServiceActorSP") as stub:
            for _ in range(2):
                call, stream = await opened(stub, actor_init())
                await stream.write(observation(0))
                assert await status(call) is grpc.StatusCode.INTERNAL
                details = await call.details()
                assert "ValueError: no such policy" in details
                assert "'clumsy'" in details
                assert "'alice'" in details

    play(scenario)


@pytest.mark.parametrize(
    ("init", "metadata", "why"),
    [
        (actor_init(), (), "no trial-id"),
        (actor_init(impl_name="ecko"), None, "no actor implementation 'ecko'"),
        (actor_init(actor_class="judge"), None, "no actor implementation for the class 'judge'"),
        (actor_init(impl_name="echo", actor_class="judge"), None, "not for the class 'judge'"),
        (actor_init(config={"content": b"\xff"}), None, "configuration"),
        (observation(0), None, "before init_input"),
    ],
)
def test_sessions_that_cannot_be_are_refused(play, init, metadata, why):
    async def scenario(world):
        world.context.register_actor(echo, "echo", ["player"])
        async with service(world, "ServiceActorSP") as stub:
            code, details = await refusal(stub, init, (("trial-id", "t1"),) if metadata is None else metadata)
            assert code is not grpc.StatusCode.OK
            assert why in details

    play(scenario)


def test_actor_of_a_trial_cannot_be_played_twice(play):
    async def scenario(world):
        world.context.register_actor(echo, "echo", ["player"])
        async with service(world, "ServiceActorSP") as stub:
            call, stream = await opened(stub, actor_init())
            _, details = await refusal(stub, actor_init())
            assert "already" in details
            await stream.write(observation(0))
            assert (await stream.read())[0].HasField("action")
            call.cancel()

    play(scenario)


@pytest.mark.parametrize("leave", ["cancel", "done_writing"])
def test_loop_ends_when_the_orchestrator_vanishes(play, leave):
    over = asyncio.Queue()

    async def actor(session):
        session.start()
        async for event in session.all_events():
            assert event.type is cogment.EventType.ACTIVE
        await over.put(session.is_trial_over())

    async def scenario(world):
        world.context.register_actor(actor, "patient", ["player"])
        async with service(world, "ServiceActorSP") as stub:
            call, stream = await opened(stub, actor_init())
            await stream.write(observation(0))
            left = getattr(call, leave)()
            if left not in (True, None):
                await left
            assert await over.get()

    play(scenario)


def test_a_caller_that_still_writes_hears_why_it_is_refused(play):
    async def scenario(world):
        world.context.register_actor(echo, "echo", ["player"])
        async with service(world, "ServiceActorSP") as stub:
            call = stub.RunTrial()
            await call.wait_for_connection()
            await asyncio.sleep(0.1)
            await call.write(actor_init().SerializeToString())
            assert await status(call) is grpc.StatusCode.INVALID_ARGUMENT
            silent = stub.RunTrial()
            assert await status(silent) is grpc.StatusCode.INVALID_ARGUMENT

    play(scenario)


def test_nonsense_frame_fails_the_session(play):
    async def scenario(world):
        world.context.register_actor(echo, "echo", ["player"])
        async with service(world, "ServiceActorSP") as stub:
            call, _ = await opened(stub, actor_init(), bundles=False)
            await call.write(b"\xff\xff\xff")
            assert await status(call) is grpc.StatusCode.INTERNAL
            assert "ProtocolError" in await call.details()

    play(scenario)


def test_action_set_of_another_length_fails_the_session(play):
    async def environment(session):
        session.start([("*", StringValue())])
        async for _ in session.all_events():
            pass

    async def scenario(world):
        world.context.register_environment(environment)
        async with service(world, "EnvironmentSP") as stub:
            call, stream = await opened(stub, env_init(("alice", "player")))
            await stream.write(EnvRunTrialInput(state=common.NORMAL, action_set={"actions": [b"", b""]}))
            assert await status(call) is grpc.StatusCode.INTERNAL
            assert "2 actions for 1 actors" in await call.details()

    play(scenario)


def test_wrong_observations_are_errors_that_say_whose(play):
    raised = []

    async def environment(session):
        nothing = StringValue()
        for observations in (
            [("alice", nothing)],
            [("*", nothing), ("bob", nothing)],
            [("alic", nothing), ("bob", nothing)],
            [("player.alice.x", nothing)],
        ):
            try:
                session.start(observations)
            except cogment.CogmentError as error:
                raised.append(str(error))
        session.start([("alice", nothing), ("player.bob", nothing)])

    async def scenario(world):
        world.context.register_environment(environment)
        async with service(world, "EnvironmentSP") as stub:
            call, _ = await opened(stub, env_init(("alice", "player"), ("bob", "player")))
            assert await status(call) is grpc.StatusCode.OK

    play(scenario)
    assert ["'bob'" in raised[0], "'bob' is given two" in raised[1], "'alic'" in raised[2]] == [True] * 3
    assert "class.name" in raised[3]


def test_impl_that_returns_before_the_end_leaves_the_trial(play):
    async def actor(session):
        session.start()
        session.do_action(Int64Value(value=5))

    async def scenario(world):
        world.context.register_actor(actor, "hasty", ["player"])
        async with service(world, "ServiceActorSP") as stub:
            call, stream = await opened(stub, actor_init())
            assert (await stream.read())[0].HasField("action")
            assert await status(call) is grpc.StatusCode.OK

    play(scenario)


def test_status_and_version(play):
    async def scenario(world):
        world.context.register_actor(echo, "echo", ["player"])
        async with service(world, "ServiceActorSP") as stub:
            call, _ = await opened(stub, actor_init())
            reply = await stub.Status(StatusRequest(names=["*"]))
            assert reply.statuses["nb_sessions"] == "1"
            assert 0 <= int(reply.statuses["overall_load"]) <= 254
            versions = (await stub.Version(VersionRequest())).versions
            assert [version.name for version in versions] == ["cogment_lab", "grpc"]
            call.cancel()

    play(scenario)


def test_user_code_is_cancelled_when_serving_stops(play):
    cancelled = []

    async def stubborn(session):
        session.start()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def scenario(world):
        world.context.register_actor(stubborn, "stubborn", ["player"])
        async with service(world, "ServiceActorSP") as stub:
            await opened(stub, actor_init())

    play(scenario)
    assert cancelled == [True]
