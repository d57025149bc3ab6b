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
from typing import Any

from cogment_lab.services.orchestrator.component import (
    ActorLink,
    ComponentFailed,
    EnvLink,
    open_actor,
    open_env,
)
from cogment_lab.services.orchestrator.datalog import DatalogWriter
from cogment_lab.services.orchestrator.exchange import Exchange
from cogment_lab.services.orchestrator.life import Life
from cogment_lab.services.orchestrator.openings import cast_of, open_for_actor, open_for_env
from cogment_lab.services.orchestrator.seats import ClientSeats
from cogment_lab.services.orchestrator.settings import Deadlines
from cogment_lab.trial.parameters import TrialParameters
from cogment_lab.trial.states import TrialState
from cogment_lab.wire.generated.common_pb2 import ActorRunTrialInput, TrialParams
from cogment_lab.wire.generated.orchestrator_pb2 import TrialInfo
from cogment_lab.wire.rpc import Stub

__all__ = ["FAILURE", "Trial"]

_LOG = logging.getLogger(__name__)
FAILURE = "cogment_lab.failure"
"""Property of a trial's info that says why it was ended hard; official clients see one property more."""

_EXTERNALLY = "Externally requested"
_END_SECONDS = 1.0
"""How long the end of a trial waits for components that do not read their END."""

_ANSWER_SECONDS = 0.5
"""How long a component that is being connected when its trial ends has to answer, and to be sent END."""

_INACTIVE = "The trial was inactive for too long"


class Trial:
    """A trial and everything that belongs to it while it runs: connects, reads and ends its components.

    Args:
        trial_id: Its id.
        user_id: Whose it is.
        deadlines: How long it waits for whom.
        on_state: Called at each change of state.
    """

    def __init__(
        self, trial_id: str, user_id: str, deadlines: Deadlines, on_state: Callable[[Trial], None]
    ) -> None:
        self.trial_id = trial_id
        self.user_id = user_id
        self.params = TrialParams()
        self._deadlines = deadlines
        self._life = Life(lambda: on_state(self))
        self._tasks: set[asyncio.Task[Any]] = set()
        self._datalog: DatalogWriter | None = None
        self._is_prepared = False
        self._connecting: asyncio.Task[None] | None = None
        self._finishing: asyncio.Task[None] | None = None
        self._life.advance(TrialState.INITIALIZING)

    # --- what is known of it ---

    @property
    def state(self) -> TrialState:
        """Where it is in its life."""
        return self._life.state

    @property
    def tick(self) -> int:
        """The current tick."""
        return self._exchange.tick if self._is_prepared else 0

    @property
    def ended(self) -> asyncio.Event:
        """Set once it is ENDED and its samples are handed to the log."""
        return self._life.ended

    @property
    def failure(self) -> str:
        """Why it was ended hard; empty otherwise."""
        return self._life.failure

    @property
    def duration(self) -> float:
        """Seconds since it was started, until its end."""
        return self._life.elapsed / 1e9

    def info(self, *, latest_observation: bool = False, actors: bool = False) -> TrialInfo:
        """Return what ``GetTrialInfo`` answers (protocol section 7.2)."""
        state = self.state
        info = TrialInfo(
            trial_id=self.trial_id,
            state=int(state),  # type: ignore[arg-type]
            env_name=self.params.environment.name,
            tick_id=self.tick,
            trial_duration=self._life.elapsed,
            properties=self.params.properties,
        )
        if self.failure not in ("", _EXTERNALLY):
            info.properties[FAILURE] = self.failure
        if actors and state >= TrialState.PENDING:
            info.actors_in_trial.extend(cast_of(self.params))
        if latest_observation and TrialState.RUNNING <= state < TrialState.ENDED:
            info.latest_observation.CopyFrom(self._exchange.latest)
        return info

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
        clients = [index for index, stub in enumerate(actors) if stub is None]
        self._seats = ClientSeats(rules.actors, clients)
        self._exchange = Exchange(self.trial_id, params, rules, self._life, datalog, self._spawn)
        self._is_prepared = True
        self._life.advance(TrialState.PENDING)

    def start(self) -> None:
        """Connect the components in the background."""
        self._connecting = self._spawn(self._connect(), "connections")
        if self._rules.max_inactivity > 0.0:
            self._spawn(self._watch_activity(), "inactivity")

    def _spawn(self, work: Coroutine[Any, Any, str | None], name: str) -> asyncio.Task[None]:
        return self._keep(asyncio.create_task(self._guard(work), name=f"{name} of trial {self.trial_id}"))

    def _keep(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guard(self, work: Coroutine[Any, Any, str | None]) -> None:
        """Run ``work``; what it returns, or goes wrong in it, ends the trial instead of freezing it."""
        try:
            failure = await work
            if failure:
                await self.end_hard(failure)
        except ComponentFailed as error:
            await self.end_hard(str(error))
        except Exception as error:
            _LOG.exception("trial %s is ended by an error of the orchestrator", self.trial_id)
            await self.end_hard(f"Internal error: {error}")

    # --- connections ---

    async def _connect(self) -> str:
        """Connect all actors at once, then the environment (protocol sections 6.3 and 6.4)."""
        async with asyncio.TaskGroup() as group:
            for index in range(len(self._rules.actors)):
                group.create_task(self._connect_actor(index))
        if self._life.is_ending:
            return ""
        if any(
            link is None and not actor.optional
            for link, actor in zip(self._exchange.links, self._rules.actors, strict=True)
        ):
            return "Failed to initialize all actors"
        try:
            async with asyncio.timeout(self._deadlines.env_init):
                env = await open_env(self._env_stub, self.trial_id, open_for_env(self.params))
        except TimeoutError:
            seconds = self._deadlines.env_init
            return f"Failed to initialize environment: no answer in {seconds:g} s"
        except ComponentFailed as error:
            return f"Failed to initialize environment: {error}"
        if self._life.is_ending:
            await self._see_off(env)
            return ""
        self._exchange.add_env(env)
        await self._read_env(env)
        return ""

    async def _connect_actor(self, index: int) -> None:
        """Connect one actor; on failure end the trial or go on without it."""
        actor = self._rules.actors[index]
        stub = self._actor_stubs[index]
        link: ActorLink | None = None
        reason = ""
        try:
            async with asyncio.timeout(actor.initial_connection_timeout or None):
                if stub is None:
                    link = await self._seats.taken(index)
                else:
                    link = await open_actor(stub, self.trial_id, self.actor_init(index))
        except TimeoutError:
            reason = f"did not connect within {actor.initial_connection_timeout:g} s"
        except (ComponentFailed, asyncio.CancelledError) as error:
            if not self._life.is_ending and isinstance(error, asyncio.CancelledError):
                raise
            reason = str(error)
        if link is not None and self._life.is_ending:
            await (link.end(self._life.failure) if stub is None else self._see_off(link))
        if link is None or self._life.is_ending:
            self._exchange.go_without(index)
            if not actor.optional and not self._life.is_ending:
                await self.end_hard(f"Failed to initialize all actors: {actor.name} {reason}")
            elif not self._life.is_ending:
                _LOG.warning("trial %s goes on without %s: %s", self.trial_id, actor.name, reason)
            return
        self._exchange.add_actor(index, link)
        if stub is not None:
            self._spawn(self._read_actor(index, link), f"actor {actor.name}")

    async def _see_off(self, late: ActorLink | EnvLink) -> None:
        """Send a service END that was connected when the trial was over, and wait until it has left."""
        await late.end(self._life.failure)
        while await late.read():
            continue

    def actor_init(self, index: int) -> ActorRunTrialInput:
        """Return the init_input of an actor."""
        return open_for_actor(self.params, index)

    def reserve_seat(self, *, name: str = "", actor_class: str = "") -> int | None:
        """Return the index of a free client slot by name or class, kept for the caller; ``None`` for none."""
        return self._seats.reserve(self._exchange.lost, name=name, actor_class=actor_class)

    def release_seat(self, index: int) -> None:
        """Give a reserved slot back: its client left before it was connected."""
        self._seats.release(index)

    def seat_client(self, index: int, link: ActorLink) -> bool:
        """Connect a client actor to its slot; return whether the trial still wants it."""
        return self._seats.take(index, link)

    # --- reading ---

    async def _read_env(self, env: EnvLink) -> None:
        """Handle what the environment sends until its stream is over."""
        exchange = self._exchange
        while frames := await env.read():
            for frame in frames:
                failure = await exchange.on_env_frame(env, frame)
                if failure:  # it reads on, to see the stream's end
                    await self.end_hard(failure)
                if exchange.is_final and self._finishing is None:
                    self._finishing = self._spawn(self._finish(env), "end")
        env.lose()
        if not self._life.is_ending and not exchange.is_final:
            await self.end_hard(f"Environment lost: {await env.why()}")

    def read_client(self, index: int, link: ActorLink) -> asyncio.Task[None]:
        """Handle what a client actor sends until its rpc is over."""
        return self._spawn(self._read_actor(index, link), f"client {self._rules.actors[index].name}")

    def lose_client(self, index: int, link: ActorLink) -> None:
        """Note that the rpc of a client actor is over."""
        self._spawn(self._exchange.lose_actor(index, link, "its client left"), "departure")

    async def _read_actor(self, index: int, link: ActorLink) -> None:
        """Handle what an actor sends until its stream is over."""
        exchange = self._exchange
        while frames := await link.read():
            for frame in frames:
                try:
                    failure = await exchange.on_actor_frame(index, link, frame)
                except ComponentFailed as error:
                    await self._lose_actor(index, link, str(error))
                    link.cancel()
                    return
                if failure:
                    await self.end_hard(failure)
        await self._lose_actor(index, link, await link.why())

    async def _lose_actor(self, index: int, link: ActorLink, reason: str) -> None:
        failure = await self._exchange.lose_actor(index, link, reason)
        if failure:
            await self.end_hard(failure)

    # --- the end ---

    def end_softly(self) -> None:
        """End after the next complete tick (protocol section 6.10 B)."""
        life = self._life
        if life.is_end_requested or life.is_ending or life.state >= TrialState.TERMINATING:
            return
        life.is_end_requested = True
        if self._deadlines.soft_end > 0.0:
            self._spawn(self._escalate(), "soft end")

    async def _escalate(self) -> str:
        try:
            async with asyncio.timeout(self._deadlines.soft_end):
                await self._life.ended.wait()
        except TimeoutError:
            return f"It did not end within {self._deadlines.soft_end:g} s of being asked to"
        return ""

    async def _finish(self, env: EnvLink) -> None:
        """Take a trial whose final observation is out to its end (protocol section 6.10 A)."""
        details = ""
        try:
            async with asyncio.timeout(self._deadlines.env_acknowledges):
                await env.acknowledged.wait()
        except TimeoutError:
            details = "Environment failed to end properly"
        links = self._exchange.links
        if not details:
            try:
                async with asyncio.timeout(self._deadlines.actors_acknowledge):
                    for link in links:
                        if link is not None:
                            await link.acknowledged.wait()
            except TimeoutError:
                late = [
                    actor.name
                    for actor, link in zip(self._rules.actors, links, strict=True)
                    if link is not None and not link.acknowledged.is_set()
                ]
                _LOG.error("trial %s: no LAST_ACK from %s", self.trial_id, ", ".join(late))
        await self._close(details)

    async def end_hard(self, details: str = _EXTERNALLY) -> None:
        """End now: END to everybody, pending rewards discarded (protocol section 6.10 C)."""
        life = self._life
        if life.is_ending or life.state is TrialState.ENDED:
            return
        life.is_ending = True
        life.failure = details
        if life.state is TrialState.RUNNING:
            life.advance(TrialState.TERMINATING)
        if details != _EXTERNALLY:
            _LOG.warning("trial %s is ended: %s", self.trial_id, details)
        if not self._is_prepared:
            life.finish()
            return
        self._exchange.note(f"Forced termination: {details}")
        self._exchange.discard_rewards()
        self._seats.close()
        name = f"end of trial {self.trial_id}"
        closing = self._keep(asyncio.create_task(self._close(details), name=name))
        await asyncio.shield(closing)  # whoever found the failure may be cancelled with its stream

    async def _close(self, details: str) -> None:
        """Send END, log the rest, and leave nothing running."""
        exchange = self._exchange
        self._life.is_ending = True
        exchange.stop_waiting()
        if exchange.env is None and self._connecting is not None:
            asyncio.get_running_loop().call_later(_ANSWER_SECONDS, self._connecting.cancel)
        endings = [self._keep(asyncio.create_task(exchange.end_env(details)))]
        endings += [
            self._keep(asyncio.create_task(exchange.end_actor(index, link, details)))
            for index, link in enumerate(exchange.links)
            if link is not None
        ]
        await asyncio.wait(endings, timeout=_END_SECONDS)
        exchange.close_log()
        self._life.finish()
        self._keep(asyncio.create_task(self._release(), name=f"release of trial {self.trial_id}"))

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
        for link in (self._exchange.env, *self._exchange.links):
            if link is not None:
                link.cancel()

    async def released(self) -> None:
        """Wait until nothing of an ended trial runs any more."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _watch_activity(self) -> str:
        """End the trial when nothing happened in it for too long."""
        limit = self._rules.max_inactivity
        while not self._life.is_ending:
            idle = time.monotonic() - self._exchange.active_at
            if idle > limit:
                self._exchange.note("Stale trial")
                return _INACTIVE
            try:
                async with asyncio.timeout(min(1.0, limit - idle + 0.01)):
                    await self._life.ended.wait()
            except TimeoutError:
                continue
        return ""
