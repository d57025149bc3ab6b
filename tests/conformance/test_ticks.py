"""Checks 17 to 23: observations, actions and their numbers."""

from peers import LAST, LAST_ACK


def test_17_observations_and_actions_are_numbered_from_zero(play):
    async def scenario(world):
        await world.begin()
        env, alice = await world.talks("alice")
        await env.observe(b"t0")
        for tick in range(4):
            frame = await alice.expect(f"observation {tick}")
            assert frame.observation.content == b"t%d" % tick
            await alice.act(tick, b"a%d" % tick)
            frame = await env.expect(f"action_set {tick}")
            assert list(frame.action_set.actions) == [b"a%d" % tick]
            assert frame.action_set.timestamp > 0
            await env.observe(b"t%d" % (tick + 1))

    play(scenario)


def test_18_observation_has_the_timestamp_of_its_set(play):
    async def scenario(world):
        await world.begin()
        env, alice = await world.talks("alice")
        await env.observe(b"t0", timestamp=1_700_000_000_123_456_789)
        assert (await alice.expect("observation 0")).observation.timestamp == 1_700_000_000_123_456_789

    play(scenario)


def test_19_actors_and_actions_are_in_the_order_of_the_parameters(play):
    async def scenario(world):
        cast = [("p1", "player"), ("j1", "judge"), ("p2", "player"), ("j2", "judge")]
        await world.begin(*(world.slot(*pair) for pair in cast))
        talks = {}
        for _ in cast:
            talk = await world.actor.talk()
            await talk.begin()
            talks[talk.who] = talk
        env = await world.env.talk()
        init = await env.begin()
        assert [(actor.name, actor.actor_class) for actor in init.actors_in_trial] == cast
        await env.observe(b"t0")
        for name in ("j2", "p2", "j1", "p1"):
            await talks[name].expect("observation 0")
            await talks[name].act(0, name.encode())
        frame = await env.expect("action_set 0")
        assert list(frame.action_set.actions) == [b"p1", b"j1", b"p2", b"j2"]

    play(scenario)


def test_20_actions_of_other_ticks_and_second_actions_are_ignored(play):
    async def scenario(world):
        await world.begin()
        env, alice = await world.talks("alice")
        await env.observe(b"t0")
        await alice.expect("observation 0")
        await alice.act(5, b"future")
        await alice.act(-3, b"nonsense")
        await alice.act(-1, b"current")
        await alice.act(0, b"second")
        frame = await env.expect("action_set 0")
        assert list(frame.action_set.actions) == [b"current"]
        await env.observe(b"t1")
        await alice.expect("observation 1")
        await alice.act(0, b"old")
        await alice.act(1, b"now")
        frame = await env.expect("action_set 1")
        assert list(frame.action_set.actions) == [b"now"]

    play(scenario)


def test_21_empty_action_is_an_action(play):
    async def scenario(world):
        await world.begin()
        env, alice = await world.talks("alice")
        await env.observe(b"t0")
        await alice.expect("observation 0")
        await alice.act(0, b"")
        frame = await env.expect("action_set 0")
        assert list(frame.action_set.actions) == [b""]
        assert list(frame.action_set.unavailable_actors) == []

    play(scenario)


def test_22_each_actor_gets_the_observation_that_is_mapped_to_it(play):
    async def scenario(world):
        await world.begin(world.slot("a"), world.slot("b"), world.slot("c"))
        env, *actors = await world.talks("a", "b", "c")
        await env.observe(b"same")
        for actor in actors:
            assert (await actor.expect("observation 0")).observation.content == b"same"
            await actor.act(0)
        await env.expect("action_set 0")
        await env.observe(b"x", b"y", actors_map=[1, 0, 1])
        contents = [(await actor.expect("observation 1")).observation.content for actor in actors]
        assert contents == [b"y", b"x", b"y"]

    play(scenario)


def test_23_observation_before_all_actions_skips_the_action_set(play):
    async def scenario(world):
        await world.begin(world.slot("a"), world.slot("b"))
        env, a, b = await world.talks("a", "b")
        await env.observe(b"t0")
        await a.expect("observation 0")
        await a.act(0, b"a0")
        await env.observe(b"t1")
        await a.expect("observation 1")
        await b.expect("observation 0", "observation 1")
        await b.act(0, b"too late")
        await b.act(1, b"b1")
        await a.act(1, b"a1")
        frame = await env.expect("action_set 1")
        assert list(frame.action_set.actions) == [b"a1", b"b1"]

    play(scenario)


def test_actions_for_the_final_observation_are_ignored(play):
    """Bug O13 of the official orchestrator: another action set after the environment's LAST_ACK."""

    async def scenario(world):
        trial_id = await world.begin()
        env, alice = await world.talks("alice")
        await env.observe(b"t0")
        await alice.expect("observation 0")
        await alice.act(0)
        await env.expect("action_set 0")
        await env.say(LAST)
        await env.observe(b"t1")
        await alice.expect("LAST", "observation 1")
        await alice.act(1)
        await alice.say(LAST_ACK)
        await env.say(LAST_ACK)
        await env.expect("END")
        assert await alice.next() and alice.heard[-1] == "END"
        assert await world.ended(trial_id)

    play(scenario)
