"""The official SDK, and the same on ours, reads what our datastore keeps, live and after the end."""

import asyncio

import pytest
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

import cogment_lab.wire as cogment
from cogment_lab.services.trial_datastore import TrialDatastore, TrialDatastoreSettings

ACTIVE = cogment.EventType.ACTIVE


@pytest.fixture(params=["memory", "file"])
def storage(request, tmp_path):
    """Settings of a datastore."""
    return {"file_storage": tmp_path / "trials.db"} if request.param == "file" else {}


class Stored:
    """A world with our datastore; its environment waits in each tick until the test lets it go on."""

    def __init__(self, world):
        self.world = world
        self.go_on = asyncio.Semaphore(0)

    async def start(self, **settings):
        """Serve everything."""
        store = TrialDatastore(TrialDatastoreSettings(port=0, **settings))
        self.url = f"grpc://127.0.0.1:{await store.start()}"
        self.world.ends.push_async_callback(store.stop, 0.2)
        self.world.context.register_environment(self.environment, "ours")
        self.world.context.register_actor(self.actor, "bot", ["player"])
        await self.world.serve()

    async def begin(self, **more):
        """Start a trial of alice and bob that is stored."""
        return await self.world.begin(
            self.world.service,
            {"name": "alice"},
            {"name": "bob"},
            ticks=3,
            datalog_endpoint=self.url,
            **more,
        )

    async def environment(self, session):
        """End after as many ticks as the configuration says."""
        session.start([("alice", StringValue(value="a0")), ("bob", StringValue(value="b0"))])
        async for event in session.all_events():
            if event.actions:
                await self.go_on.acquire()
                tick = event.actions[0].tick_id + 1
                session.add_reward(value=float(tick), confidence=0.5, to=["alice"])
                observations = [(name, StringValue(value=f"{name[0]}{tick}")) for name in ("alice", "bob")]
                if tick == session.config.value:
                    session.end(observations)
                else:
                    session.produce_observations(observations)

    @staticmethod
    async def actor(session):
        """Act with the tick; bob rewards alice."""
        session.start()
        async for event in session.all_events():
            if event.observation and event.type is ACTIVE:
                tick = event.observation.tick_id
                if session.name == "bob":
                    session.add_reward(value=9.0, confidence=0.5, to=["alice"])
                session.do_action(Int64Value(value=tick if session.name == "alice" else -tick))

    def let_go(self, ticks):
        """Let the environment take so many steps."""
        for _ in range(ticks):
            self.go_on.release()


def test_trials_are_read_after_their_end(run_client, play, storage):
    async def scenario(world):
        stored = Stored(world)
        await stored.start(**storage)
        trial = await stored.begin(properties={"study": "pilot"})
        stored.let_go(3)
        await world.ended(trial)
        reading = run_client("read", {"datastore": stored.url, "trials": [trial], "wait": 5})
        info, *samples = await reading.done()
        assert info["trial"] == trial and info["names"] == ["alice", "bob"]
        assert info["properties"] == {"study": "pilot"}
        assert [(sample["tick"], sample["state"]) for sample in samples] == [
            (0, "RUNNING"),
            (1, "RUNNING"),
            (2, "RUNNING"),
            (3, "ENDED"),
        ]
        alice = [sample["actors"]["alice"] for sample in samples]
        bob = [sample["actors"]["bob"] for sample in samples]
        assert [one["observation"] for one in alice] == ["a0", "a1", "a2", "a3"]
        assert [one["observation"] for one in bob] == ["b0", "b1", "b2", "b3"]
        assert [one["action"] for one in alice] == [0, 1, 2, None]
        assert [one["action"] for one in bob] == [0, -1, -2, None]
        assert [one["reward"] for one in alice] == [5.0, 5.5, 6.0, 0.0]  # 0 is the SDK's None
        assert sorted(alice[0]["received"]) == [[1.0, 0.5], [9.0, 0.5]]
        assert bob[0]["sent"] == ["alice"]

    play(scenario)


def test_samples_stream_while_the_trial_runs_and_end_with_it(run_client, play, storage):
    async def scenario(world):
        stored = Stored(world)
        await stored.start(**storage)
        reading = run_client(
            "read",
            {"datastore": stored.url, "trials": ["live"], "wait": 10, "actors": ["bob"]},
        )
        trial = await stored.begin(trial_id="live")
        stored.let_go(2)
        await reading.heard(tick=1)
        assert not [line for line in reading.lines if line.get("tick") == 3]
        (info,) = await world.controller.get_trial_info([trial])
        assert info.state is cogment.TrialState.RUNNING
        stored.let_go(1)
        lines = await reading.done()
        samples = [line for line in lines if "tick" in line]
        assert [sample["tick"] for sample in samples] == [0, 1, 2, 3]
        assert all(set(sample["actors"]) == {"bob"} for sample in samples)

    play(scenario)


def test_fields_are_chosen_and_trials_deleted(run_client, play, storage):
    async def scenario(world):
        stored = Stored(world)
        await stored.start(**storage)
        stored.let_go(6)
        trials = [await stored.begin(), await stored.begin()]
        for trial in trials:
            await world.ended(trial)
        reading = run_client(
            "read",
            {"datastore": stored.url, "trials": trials, "wait": 5, "fields": ["ACTION"]},
        )
        lines = await reading.done()
        samples = [line for line in lines if "tick" in line]
        for trial in trials:
            alice = [sample["actors"]["alice"] for sample in samples if sample["trial"] == trial]
            assert [one["action"] for one in alice] == [0, 1, 2, None]
            assert all(one["observation"] is None and not one["reward"] for one in alice)
        deleting = run_client("delete", {"datastore": stored.url, "trials": trials[:1]})
        (line,) = await deleting.done()
        assert line == {"left": trials[1:]}

    play(scenario)
