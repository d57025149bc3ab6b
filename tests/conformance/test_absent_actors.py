"""Checks 31 to 38: actors that do not come, do not answer or die, and trials in which nothing happens."""

import asyncio
import time

import pytest
from peers import LAST, LAST_ACK, RawDatalog, counting, echo

NOWHERE = "grpc://127.0.0.1:1"


@pytest.mark.parametrize("default", [None, b"default"], ids=["unavailable", "default"])
def test_31_unreachable_optional_actor(play, default):
    async def scenario(world):
        log = RawDatalog()
        ghost = {"default_action": default} if default is not None else {}
        trial_id = await world.begin(
            world.slot("ghost", endpoint=NOWHERE, optional=True, **ghost),
            world.slot("alice"),
            datalog={"endpoint": await world.serve(log)},
        )
        env, alice = await world.talks("alice")
        await env.observe(b"t0")
        await alice.expect("observation 0")
        await alice.act(0, b"a")
        actions = (await env.expect("action_set 0")).action_set
        assert list(actions.actions) == [default or b"", b"a"]
        assert list(actions.unavailable_actors) == ([] if default else [0])
        await env.say(LAST)
        await env.observe(b"t1")
        await env.say(LAST_ACK)
        await alice.expect("LAST", "observation 1")
        await alice.say(LAST_ACK)
        sample, last = await log.samples(trial_id)
        assert list(sample.default_actors) == ([0] if default else [])
        assert list(sample.unavailable_actors) == ([] if default else [0])
        assert [action.tick_id for action in sample.actions] == [-2, 0]
        assert [action.tick_id for action in last.actions] == [-2, -2]

    play(scenario)


def test_31_environment_is_told_of_absent_actors_too(play):
    async def scenario(world):
        await world.begin(world.slot("ghost", endpoint=NOWHERE, optional=True), world.slot("alice"))
        await (await world.actor.talk()).begin()
        init = await (await world.env.talk()).begin()
        assert [actor.name for actor in init.actors_in_trial] == ["ghost", "alice"]

    play(scenario)


def test_32_unreachable_required_actor_ends_the_trial_before_the_environment_starts(play):
    async def scenario(world):
        trial_id = await world.begin(world.slot("ghost", endpoint=NOWHERE), world.slot("alice"))
        assert (await world.ended(trial_id))[-1] == "ENDED"
        assert world.env.talks == []

    play(scenario)


def test_32_actor_that_failed_is_noticed_while_a_client_is_awaited(play):
    """Bug O10b of the official orchestrator: PENDING for ever."""

    async def scenario(world):
        trial_id = await world.begin(
            world.slot("human", endpoint="cogment://client"), world.slot("ghost", endpoint=NOWHERE)
        )
        await world.ended(trial_id)

    play(scenario)


def test_33_late_client_of_an_optional_slot_is_refused(play):
    async def scenario(world):
        trial_id = await world.begin(
            world.slot("human", endpoint="cogment://client", optional=True, initial_connection_timeout=0.1),
            world.slot("alice"),
        )
        env, alice = await world.talks("alice")
        code, details = await world.refused(trial_id, actor_name="human")
        assert code.name != "OK" and details
        await env.observe(b"t0")
        await alice.expect("observation 0")
        await alice.act(0)
        actions = (await env.expect("action_set 0")).action_set
        assert list(actions.unavailable_actors) == [0]

    play(scenario)


def test_33_missing_client_of_a_required_slot_ends_the_trial(play):
    async def scenario(world):
        trial_id = await world.begin(
            world.slot("human", endpoint="cogment://client", initial_connection_timeout=0.1),
            world.slot("alice"),
        )
        alice = await world.actor.talk()
        await alice.begin()
        assert "Failed to initialize all actors" in (await alice.expect("END")).details
        await world.ended(trial_id)

    play(scenario)


def test_33_service_actor_that_never_answers_is_given_up(play):
    async def scenario(world):
        async with world.bystander():
            trial_id = await world.begin(world.slot(initial_connection_timeout=1.0))
            await (await world.actor.talk()).expect("init_input")
            await world.ended(trial_id)

    play(scenario)


def test_34_slow_optional_actor_is_unavailable_in_that_tick_only(play):
    async def scenario(world):
        await world.begin(world.slot("slow", optional=True, response_timeout=2.5), world.slot("alice"))
        env, slow, alice = await world.talks("slow", "alice")
        await env.observe(b"t0")
        await alice.expect("observation 0")
        await alice.act(0, b"a0")
        actions = (await env.expect("action_set 0")).action_set
        assert list(actions.unavailable_actors) == [0]
        await slow.expect("observation 0")
        await slow.act(0, b"late")
        await env.observe(b"t1")
        await slow.expect("observation 1")
        await slow.act(1, b"s1")
        await alice.expect("observation 1")
        await alice.act(1, b"a1")
        actions = (await env.expect("action_set 1")).action_set
        assert list(actions.actions) == [b"s1", b"a1"] and not actions.unavailable_actors

    play(scenario)


def test_34_slow_required_actor_ends_the_trial(play):
    async def scenario(world):
        trial_id = await world.begin(world.slot("slow", response_timeout=0.1), world.slot("alice"))
        env, slow, alice = await world.talks("slow", "alice")
        await env.observe(b"t0")
        for talk in (slow, alice):
            await talk.expect("observation 0")
        assert "slow" in (await env.expect("END")).details
        await slow.expect("END")
        await alice.expect("END")
        await world.ended(trial_id)

    play(scenario)


def test_34_late_action_does_not_complete_the_tick_of_others(play):
    """Bug O8 of the official orchestrator: the late action counts twice."""

    async def scenario(world):
        await world.begin(
            world.slot("slow", optional=True, response_timeout=0.1), world.slot("a"), world.slot("b")
        )
        env, slow, a, b = await world.talks("slow", "a", "b")
        await env.observe(b"t0")
        for talk in (slow, a, b):
            await talk.expect("observation 0")
        await a.act(0, b"a0")
        await asyncio.sleep(0.2)  # past the time of the slow one: nothing else shows that it ran out
        await slow.act(0, b"late")
        await slow.message("a")
        await a.expect("message 0")
        await b.act(0, b"b0")
        actions = (await env.expect("action_set 0")).action_set
        assert list(actions.actions)[1:] == [b"a0", b"b0"]

    play(scenario)


def test_35_death_of_an_optional_actor_leaves_the_trial_going(play):
    async def scenario(world):
        await world.begin(world.slot("mortal", optional=True), world.slot("alice"))
        env, mortal, alice = await world.talks("mortal", "alice")
        await env.observe(b"t0")
        for talk in (mortal, alice):
            await talk.expect("observation 0")
        await alice.act(0, b"a0")
        mortal.kill()
        actions = (await env.expect("action_set 0")).action_set
        assert list(actions.unavailable_actors) == [0] and actions.actions[1] == b"a0"
        await env.observe(b"t1")
        await alice.expect("observation 1")
        await alice.act(1, b"a1")
        actions = (await env.expect("action_set 1")).action_set
        assert list(actions.unavailable_actors) == [0]

    play(scenario)


def test_35_actor_that_acted_and_died_does_not_complete_the_tick_of_others(play, caplog):
    """Bug O7 of the official orchestrator: readiness by counters."""

    async def scenario(world):
        await world.begin(world.slot("mortal", optional=True), world.slot("alice"), world.slot("bob"))
        env, mortal, alice, bob = await world.talks("mortal", "alice", "bob")
        await env.observe(b"t0")
        for talk in (mortal, alice, bob):
            await talk.expect("observation 0")
        await alice.act(0, b"a0")
        await mortal.act(0, b"m0")
        await mortal.message("alice")
        await alice.expect("message 0")
        mortal.kill()
        while "mortal is lost" not in caplog.text:
            await asyncio.sleep(0.01)
        await bob.act(0, b"b0")
        actions = (await env.expect("action_set 0")).action_set
        assert list(actions.actions) == [b"", b"a0", b"b0"]
        assert list(actions.unavailable_actors) == [0]

    play(scenario)


@pytest.mark.parametrize("acted", [False, True], ids=["before acting", "after acting"])
def test_35_death_of_a_required_actor_ends_the_trial_at_once(play, acted):
    """Bug O6 of the official orchestrator: it waits until all others acted."""

    async def scenario(world):
        async with world.bystander():
            trial_id = await world.begin(world.slot("mortal"), world.slot("thinker"))
            env, mortal, thinker = await world.talks("mortal", "thinker")
            await env.observe(b"t0")
            await mortal.expect("observation 0")
            if acted:
                await mortal.act(0)
            began = time.monotonic()
            mortal.kill()
            assert "mortal" in (await env.expect("END")).details
            await thinker.expect("observation 0", "END")
            await world.ended(trial_id)
            assert time.monotonic() - began < 4.0  # not after the 5 s that others have to finish

    play(scenario)


@pytest.mark.parametrize("phase", ["init", "before the first observation", "mid-tick", "ending"])
def test_36_death_of_the_environment_ends_the_trial_within_a_second(play, phase):
    async def scenario(world):
        async with world.bystander():
            trial_id = await world.begin()
            alice = await world.actor.talk()
            await alice.begin()
            env = await world.env.talk()
            heard = []
            if phase != "init":
                await env.begin()
            if phase in ("mid-tick", "ending"):
                await env.observe(b"t0")
                await alice.expect("observation 0")
                await alice.act(0)
                await env.expect("action_set 0")
            if phase == "ending":
                await env.say(LAST)
                await env.observe(b"t1")
                await alice.expect("LAST", "observation 1")
                await alice.say(LAST_ACK)
            began = time.monotonic()
            env.kill()
            heard += await alice.rest()
            assert heard == ["END"]
            await world.ended(trial_id)
            assert time.monotonic() - began < 4.0  # not after the 5 s that others have to finish

    play(scenario)


def test_36_unreachable_environment_ends_the_trial(play):
    """Bug O4 of the official orchestrator: PENDING for ever."""

    async def scenario(world):
        trial_id = await world.begin(env={"endpoint": NOWHERE})
        alice = await world.actor.talk()
        await alice.begin()
        assert "Failed to initialize environment" in (await alice.expect("END")).details
        await world.ended(trial_id)

    play(scenario)


def test_36_environment_that_never_answers_is_given_up(play):
    async def scenario(world):
        await world.restart(env_init=0.2)
        trial_id = await world.begin()
        alice = await world.actor.talk()
        await alice.begin()
        await (await world.env.talk()).expect("init_input")
        await alice.expect("END")
        await world.ended(trial_id)

    play(scenario)


def test_36_environment_that_does_not_acknowledge_its_end(play):
    async def scenario(world):
        await world.restart(env_acknowledges=0.2)
        trial_id = await world.begin()
        env, alice = await world.talks("alice")
        await env.say(LAST)
        await env.observe(b"t0")
        await alice.expect("LAST", "observation 0")
        await alice.say(LAST_ACK)
        assert (await alice.expect("END")).details == "Environment failed to end properly"
        await env.expect("END")
        await world.ended(trial_id)

    play(scenario)


def test_37_trial_whose_optional_actors_are_all_absent_runs(play):
    """Bug O10 of the official orchestrator: it ends the trial before the environment is contacted."""

    async def scenario(world):
        world.env.script = counting(3)
        trial_id = await world.begin(world.slot("ghost", endpoint=NOWHERE, optional=True))
        await world.ended(trial_id)
        assert [word for word in world.journal if "action_set" in word] == [
            f"env: action_set {tick}" for tick in range(3)
        ]

    play(scenario)


def test_38_inactive_trial_is_ended_by_itself(play):
    """Bug O1 of the official orchestrator: looked at only when other trials start."""

    async def scenario(world):
        began = time.monotonic()
        trial_id = await world.begin(max_inactivity=1)
        env, alice = await world.talks("alice")
        await env.observe(b"t0")
        await alice.expect("observation 0")
        for talk in (alice, env):
            assert (await talk.expect("END")).details == "The trial was inactive for too long"
        await world.ended(trial_id)
        assert time.monotonic() - began >= 1.0

    play(scenario)


def test_38_trial_whose_client_never_comes_is_inactive(play):
    async def scenario(world):
        trial_id = await world.begin(world.slot("human", endpoint="cogment://client"), max_inactivity=1)
        await world.ended(trial_id)
        assert world.env.talks == []

    play(scenario)


@pytest.mark.parametrize("acknowledges", [True, False])
def test_actors_that_do_not_acknowledge_delay_the_end_once(play, acknowledges):
    """Bug O20 of the official orchestrator: 30 s for each of them, one after the other."""

    async def scenario(world):
        patience = 30.0 if acknowledges else 1.5
        await world.restart(actors_acknowledge=patience)
        names = ["a", "b", "c"]
        trial_id = await world.begin(*(world.slot(name) for name in names))
        env, *actors = await world.talks(*names)
        await env.say(LAST)
        await env.observe(b"t0")
        await env.say(LAST_ACK)
        began = time.monotonic()
        for actor in actors:
            await actor.expect("LAST", "observation 0")
            if acknowledges:
                await actor.say(LAST_ACK)
        for actor in actors:
            await actor.expect("END")
        await world.ended(trial_id)
        assert time.monotonic() - began < (patience if acknowledges else 3 * patience)

    play(scenario)


def test_actors_that_die_while_the_trial_ends_do_not_delay_it(play):
    async def scenario(world):
        trial_id = await world.begin(world.slot("a"), world.slot("b"))
        env, a, b = await world.talks("a", "b")
        await env.say(LAST)
        await env.observe(b"t0")
        await env.say(LAST_ACK)
        await a.expect("LAST", "observation 0")
        await b.expect("LAST", "observation 0")
        a.kill()
        await b.say(LAST_ACK)
        await b.expect("END")
        await world.ended(trial_id)

    play(scenario)


def test_served_and_absent_actors_in_whole_trials(play):
    async def scenario(world):
        world.env.script, world.actor.script = counting(5), echo
        ids = [
            await world.begin(world.slot("a"), world.slot("ghost", endpoint=NOWHERE, optional=True))
            for _ in range(3)
        ]
        for trial_id in ids:
            await world.ended(trial_id)

    play(scenario)
