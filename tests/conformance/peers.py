"""Peers that speak raw frames, so that a test can say what it likes and sees all that is said to it."""

import asyncio
import contextlib
import dataclasses
from collections import defaultdict

import grpc

from cogment_lab.services.orchestrator import Orchestrator, OrchestratorSettings
from cogment_lab.services.orchestrator.settings import Deadlines
from cogment_lab.wire.channel import open_channel
from cogment_lab.wire.generated import common_pb2 as common
from cogment_lab.wire.generated.common_pb2 import (
    Action,
    ActorInitialOutput,
    ActorParams,
    ActorRunTrialOutput,
    EnvironmentParams,
    Message,
    Reward,
    RewardSource,
    SerializedMessage,
    TrialParams,
)
from cogment_lab.wire.generated.datalog_pb2 import RunTrialDatalogInput
from cogment_lab.wire.generated.environment_pb2 import EnvRunTrialOutput, ObservationSet
from cogment_lab.wire.generated.hooks_pb2 import PreTrialParams
from cogment_lab.wire.generated.orchestrator_pb2 import (
    TerminateTrialRequest,
    TrialInfoRequest,
    TrialListRequest,
    TrialStartRequest,
)
from cogment_lab.wire.rpc import Stub
from cogment_lab.wire.server import Server, Servicer
from cogment_lab.wire.stream import actor_side, agree_to_bundles, env_side

HEARTBEAT, LAST, LAST_ACK, END = common.HEARTBEAT, common.LAST, common.LAST_ACK, common.END
STATES = common.TrialState.keys()


def describe(frame):
    """Return what a frame is in a word: ``END``, ``observation 3``, ``reward 2``, ``init_input``."""
    if frame.state != common.NORMAL:
        return common.CommunicationState.Name(frame.state)
    kind = frame.WhichOneof("data")
    data = getattr(frame, kind)
    return f"{kind} {data.tick_id}" if hasattr(data, "tick_id") and kind != "init_input" else kind


class Talk:
    """A component's end of one ``RunTrial`` stream.

    Attributes:
        who: Name of the component, once the orchestrator said it.
        trial_id: The trial.
        heard: What every frame was, in order (see :func:`describe`).
    """

    _frame = None
    _init = "init_input"

    def __init__(self, stream, call, trial_id, journal):
        self.who = ""
        self.trial_id = trial_id
        self.heard = []
        self.call = call
        self.bundled = False
        self._stream = stream
        self._journal = journal
        self._ahead = []
        self.done = asyncio.Event()

    async def next(self):
        """Return the next frame, ``None`` when the orchestrator closed the stream."""
        if not self._ahead:
            self._ahead = list(await self._stream.read())
        if not self._ahead:
            return None
        frame = self._ahead.pop(0)
        if frame.WhichOneof("data") == self._init:
            self.who = getattr(frame.init_input, "actor_name", None) or frame.init_input.name
        self.heard.append(describe(frame))
        self._journal.append(f"{self.who}: {self.heard[-1]}")
        return frame

    async def expect(self, *words):
        """Read one frame for each of ``words``; fail when it is another one. Return the last."""
        frame = None
        for word in words:
            frame = await self.next()
            assert frame is not None, f"the stream of {self.who} ended before {word!r}; heard {self.heard}"
            assert self.heard[-1] == word, f"{self.who} heard {self.heard}, expected {word!r}"
        return frame

    async def until(self, word):
        """Read up to the first frame that is ``word``, and return it."""
        while (frame := await self.next()) is not None:
            if self.heard[-1] == word:
                return frame
        raise AssertionError(f"{self.who} never heard {word!r}, only {self.heard}")

    async def rest(self):
        """Read until the orchestrator closes the stream; return what the frames were."""
        start = len(self.heard)
        while await self.next() is not None:
            pass
        return self.heard[start:]

    async def send(self, *frames):
        await self._stream.write(*frames)

    async def say(self, *states):
        """Send frames that are nothing but a state."""
        await self.send(*(self._frame(state=state) for state in states))

    async def begin(self):
        """Read init_input and answer it; return it."""
        frame = await self.expect("init_input")
        await self.send(self._frame(state=common.NORMAL, init_output={}))
        self._stream.bundled = self.bundled
        return frame.init_input

    async def reward(self, to, *sources, tick=-1):
        """Send a reward of (value, confidence) sources."""
        parts = [RewardSource(value=value, confidence=confidence) for value, confidence in sources]
        await self.send(
            self._frame(
                state=common.NORMAL, reward=Reward(tick_id=tick, receiver_name=to, value=99, sources=parts)
            )
        )

    async def message(self, to, content=b"", tick=-1):
        """Send ``content`` as if it were a message of the type test.Note."""
        note = Message(tick_id=tick, receiver_name=to)
        note.payload.type_url = "type.googleapis.com/test.Note"
        note.payload.value = content
        await self.send(self._frame(state=common.NORMAL, message=note))

    def kill(self):
        """Break the stream off as a process that dies does."""
        self.done.set()


class EnvTalk(Talk):
    """An environment's end."""

    _frame = EnvRunTrialOutput

    async def observe(self, *contents, tick=-1, timestamp=7, actors_map=None):
        """Send observations: one for all, or one for each actor."""
        n = self.n_actors
        mapping = actors_map if actors_map is not None else ([0] * n if len(contents) == 1 else range(n))
        observed = ObservationSet(
            tick_id=tick, timestamp=timestamp, observations=contents or [b"obs"], actors_map=mapping
        )
        await self.send(EnvRunTrialOutput(state=common.NORMAL, observation_set=observed))

    async def begin(self):
        init = await super().begin()
        self.n_actors = len(init.actors_in_trial)
        return init


class ActorTalk(Talk):
    """An actor's end."""

    _frame = ActorRunTrialOutput

    async def act(self, tick=-1, content=b"act"):
        action = Action(tick_id=tick, timestamp=11, content=content)
        await self.send(ActorRunTrialOutput(state=common.NORMAL, action=action))


def counting(steps):
    """Return a script of an environment that observes ``t0, t1...`` and ends after ``steps`` action sets."""

    async def script(talk):
        await talk.begin()
        await talk.observe(b"t0")
        told = False
        step = 0
        while (frame := await talk.next()) is not None and frame.state != END:
            told = told or frame.state == LAST
            if frame.WhichOneof("data") == "action_set":
                step += 1
                if step == steps and not told:
                    await talk.say(LAST)
                await talk.observe(b"t%d" % step)
                if step == steps or told:
                    await talk.say(LAST_ACK)

    return script


async def echo(talk):
    """Be an actor that answers each observation with its content."""
    if not talk.who:
        await talk.begin()
    last = False
    while (frame := await talk.next()) is not None and frame.state != END:
        last = last or frame.state == LAST
        if frame.WhichOneof("data") == "observation":
            if last:
                await talk.say(LAST_ACK)
            else:
                await talk.act(frame.observation.tick_id, frame.observation.content)


class _Raw(Servicer):
    """Serves ``RunTrial`` by a script, or hands each stream to the test: ``talk = await raw.talk()``."""

    _talk = Talk
    _side = None

    def __init__(self, script=None, bundles=False, journal=None):
        self.script = script
        self.talks = []
        self.gone = False
        self._bundles = bundles
        self._journal = journal if journal is not None else []
        self._new = asyncio.Queue()

    async def talk(self):
        """Return the next stream that the orchestrator opens."""
        return await self._new.get()

    async def RunTrial(self, requests, context):
        bundled = self._bundles and await agree_to_bundles(context)
        trial_id = dict(context.invocation_metadata())["trial-id"]
        talk = self._talk(type(self)._side(context), context, trial_id, self._journal)
        talk.bundled = bundled
        self.talks.append(talk)
        if self.script is not None:
            await self.script(talk)
            return
        self._new.put_nowait(talk)
        if not self.gone:
            await talk.done.wait()
        await context.abort(grpc.StatusCode.UNAVAILABLE, "killed")


class RawEnv(_Raw):
    """``EnvironmentSP`` by hand."""

    service = "cogmentAPI.EnvironmentSP"
    _talk = EnvTalk
    _side = staticmethod(env_side)


class RawActor(_Raw):
    """``ServiceActorSP`` by hand."""

    service = "cogmentAPI.ServiceActorSP"
    _talk = ActorTalk
    _side = staticmethod(actor_side)


class RawHook(Servicer):
    """``TrialHooksSP`` by a function of the parameters.

    Attributes:
        calls: ``(params, metadata)`` of each call.
    """

    service = "cogmentAPI.TrialHooksSP"

    def __init__(self, change):
        self.calls = []
        self._change = change

    async def OnPreTrial(self, request, context):
        self.calls.append((request.params, dict(context.invocation_metadata())))
        params = TrialParams()
        params.CopyFrom(request.params)
        self._change(params)
        return PreTrialParams(params=params)


class RawDatalog(Servicer):
    """``DatalogSP`` that keeps what it is sent.

    Attributes:
        frames: What was received, by trial id.
        metadata: Of each stream, by trial id.
    """

    service = "cogmentAPI.DatalogSP"

    def __init__(self, on_frame=None):
        self.frames = defaultdict(list)
        self.metadata = {}
        self._on_frame = on_frame
        self._closed = defaultdict(asyncio.Event)

    async def RunTrialDatalog(self, requests, context):
        metadata = dict(context.invocation_metadata())
        trial_id = metadata["trial-id"]
        self.metadata[trial_id] = metadata
        try:
            while (data := await context.read()) is not grpc.aio.EOF:
                self.frames[trial_id].append(RunTrialDatalogInput.FromString(data))
                if self._on_frame is not None:
                    await self._on_frame(self.frames[trial_id][-1])
        finally:
            self._closed[trial_id].set()

    async def samples(self, trial_id):
        """Return the samples of a trial, once its stream is closed by the orchestrator."""
        await self._closed[trial_id].wait()
        return [frame.sample for frame in self.frames[trial_id][1:]]


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
        self._raws += [servicer for servicer in servicers if isinstance(servicer, _Raw)]
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


def run_in_world(scenario, seconds=10.0, **settings):
    """Run ``scenario(world)``; ``settings`` are the orchestrator's."""

    async def run():
        async with asyncio.timeout(seconds):
            world = World()
            async with world.ends:
                await world.start(**settings)
                await scenario(world)

    asyncio.run(run())
