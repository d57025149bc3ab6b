"""Actors whose implementation is on the other side of HTTP requests.

The orchestrator's session and the requests meet in an :class:`Actor`: the session publishes an event for each
observation, a request answers it and waits for the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from cogment_lab.errors import ServiceTimeoutError, TrialStateError
from cogment_lab.wire.actor import ActorSession
from cogment_lab.wire.events import EventType, RecvMessage, RecvReward

__all__ = ["Actor", "Actors", "Event"]

_MOST_KEPT = 10_000
_MOST_ENDED_KEPT = 256
_LOOK_SECONDS = 0.5


@dataclass(slots=True)
class Event:
    """What an actor receives at once.

    Attributes:
        tick_id: The tick that its observation begins; the one after the last when the trial is over.
        observation: A message; ``None`` when the trial is over.
        rewards: Received since the event before.
        messages: Likewise.
        is_last: No action is expected any more; rewards may still be sent for the last observation.
    """

    tick_id: int
    observation: Any = None
    rewards: list[RecvReward] = field(default_factory=list)
    messages: list[RecvMessage] = field(default_factory=list)
    is_last: bool = False


class Actor:
    """One actor in one trial.

    Args:
        trial_id: The trial.
        name: The actor.

    Attributes:
        trial_id: As above.
        name: As above.
        session: The orchestrator's side, ``None`` until the trial begins.
        is_over: The trial ended for it.
    """

    def __init__(self, trial_id: str, name: str) -> None:
        self.trial_id = trial_id
        self.name = name
        self.session: ActorSession | None = None
        self.is_over = False
        self.joins_waiting = 0
        self._event: Event | None = None
        self._event_is_seen = False
        self._has_joined = False
        self._has_left = asyncio.Event()
        self._acted_tick = -1
        self._changed = asyncio.Condition()

    async def join(self, seconds: float) -> Event:
        """Join, and return the newest event, waiting for the first; may be repeated."""
        self._has_joined = True
        self.joins_waiting += 1
        try:
            await self._tell()
            return await self._next(-1, seconds)
        finally:
            self.joins_waiting -= 1

    async def act(self, tick_id: int, send: Callable[[ActorSession, bool], None], seconds: float) -> Event:
        """Answer the event of ``tick_id``, and return the next one; a repeated request only waits.

        Args:
            tick_id: The tick of the event that is answered.
            send: Called with the session, and whether an action is expected of it.
            seconds: How long to wait.

        Raises:
            TrialStateError: it is not that tick, or the actor left.
            ServiceTimeoutError: nothing came in time.
        """
        event, session = self._event, self.session
        if event is None or session is None:
            raise TrialStateError(f"trial {self.trial_id!r} has not begun for {self.name!r}; join it first")
        if not (self.is_over or tick_id == self._acted_tick):
            if tick_id != event.tick_id:
                raise TrialStateError(f"trial {self.trial_id!r} is at tick {event.tick_id}, not at {tick_id}")
            send(session, not event.is_last)
            self._acted_tick = tick_id
            await self._tell()
        return await self._next(tick_id, seconds)

    async def leave(self) -> None:
        """End the part in the trial; the session ends with it."""
        self._has_left.set()
        await self._tell()

    async def play(self, session: ActorSession, last_word_seconds: float) -> None:
        """Be the implementation of the session: publish its events until it ends or the actor leaves."""
        self.session = session
        publishing = asyncio.create_task(self._publish_all(session, last_word_seconds))
        leaving = asyncio.create_task(self._has_left.wait())
        try:
            await asyncio.wait({publishing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if publishing.done():
                publishing.result()
        finally:
            publishing.cancel()
            leaving.cancel()
            await asyncio.gather(publishing, leaving, return_exceptions=True)
            self.is_over = True
            await self._tell()

    async def _publish_all(self, session: ActorSession, last_word_seconds: float) -> None:
        while not self._has_joined:
            if session.is_trial_over():
                return
            await self._patiently(lambda: self._has_joined, _LOOK_SECONDS)
        session.start(auto_done_sending=False)
        coming = Event(-1)
        async for event in session.all_events():
            coming.rewards += event.rewards
            coming.messages += event.messages
            if event.observation is None:
                continue
            tick_id = coming.tick_id = event.observation.tick_id
            coming.observation = event.observation.observation
            coming.is_last = event.type is EventType.ENDING
            await self._publish(coming)
            if coming.is_last:
                await self._patiently(partial(self._has_acted, tick_id), last_word_seconds)
                session.sending_done()
            coming = Event(tick_id)
        coming.tick_id += 1
        coming.is_last = True
        await self._publish(coming)

    async def _publish(self, event: Event) -> None:
        if self._event is not None and not self._event_is_seen:
            event.rewards = self._event.rewards + event.rewards
            event.messages = self._event.messages + event.messages
        self._event = event
        self._event_is_seen = False
        await self._tell()

    async def _next(self, tick_id: int, seconds: float) -> Event:
        """Wait for an event after ``tick_id``, or the end."""

        def is_there() -> bool:
            return (
                self.is_over
                or self._has_left.is_set()
                or (self._event is not None and self._event.tick_id > tick_id)
            )

        await self._until(is_there, seconds)
        if self._has_left.is_set():
            raise TrialStateError(f"{self.name!r} left trial {self.trial_id!r}")
        if self._event is None:
            raise TrialStateError(f"trial {self.trial_id!r} ended before it began for {self.name!r}")
        self._event_is_seen = True
        return self._event

    async def _until(self, is_there: Callable[[], bool], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(is_there)
        except TimeoutError:
            raise ServiceTimeoutError(
                f"nothing came for {self.name!r} of trial {self.trial_id!r} in {seconds:g} s; ask again"
            ) from None

    async def _patiently(self, is_there: Callable[[], bool], seconds: float) -> None:
        with contextlib.suppress(ServiceTimeoutError):
            await self._until(is_there, seconds)

    def _has_acted(self, tick_id: int) -> bool:
        return self._acted_tick == tick_id

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class Actors:
    """The actors that are joined, or wait to be, by trial and name.

    Args:
        last_word_seconds: How long the end of a trial waits for the answer to the last observation.
    """

    def __init__(self, last_word_seconds: float) -> None:
        self._last_word_seconds = last_word_seconds
        self._actors: dict[tuple[str, str], Actor] = {}

    def get(self, trial_id: str, name: str) -> Actor | None:
        """Return the actor, ``None`` when nobody joined as it."""
        return self._actors.get((trial_id, name))

    async def join(self, trial_id: str, name: str, seconds: float) -> tuple[Actor, Event]:
        """Join a trial as one of its actors, now or once it begins, and return the first event.

        Raises:
            TrialStateError: the trial ended before, the actor left, or too many actors wait.
            ServiceTimeoutError: the trial did not begin in time.
        """
        actor = self._actors.get((trial_id, name)) or self._add(trial_id, name)
        try:
            return actor, await actor.join(seconds)
        finally:
            if actor.session is None and not actor.joins_waiting:
                self._actors.pop((trial_id, name), None)

    async def run(self, session: ActorSession) -> None:
        """Be the implementation of a session."""
        actor = self._actors.get(session.key)
        if actor is None or actor.session is not None:
            actor = self._add(*session.key)
        await actor.play(session, self._last_word_seconds)

    async def close(self) -> None:
        """Leave every trial."""
        for actor in list(self._actors.values()):
            await actor.leave()

    def _add(self, trial_id: str, name: str) -> Actor:
        ended = [key for key, actor in self._actors.items() if actor.is_over]
        for key in ended[: max(0, len(ended) - _MOST_ENDED_KEPT)]:
            del self._actors[key]
        if len(self._actors) >= _MOST_KEPT:
            raise TrialStateError(f"{_MOST_KEPT} actors are in trials or wait for them")
        actor = self._actors[trial_id, name] = Actor(trial_id, name)
        return actor
