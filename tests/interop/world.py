"""Our side: an orchestrator, a controller, and what a test registers with our SDK."""

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


class World:
    """Our orchestrator, controller and context.

    Attributes:
        url: Of the orchestrator.
        service: Of what was registered and served.
    """

    def __init__(self):
        self.ends = contextlib.AsyncExitStack()
        self.context = cogment.Context("us", SETTINGS)
        self.ends.push_async_callback(self.context.close)

    async def start(self, **settings):
        """Start the orchestrator."""
        self.orchestrator = Orchestrator(OrchestratorSettings(lifecycle_port=0, actor_port=0, **settings))
        port = await self.orchestrator.start()
        self.ends.push_async_callback(self.orchestrator.stop, 0.2)
        self.url = f"grpc://127.0.0.1:{port}"
        self.controller = self.context.get_controller(cogment.Endpoint(self.url))

    async def serve(self):
        """Serve what is registered."""
        serving = asyncio.create_task(self.context.serve_all_registered(grace=0.2))
        self.ends.push_async_callback(self._cancel, serving)
        while not self.context.served_port:
            await asyncio.sleep(0)
        self.service = f"grpc://127.0.0.1:{self.context.served_port}"

    @staticmethod
    async def _cancel(task):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def begin(self, endpoint, *actors, ticks=None, trial_id=None, **more):
        """Start a trial.

        Args:
            endpoint: Of the environment, and of actors that name none.
            actors: Keywords of ``ActorParameters``, ``name`` and more.
            ticks: The environment's configuration.
            trial_id: The requested id.
            more: Attributes of ``TrialParameters``.
        """
        params = cogment.TrialParameters(SETTINGS, **({"environment_endpoint": endpoint} | more))
        if ticks is not None:
            params.environment_config = Int64Value(value=ticks)
        for actor in actors:
            keywords = {"class_name": "player", "endpoint": endpoint} | actor
            params.actors.append(cogment.ActorParameters(SETTINGS, **keywords))
        return await self.controller.start_trial(trial_params=params, trial_id_requested=trial_id)

    async def reaches(self, trial_id, state):
        """Wait until the trial is in ``state``."""
        async with contextlib.aclosing(self.controller.watch_trials([state])) as watch:
            async for info in watch:
                if info.trial_id == trial_id:
                    return

    async def ended(self, trial_id):
        """Wait until the trial has ended."""
        await self.reaches(trial_id, cogment.TrialState.ENDED)


def run_in_world(scenario, seconds=60.0, **settings):
    """Run ``scenario(world)``; ``settings`` are the orchestrator's."""

    async def run():
        async with asyncio.timeout(seconds):
            world = World()
            async with world.ends:
                await world.start(**settings)
                await scenario(world)

    asyncio.run(run())
