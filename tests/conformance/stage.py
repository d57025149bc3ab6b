"""Where the peers meet: an orchestrator, and trials between what a test wants."""

import asyncio
import contextlib
import dataclasses

from peers import LAST, LAST_ACK, STATES, ActorTalk, RawActor, RawEnv

from cogment_lab.services.orchestrator import Orchestrator, OrchestratorSettings
from cogment_lab.services.orchestrator.settings import Deadlines
from cogment_lab.wire.channel import open_channel
from cogment_lab.wire.generated import common_pb2 as common
from cogment_lab.wire.generated.common_pb2 import (
    ActorInitialOutput,
    ActorParams,
    ActorRunTrialOutput,
    EnvironmentParams,
    SerializedMessage,
    TrialParams,
)
from cogment_lab.wire.generated.orchestrator_pb2 import (
    TerminateTrialRequest,
    TrialInfoRequest,
    TrialListRequest,
    TrialStartRequest,
)
from cogment_lab.wire.rpc import Stub
from cogment_lab.wire.server import Server
from cogment_lab.wire.stream import actor_side


class World:
    """An orchestrator, an environment and an actor service in the test's event loop.

    Attributes:
        env: The environment service that parameters name by default.
        actor: The actor service that they name.
        journal: What all components heard, in order.
        servers: Every server that was started with :meth:`serve`, in order.
    """

    def __init__(self):
        self.ends = contextlib.AsyncExitStack()
        self.journal = []
        self.env = RawEnv(journal=self.journal)
        self.actor = RawActor(journal=self.journal)
        self.servers = []
        self._raws = []

    async def start(self, **settings):
        """Start everything; ``settings`` are the orchestrator's."""
        self.env_url = await self.serve(self.env)
        self.actor_url = await self.serve(self.actor)
        await self.restart(**settings)

    async def restart(self, **settings):
        """Have another orchestrator from here on.

        Args:
            settings: Its settings; names of ``Deadlines`` are put there.
        """
        names = {field.name for field in dataclasses.fields(Deadlines)}
        deadlines = Deadlines(**{name: settings.pop(name) for name in names & settings.keys()})
        self.orchestrator = Orchestrator(
            OrchestratorSettings(lifecycle_port=0, actor_port=0, deadlines=deadlines, **settings)
        )
        port = await self.orchestrator.start()
        self.ends.push_async_callback(self.orchestrator.stop, 0.1)
        await self.talk_to(port)

    async def talk_to(self, port):
        """Talk to the orchestrator at a port from here on."""
        self.channel = open_channel(f"127.0.0.1:{port}")
        self.ends.push_async_callback(self.channel.close)
        self.lifecycle = Stub(self.channel, "cogmentAPI.TrialLifecycleSP")
        self.clients = Stub(self.channel, "cogmentAPI.ClientActorSP")
        self.ends.callback(self._leave)

    def _leave(self):
        for raw in self._raws:
            raw.gone = True
            for talk in raw.talks:
                talk.kill()

    async def serve(self, *servicers):
        """Serve on a free port and return the endpoint."""
        server = Server({servicer.service: servicer for servicer in servicers})
        port = await server.start()
        self.servers.append(server)
        self._raws += [servicer for servicer in servicers if isinstance(servicer, RawEnv | RawActor)]
        self.ends.push_async_callback(server.stop, 0)
        return f"grpc://127.0.0.1:{port}"

    def slot(self, name="alice", actor_class="player", **more):
        """Return the parameters of an actor, served by :attr:`actor` unless told otherwise."""
        if isinstance(more.get("default_action"), bytes):
            more["default_action"] = SerializedMessage(content=more["default_action"])
        return ActorParams(
            name=name, actor_class=actor_class, endpoint=more.pop("endpoint", self.actor_url), **more
        )

    def params(self, *slots, env=None, **more):
        """Return trial parameters; with one service actor unless told otherwise."""
        environment = EnvironmentParams(**({"endpoint": self.env_url} | (env or {})))
        return TrialParams(environment=environment, actors=slots or [self.slot()], **more)

    async def begin(self, *slots, trial_id="", user_id="tester", **more):
        """Start a trial; return its id."""
        request = TrialStartRequest(
            params=self.params(*slots, **more), trial_id_requested=trial_id, user_id=user_id
        )
        return (await self.lifecycle.StartTrial(request)).trial_id

    async def talks(self, *names):
        """Begin and return the streams of the next trial's actors, by name, and of its environment."""
        actors = {}
        for _ in names:
            talk = await self.actor.talk()
            await talk.begin()
            actors[talk.who] = talk
        env = await self.env.talk()
        await env.begin()
        return env, *(actors[name] for name in names)

    async def join(self, trial_id, **slot):
        """Join as a client actor and return its stream, init_input read."""
        talk = await self.knock(trial_id)
        await talk.send(ActorRunTrialOutput(state=common.NORMAL, init_output=ActorInitialOutput(**slot)))
        await talk.expect("init_input")
        return talk

    async def knock(self, trial_id=None):
        """Open the stream of a client actor and say nothing."""
        metadata = () if trial_id is None else (("trial-id", trial_id),)
        call = self.clients.RunTrial(metadata=metadata)
        self.ends.callback(call.cancel)
        return ActorTalk(actor_side(call), call, trial_id, self.journal)

    async def refused(self, trial_id, **slot):
        """Try to join; return the status code and details of the refusal."""
        talk = await self.knock(trial_id)
        with contextlib.suppress(Exception):
            await talk.send(ActorRunTrialOutput(state=common.NORMAL, init_output=ActorInitialOutput(**slot)))
        assert await talk.rest() == []
        return await talk.call.code(), await talk.call.details()

    async def terminate(self, *trial_ids, hard=False):
        """Terminate trials."""
        metadata = [("trial-id", trial_id) for trial_id in trial_ids]
        await self.lifecycle.TerminateTrial(TerminateTrialRequest(hard_termination=hard), metadata=metadata)

    async def info(self, *trial_ids, **what):
        """Return the infos of trials."""
        metadata = [("trial-id", trial_id) for trial_id in trial_ids]
        return list((await self.lifecycle.GetTrialInfo(TrialInfoRequest(**what), metadata=metadata)).trial)

    async def state(self, trial_id):
        """Return the name of a trial's state."""
        (info,) = await self.info(trial_id)
        return STATES[info.state]

    async def watch(self, *states, full_info=False):
        """Begin to watch; return the call, of which nothing is missed from here on."""
        call = self.lifecycle.WatchTrials(TrialListRequest(filter=states, full_info=full_info))
        self.ends.callback(call.cancel)
        await call.initial_metadata()
        return call

    async def ended(self, trial_id):
        """Wait until the trial is ENDED; return its states from now on."""
        return await self.reaches(trial_id, "ENDED")

    async def reaches(self, trial_id, state):
        """Wait until the trial is in ``state``; return its states from now on."""
        states = []
        watch = self.lifecycle.WatchTrials(TrialListRequest())
        try:
            async for entry in watch:
                if entry.trial_id == trial_id:
                    states.append(STATES[entry.state])
                    if states[-1] == state:
                        return states
        finally:
            watch.cancel()
        raise AssertionError(f"the trial was {states} when the watch ended")

    @contextlib.asynccontextmanager
    async def bystander(self):
        """Have another trial go on meanwhile; fail when it was disturbed."""
        env, actor = RawEnv(), RawActor()
        url = await self.serve(env, actor)
        trial_id = await self.begin(self.slot("bystander", endpoint=url), env={"endpoint": url})
        acting = await actor.talk()
        await acting.begin()
        observing = await env.talk()
        await observing.begin()
        await observing.observe(b"before")
        await acting.expect("observation 0")
        yield
        await acting.act(0)
        await observing.expect("action_set 0")
        await observing.say(LAST)
        await observing.observe(b"after")
        await observing.say(LAST_ACK)
        await acting.expect("LAST", "observation 1")
        await acting.say(LAST_ACK)
        await acting.expect("END")
        await observing.expect("END")
        assert (await self.ended(trial_id))[-1] == "ENDED"


def run_in_world(scenario, seconds=60.0, **settings):
    """Run ``scenario(world)``; ``settings`` are the orchestrator's."""

    async def run():
        async with asyncio.timeout(seconds):
            world = World()
            async with world.ends:
                await world.start(**settings)
                await scenario(world)

    asyncio.run(run())
