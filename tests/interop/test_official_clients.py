"""Client actors and controllers on the official SDK, and the same on ours, with our environment and actor."""

import asyncio

import pytest
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

import cogment_lab.wire as cogment

ACTIVE = cogment.EventType.ACTIVE


class Ours:
    """An environment and an actor on our SDK, and what they saw."""

    def __init__(self):
        self.actions = []
        self.rewards = []
        self.messages = []
        self.types = []

    async def environment(self, session):
        """End after as many ticks as the configuration says, never for 0."""
        session.start([("*", StringValue(value="t0"))])
        async for event in session.all_events():
            self.types.append(event.type)
            for message in event.messages:
                note = StringValue()
                message.payload.Unpack(note)
                self.messages.append((message.sender_name, note.value))
                session.send_message(StringValue(value="ours"), to=[message.sender_name])
            if event.actions:
                tick = event.actions[0].tick_id
                self.actions.append([action.action and action.action.value for action in event.actions])
                observations = [("*", StringValue(value=f"t{tick + 1}"))]
                session.add_reward(value=float(tick), confidence=1.0, to=["player.*"])
                if tick + 1 == session.config.value:
                    session.end(observations)
                else:
                    session.produce_observations(observations)
                await asyncio.sleep(0.001)

    async def actor(self, session):
        """Act with the number of the tick."""
        session.start()
        async for event in session.all_events():
            self.rewards += [
                [(one.sender_name, one.value) for one in reward.all_sources()] for reward in event.rewards
            ]
            if event.observation and event.type is ACTIVE:
                session.do_action(Int64Value(value=event.observation.tick_id))

    async def serve(self, world):
        """Serve both."""
        world.context.register_environment(self.environment, "ours")
        world.context.register_actor(self.actor, "bot", ["player"])
        await world.serve()


PERSON = {"name": "person", "endpoint": "cogment://client", "initial_connection_timeout": 10.0}


@pytest.mark.parametrize(
    ("slot", "joined"), [({"actor_name": "person"}, "person"), ({"actor_class": "player"}, "person")]
)
def test_official_client_actor_plays_with_our_environment_and_actor(run_client, play, slot, joined):
    async def scenario(world):
        ours = Ours()
        await ours.serve(world)
        trial = await world.begin(
            world.service,
            {"name": "bot"},
            PERSON | {"config": StringValue(value="left-handed")},
            ticks=3,
            environment_name="lunar",
        )
        client = run_client("join", {"orchestrator": world.url, "trial": trial, **slot})
        start, *events = await client.done()
        assert start == {"who": joined, "config": "left-handed", "impl": "person"}
        await world.ended(trial)
        assert ours.actions == [[tick, 10 * tick] for tick in range(3)]
        assert ours.messages == [("person", "from official")]
        assert ours.rewards == [[("person", 2.0), ("lunar", float(tick))] for tick in range(3)]
        observed = [(line["type"], line["observation"]) for line in events if "observation" in line]
        assert observed == [("ACTIVE", "t0"), ("ACTIVE", "t1"), ("ACTIVE", "t2"), ("ENDING", "t3")]
        assert [line["reward"] for line in events if "reward" in line] == [0.0, 1.0, 2.0]
        assert [line["message"] for line in events if "message" in line] == [["lunar", "person", "ours"]]
        assert events[-1]["type"] == "FINAL"

    play(scenario)


@pytest.mark.parametrize(
    "wrong",
    [{"actor_name": "bot"}, {"actor_name": "nobody"}, {"trial": "no such trial", "actor_name": "bot"}],
)
def test_official_client_is_told_that_it_cannot_join(run_client, play, wrong):
    async def scenario(world):
        await Ours().serve(world)
        trial = await world.begin(world.service, {"name": "bot"}, PERSON, ticks=3)
        client = run_client("join", {"orchestrator": world.url, "trial": trial, **wrong})
        (line,) = await client.done()
        assert line["why"], line

    play(scenario)


def test_official_client_that_is_killed_ends_the_trial(run_client, play):
    async def scenario(world):
        await Ours().serve(world)
        trial = await world.begin(world.service, {"name": "bot"}, PERSON, ticks=0)
        client = run_client("join", {"orchestrator": world.url, "trial": trial, "actor_name": "person"})
        await client.heard(type="ACTIVE", tick=2)
        client.kill()
        async with asyncio.timeout(60):
            await world.ended(trial)

    play(scenario)


def test_official_controller_starts_watches_describes_and_ends_our_trials(run_client, play):
    async def scenario(world):
        ours = Ours()
        await ours.serve(world)
        control = run_client("control", {"orchestrator": world.url, "service": world.service})
        told = {key: value for line in await control.done() for key, value in line.items()}
        assert told["versions"]["cogment"] == "2.22.0"
        assert told["ids"] == ["soft", "", True]
        assert told["actors"] == [["bot", "player"]]
        assert told["info"] == ["soft", "RUNNING", "lunar", {"study": "pilot"}]
        assert told["duration"] > 0 and told["total"] == 2 and told["unknown"] == 0
        life = ["INITIALIZING", "PENDING", "RUNNING", "TERMINATING", "ENDED"]
        assert told["soft"] == told["hard"] == life
        assert "actor" in told["refused"]
        assert cogment.EventType.ENDING in ours.types

    play(scenario)
