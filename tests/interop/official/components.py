"""Environments, actors, a hook and a datalog on the official SDK, served until this is terminated."""

import asyncio
import json
import socket

import cogment
from google.protobuf.wrappers_pb2 import BoolValue, Int64Value, StringValue
from settings import SETTINGS, report, tell, text


async def counting(session):
    """Be an environment that ends after as many ticks as its configuration says; never for 0."""
    ticks = session.config.value if session.config is not None else 0
    cast = [[actor.actor_name, actor.actor_class_name] for actor in session.get_active_actors()]
    report(trial=session.get_trial_id(), who=session.name, impl=session.impl_name, cast=cast)
    session.start([("*", StringValue(value="t0"))])
    async for event in session.all_events():
        tell(session, event)
        if event.actions:
            tick = event.actions[0].tick_id
            session.add_reward(value=1.0, confidence=0.5, to=["alice"])
            observations = [(name, StringValue(value=f"t{tick + 1} {name}")) for name, _ in cast]
            if tick + 1 == ticks and event.type is cogment.EventType.ACTIVE:
                session.end(observations)
            else:
                session.produce_observations(observations)
        for message in event.messages:
            session.send_message(StringValue(value="re: " + text(message.payload)), to=[message.sender_name])
    report(trial=session.get_trial_id(), who=session.name, over=True)


async def echo(session):
    """Be a player that acts with the number of the tick."""
    await play(session, lambda tick: None)


async def slow(session):
    """Be a player that thinks for too long in tick 1."""

    async def think(tick):
        if tick == 1:
            await asyncio.sleep(0.3)

    await play(session, think)


async def mortal(session):
    """Be a player that fails in tick 1."""

    async def die(tick):
        if tick == 1:
            raise RuntimeError("this actor fails on purpose")

    await play(session, die)


async def play(session, think):
    config = session.config.value if session.config is not None else None
    report(
        trial=session.get_trial_id(),
        who=session.name,
        config=config,
        env=session.env_name,
        impl=session.impl_name,
    )
    session.start()
    async for event in session.all_events():
        tell(session, event)
        if event.observation and event.type is cogment.EventType.ACTIVE:
            waiting = think(event.observation.tick_id)
            if waiting is not None:
                await waiting
            session.do_action(Int64Value(value=event.observation.tick_id))
    report(trial=session.get_trial_id(), who=session.name, over=True)


async def judge(session):
    """Be a judge that rewards alice, speaks to the environment, and has a last word."""
    session.start(auto_done_sending=False)
    async for event in session.all_events():
        tell(session, event)
        if not event.observation:
            continue
        if event.type is cogment.EventType.ACTIVE:
            session.add_reward(value=4.0, confidence=1.0, to=["alice"])
            if event.observation.tick_id == 0:
                session.send_message(StringValue(value="hello"), to=["env", "player.*"])
            session.do_action(BoolValue(value=True))
        else:
            session.add_reward(value=8.0, confidence=1.0, to=["player.*"])
            session.sending_done()
    report(trial=session.get_trial_id(), who=session.name, over=True)


async def hook(session):
    """Fill in the parameters that the configuration, JSON, asks for."""
    params = session.trial_parameters
    wish = json.loads(params.config.value)
    report(trial=session.get_trial_id(), who="hook", user=session.get_user_id(), wish=wish)
    if wish.get("fail"):
        raise RuntimeError("this hook fails on purpose")
    params.environment_endpoint = wish["endpoint"]
    params.environment_config = Int64Value(value=2)
    params.properties = {"from": "hook"}
    alice = cogment.ActorParameters(SETTINGS, "player", name="alice", endpoint=wish["endpoint"])
    alice.implementation = "echo"
    params.actors = [alice]


async def datalog(session):
    """Report every sample."""
    session.start()
    params = session.trial_parameters
    report(trial=session.trial_id, who="datalog", user=session.user_id, actors=len(params.actors))
    async for sample in session.all_samples():
        actions = [sample.get_action(index) for index in range(len(params.actors))]
        report(
            trial=session.trial_id,
            who="datalog",
            tick=sample.tick_id,
            state=sample.state.name,
            out_of_sync=sample.out_of_sync,
            actions=[[one.status.name, one.action and one.action.value] for one in actions],
            rewards=[reward.value for reward in sample.all_rewards()],
            messages=[text(message.payload) for message in sample.all_messages()],
        )
    report(trial=session.trial_id, who="datalog", over=True)


async def main():
    """Serve all of it on a free port."""
    context = cogment.Context(user_id="official", cog_settings=SETTINGS)
    context.register_environment(counting, "counting")
    context.register_actor(echo, "echo", ["player"])
    context.register_actor(slow, "slow", ["player"])
    context.register_actor(mortal, "mortal", ["player"])
    context.register_actor(judge, "judge", ["judge"])
    context.register_pre_trial_hook(hook)
    context.register_datalog(datalog)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serving = asyncio.ensure_future(context.serve_all_registered(cogment.ServedEndpoint(port=port)))
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        await asyncio.sleep(0.02)
    report(port=port)
    await serving


asyncio.run(main())
