"""Sessions of environments and actors in trials of our orchestrator, in one event loop."""

import asyncio
import contextlib
from types import SimpleNamespace

from google.protobuf.wrappers_pb2 import BoolValue, Int64Value, StringValue

import cogment_lab.wire as cogment
from cogment_lab.services.orchestrator import Orchestrator, OrchestratorSettings

SETTINGS = SimpleNamespace(
    actor_classes=cogment.ActorClassList(
        cogment.ActorClass("player", StringValue, Int64Value, StringValue),
        cogment.ActorClass("judge", None, BoolValue, StringValue),
    ),
    trial=SimpleNamespace(config_type=StringValue),
    environment=SimpleNamespace(config_type=Int64Value),
)
LAST_TICK = 3


class World:
    """An orchestrator and a context that serves what a test registers."""

    def __init__(self):
        self.context = cogment.Context("tester", SETTINGS)

    async def start(self):
        self.orchestrator = Orchestrator(OrchestratorSettings(lifecycle_port=0, actor_port=0))
        await self.orchestrator.start()
        self.endpoint = cogment.Endpoint(f"grpc://127.0.0.1:{self.orchestrator.port}")
        self.controller = self.context.get_controller(self.endpoint)
        self.serving = asyncio.create_task(self.context.serve_all_registered())
        while not self.context.served_port:
            await asyncio.sleep(0)

    async def stop(self):
        self.serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.serving
        await self.orchestrator.stop()
        await self.context.close()

    def parameters(self, *actors, **more):
        service = f"grpc://127.0.0.1:{self.context.served_port}"
        trial = cogment.TrialParameters(SETTINGS, environment_endpoint=service, **more)
        for name, actor_class, *endpoint in actors or [("alice", "player")]:
            actor = cogment.ActorParameters(
                SETTINGS, actor_class, name=name, endpoint=endpoint[0] if endpoint else service
            )
            trial.actors.append(actor)
        return trial

    async def ended(self, trial_id):
        watch = self.controller.watch_trials([cogment.TrialState.ENDED])
        async with contextlib.aclosing(watch):
            async for info in watch:
                if info.trial_id == trial_id:
                    return


def play(scenario):
    """Run ``scenario(world)`` with a deadline."""

    async def run():
        async with asyncio.timeout(30):
            world = World()
            try:
                await scenario(world)
            finally:
                if hasattr(world, "serving"):
                    await world.stop()

    asyncio.run(run())


async def counting_environment(session):
    """Observe "0", "1"... and end after LAST_TICK; reward each action with its value."""
    session.start([("*", StringValue(value="0"))])
    async for event in session.all_events():
        if event.actions:
            tick = session.get_tick_id()
            for action, actor in zip(event.actions, session.get_active_actors(), strict=True):
                session.add_reward(action.action.value, 1.0, [actor.actor_name])
            observations = [("*", StringValue(value=str(tick + 1)))]
            if tick + 1 == LAST_TICK:
                session.end(observations)
            else:
                session.produce_observations(observations)


def recording_actor(log):
    """Act with ten times the tick; note what comes."""

    async def actor(session):
        session.start()
        async for event in session.all_events():
            if event.observation:
                log.append((event.type.name, event.observation.tick_id, event.observation.observation.value))
                if event.type is cogment.EventType.ACTIVE:
                    session.do_action(Int64Value(value=10 * event.observation.tick_id))
            elif event.rewards:
                log.append(("reward", event.rewards[0].tick_id, event.rewards[0].value))
            elif event.type is cogment.EventType.FINAL:
                log.append("FINAL")
        log.append(session.is_trial_over())

    return actor


WHOLE_TRIAL = [
    ("ACTIVE", 0, "0"),
    ("reward", 0, 0.0),
    ("ACTIVE", 1, "1"),
    ("reward", 1, 10.0),
    ("ACTIVE", 2, "2"),
    ("reward", 2, 20.0),
    ("ENDING", 3, "3"),
    "FINAL",
    True,
]


def test_trial_between_a_served_environment_and_a_served_actor():
    log = []

    async def scenario(world):
        world.context.register_environment(counting_environment)
        world.context.register_actor(recording_actor(log), "recorder", ["player"])
        await world.start()
        trial_id = await world.controller.start_trial(trial_params=world.parameters())
        await world.ended(trial_id)
        while len(world.context._sessions):
            await asyncio.sleep(0.01)

    play(scenario)
    assert [entry for entry in log if entry != ("reward", 0, 0.0)] == [
        entry for entry in WHOLE_TRIAL if entry != ("reward", 0, 0.0)
    ]


def test_client_actor_joins_by_name():
    log = []

    async def scenario(world):
        world.context.register_environment(counting_environment)
        world.context.register_actor(recording_actor(log), "recorder", ["player"])
        await world.start()
        parameters = world.parameters(("alice", "player", "cogment://client"))
        trial_id = await world.controller.start_trial(trial_params=parameters)
        await world.context.join_trial(trial_id, world.endpoint, actor_name="alice")

    play(scenario)
    assert log == WHOLE_TRIAL
