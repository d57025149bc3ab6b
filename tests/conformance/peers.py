"""Peers that speak raw frames, so that a test can say what it likes and sees all that is said to it."""

import asyncio
from collections import defaultdict

import grpc

from cogment_lab.wire.generated import common_pb2 as common
from cogment_lab.wire.generated.common_pb2 import (
    Action,
    ActorRunTrialOutput,
    Message,
    Reward,
    RewardSource,
    TrialParams,
)
from cogment_lab.wire.generated.datalog_pb2 import RunTrialDatalogInput
from cogment_lab.wire.generated.environment_pb2 import EnvRunTrialOutput, ObservationSet
from cogment_lab.wire.generated.hooks_pb2 import PreTrialParams
from cogment_lab.wire.server import Servicer
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
