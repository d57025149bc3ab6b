"""What environment and actor sessions have in common: events in, frames out (protocol 6.9, 6.10, 14).

No task and no queue stands between user code and the stream: :meth:`Session.all_events` reads when it has
nothing to yield, and frames leave when user code asks for the next event or awaits something else. Reads and
writes survive the cancellation of whoever waits for them. For user code that does something else,
:meth:`Session._look_after` reads ahead, so that heartbeats are answered and the trial's end is noticed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from google.protobuf.message import DecodeError

from cogment_lab.errors import ProtocolError, ServiceError
from cogment_lab.wire.driven import Driven
from cogment_lab.wire.events import EventType, RecvEvent, RecvMessage, pack_any
from cogment_lab.wire.generated.common_pb2 import END, HEARTBEAT, LAST, LAST_ACK, NORMAL
from cogment_lab.wire.stream import FrameStream, PeerLost, PeerStalled

__all__ = ["Session"]

_log = logging.getLogger("cogment_lab.wire")

_LOOK_AFTER_S = 0.5
_MOST_AHEAD = 10_000
_MOST_OUTGOING = 10_000
_ACK_BY_ITSELF_AFTER_S = 5.0
_FLUSH_S = 10.0
_END_S = 60.0


class Session:
    """The part of an environment or an actor in one trial; made by the service, not by user code.

    Args:
        stream: The frames to and from the orchestrator.
        trial_id: The trial.
        name: Name of the environment or actor.
        impl_name: Name of the implementation that runs.
        config: Its configuration message, ``None`` for none.

    Attributes:
        name: As above.
        impl_name: As above.
        config: As above.
    """

    _frame: Any
    """Class of the frames that are sent."""
    _may_leave = False
    """Whether the ending trial can do without the rest of what user code would have sent."""

    def __init__(
        self, stream: FrameStream[Any, Any], trial_id: str, name: str, impl_name: str, config: Any
    ) -> None:
        self.name = name
        self.impl_name = impl_name
        self.config = config
        self._trial_id = trial_id
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._inbox: deque[RecvEvent] = deque()
        self._outbox: list[Any] = []
        self._flush_is_due = False
        self._writing = self._reading = False
        self._writer: Driven[None] | None = None
        self._reader: Driven[Sequence[Any]] | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._drained: asyncio.Future[None] | None = None
        self._looks = 0
        self._timer: asyncio.TimerHandle | None = None
        self._failure: Exception | None = None
        self._started = False
        self._silent = True  # nothing may be sent: not started, done sending, or over
        self._ending = False
        self._acknowledged = False
        self._ack_is_due = False
        self._over = False
        self._auto_ack = True
        self._tick_id = -1
        self._delivered_tick_id = -1
        self._messages_received = self._messages_sent = self._rewards_received = 0
        self._reward_sum = 0.0
        self._watch()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r} in trial {self._trial_id!r})"

    @property
    def key(self) -> tuple[str, str]:
        """What tells this session from others: the trial and its name."""
        return self._trial_id, self.name

    def get_trial_id(self) -> str:
        """Return the id of the trial."""
        return self._trial_id

    def get_tick_id(self) -> int:
        """Return the last received tick, -1 before the first."""
        return self._tick_id

    def is_trial_over(self) -> bool:
        """Return whether the trial ended for this session, or its orchestrator is gone."""
        return self._over

    def sending_done(self) -> None:
        """Promise to send nothing more; for sessions started with ``auto_done_sending=False``.

        Raises:
            ServiceError: the promise is given automatically, or the trial is not ending.
        """
        if self._auto_ack:
            raise ServiceError("sending_done() is called for you; start with auto_done_sending=False")
        if not self._ending:
            raise ServiceError("sending_done() before the trial is ending")
        if not self._over:
            self._acknowledge()

    async def all_events(self) -> AsyncGenerator[RecvEvent, object]:
        """Yield what is received, until after the FINAL event; without one when the trial is ended by force.

        Send a false value into the generator to stop it; another call goes on where it stopped.

        Raises:
            ProtocolError: the orchestrator sent something that cannot be understood.
        """
        if not self._started:
            _log.warning("%r: no events before start()", self)
            return
        inbox = self._inbox
        while True:
            while inbox:
                event = inbox.popleft()
                if event.observation is not None:
                    self._delivered_tick_id = event.observation.tick_id
                    self._ack_is_due = self._auto_ack and event.type is EventType.ENDING
                go_on = yield event
                if self._ack_is_due:
                    self._acknowledge()
                if event.type is EventType.FINAL or (go_on is not None and not go_on):
                    return
            if self._failure is not None:
                raise self._failure
            if self._over:
                return
            self._flush()
            self._read()
            if self._reading and not inbox:
                await self._wait()

    async def event_loop(self) -> AsyncGenerator[RecvEvent, object]:
        """Yield what :meth:`all_events` yields; its old name."""
        async for event in self.all_events():
            yield event

    def add_reward(
        self, value: float, confidence: float, to: Sequence[str], tick_id: int = -1, user_data: Any = None
    ) -> None:
        """Send a reward to each of ``to`` (patterns of protocol section 6.7).

        Args:
            value: The reward, a 32-bit float on its way.
            confidence: Its weight among the rewards of the same receiver and tick.
            to: Actor names, ``*``, ``class.*`` or ``class.name``.
            tick_id: The tick that is rewarded, -1 for the current one; an older one is only logged.
            user_data: A message that travels with it.
        """
        if self._refuses("a reward"):
            return
        for receiver in to:
            frame = self._frame(state=NORMAL)
            reward = frame.reward
            reward.tick_id = tick_id
            reward.receiver_name = receiver
            reward.value = value
            source = reward.sources.add()
            source.sender_name = self.name
            source.value = value
            source.confidence = confidence
            if user_data is not None:
                pack_any(user_data, source.user_data)
            self._send(frame)

    def _send_message(self, payload: Any, to: Sequence[str]) -> None:
        if self._refuses("a message"):
            return
        for receiver in to:
            self._messages_sent += 1
            frame = self._frame(state=NORMAL)
            frame.message.tick_id = -1
            frame.message.receiver_name = receiver
            if payload is not None:
                pack_any(payload, frame.message.payload)
            self._send(frame)

    def _start(self, init: Any, auto_done_sending: bool) -> None:
        if self._started:
            raise ServiceError(f"{self.name!r} is started already")
        if self._over:
            raise ServiceError(f"cannot start {self.name!r}: the trial has ended")
        self._started = True
        self._silent = False
        self._auto_ack = auto_done_sending
        if init is not None:
            self._send(init)

    # Outgoing

    def _refuses(self, what: str) -> bool:
        if self._silent:
            over = "the trial is over" if self._over else "sending is done"
            _log.warning("%r: %s is not sent: %s", self, what, over if self._started else "not started yet")
        return self._silent

    def _send(self, frame: Any) -> None:
        """Put ``frame`` on its way: when user code asks for the next event, or soon."""
        if len(self._outbox) >= _MOST_OUTGOING:
            raise ServiceError(
                f"{_MOST_OUTGOING} frames of {self.name!r} wait: it never awaits, or nobody reads them"
            )
        self._outbox.append(frame)
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush_soon)

    def _flush_soon(self) -> None:
        self._flush_is_due = False
        self._flush()

    def _flush(self) -> None:
        """Begin to write what waits; a write that is under way takes it along."""
        if self._outbox and not self._writing:
            self._writing = True
            self._writer = Driven(self._write(), self._written)

    async def _write(self) -> None:
        while self._outbox:
            frames, self._outbox = self._outbox, []
            try:
                await self._stream.write(*frames)
            except PeerStalled as error:
                self._lose(str(error))
            except PeerLost:  # what is left to be read says why
                self._silent = True
                self._outbox.clear()
                self._read_on()
            except asyncio.CancelledError:
                self._lose("the service stops")

    def _written(self, _: None) -> None:
        self._writing = False
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None

    def _acknowledge(self) -> None:
        self._ack_is_due = False
        if not (self._acknowledged or self._over):
            self._send(self._frame(state=LAST_ACK))
            self._acknowledged = True
            self._silent = True

    # Incoming

    async def _wait(self) -> None:
        """Wait until the read that is under way is done, or the trial is over."""
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _read(self) -> None:
        """Begin to read, unless a read is under way."""
        if not self._reading:
            self._reading = True
            self._reader = Driven(self._next_frames(), self._arrived)

    def _read_on(self) -> None:
        if not self._over:
            self._read()

    async def _next_frames(self) -> Sequence[Any]:
        try:
            return await self._stream.read()
        except asyncio.CancelledError:
            return ()

    def _arrived(self, frames: Sequence[Any]) -> None:
        self._reading = False
        self._take(frames)
        if self._waiters:
            self._wake()
        elif not self._over and len(self._inbox) < _MOST_AHEAD:
            self._loop.call_soon(self._read_on)

    def _take(self, frames: Sequence[Any]) -> None:
        if not frames:
            self._close_of_peer()
        for frame in frames:
            state = frame.state
            if state == NORMAL:
                try:
                    event = self._event(frame, EventType.ENDING if self._ending else EventType.ACTIVE)
                except Exception as error:  # user messages have parsers of their own
                    self._fail(f"an undecodable frame: {error}")
                    return
                if event is not None:
                    self._inbox.append(event)
            elif state == HEARTBEAT and len(self._outbox) < _MOST_OUTGOING:
                self._send(self._frame(state=HEARTBEAT))
            elif state == LAST:
                self._ending = True
            elif state == END:
                self._end(frame.details)
                return
            else:
                _log.error("%r: a frame of state %d makes no sense here", self, state)

    def _event(self, frame: Any, event_type: EventType) -> RecvEvent | None:
        """Return what ``frame`` brings, ``None`` for nothing; set ``_tick_id``."""
        raise NotImplementedError

    def _message_event(self, frame: Any, kind: str | None, event: RecvEvent) -> RecvEvent | None:
        if kind == "message":
            self._messages_received += 1
            event.messages.append(RecvMessage(frame.message))
            return event
        _log.warning("%r: %s", self, frame.details or f"a frame with {kind} makes no sense here")
        return None

    def _end(self, details: str) -> None:
        if self._ending:
            self._inbox.append(RecvEvent(EventType.FINAL))
        else:
            _log.warning("%r: the trial was ended by force: %s", self, details or "no reason given")
        self._over = self._silent = True

    def _close_of_peer(self) -> None:
        error = self._stream.error
        if isinstance(error, DecodeError):
            self._fail(f"an undecodable frame: {error}")
        else:
            self._lose(str(error or "the orchestrator closed the stream"))

    def _fail(self, why: str) -> None:
        self._failure = ProtocolError(f"{self.name!r} in trial {self._trial_id!r} received {why}")
        self._over = self._silent = True

    def _lose(self, why: str) -> None:
        """Note that the orchestrator is gone: user code sees its loop of events end."""
        if not self._over:
            _log.warning("%r: the orchestrator is gone: %s", self, why)
        self._over = self._silent = True
        self._outbox.clear()
        self._wake()

    # Looking after user code that does something else

    def _watch(self) -> None:
        self._timer = self._loop.call_later(_LOOK_AFTER_S, self._look_after)

    def _look_after(self) -> None:
        if self._over:
            return
        self._looks = self._looks + 1 if self._ack_is_due else 0
        if self._looks * _LOOK_AFTER_S > _ACK_BY_ITSELF_AFTER_S:
            self._acknowledge()
        if len(self._inbox) < _MOST_AHEAD:
            self._read()
        self._watch()

    async def _finish(self) -> None:
        """Send what waits and, if the trial is ending, wait for its end; user code has returned."""
        try:
            if self._started and self._ending and self._auto_ack and self._may_leave:
                self._acknowledge()
            self._flush()
            if self._writing:
                self._drained = self._loop.create_future()
                async with asyncio.timeout(_FLUSH_S):
                    await asyncio.shield(self._drained)
            if self._acknowledged:
                async with asyncio.timeout(_END_S):
                    while not self._over:
                        self._read()
                        if self._reading:
                            await self._wait()
        except TimeoutError:
            _log.warning("%r: the orchestrator did not end the trial in time", self)
        finally:
            await self._abandon()

    async def _abandon(self) -> None:
        """Stop everything that this session does by itself."""
        self._over = self._silent = True
        if self._timer is not None:
            self._timer.cancel()
        for driven in (self._reader, self._writer):
            if driven is not None:
                driven.close()
