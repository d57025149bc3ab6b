"""Environments, actors, hooks and datalogs on the official SDK, and the same on ours, in our trials."""

import asyncio

from google.protobuf.wrappers_pb2 import Int64Value, StringValue

import cogment_lab.wire as cogment

ALICE = {"name": "alice", "implementation": "echo"}
JUDGE = {"name": "judge", "class_name": "judge", "implementation": "judge"}
NOWHERE = "grpc://127.0.0.1:1"


def observations(lines):
    """Return (type, tick, content) of the observations in ``lines``."""
    return [(line["type"], line["tick"], line["observation"]) for line in lines if "observation" in line]


def actions(lines):
    """Return (type, tick, actions) of the action sets in ``lines``."""
    return [(line["type"], line["tick"], line["actions"]) for line in lines if "actions" in line]


def types(lines):
    """Return the event types in ``lines``, without repetition of neighbours."""
    found = []
    for line in lines:
        if "type" in line and found[-1:] != [line["type"]]:
            found.append(line["type"])
    return found


def test_trial_of_an_official_environment_and_actor(components, play):
    async def scenario(world):
        trial = await world.begin(
            components.url,
            ALICE | {"config": StringValue(value="clever")},
            ticks=3,
            environment_name="lunar",
        )
        await world.ended(trial)
        env = await components.over(trial, "lunar")
        assert env[0] == {"impl": "counting", "cast": [["alice", "player"]]}
        assert actions(env) == [("ACTIVE", tick, [["ACTIVE", tick]]) for tick in range(3)]
        assert types(env) == ["ACTIVE", "FINAL"]
        alice = await components.over(trial, "alice")
        assert alice[0] == {"config": "clever", "env": "lunar", "impl": "echo"}
        assert observations(alice) == [
            ("ACTIVE", 0, "t0"),
            ("ACTIVE", 1, "t1 alice"),
            ("ACTIVE", 2, "t2 alice"),
            ("ENDING", 3, "t3 alice"),
        ]
        assert types(alice)[-2:] == ["ENDING", "FINAL"]
        rewards = [line for line in alice if "reward" in line]
        assert [(line["tick"], line["reward"]) for line in rewards] == [(0, 1.0), (1, 1.0), (2, 1.0)]
        assert rewards[0]["sources"] == [["lunar", 1.0, 0.5]]

    play(scenario)


def test_rewards_of_several_sources_messages_and_a_last_word(components, play):
    async def scenario(world):
        trial = await world.begin(components.url, JUDGE, ALICE, ticks=2)
        await world.ended(trial)
        alice = await components.over(trial, "alice")
        rewards = [line for line in alice if "reward" in line]
        assert [(line["tick"], line["reward"]) for line in rewards] == [(0, 3.0), (1, 3.0), (2, 8.0)]
        assert sorted(rewards[0]["sources"]) == [["env", 1.0, 0.5], ["judge", 4.0, 1.0]]
        assert rewards[2]["sources"] == [["judge", 8.0, 1.0]]
        assert [line["message"] for line in alice if "message" in line] == [["judge", "alice", "hello"]]
        judge = await components.over(trial, "judge")
        assert [line["message"] for line in judge if "message" in line] == [["env", "judge", "re: hello"]]
        env = await components.over(trial, "env")
        assert actions(env) == [("ACTIVE", tick, [["ACTIVE", True], ["ACTIVE", tick]]) for tick in range(2)]

    play(scenario)


def test_max_steps_and_soft_termination_give_ending_events(components, play):
    async def scenario(world):
        limited = await world.begin(components.url, ALICE, ticks=0, max_steps=2)
        endless = await world.begin(components.url, ALICE, ticks=0)
        await world.ended(limited)
        env = await components.over(limited, "env")
        assert [kind for kind, _, _ in actions(env)] == ["ACTIVE", "ACTIVE", "ENDING"]
        alice = await components.over(limited, "alice")
        assert [tick for _, tick, _ in observations(alice)] == [0, 1, 2, 3]

        await world.controller.terminate_trial([endless])
        await world.ended(endless)
        env = await components.over(endless, "env")
        alice = await components.over(endless, "alice")
        assert types(env) == types(alice) == ["ACTIVE", "ENDING", "FINAL"]
        assert len(observations(alice)) == len(actions(env)) + 1

    play(scenario)


def test_hard_termination_ends_the_loops_without_ending_or_final(components, play):
    async def scenario(world):
        trial = await world.begin(components.url, ALICE, ticks=0)
        await components.heard(trial=trial, who="alice", tick=3)
        await world.controller.terminate_trial([trial], hard=True)
        await world.ended(trial)
        for who in ("env", "alice"):
            assert types(await components.over(trial, who)) == ["ACTIVE"]

    play(scenario)


def test_optional_actors_and_default_actions(components, play):
    async def scenario(world):
        trial = await world.begin(
            components.url,
            {"name": "ghost", "endpoint": NOWHERE, "optional": True},
            {
                "name": "puppet",
                "endpoint": NOWHERE,
                "optional": True,
                "default_action": Int64Value(value=7),
            },
            ALICE | {"implementation": "slow", "optional": True, "response_timeout": 0.2},
            {"name": "bob", "implementation": "echo"},
            ticks=3,
        )
        await world.ended(trial)
        env = await components.over(trial, "env")
        absent = [["UNAVAILABLE", None], ["ACTIVE", 7]]
        assert actions(env) == [
            ("ACTIVE", 0, [*absent, ["ACTIVE", 0], ["ACTIVE", 0]]),
            ("ACTIVE", 1, [*absent, ["UNAVAILABLE", None], ["ACTIVE", 1]]),
            ("ACTIVE", 2, [*absent, ["ACTIVE", 2], ["ACTIVE", 2]]),
        ]

    play(scenario)


def test_actor_that_fails_ends_the_trial_or_is_done_without(components, play):
    async def scenario(world):
        mortal = {"name": "mortal", "implementation": "mortal"}
        required = await world.begin(components.url, mortal, ALICE, ticks=0)
        async with asyncio.timeout(60):
            await world.ended(required)
        assert "FINAL" not in types(await components.over(required, "env"))

        optional = await world.begin(components.url, mortal | {"optional": True}, ALICE, ticks=3)
        await world.ended(optional)
        env = await components.over(optional, "env")
        assert actions(env)[1:] == [
            ("ACTIVE", tick, [["UNAVAILABLE", None], ["ACTIVE", tick]]) for tick in (1, 2)
        ]

    play(scenario)


def test_official_hook_fills_the_parameters_or_refuses(components, run_client, play):
    async def scenario(world):
        wish = {"endpoint": components.url}
        starting = run_client("hooked", {"orchestrator": world.url, "wish": wish})
        (line,) = await starting.done()
        trial = line["id"]
        await world.ended(trial)
        assert components.of(trial, "hook") == [{"user": "official user", "wish": wish}]
        (info,) = await world.controller.get_trial_info([trial])
        assert info.properties == {"from": "hook"}
        assert len(observations(await components.over(trial, "alice"))) == 3

        try:
            await world.controller.start_trial(trial_config=StringValue(value='{"fail": true}'))
        except cogment.CogmentError as error:
            assert "hook" in str(error)
        else:
            raise AssertionError("a hook that fails lets the trial start")

    play(scenario, pre_trial_hooks=(components.url,))


def test_official_datalog_gets_every_sample(components, play):
    async def scenario(world):
        trial = await world.begin(
            components.url,
            JUDGE,
            ALICE,
            {"name": "ghost", "endpoint": NOWHERE, "optional": True},
            {"name": "puppet", "endpoint": NOWHERE, "optional": True, "default_action": Int64Value()},
            ticks=2,
            datalog_endpoint=components.url,
        )
        await world.ended(trial)
        start, *samples, _ = await components.over(trial, "datalog")
        assert start == {"user": "us", "actors": 4}
        assert [(sample["tick"], sample["state"]) for sample in samples] == [
            (0, "RUNNING"),
            (1, "RUNNING"),
            (2, "ENDED"),
        ]
        assert samples[1]["actions"] == [
            ["ACTIVE", True],
            ["ACTIVE", 1],
            ["UNAVAILABLE", None],
            ["DEFAULT", None],
        ]
        assert len(samples[0]["rewards"]) == 2
        assert sorted(samples[0]["messages"]) == ["hello", "hello", "re: hello"]  # as they came

    play(scenario)


def test_many_trials_at_once_do_not_mix(components, play):
    async def scenario(world):
        trials = [await world.begin(components.url, ALICE, ticks=3 + n) for n in range(6)]
        await asyncio.gather(*(world.ended(trial) for trial in trials))
        lengths = [len(observations(await components.over(trial, "alice"))) for trial in trials]
        assert lengths == [4 + n for n in range(6)]

    play(scenario)
