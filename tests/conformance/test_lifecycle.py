"""Checks 1 to 16: starting, watching and ending trials."""

import asyncio

import grpc
import pytest
from peers import HEARTBEAT, LAST, LAST_ACK, STATES, RawHook, counting, echo

from cogment_lab.services.orchestrator import trial as orchestrated_trial
from cogment_lab.wire.generated import common_pb2 as common
from cogment_lab.wire.generated.common_pb2 import ActorParams, SerializedMessage, TrialParams, VersionRequest
from cogment_lab.wire.generated.orchestrator_pb2 import TrialStartRequest

LIFE = ["INITIALIZING", "PENDING", "RUNNING", "TERMINATING", "ENDED"]


async def start_by_config(world, content=b"", user_id="ann"):
    request = TrialStartRequest(config=SerializedMessage(content=content), user_id=user_id)
    return (await world.lifecycle.StartTrial(request)).trial_id


async def entries(watch, until):
    """Return what ``watch`` tells up to the state ``until``."""
    found = []
    async for entry in watch:
        found.append(entry)
        if (entry.state or entry.info.state) == until:
            return found
    raise AssertionError("the watch ended")


def test_01_both_services_tell_their_version(play):
    async def scenario(world):
        for stub in (world.lifecycle, world.clients):
            versions = (await stub.Version(VersionRequest())).versions
            assert "cogment" in [version.name for version in versions]

    play(scenario)


@pytest.mark.parametrize("bundles", [False, True], ids=["plain", "bundled"])
def test_02_watcher_sees_each_state_once_and_in_order(play, bundles):
    async def scenario(world):
        world.env.script, world.actor.script = counting(3), echo
        world.env._bundles = world.actor._bundles = bundles
        watch = await world.watch()
        trial_id = await world.begin()
        found = await entries(watch, common.ENDED)
        assert [STATES[entry.state] for entry in found] == LIFE
        assert {entry.trial_id for entry in found} == {trial_id}

    play(scenario)


def test_03_id_in_use_gives_an_empty_id_and_leaves_the_trial_alone(play):
    async def scenario(world):
        async with world.bystander():
            assert await world.begin(trial_id="mine") == "mine"
            assert await world.begin(trial_id="mine") == ""
            env, alice = await world.talks("alice")
            await env.observe(b"t0")
            await alice.expect("observation 0")

    play(scenario)


def test_04_each_trial_without_requested_id_gets_its_own(play):
    async def scenario(world):
        ids = {await world.begin() for _ in range(5)}
        assert len(ids) == 5 and all(ids)

    play(scenario)


def test_05_hooks_complete_a_configuration_and_are_not_asked_about_parameters(play):
    calls = []

    def hook(name):
        def change(params):
            calls.append(name)
            params.properties[name] = str(len(calls))

        return RawHook(change)

    async def scenario(world):
        first, second = hook("first"), RawHook(lambda params: None)

        def finish(params):
            calls.append("second")
            params.MergeFrom(world.params())

        second._change = finish
        await world.restart(pre_trial_hooks=(await world.serve(first), await world.serve(second)))

        await world.begin()
        assert calls == []
        trial_id = await start_by_config(world, b"the config")
        assert calls == ["first", "second"]
        (info,) = await world.info(trial_id)
        assert dict(info.properties) == {"first": "1"}
        for raw in (first, second):
            params, metadata = raw.calls[0]
            assert metadata["trial-id"] == trial_id and metadata["user-id"] == "ann"
            assert params.trial_config.content == b"the config"

    play(scenario)


def test_06_failing_hook_fails_the_start_and_nothing_else(play):
    fail = True

    async def scenario(world):
        def change(params):
            if fail:
                raise RuntimeError("this hook fails")
            params.MergeFrom(world.params())

        await world.restart(pre_trial_hooks=(await world.serve(RawHook(change)),))
        watch = await world.watch()
        async with world.bystander():
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await start_by_config(world)
            assert "hook" in refusal.value.details()
            nonlocal fail
            fail = False
            good = await start_by_config(world)
            assert [info.trial_id for info in await world.info() if info.state == common.INITIALIZING] == []
            assert await world.state(good) == "PENDING"
        ended = [entry.trial_id async for entry in _while_buffered(watch) if entry.state == common.ENDED]
        assert ended, "the trial whose hook failed is told to be ENDED"

    play(scenario)


async def _while_buffered(watch):
    """Yield what ``watch`` tells, up to the second ENDED trial."""
    ended = 0
    async for entry in watch:
        yield entry
        ended += entry.state == common.ENDED
        if ended == 2:
            return


def test_06_hook_that_cannot_be_reached_or_never_answers_is_an_error(play):
    async def scenario(world):
        await world.restart(pre_trial_hooks=("grpc://127.0.0.1:1",))
        with pytest.raises(grpc.aio.AioRpcError):
            await start_by_config(world)
        assert await world.info() == []

        async def forever(request, context):
            await asyncio.Event().wait()

        silent = RawHook(None)
        silent.OnPreTrial = forever
        await world.restart(pre_trial_hooks=(await world.serve(silent),), hook=0.2)
        with pytest.raises(grpc.aio.AioRpcError):
            await start_by_config(world)

    play(scenario)


@pytest.mark.parametrize(
    "cast",
    [
        [],
        [("alice", "player"), ("alice", "player")],
        [("env", "player")],
        [("", "player")],
        [("alice", "")],
        [("al.ice", "player")],
        [("*", "player")],
    ],
    ids=["none", "twice", "env", "nameless", "classless", "dotted", "star"],
)
def test_07_impossible_casts_are_refused(play, cast):
    async def scenario(world):
        async with world.bystander():
            params = world.params()
            del params.actors[:]
            params.actors.extend(
                ActorParams(name=name, actor_class=kind, endpoint=world.actor_url) for name, kind in cast
            )
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await world.lifecycle.StartTrial(TrialStartRequest(params=params))
            assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert len(await world.info()) == 1, "only the bystander is left"

    play(scenario)


def test_07_empty_parameters_and_unknown_endpoints_are_refused(play):
    async def scenario(world):
        bad = [TrialParams(), world.params(env={"endpoint": "http://somewhere"})]
        bad.append(world.params(world.slot(endpoint="grpc://")))
        bad.append(world.params(world.slot(endpoint="")))  # context discovery without a directory
        bad.append(world.params(env={"endpoint": "cogment://client"}))
        for params in bad:
            with pytest.raises(grpc.aio.AioRpcError):
                await world.lifecycle.StartTrial(TrialStartRequest(params=params))
        assert await world.info() == []

    play(scenario)


def test_08_environment_without_name_is_env(play):
    async def scenario(world):
        await world.begin()
        alice = await world.actor.talk()
        assert (await alice.begin()).env_name == "env"
        env = await world.env.talk()
        assert (await env.begin()).name == "env"

    play(scenario)


def test_08_named_environment_and_configurations_arrive(play):
    async def scenario(world):
        await world.begin(
            world.slot(implementation="clever", config=SerializedMessage(content=b"cfg")),
            env={"name": "lunar", "implementation": "sim", "config": SerializedMessage()},
        )
        alice = await world.actor.talk()
        init = await alice.begin()
        assert (init.env_name, init.impl_name, init.config.content) == ("lunar", "clever", b"cfg")
        env = await world.env.talk()
        init = await env.begin()
        assert (init.name, init.impl_name, init.tick_id) == ("lunar", "sim", 0)
        assert init.HasField("config") and init.config.content == b""

    play(scenario)


def test_08_absent_configuration_stays_absent(play):
    async def scenario(world):
        await world.begin()
        alice = await world.actor.talk()
        assert not (await alice.begin()).HasField("config")

    play(scenario)


def test_09_infos_of_all_of_some_and_of_the_actors_in_order(play):
    async def scenario(world):
        first = await world.begin(world.slot("b"), world.slot("a", "judge"))
        second = await world.begin()
        assert {info.trial_id for info in await world.info()} == {first, second}
        assert [info.trial_id for info in await world.info("nobody's", first)] == [first]
        (info,) = await world.info(first, get_actor_list=True)
        assert [(actor.name, actor.actor_class) for actor in info.actors_in_trial] == [
            ("b", "player"),
            ("a", "judge"),
        ]
        (info,) = await world.info(first)
        assert not info.actors_in_trial

    play(scenario)


def test_09_latest_observation_is_given_when_asked_for(play):
    async def scenario(world):
        trial_id = await world.begin()
        env, alice = await world.talks("alice")
        await env.observe(b"t0")
        await alice.expect("observation 0")
        await alice.act()
        await env.expect("action_set 0")
        await env.observe(b"t1")
        await alice.expect("observation 1")
        (info,) = await world.info(trial_id, get_latest_observation=True)
        assert list(info.latest_observation.observations) == [b"t1"] and info.tick_id == 1
        assert info.trial_duration > 0
        (info,) = await world.info(trial_id)
        assert not info.HasField("latest_observation")

    play(scenario)


@pytest.mark.parametrize("full_info", [False, True])
def test_10_watcher_gets_as_much_as_it_asks_for(play, full_info):
    async def scenario(world):
        watch = await world.watch(full_info=full_info)
        trial_id = await world.begin(properties={"a": "b"}, env={"name": "lunar"})
        *_, entry = await entries(watch, common.PENDING)
        if full_info:
            assert not entry.trial_id and entry.info.trial_id == trial_id
            assert entry.info.env_name == "lunar" and dict(entry.info.properties) == {"a": "b"}
            assert entry.info.trial_duration > 0 and entry.info.tick_id == 0
        else:
            assert entry.trial_id == trial_id and not entry.HasField("info")

    play(scenario)


def test_10_watcher_hears_of_present_trials_and_of_wanted_states_only(play):
    async def scenario(world):
        world.env.script, world.actor.script = counting(1), echo
        old = await world.begin()
        await world.ended(old)
        watch = await world.watch("RUNNING", "ENDED")
        new = await world.begin()
        seen = [(entry.trial_id, STATES[entry.state]) for entry in await entries(watch, common.ENDED)]
        assert seen == [(old, "ENDED")]
        seen = [(entry.trial_id, STATES[entry.state]) for entry in await entries(watch, common.ENDED)]
        assert seen == [(new, "RUNNING"), (new, "ENDED")]

    play(scenario)


def test_11_terminate_needs_a_trial_and_ignores_unknown_ones(play):
    async def scenario(world):
        with pytest.raises(grpc.aio.AioRpcError):
            await world.terminate()
        await world.terminate("nobody's")
        await world.terminate("nobody's", hard=True)

    play(scenario)


def test_12_soft_termination_gives_last_actions_and_a_last_observation(play):
    async def scenario(world):
        trial_id = await world.begin(world.slot("a"), world.slot("b"))
        env, a, b = await world.talks("a", "b")
        await env.observe(b"t0")
        for actor in (a, b):
            await actor.expect("observation 0")
        await world.terminate(trial_id)
        assert await world.state(trial_id) == "RUNNING"
        for actor in (a, b):
            await actor.act(0)
        await env.expect("LAST", "action_set 0")
        assert await world.state(trial_id) == "TERMINATING"
        await env.reward("*", (1.0, 1.0))
        await env.observe(b"t1")
        await env.say(LAST_ACK)
        for actor in (a, b):
            await actor.expect("reward 0", "LAST", "observation 1")
        await a.say(LAST_ACK)
        await b.say(LAST_ACK)
        frame = await env.expect("END")
        assert not frame.details
        await a.expect("END")
        await b.expect("END")
        assert await world.ended(trial_id) == ["ENDED"]

    play(scenario)


def test_12_environment_hears_its_end_first_and_the_actors_in_order(play):
    async def scenario(world):
        trial_id = await world.begin(world.slot("a"), world.slot("b"))
        env, a, b = await world.talks("a", "b")
        await env.say(LAST)
        await env.observe(b"t0")
        await env.say(LAST_ACK)
        for actor in (b, a):
            await actor.expect("LAST", "observation 0")
            await actor.say(LAST_ACK)
        await world.ended(trial_id)
        for talk in (env, a, b):
            await talk.expect("END")

    play(scenario)


def test_13_soft_termination_of_a_pending_trial_waits_for_its_first_tick(play):
    async def scenario(world):
        trial_id = await world.begin()
        await world.terminate(trial_id)
        env, alice = await world.talks("alice")
        assert await world.state(trial_id) == "PENDING"
        await env.observe(b"t0")
        await alice.expect("observation 0")
        await alice.act()
        await env.expect("LAST", "action_set 0")

    play(scenario)


def test_14_hard_termination_is_an_end_with_details_and_nothing_more(play):
    async def scenario(world):
        async with world.bystander():
            trial_id = await world.begin()
            env, alice = await world.talks("alice")
            await env.observe(b"t0")
            await alice.expect("observation 0")
            await env.reward("*", (1.0, 1.0))
            await world.terminate(trial_id, hard=True)
            for talk in (env, alice):
                frame = await talk.expect("END")
                assert frame.details == "Externally requested"
                assert await talk.next() is None, "the orchestrator half-closes"
            assert await world.state(trial_id) == "ENDED"
            await world.terminate(trial_id, hard=True)

    play(scenario)


def test_15_hard_termination_while_a_client_is_awaited(play):
    async def scenario(world):
        watch = await world.watch()
        trial_id = await world.begin(world.slot("alice"), world.slot("human", endpoint="cogment://client"))
        alice = await world.actor.talk()
        await alice.begin()
        await world.terminate(trial_id, hard=True)
        await alice.expect("END")
        found = [STATES[entry.state] for entry in await entries(watch, common.ENDED)]
        assert found == ["INITIALIZING", "PENDING", "ENDED"]
        assert world.env.talks == [], "an environment is not contacted after the end"

    play(scenario)


@pytest.mark.parametrize("who", ["actor", "env"])
def test_15_service_that_answers_when_its_trial_is_over_gets_the_end(play, monkeypatch, who):
    monkeypatch.setattr(orchestrated_trial, "_ANSWER_SECONDS", 30.0)

    async def scenario(world):
        trial_id = await world.begin()
        talk = await world.actor.talk()
        if who == "env":
            await talk.begin()
            talk = await world.env.talk()
        await talk.expect("init_input")
        await world.terminate(trial_id, hard=True)
        await talk.send(talk._frame(state=common.NORMAL, init_output={}))
        assert (await talk.expect("END")).details == "Externally requested"
        assert await talk.rest() == []

    play(scenario)


def test_16_max_steps_gives_one_more_action_set(play):
    async def scenario(world):
        trial_id = await world.begin(max_steps=3)
        env, alice = await world.talks("alice")
        for tick in range(4):
            await env.observe(b"t%d" % tick)
            await alice.expect(f"observation {tick}")
            await alice.act(tick)
            await env.expect(*(["LAST"] if tick == 3 else []), f"action_set {tick}")
        await env.observe(b"t4")
        await env.say(LAST_ACK)
        await alice.expect("LAST", "observation 4")
        await alice.say(LAST_ACK)
        await alice.expect("END")
        await env.expect("END")
        await world.ended(trial_id)

    play(scenario)


def test_first_observation_can_be_the_last(play):
    async def scenario(world):
        watch = await world.watch()
        await world.begin()
        env, alice = await world.talks("alice")
        await env.say(LAST)
        await env.observe(b"t0")
        await env.say(LAST_ACK)
        await alice.expect("LAST", "observation 0")
        await alice.say(LAST_ACK)
        await alice.expect("END")
        assert [STATES[entry.state] for entry in await entries(watch, common.ENDED)] == LIFE

    play(scenario)


def test_environment_that_ends_during_a_soft_termination(play):
    """It says LAST itself, although the orchestrator said it already."""

    async def scenario(world):
        trial_id = await world.begin()
        env, alice = await world.talks("alice")
        await env.observe(b"t0")
        await alice.expect("observation 0")
        await world.terminate(trial_id)
        await alice.act()
        await env.expect("LAST", "action_set 0")
        await env.say(LAST, HEARTBEAT)
        await env.observe(b"t1")
        await env.say(LAST_ACK)
        await alice.expect("LAST", "observation 1")
        await alice.say(LAST_ACK)
        await env.expect("HEARTBEAT", "END")
        await world.ended(trial_id)

    play(scenario)
