"""Clients on the official SDK: ``client.py COROUTINE JSON`` runs one of the coroutines below."""

import asyncio
import json
import sys

import cogment
from google.protobuf.wrappers_pb2 import Int64Value, StringValue
from settings import SETTINGS, report, tell


def context():
    """Return a context."""
    return cogment.Context(user_id="official user", cog_settings=SETTINGS)


def endpoint(url):
    """Return an endpoint."""
    return cogment.Endpoint(url)


async def join(orchestrator, trial, **slot):
    """Be a client actor that acts with ten times the tick, rewards and speaks."""

    async def impl(session):
        report(who=session.name, config=session.config and session.config.value, impl=session.impl_name)
        session.start()
        async for event in session.all_events():
            tell(session, event)
            if event.observation and event.type is cogment.EventType.ACTIVE:
                tick = event.observation.tick_id
                if tick == 0:
                    session.send_message(StringValue(value="from official"), to=["lunar"])
                session.add_reward(value=2.0, confidence=1.0, to=["bot"])
                session.do_action(Int64Value(value=10 * tick))

    here = context()
    here.register_actor(impl, "person", ["player"])
    try:
        await here.join_trial(trial_id=trial, endpoint=endpoint(orchestrator), **slot)
    except Exception as error:  # the test wants to see it, whatever it is
        report(failed=type(error).__name__, why=str(error))
    report(done=True)


async def control(orchestrator, service):
    """Do everything that a controller can."""
    controller = context().get_controller(endpoint(orchestrator))
    report(versions=await controller.get_remote_versions())

    seen = []
    watching = asyncio.ensure_future(watch(controller, seen))
    await asyncio.sleep(0.2)
    params = cogment.TrialParameters(SETTINGS, environment_endpoint=service, environment_name="lunar")
    params.environment_config = Int64Value(value=0)
    params.properties = {"study": "pilot"}
    bot = cogment.ActorParameters(SETTINGS, "player", name="bot", endpoint=service)
    params.actors = [bot]

    soft = await controller.start_trial(trial_params=params, trial_id_requested="soft")
    again = await controller.start_trial(trial_params=params, trial_id_requested="soft")
    hard = await controller.start_trial(trial_params=params)
    report(ids=[soft, again, bool(hard) and hard != soft])
    await until(seen, soft, "RUNNING")
    await until(seen, hard, "RUNNING")
    report(actors=[[one.actor_name, one.actor_class_name] for one in await controller.get_actors(soft)])
    (info,) = await controller.get_trial_info([soft])
    report(
        info=[info.trial_id, info.state.name, info.env_name, dict(info.properties)],
        duration=info.duration,
        total=len(await controller.get_trial_info([])),
        unknown=len(await controller.get_trial_info(["nobody's"])),
    )
    await controller.terminate_trial([soft])
    await controller.terminate_trial([hard], hard=True)
    await until(seen, soft, "ENDED")
    await until(seen, hard, "ENDED")
    report(soft=[state for trial, state in seen if trial == soft])
    report(hard=[state for trial, state in seen if trial == hard])
    try:
        await controller.start_trial(trial_params=cogment.TrialParameters(SETTINGS))
    except Exception as error:  # the test wants to see it, whatever it is
        report(refused=str(error))
    watching.cancel()
    report(done=True)


async def watch(controller, seen):
    """Put every state into ``seen``."""
    async for info in controller.watch_trials(full_info=True):
        seen.append((info.trial_id, info.state.name))


async def until(seen, trial, state):
    """Wait until a trial is in a state."""
    while (trial, state) not in seen:
        await asyncio.sleep(0.01)


async def hooked(orchestrator, wish):
    """Start a trial by its configuration."""
    controller = context().get_controller(endpoint(orchestrator))
    try:
        report(id=await controller.start_trial(trial_config=StringValue(value=json.dumps(wish))))
    except Exception as error:  # the test wants to see it, whatever it is
        report(failed=str(error))
    report(done=True)


async def read(datastore, trials, wait, fields=(), actors=()):
    """Read trials and their samples, as they come."""
    store = context().get_datastore(endpoint(datastore))
    infos = []
    async for info in store.all_trials(bundle_size=10, wait_for_trials=wait, ids=trials):
        infos.append(info)
        report(
            trial=info.trial_id,
            state=info.trial_state.name,
            user=info.user_id,
            samples=info.sample_count,
            names=[actor.name for actor in info.parameters.actors],
            properties=dict(info.parameters.properties),
        )
    chosen = [getattr(cogment.DatastoreFields, name) for name in fields]
    async for sample in store.all_samples(infos, actor_names=list(actors), fields=chosen):
        report(
            trial=sample.trial_id,
            tick=sample.tick_id,
            state=sample.trial_state.name,
            actors={name: describe(actor) for name, actor in sample.actors_data.items()},
        )
    report(done=True)


def describe(actor):
    """Return what is stored of an actor in a tick."""
    return {
        "observation": actor.observation and actor.observation.value,
        "action": actor.action and actor.action.value,
        "reward": actor.reward,
        "received": [[one.value, one.confidence] for one in actor.all_received_rewards()],
        "sent": [one.receiver for one in actor.all_sent_rewards()],
    }


async def delete(datastore, trials):
    """Delete trials, and count what is left."""
    store = context().get_datastore(endpoint(datastore))
    await store.delete_trials(trials)
    report(left=[info.trial_id for info in await store.get_trials()])
    report(done=True)


asyncio.run(globals()[sys.argv[1]](**json.loads(sys.argv[2])))
