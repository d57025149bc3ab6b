"""One trial between processes: the rules of :mod:`cogment_lab.trial` driven by what components send.

The flow of a tick: the environment's reader receives an observation set and writes it to the actors; the
reader of the last actor to act writes the action set to the environment. No queue and no task lies between.
Every failure of a component ends in :meth:`Trial.end_hard` or in the loss of an optional actor.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from cogment_lab.services.orchestrator.component import (
    ActorLink,
    ComponentFailed,
    EnvLink,
    open_actor,
    open_env,
    why,
)
from cogment_lab.services.orchestrator.datalog import DatalogWriter
from cogment_lab.services.orchestrator.samples import SampleLog
from cogment_lab.services.orchestrator.settings import Deadlines
from cogment_lab.trial.parameters import TrialParameters
from cogment_lab.trial.readiness import ActionSlots
from cogment_lab.trial.routing import aggregate_rewards, receivers
from cogment_lab.trial.states import TrialState, may_follow
from cogment_lab.wire.generated import common_pb2 as common
from cogment_lab.wire.generated.common_pb2 import (
    Action,
    ActorRunTrialInput,
    ActorRunTrialOutput,
    Message,
    Reward,
    TrialActor,
    TrialParams,
)
from cogment_lab.wire.generated.environment_pb2 import (
    ActionSet,
    EnvRunTrialInput,
    EnvRunTrialOutput,
    ObservationSet,
)
from cogment_lab.wire.generated.orchestrator_pb2 import TrialInfo
from cogment_lab.wire.rpc import Stub
from cogment_lab.wire.stream import PeerLost

__all__ = ["FAILURE", "Trial"]

_LOG = logging.getLogger(__name__)
FAILURE = "cogment_lab.failure"
"""Property of a trial's info that says why it was ended hard; official clients see one property more."""

_EXTERNALLY = "Externally requested"
_END_SECONDS = 1.0
"""How long the end of a trial waits for components that do not read their END."""

_INACTIVE = "The trial was inactive for too long"


class Trial:
    """A trial and everything that belongs to it while it runs.

    Args:
        trial_id: Its id.
        user_id: Whose it is.
        deadlines: How long it waits for whom.
        on_state: Called at each change of state.

    Attributes:
        state: Where it is in its life.
        tick: The current tick.
        ended: Set once it is ENDED and its samples are handed to the log.
        failure: Why it was ended hard; empty otherwise.
    """

    def __init__(
        self, trial_id: str, user_id: str, deadlines: Deadlines, on_state: Callable[[Trial], None]
    ) -> None:
        self.trial_id = trial_id
        self.user_id = user_id
        self.state = TrialState.UNKNOWN
        self.tick = 0
        self.ended = asyncio.Event()
        self.failure = ""
        self.params = TrialParams()
        self._deadlines = deadlines
        self._on_state = on_state
        self._began = time.monotonic_ns()
        self._duration: int | None = None
        self._env: EnvLink | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._datalog: DatalogWriter | None = None
        self._soft_end = False
        self._env_said_last = False
        self._told_env_last = False
        self._final_sent = False
        self._ending = False
        self._gathering = False
        self._active_at = time.monotonic()
        self._latest = ObservationSet()
        self._log: SampleLog | None = None
        self._prepared = False
        self._connecting: asyncio.Task[None] | None = None
        self._set_state(TrialState.INITIALIZING)

    # --- setting up ---

    def prepare(
        self,
        params: TrialParams,
        rules: TrialParameters,
        env: Stub,
        actors: Sequence[Stub | None],
        datalog: DatalogWriter | None,
    ) -> None:
        """Take the final parameters; the trial is PENDING from here on.

        Args:
            params: As they are logged.
            rules: The same, checked.
            env: The ``EnvironmentSP`` that runs it.
            actors: Per actor the ``ServiceActorSP`` that plays it, ``None`` for one that connects by itself.
            datalog: Where samples go, ``None`` for nowhere.
        """
        self.params = params
        self._rules = rules
        self._env_stub = env
        self._actor_stubs = actors
        self._datalog = datalog
        n = len(rules.actors)
        self._links: list[ActorLink | None] = [None] * n
        self._rewards: list[dict[int, Reward]] = [{} for _ in range(n)]
        self._timers: list[asyncio.TimerHandle | None] = [None] * n
        self._slots: ActionSlots[Action] = ActionSlots(rules.actors, (None,) * n)
        self._received: list[Action | None] = [None] * n
        self._lost: set[int] = set()
        self._seats: list[asyncio.Future[ActorLink] | None] = [
            asyncio.get_running_loop().create_future() if stub is None else None for stub in actors
        ]
        self._reserved: set[int] = set()
        if datalog is not None:
            self._log = SampleLog(rules.buffered_ticks, params.datalog.exclude_fields, datalog.queue)
        self._timed = any(actor.response_timeout > 0.0 for actor in rules.actors)
        self._alone = n == 1 and not rules.actors[0].optional and not self._timed
        self._prepared = True
        self._set_state(TrialState.PENDING)

    @property
    def duration(self) -> float:
        """Seconds since it was started, until its end."""
        return self._elapsed() / 1e9

    def _elapsed(self) -> int:
        return self._duration if self._duration is not None else time.monotonic_ns() - self._began

    def start(self) -> None:
        """Connect the components in the background."""
        self._connecting = self._spawn(self._connect(), "connections")
        if self._rules.max_inactivity > 0.0:
            self._spawn(self._watch_activity(), "inactivity")

    def info(self, *, latest_observation: bool = False, actors: bool = False) -> TrialInfo:
        """Return what ``GetTrialInfo`` answers (protocol section 7.2)."""
        info = TrialInfo(
            trial_id=self.trial_id,
            state=int(self.state),  # type: ignore[arg-type]
            env_name=self.params.environment.name,
            tick_id=self.tick,
            trial_duration=self._elapsed(),
            properties=self.params.properties,
        )
        if self.failure not in ("", _EXTERNALLY):
            info.properties[FAILURE] = self.failure
        if actors and self.state >= TrialState.PENDING:
            info.actors_in_trial.extend(self._cast())
        if latest_observation and TrialState.RUNNING <= self.state < TrialState.ENDED:
            info.latest_observation.CopyFrom(self._latest)
        return info

    def _cast(self) -> list[TrialActor]:
        return [TrialActor(name=actor.name, actor_class=actor.actor_class) for actor in self.params.actors]

    def _set_state(self, state: TrialState) -> None:
        if not may_follow(self.state, state):
            return
        self.state = state
        if state is TrialState.ENDED:
            self._duration = time.monotonic_ns() - self._began
        self._on_state(self)

    def _spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(self._guard(work), name=f"{name} of trial {self.trial_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guard(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run ``work``; whatever goes wrong in it ends the trial instead of freezing it."""
        try:
            await work
        except ComponentFailed as error:
            await self.end_hard(str(error))
        except Exception as error:
            _LOG.exception("trial %s is ended by an error of the orchestrator", self.trial_id)
            await self.end_hard(f"Internal error: {error}")

    # --- connections ---

    async def _connect(self) -> None:
        """Connect all actors at once, then the environment (protocol sections 6.3 and 6.4)."""
        async with asyncio.TaskGroup() as group:
            for index in range(len(self._links)):
                group.create_task(self._connect_actor(index))
        if self._ending:
            return
        if any(
            link is None and not actor.optional
            for link, actor in zip(self._links, self._rules.actors, strict=True)
        ):
            return await self.end_hard("Failed to initialize all actors")
        environment = self.params.environment
        init = EnvRunTrialInput(state=common.NORMAL)
        init.init_input.name = environment.name
        init.init_input.impl_name = environment.implementation
        init.init_input.actors_in_trial.extend(self._cast())
        if environment.HasField("config"):
            init.init_input.config.CopyFrom(environment.config)
        try:
            async with asyncio.timeout(self._deadlines.env_init):
                env = await open_env(self._env_stub, self.trial_id, init)
        except TimeoutError:
            seconds = self._deadlines.env_init
            return await self.end_hard(f"Failed to initialize environment: no answer in {seconds:g} s")
        except ComponentFailed as error:
            return await self.end_hard(f"Failed to initialize environment: {error}")
        if self._ending:
            env.cancel()
            return None
        self._env = env
        await self._read_env(env)

    async def _connect_actor(self, index: int) -> None:
        """Connect one actor; on failure end the trial or go on without it."""
        actor = self._rules.actors[index]
        seat = self._seats[index]
        stub = self._actor_stubs[index]
        link: ActorLink | None = None
        reason = ""
        try:
            async with asyncio.timeout(actor.initial_connection_timeout or None):
                if seat is not None:
                    link = await seat
                elif stub is not None:
                    link = await open_actor(stub, self.trial_id, self.actor_init(index))
        except TimeoutError:
            reason = f"did not connect within {actor.initial_connection_timeout:g} s"
        except (ComponentFailed, asyncio.CancelledError) as error:
            if not self._ending and isinstance(error, asyncio.CancelledError):
                raise
            reason = str(error)
        if link is None or self._ending:
            if link is not None:
                await link.end(self.failure)
            self._lost.add(index)
            self._slots.lose(index)
            if not actor.optional and not self._ending:
                await self.end_hard(f"Failed to initialize all actors: {actor.name} {reason}")
            elif not self._ending:
                _LOG.warning("trial %s goes on without %s: %s", self.trial_id, actor.name, reason)
            return
        self._links[index] = link
        if seat is None:
            self._spawn(self.read_actor(index, link), f"actor {actor.name}")

    def actor_init(self, index: int) -> ActorRunTrialInput:
        """Return the init_input of an actor."""
        actor = self.params.actors[index]
        init = ActorRunTrialInput(state=common.NORMAL)
        init.init_input.actor_name = actor.name
        init.init_input.actor_class = actor.actor_class
        init.init_input.impl_name = actor.implementation
        init.init_input.env_name = self.params.environment.name
        if actor.HasField("config"):
            init.init_input.config.CopyFrom(actor.config)
        return init

    def reserve_seat(self, *, name: str = "", actor_class: str = "") -> int | None:
        """Return the index of a free client slot by name or class, kept for the caller; ``None`` for none."""
        for index, actor in enumerate(self._rules.actors):
            if (actor.name == name if name else actor.actor_class == actor_class) and (
                self._seats[index] is not None and index not in self._reserved | self._lost
            ):
                self._reserved.add(index)
                return index
        return None

    def release_seat(self, index: int) -> None:
        """Give a reserved slot back: its client left before it was connected."""
        self._reserved.discard(index)

    def seat_client(self, index: int, link: ActorLink) -> bool:
        """Connect a client actor to its slot; return whether the trial still wants it."""
        seat = self._seats[index]
        if seat is None or seat.done():
            return False
        seat.set_result(link)
        return True

    # --- frames of the environment ---

    async def _read_env(self, env: EnvLink) -> None:
        name = self.params.environment.name
        while True:
            frames = await env.read()
            if not frames:
                env.lose()
                if not self._ending and not self._final_sent:
                    await self.end_hard(f"Environment lost: {why(env.error)}")
                return
            for frame in frames:
                await self._on_env_frame(env, name, frame)

    async def _on_env_frame(self, env: EnvLink, name: str, frame: EnvRunTrialOutput) -> None:
        state = frame.state
        if state == common.NORMAL:
            kind = frame.WhichOneof("data")
            if kind == "observation_set":
                await self._on_observations(frame.observation_set)
            elif kind == "reward":
                self._on_reward(name, frame.reward)
            elif kind == "message":
                await self._on_message(name, frame.message)
            elif kind == "init_output":
                await self.end_hard("Environment lost: it sent init_output twice")
            elif kind == "details":
                _LOG.info("trial %s: environment: %s", self.trial_id, frame.details)
        elif state == common.HEARTBEAT:
            await env.write(EnvRunTrialInput(state=common.HEARTBEAT))
        elif state == common.LAST:
            if not self._told_env_last:
                self._note("Evironment ended trial")  # sic: the text of the official log
            self._env_said_last = True
        elif state == common.LAST_ACK:
            env.acknowledged.set()
        else:
            _LOG.warning("trial %s: environment sent state %d", self.trial_id, state)

    async def _on_observations(self, observed: ObservationSet) -> None:
        if self._ending or self._final_sent:
            return
        if self.state >= TrialState.RUNNING:
            self.tick += 1
        else:
            self._set_state(TrialState.RUNNING)
        tick = self.tick
        problem = self._find_problem(observed, tick)
        if problem:
            return await self.end_hard(f"Environment sent a wrong observation set: {problem}")
        self._active_at = time.monotonic()
        last = self._env_said_last or self._told_env_last
        self._latest = observed
        if self._log is not None:
            self._log.begin(tick, self.state, observed, self._received)
        self._slots.start(tick)
        self._received = [None] * len(self._received)
        self._gathering = not last
        if last:
            self._set_state(TrialState.TERMINATING)
            self._final_sent = True
        contents = observed.observations
        for index, link in enumerate(self._links):
            if link is None or index in self._lost:
                continue
            frame = ActorRunTrialInput(state=common.NORMAL)
            observation = frame.observation
            observation.tick_id = tick
            observation.timestamp = observed.timestamp
            observation.content = contents[observed.actors_map[index]]
            frames = self._take_rewards(index)
            if last:
                frames.append(ActorRunTrialInput(state=common.LAST))
            frames.append(frame)
            if self._alone:
                await self._write(index, link, frames)
            else:
                self._spawn(self._write(index, link, frames), "dispatch")
        if self._datalog is not None:
            self._datalog.wake()
            if self._datalog.is_full:
                await self._datalog.room()
        if last:
            self._spawn(self._finish(), "end")
            return None
        if self._timed:
            self._arm_timers()
        if self._slots.complete:
            await self._complete_tick()
        return None

    def _note(self, event: str) -> None:
        """Put a special event into the current sample."""
        if self._log is not None:
            self._log.event(event)

    def _find_problem(self, observed: ObservationSet, tick: int) -> str:
        if observed.tick_id not in (-1, tick):
            return f"tick {observed.tick_id} instead of {tick}"
        if len(observed.actors_map) != len(self._links):
            return f"actors_map has {len(observed.actors_map)} entries for {len(self._links)} actors"
        n = len(observed.observations)
        if not 0 <= min(observed.actors_map) <= max(observed.actors_map) < n:
            return f"actors_map points outside its {n} observations"
        return ""

    async def _write(self, index: int, link: ActorLink, frames: list[ActorRunTrialInput]) -> None:
        try:
            await link.write(*frames)
        except PeerLost as error:
            await self._lose_actor(index, link, why(error))

    # --- frames of actors ---

    async def read_actor(self, index: int, link: ActorLink) -> None:
        """Handle what an actor sends until its stream is over."""
        name = self._rules.actors[index].name
        while True:
            frames = await link.read()
            if not frames:
                await self._lose_actor(index, link, why(link.error))
                return
            for frame in frames:
                if not await self._on_actor_frame(index, link, name, frame):
                    await self._lose_actor(index, link, "it broke the protocol")
                    link.cancel()
                    return

    async def _on_actor_frame(
        self, index: int, link: ActorLink, name: str, frame: ActorRunTrialOutput
    ) -> bool:
        """Handle one frame; return whether the actor may stay."""
        state = frame.state
        if state == common.NORMAL:
            kind = frame.WhichOneof("data")
            if kind == "action":
                await self._on_action(index, frame.action)
            elif kind == "reward":
                self._on_reward(name, frame.reward)
            elif kind == "message":
                await self._on_message(name, frame.message)
            elif kind == "init_output":
                _LOG.warning("trial %s: actor %s sent init_output twice", self.trial_id, name)
                return False
        elif state == common.HEARTBEAT:
            await self._write(index, link, [ActorRunTrialInput(state=common.HEARTBEAT)])
        elif state == common.LAST_ACK:
            if link.acknowledged.is_set():
                return False
            link.acknowledged.set()
        elif state in (common.LAST, common.END):
            _LOG.warning("trial %s: actor %s sent state %d", self.trial_id, name, state)
        else:
            return False
        return True

    async def _on_action(self, index: int, action: Action) -> None:
        tick = action.tick_id
        if self._final_sent or self.state is not TrialState.RUNNING or not self._gathering:
            return
        if not self._slots.act(index, tick, action):
            _LOG.debug(
                "trial %s: an action for tick %d in tick %d is dropped", self.trial_id, tick, self.tick
            )
            return
        self._received[index] = action
        self._active_at = time.monotonic()
        timer = self._timers[index]
        if timer is not None:
            timer.cancel()
        if self._slots.complete:
            await self._complete_tick()

    async def _complete_tick(self) -> None:
        """Send the environment the actions of this tick (protocol section 6.5, step 4)."""
        if not self._gathering or self._ending or self._env is None:
            return
        self._gathering = False
        tick = self.tick
        frame = EnvRunTrialInput(state=common.NORMAL)
        actions: ActionSet = frame.action_set
        actions.tick_id = tick
        actions.timestamp = time.time_ns()
        defaulted, unavailable, missing = [], [], []
        for index, action in enumerate(self._received):
            if action is not None:
                actions.actions.append(action.content)
                continue
            actor = self._rules.actors[index]
            if not actor.optional:
                missing.append(actor.name)
            if actor.default_action is None:
                unavailable.append(index)
                actions.actions.append(b"")
            else:
                defaulted.append(index)
                actions.actions.append(actor.default_action)
        if missing:
            return await self.end_hard(
                "Action processing requirement failure "
                f"[Required actors [{', '.join(missing)}] unavailable at tick [{tick}]]"
            )
        actions.unavailable_actors.extend(unavailable)
        if self._log is not None:
            self._log.complete(self._received, defaulted, unavailable)
        limit = self._rules.max_steps
        frames = [frame]
        if (limit and tick >= limit) or self._soft_end:
            self._note("End requested" if self._soft_end else "Maximum number of steps reached")
            frames.insert(0, EnvRunTrialInput(state=common.LAST))
            self._told_env_last = True
            self._set_state(TrialState.TERMINATING)
        try:
            await self._env.write(*frames)
        except PeerLost as error:
            await self.end_hard(f"Environment lost: {why(error)}")
        return None

    def _arm_timers(self) -> None:
        loop = asyncio.get_running_loop()
        for index, actor in enumerate(self._rules.actors):
            timer = self._timers[index]
            if timer is not None:
                timer.cancel()
            if actor.response_timeout > 0.0 and index not in self._lost:
                self._timers[index] = loop.call_later(
                    actor.response_timeout, partial(self._time_out, index, self.tick)
                )

    def _time_out(self, index: int, tick: int) -> None:
        """Note that an actor gave no action in time; the tick goes on, or the trial ends."""
        if tick != self.tick or self._ending or not self._gathering:
            return
        self._slots.time_out(index)
        if self._slots.complete or not self._rules.actors[index].optional:
            self._spawn(self._complete_tick(), "time-out")

    async def lose_client(self, index: int, link: ActorLink) -> None:
        """Note that the rpc of a client actor is over."""
        await self._lose_actor(index, link, "its client left")

    async def _lose_actor(self, index: int, link: ActorLink, reason: str) -> None:
        """Go on without an actor, or end the trial with it (protocol section 6.12)."""
        link.lose()
        if index in self._lost or self._ending:
            return
        self._lost.add(index)
        self._slots.lose(index)
        self._received[index] = None
        timer = self._timers[index]
        if timer is not None:
            timer.cancel()
        if self._final_sent:
            return
        actor = self._rules.actors[index]
        if not actor.optional:
            await self.end_hard(f"Required actor [{actor.name}] lost: {reason}")
            return
        _LOG.warning("trial %s: optional actor %s is lost: %s", self.trial_id, actor.name, reason)
        self._note(f"Actor [{actor.name}] lost: {reason}")
        if self._gathering and self._slots.complete:
            await self._complete_tick()

    # --- rewards and messages ---

    def _on_reward(self, sender: str, reward: Reward) -> None:
        """Keep a reward for its receivers' next dispatch, and log it (protocol section 6.7)."""
        if self.state < TrialState.PENDING or self._ending:
            return
        for source in reward.sources:
            source.sender_name = sender
        tick = self.tick if reward.tick_id == -1 else reward.tick_id
        if not 0 <= tick <= self.tick:
            _LOG.error(
                "trial %s: a reward of %s for tick %d is dropped", self.trial_id, sender, reward.tick_id
            )
            return
        if tick == self.tick:
            found = receivers(reward.receiver_name, self._rules.actors)
            if not found:
                _LOG.error("trial %s: nobody is %r, so gets no reward", self.trial_id, reward.receiver_name)
            for index in found:
                if index in self._lost:
                    continue
                waiting = self._rewards[index].get(tick)
                if waiting is None:
                    name = self._rules.actors[index].name
                    waiting = self._rewards[index][tick] = Reward(tick_id=tick, receiver_name=name)
                waiting.sources.extend(reward.sources)
        if self._log is not None:
            self._log.reward(reward, tick)

    def _take_rewards(self, index: int) -> list[ActorRunTrialInput]:
        waiting = self._rewards[index]
        frames = []
        if waiting:
            for tick in sorted(waiting):
                reward = waiting[tick]
                sources = reward.sources
                alone = len(sources) == 1 and sources[0].confidence == 1.0
                reward.value = sources[0].value if alone else aggregate_rewards(sources)  # type: ignore[arg-type]
                frames.append(ActorRunTrialInput(state=common.NORMAL, reward=reward))
            waiting.clear()
        return frames

    async def _on_message(self, sender: str, message: Message) -> None:
        """Forward a message at once, and log it (protocol section 6.8)."""
        if self.state < TrialState.PENDING or self._ending:
            return
        if message.tick_id not in (-1, self.tick):
            _LOG.warning(
                "trial %s: a message of %s for tick %d is dropped", self.trial_id, sender, message.tick_id
            )
            return
        message.sender_name = sender
        if self._log is not None:
            self._log.message(message)
        wanted = message.receiver_name
        forwarded = Message(tick_id=self.tick, sender_name=sender, payload=message.payload)
        if wanted == self.params.environment.name:
            if self._env is not None and not self._env.gone:
                forwarded.receiver_name = wanted
                if self._env.post(EnvRunTrialInput(state=common.NORMAL, message=forwarded)):
                    self._spawn(self._env.write(), "message")
            return
        for index in receivers(wanted, self._rules.actors):
            link = self._links[index]
            if link is None or index in self._lost:
                continue
            forwarded.receiver_name = self._rules.actors[index].name
            if link.post(ActorRunTrialInput(state=common.NORMAL, message=forwarded)):
                self._spawn(self._write(index, link, []), "message")

    # --- the end ---

    def end_softly(self) -> None:
        """End after the next complete tick (protocol section 6.10 B)."""
        if self._soft_end or self._ending or self.state >= TrialState.TERMINATING:
            return
        self._soft_end = True
        if self._deadlines.soft_end > 0.0:
            self._spawn(self._escalate(), "soft end")

    async def _escalate(self) -> None:
        try:
            async with asyncio.timeout(self._deadlines.soft_end):
                await self.ended.wait()
        except TimeoutError:
            await self.end_hard(f"It did not end within {self._deadlines.soft_end:g} s of being asked to")

    async def _finish(self) -> None:
        """Take a trial whose final observation is out to its end (protocol section 6.10 A)."""
        assert self._env is not None
        details = ""
        try:
            async with asyncio.timeout(self._deadlines.env_acknowledges):
                await self._env.acknowledged.wait()
        except TimeoutError:
            details = "Environment failed to end properly"
        links = [link for link in self._links if link is not None]
        if not details:
            try:
                async with asyncio.timeout(self._deadlines.actors_acknowledge):
                    for link in links:
                        await link.acknowledged.wait()
            except TimeoutError:
                late = [
                    actor.name
                    for actor, link in zip(self._rules.actors, self._links, strict=True)
                    if link is not None and not link.acknowledged.is_set()
                ]
                _LOG.error("trial %s: no LAST_ACK from %s", self.trial_id, ", ".join(late))
        await self._close(details)

    async def end_hard(self, details: str = _EXTERNALLY) -> None:
        """End now: END to everybody, pending rewards discarded (protocol section 6.10 C)."""
        if self._ending or self.state is TrialState.ENDED:
            return
        self._ending = True
        self.failure = details
        if self.state is TrialState.RUNNING:
            self._set_state(TrialState.TERMINATING)
        if details != _EXTERNALLY:
            _LOG.warning("trial %s is ended: %s", self.trial_id, details)
        if self._prepared:
            self._note(f"Forced termination: {details}")
            for rewards in self._rewards:
                rewards.clear()
            for seat in self._seats:
                if seat is not None and not seat.done():
                    seat.cancel()
            closing = asyncio.create_task(self._close(details), name=f"end of trial {self.trial_id}")
            self._tasks.add(closing)
            closing.add_done_callback(self._tasks.discard)
            await asyncio.shield(closing)  # whoever found the failure may be cancelled with its stream
        else:
            self._set_state(TrialState.ENDED)
            self.ended.set()

    async def _close(self, details: str) -> None:
        """Send END, log the rest, and leave nothing running."""
        self._ending = True
        for timer in self._timers:
            if timer is not None:
                timer.cancel()
        if self._env is None and self._connecting is not None:
            self._connecting.cancel()
        endings = [asyncio.create_task(self._end_env(details))]
        endings += [
            asyncio.create_task(self._end_actor(index, link, details))
            for index, link in enumerate(self._links)
            if link is not None
        ]
        self._tasks.update(endings)
        for ending in endings:
            ending.add_done_callback(self._tasks.discard)
        await asyncio.wait(endings, timeout=_END_SECONDS)
        if self._log is not None:
            self._log.finish(self._received)
        if self._datalog is not None:
            self._datalog.wake()
        self._set_state(TrialState.ENDED)
        self.ended.set()
        task = asyncio.create_task(self._release(), name=f"release of trial {self.trial_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end_env(self, details: str) -> None:
        if self._env is not None:
            await self._env.end(details)

    async def _end_actor(self, index: int, link: ActorLink, details: str) -> None:
        """Send an actor the rewards that it did not see yet, and END."""
        late = self._take_rewards(index)
        if late and not link.gone:
            await self._write(index, link, late)
        await link.end(details)

    async def _release(self) -> None:
        """Wait a little for the components to finish their rpcs, then drop everything."""
        if self._datalog is not None:
            await self._datalog.close()
        me = asyncio.current_task()
        others = {task for task in self._tasks if task is not me}
        if others:
            _, late = await asyncio.wait(others, timeout=self._deadlines.end)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        for link in (self._env, *self._links):
            if link is not None:
                link.cancel()

    async def released(self) -> None:
        """Wait until nothing of an ended trial runs any more."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _watch_activity(self) -> None:
        """End the trial when nothing happened in it for too long."""
        limit = self._rules.max_inactivity
        while not self._ending:
            idle = time.monotonic() - self._active_at
            if idle > limit:
                self._note("Stale trial")
                return await self.end_hard(_INACTIVE)
            try:
                async with asyncio.timeout(min(1.0, limit - idle + 0.01)):
                    await self.ended.wait()
            except TimeoutError:
                continue
        return None
