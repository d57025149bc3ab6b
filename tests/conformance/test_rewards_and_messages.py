"""Checks 24 to 30: who gets which reward and message, and when."""

import pytest
from peers import LAST, LAST_ACK

CAST = [("p1", "player"), ("p2", "player"), ("j", "judge")]


async def running(world, cast=(("alice", "player"),), **params):
    """Begin a trial, observe once, and return its streams."""
    trial_id = await world.begin(*(world.slot(*pair) for pair in cast), **params)
    talks = {}
    for _ in cast:
        talk = await world.actor.talk()
        await talk.begin()
        talks[talk.who] = talk
    env = await world.env.talk()
    await env.begin()
    await env.observe(b"t0")
    for talk in talks.values():
        await talk.expect("observation 0")
    return trial_id, env, *(talks[name] for name, _ in cast)


async def next_tick(env, actors, tick):
    """Act for everybody in ``tick``; observe the next."""
    for actor in actors:
        await actor.act(tick)
    await env.until(f"action_set {tick}")
    await env.observe(b"next")


def test_24_sources_are_averaged_by_their_confidence(play):
    async def scenario(world):
        _, env, alice, bob = await running(world, [("alice", "player"), ("bob", "judge")])
        await bob.reward("alice", (4.0, 1.0))
        await bob.act(0)
        await alice.act(0)
        await env.expect("action_set 0")
        await env.reward("alice", (1.0, 0.5))
        await env.observe(b"t1")
        reward = (await alice.expect("reward 0")).reward
        assert reward.value == pytest.approx(3.0) and reward.receiver_name == "alice"
        assert [(one.sender_name, one.value, one.confidence) for one in reward.sources] == [
            ("bob", 4.0, 1.0),
            ("env", 1.0, 0.5),
        ]
        await alice.expect("observation 1")
        await bob.expect("observation 1")

    play(scenario)


def test_24_sources_without_confidence_count_nothing(play):
    async def scenario(world):
        _, env, alice = await running(world)
        await alice.act(0)
        await env.expect("action_set 0")
        await env.reward("alice", (5.0, 0.0), (7.0, -1.0))
        await env.observe(b"t1")
        reward = (await alice.expect("reward 0")).reward
        assert reward.value == 0.0 and len(reward.sources) == 2

    play(scenario)


@pytest.mark.parametrize(
    ("pattern", "receivers"),
    [
        ("p1", {"p1"}),
        ("*", {"p1", "p2", "j"}),
        ("player.*", {"p1", "p2"}),
        ("player.p2", {"p2"}),
        ("judge.p2", set()),
        ("nobody", set()),
        ("env", set()),
        ("*.*", set()),
        ("", set()),
    ],
)
def test_25_patterns_name_their_receivers(play, pattern, receivers):
    async def scenario(world):
        _, env, *actors = await running(world, CAST)
        await env.reward(pattern, (1.0, 1.0))
        await next_tick(env, actors, 0)
        for actor in actors:
            await actor.expect(*(["reward 0"] if actor.who in receivers else []), "observation 1")

    play(scenario)


def test_26_reward_for_a_tick_arrives_before_the_next_observation(play):
    async def scenario(world):
        _, env, alice, bob = await running(world, [("alice", "player"), ("bob", "player")])
        for tick in range(3):
            await bob.reward("alice", (float(tick), 1.0))
            await next_tick(env, (bob, alice), tick)
            reward = (await alice.expect(f"reward {tick}")).reward
            assert reward.value == tick
            await alice.expect(f"observation {tick + 1}")
            await bob.expect(f"observation {tick + 1}")

    play(scenario)


def test_27_reward_before_the_first_observation_arrives_before_it(play):
    async def scenario(world):
        await world.begin()
        env, alice = await world.talks("alice")
        await env.reward("*", (2.0, 1.0))
        await env.observe(b"t0")
        await alice.expect("reward 0", "observation 0")

    play(scenario)


def test_28_reward_for_another_tick_is_not_delivered(play):
    async def scenario(world):
        _, env, alice = await running(world)
        await next_tick(env, [alice], 0)
        await alice.expect("observation 1")
        await env.reward("alice", (1.0, 1.0), tick=0)
        await env.reward("alice", (1.0, 1.0), tick=7)
        await env.reward("alice", (1.0, 1.0), tick=-5)
        await next_tick(env, [alice], 1)
        await alice.expect("observation 2")

    play(scenario)


@pytest.mark.parametrize(
    ("pattern", "receivers"),
    [
        ("p2", {"p2"}),
        ("*", {"p1", "p2", "j"}),
        ("judge.*", {"j"}),
        ("player.p1", {"p1"}),
        ("lunar", {"lunar"}),
        ("nobody", set()),
    ],
)
def test_29_message_goes_at_once_to_whom_it_names(play, pattern, receivers):
    async def scenario(world):
        _, env, *actors = await running(world, CAST, env={"name": "lunar"})
        await actors[0].message(pattern, b"hello")
        for talk in (env, *actors):
            if talk.who in receivers:
                message = (await talk.expect("message 0")).message
                assert (message.sender_name, message.receiver_name) == ("p1", talk.who)
                assert message.payload.type_url == "type.googleapis.com/test.Note"
                assert message.payload.value == b"hello"
        await next_tick(env, actors, 0)
        for actor in actors:
            await actor.expect("observation 1")

    play(scenario)


def test_29_environment_sends_messages_too(play):
    async def scenario(world):
        _, env, alice = await running(world)
        await env.message("*", b"from env")
        message = (await alice.expect("message 0")).message
        assert message.sender_name == "env"
        await env.message("env", b"to itself")
        await env.expect("message 0")

    play(scenario)


def test_29_message_before_the_first_observation_is_delivered(play):
    async def scenario(world):
        await world.begin()
        env, alice = await world.talks("alice")
        await env.message("alice", b"early")
        await alice.expect("message 0")
        await alice.message("env", b"early too")
        await env.expect("message 0")

    play(scenario)


def test_29_message_for_another_tick_is_dropped(play):
    async def scenario(world):
        _, env, alice = await running(world)
        await env.message("alice", tick=5)
        await env.message("alice", tick=-2)
        await next_tick(env, [alice], 0)
        await alice.expect("observation 1")

    play(scenario)


def test_30_last_reward_of_an_actor_is_delivered_before_the_end(play):
    async def scenario(world):
        trial_id, env, alice, bob = await running(world, [("alice", "player"), ("bob", "judge")])
        for actor in (alice, bob):
            await actor.act(0)
        await env.expect("action_set 0")
        await env.say(LAST)
        await env.observe(b"t1")
        await env.say(LAST_ACK)
        for actor in (alice, bob):
            await actor.expect("LAST", "observation 1")
        await bob.reward("alice", (8.0, 1.0))
        await bob.say(LAST_ACK)
        await alice.say(LAST_ACK)
        reward = (await alice.expect("reward 1")).reward
        assert reward.value == 8.0 and reward.sources[0].sender_name == "bob"
        await alice.expect("END")
        await bob.expect("END")
        await world.ended(trial_id)

    play(scenario)


def test_30_environments_reward_after_the_final_observation_is_delivered(play):
    async def scenario(world):
        _, env, alice = await running(world)
        await alice.act(0)
        await env.expect("action_set 0")
        await env.say(LAST)
        await env.observe(b"t1")
        await env.reward("*", (3.0, 1.0))
        await env.say(LAST_ACK)
        await alice.expect("LAST", "observation 1")
        await alice.say(LAST_ACK)
        await alice.expect("reward 1", "END")

    play(scenario)
