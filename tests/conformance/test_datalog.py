"""Checks 43 to 46: what the orchestrator writes to the log of a trial."""

import asyncio

import pytest
from peers import LAST, LAST_ACK, STATES, RawDatalog, counting, echo

NOWHERE = "grpc://127.0.0.1:1"


async def logged(world, *slots, log=None, **params):
    """Begin a trial that is logged; return its id and the log."""
    log = log or RawDatalog()
    params["datalog"] = {"endpoint": await world.serve(log)} | params.get("datalog", {})
    return await world.begin(*slots, **params), log


async def one_tick(env, actor, tick):
    await actor.until(f"observation {tick}")
    await actor.act(tick, b"a%d" % tick)
    await env.until(f"action_set {tick}")


async def end(env, *actors):
    """End the trial by its environment."""
    await env.say(LAST)
    await env.observe(b"last")
    await env.say(LAST_ACK)
    for actor in actors:
        await actor.until("LAST")
        await actor.say(LAST_ACK)


def test_43_one_sample_for_each_observation(play):
    async def scenario(world):
        world.env.script, world.actor.script = counting(4), echo
        trial_id, log = await logged(world)
        samples = await log.samples(trial_id)
        assert [sample.info.tick_id for sample in samples] == [0, 1, 2, 3, 4]
        assert [STATES[sample.info.state] for sample in samples] == ["RUNNING"] * 4 + ["ENDED"]
        assert [sample.observations.observations[0] for sample in samples] == [b"t%d" % t for t in range(5)]
        assert [sample.actions[0].content for sample in samples[:-1]] == [b"t%d" % t for t in range(4)]
        assert samples[-1].actions[0].tick_id == -2
        assert not any(sample.info.out_of_sync for sample in samples)

    play(scenario)


def test_43_action_for_the_final_observation_is_not_logged(play):
    async def scenario(world):
        trial_id, log = await logged(world)
        env, alice = await world.talks("alice")
        await env.say(LAST)
        await env.observe(b"t0")
        await alice.expect("LAST", "observation 0")
        await alice.act(0)
        await alice.say(LAST_ACK)
        await env.say(LAST_ACK)
        (sample,) = await log.samples(trial_id)
        assert [action.tick_id for action in sample.actions] == [-2]

    play(scenario)


def test_43_soft_end_is_seen_in_the_tick_before_the_last(play):
    async def scenario(world):
        world.env.script, world.actor.script = counting(99), echo
        trial_id, log = await logged(world, max_steps=2)
        samples = await log.samples(trial_id)
        assert [STATES[sample.info.state] for sample in samples] == [
            "RUNNING",
            "RUNNING",
            "TERMINATING",
            "ENDED",
        ]
        assert "Maximum number of steps reached" in samples[2].info.special_events

    play(scenario)


def test_43_parameters_and_headers_come_first(play):
    async def scenario(world):
        trial_id, log = await logged(world, user_id="ann", properties={"study": "pilot"})
        env, alice = await world.talks("alice")
        await end(env, alice)
        await log.samples(trial_id)
        params = log.frames[trial_id][0].trial_params
        assert params.environment.name == "env" and dict(params.properties) == {"study": "pilot"}
        assert log.metadata[trial_id]["user-id"] == "ann"

    play(scenario)


def test_43_trial_that_is_killed_before_its_first_observation_has_one_sample(play):
    async def scenario(world):
        trial_id, log = await logged(world)
        await world.talks("alice")
        await world.terminate(trial_id, hard=True)
        (sample,) = await log.samples(trial_id)
        assert sample.info.tick_id == 0 and STATES[sample.info.state] == "ENDED"
        assert not sample.HasField("observations")
        assert list(sample.info.special_events) == ["Forced termination: Externally requested"]

    play(scenario)


def test_43_rewards_and_messages_are_logged_as_they_were_sent(play):
    async def scenario(world):
        trial_id, log = await logged(world, world.slot("alice"), world.slot("bob"))
        env, alice, bob = await world.talks("alice", "bob")
        await env.observe(b"t0")
        await alice.expect("observation 0")
        await alice.reward("player.*", (1.5, 1.0))
        await alice.message("nobody", b"hm")
        await alice.message("bob", b"hello")
        await bob.expect("observation 0", "message 0")
        await end(env, alice, bob)
        sample = (await log.samples(trial_id))[0]
        (reward,) = sample.rewards
        assert (reward.receiver_name, reward.tick_id, reward.value) == ("player.*", -1, 99)
        assert reward.sources[0].sender_name == "alice"
        assert [(one.receiver_name, one.sender_name, one.tick_id) for one in sample.messages] == [
            ("nobody", "alice", -1),
            ("bob", "alice", -1),
        ]

    play(scenario)


FIELDS = ["observations", "actions", "rewards", "messages", "default_actors", "unavailable_actors"]


@pytest.mark.parametrize("field", FIELDS)
def test_44_excluded_field_is_left_out_and_the_others_stay(play, field):
    async def scenario(world):
        trial_id, log = await logged(
            world,
            world.slot("alice"),
            world.slot("ghost", endpoint=NOWHERE, optional=True),
            world.slot("puppet", endpoint=NOWHERE, optional=True, default_action=b"d"),
            datalog={"exclude_fields": [field.upper(), "no such field"]},
        )
        env, alice = await world.talks("alice")
        await env.observe(b"t0")
        await env.reward("*", (1.0, 1.0))
        await env.message("*")
        await one_tick(env, alice, 0)
        await end(env, alice)
        sample = (await log.samples(trial_id))[0]
        present = {descriptor.name for descriptor, _ in sample.ListFields()}
        assert present == {"info", *FIELDS} - {field}

    play(scenario)


def test_45_late_reward_goes_where_it_belongs_while_that_is_buffered(play):
    async def scenario(world):
        trial_id, log = await logged(world, nb_buffered_ticks=5)
        env, alice = await world.talks("alice")
        for tick in range(6):
            await env.observe(b"t%d" % tick)
            await one_tick(env, alice, tick)
        await env.observe(b"t6")
        await alice.expect("observation 6")
        await env.reward("alice", (3.0, 1.0), tick=3)
        await env.reward("alice", (1.0, 1.0), tick=1)
        await end(env, alice)
        samples = await log.samples(trial_id)
        (late,) = [sample for sample in samples if sample.info.out_of_sync]
        assert late.info.tick_id == 1 and late.info.state == 0
        assert late.rewards[0].sources[0].value == 1.0
        regular = [sample for sample in samples if not sample.info.out_of_sync]
        assert [sample.info.tick_id for sample in regular] == list(range(8))
        assert [sample.info.tick_id for sample in regular if sample.rewards] == [3]

    play(scenario)


def test_45_out_of_sync_sample_arrives_before_the_end(play):
    async def scenario(world):
        seen = asyncio.Event()

        async def look(frame):
            if frame.sample.info.out_of_sync:
                seen.set()

        _, log = await logged(world, log=RawDatalog(look))
        env, alice = await world.talks("alice")
        for tick in range(3):
            await env.observe(b"t%d" % tick)
            await one_tick(env, alice, tick)
        await env.reward("alice", (1.0, 1.0), tick=0)
        await seen.wait()
        assert log.frames

    play(scenario)


def test_46_trial_runs_without_its_datalog(play):
    async def scenario(world):
        world.env.script, world.actor.script = counting(3), echo
        trial_id = await world.begin(datalog={"endpoint": NOWHERE})
        await world.ended(trial_id)
        assert world.journal.count("alice: observation 3") == 1

    play(scenario)


def test_46_datalog_that_dies_costs_the_samples_only(play):
    async def scenario(world):
        async def die(frame):
            raise RuntimeError("this log breaks")

        world.env.script, world.actor.script = counting(20), echo
        trial_id, _ = await logged(world, log=RawDatalog(die))
        await world.ended(trial_id)
        assert world.journal.count("alice: observation 20") == 1

    play(scenario)


def test_46_datalog_that_does_not_read_does_not_stop_the_trial(play):
    async def scenario(world):
        async def stall(frame):
            await asyncio.Event().wait()

        world.env.script, world.actor.script = counting(50), echo
        trial_id, _ = await logged(world, log=RawDatalog(stall))
        await world.ended(trial_id)
        await world.servers[-1].stop(0)

    play(scenario)
