"""Served environments in trials: orchestrator, datastore, environment and actors in the test's event loop."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from cogment_lab.core import BaseActor, BaseEnv
from cogment_lab.envs.runner import role_specs
from cogment_lab.services.orchestrator import Orchestrator, OrchestratorSettings
from cogment_lab.services.trial_datastore import TrialDatastore, TrialDatastoreSettings
from cogment_lab.specs import set_reset_options, set_seed
from cogment_lab.specs.generated import data_pb2 as pb
from cogment_lab.store import TrialData
from cogment_lab.wire.context import Context
from cogment_lab.wire.endpoint import Endpoint
from cogment_lab.wire.generated.common_pb2 import TrialParams
from cogment_lab.wire.parameters import TrialParameters
from cogment_lab.wire.settings import LAB_SETTINGS
from cogment_lab.wire.trial_data import load_trial

Play = Callable[..., dict[str, TrialData]]


async def _play(
    env: BaseEnv,
    actors: Mapping[str, BaseActor | None],
    *,
    seed: int = 0,
    options: dict[str, Any] | None = None,
    render: bool = False,
) -> dict[str, TrialData]:
    async with contextlib.AsyncExitStack() as ends, asyncio.timeout(60):
        orchestrator = Orchestrator(OrchestratorSettings(lifecycle_port=0, actor_port=0))
        datastore = TrialDatastore(TrialDatastoreSettings(port=0))
        for service in (datastore, orchestrator):
            await service.start()
            ends.push_async_callback(service.stop, 0.2)
        context = Context("tester", LAB_SETTINGS)
        ends.push_async_callback(context.close)
        context.register_environment(env.impl, "env")
        for name, actor in actors.items():
            if actor is not None:
                context.register_actor(actor.impl, name, ["player"])
        serving = asyncio.create_task(context.serve_all_registered(grace=0.2))
        ends.push_async_callback(asyncio.wait, [serving])
        ends.callback(serving.cancel)
        while not context.served_port:
            await asyncio.sleep(0)
        config = pb.EnvironmentConfig(render=render)
        set_seed(config, seed)
        if options:
            set_reset_options(config, options)
        params = TrialParams()
        params.environment.endpoint = f"grpc://127.0.0.1:{context.served_port}"
        params.environment.config.content = config.SerializeToString()
        params.datalog.endpoint = f"grpc://127.0.0.1:{datastore.port}"
        for name, actor in actors.items():
            slot = params.actors.add(name=name, actor_class="player", implementation=name)
            slot.endpoint = params.environment.endpoint if actor is not None else "cogment://client"
            slot.optional, slot.initial_connection_timeout = actor is None, 0.05 * (actor is None)
            specs = {**env.agent_specs, **role_specs(env)}[name]
            slot.config.content = pb.AgentConfig(agent_specs=specs.serialize()).SerializeToString()
        controller = context.get_controller(Endpoint(f"grpc://127.0.0.1:{orchestrator.port}"))
        trial_id = await controller.start_trial(trial_params=TrialParameters(LAB_SETTINGS, raw_params=params))
        store = context.get_datastore(Endpoint(f"grpc://127.0.0.1:{datastore.port}"))
        return await load_trial(store.stub, trial_id, timeout=30)


@pytest.fixture
def play() -> Play:
    """``play(env, {agent: actor}, seed=, options=, render=)`` returns the trial's data by agent.

    An actor that is ``None`` never comes.
    """
    return lambda *arguments, **settings: asyncio.run(_play(*arguments, **settings))
