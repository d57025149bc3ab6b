"""A small world for sessions: our orchestrator and one context that serves, in the test's event loop."""

import asyncio
import contextlib
from types import SimpleNamespace

import pytest
from google.protobuf.wrappers_pb2 import BoolValue, Int64Value, StringValue

import cogment_lab.wire as cogment

SETTINGS = SimpleNamespace(
    actor_classes=cogment.ActorClassList(
        cogment.ActorClass("player", StringValue, Int64Value, StringValue),
        cogment.ActorClass("judge", None, BoolValue, StringValue),
    ),
    trial=SimpleNamespace(config_type=StringValue),
    environment=SimpleNamespace(config_type=Int64Value),
)


class World:
    """An orchestrator and a context that serves what a test registers."""

    def __init__(self):
        self.context = cogment.Context("tester", SETTINGS)
        self.ends = contextlib.AsyncExitStack()

    async def start(self, **orchestrator):
        """Serve what is registered, and start an orchestrator."""
        from cogment_lab.services.orchestrator import Orchestrator, OrchestratorSettings

        serving = await self.serve(prometheus_port=orchestrator.pop("prometheus_port", None))
        hooks = (self.service,) if orchestrator.pop("hook", False) else ()
        settings = OrchestratorSettings(lifecycle_port=0, actor_port=0, pre_trial_hooks=hooks, **orchestrator)
        self.orchestrator = Orchestrator(settings)
        await self.orchestrator.start()
        self.ends.push_async_callback(self.orchestrator.stop)
        self.endpoint = cogment.Endpoint(f"grpc://127.0.0.1:{self.orchestrator.port}")
        self.controller = self.context.get_controller(self.endpoint)
        return serving

    async def serve(self, **how):
        """Serve what is registered and return the task."""
        serving = asyncio.create_task(self.context.serve_all_registered(**how, grace=0.2))
        self.ends.push_async_callback(self.context.close)
        self.ends.push_async_callback(self._cancelled, serving)
        while not self.context.served_port:
            await asyncio.sleep(0)
        self.service = f"grpc://127.0.0.1:{self.context.served_port}"
        return serving

    @staticmethod
    async def _cancelled(task):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    def parameters(self, *actors, **more):
        """Return a trial of (name, class[, endpoint]) with all else served by the context."""
        trial = cogment.TrialParameters(SETTINGS, environment_endpoint=self.service, **more)
        for name, actor_class, *endpoint in actors or [("alice", "player")]:
            trial.actors.append(
                cogment.ActorParameters(
                    SETTINGS, actor_class, name=name, endpoint=endpoint[0] if endpoint else self.service
                )
            )
        return trial

    async def begin(self, *actors, **more):
        """Start a trial; return its id."""
        return await self.controller.start_trial(trial_params=self.parameters(*actors, **more))

    async def reaches(self, trial_id, state):
        """Wait until the trial is in ``state``."""
        async with contextlib.aclosing(self.controller.watch_trials([state])) as watch:
            async for info in watch:
                if info.trial_id == trial_id:
                    return

    async def finished(self, trial_id):
        """Wait until the trial ended and all user code returned."""
        await self.reaches(trial_id, cogment.TrialState.ENDED)
        while len(self.context._served.sessions):
            await asyncio.sleep(0.001)

    async def whole_trial(self, *actors, **more):
        """Start a trial and wait for its end; return its id."""
        trial_id = await self.begin(*actors, **more)
        await self.finished(trial_id)
        return trial_id


def run_in_world(scenario, seconds=60.0):
    async def run():
        async with asyncio.timeout(seconds):
            world = World()
            async with world.ends:
                await scenario(world)

    asyncio.run(run())


@pytest.fixture
def play():
    """Run ``scenario(world)`` with a deadline."""
    return run_in_world


@pytest.fixture
def settings():
    """Actor classes player (acts with Int64Value) and judge, all observing StringValue."""
    return SETTINGS
