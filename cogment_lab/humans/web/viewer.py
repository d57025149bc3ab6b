"""One browser tab at a seat: what it is sent."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from fastapi import WebSocket, WebSocketDisconnect

from cogment_lab.humans.web.flow import Flow
from cogment_lab.humans.web.hearing import Hearing
from cogment_lab.humans.web.picture import STEPS, Kind
from cogment_lab.humans.web.story import as_text

if TYPE_CHECKING:
    from cogment_lab.humans.web.room import Room
    from cogment_lab.humans.web.story import Story

__all__ = ["Viewer"]

_MESSAGES_PER_SECOND = 200
_INPUT_TIMEOUT = 1.0
_SLOW_STATUS_SECONDS = 0.2
_MOST_REPLIES = 2
_LAST_WORD_SECONDS = 0.5


class Viewer:
    """A connected tab.

    Args:
        websocket: Accepted already.
        room: The seat it looks at.
        client: Survives a reload of the tab, so that the same person drives again.
        may_act: Whether its link lets it drive.
        watches: It came only to look.
        patches: It understands ``patch`` messages.
        person: What the person wants to be called.
    """

    def __init__(
        self,
        websocket: WebSocket,
        room: Room,
        *,
        client: str,
        may_act: bool,
        watches: bool = False,
        patches: bool = False,
        person: str = "",
    ) -> None:
        self.client = client
        self.person = person or None
        self.may_act = may_act and room.role != "observer"
        self.watches = watches
        self.visible = True
        self.heard = time.monotonic()
        self.replies: deque[dict[str, Any]] = deque(maxlen=_MOST_REPLIES)
        self.kind = Kind()
        self.flow = Flow(len(STEPS))
        self._own_fps = self._allowed_fps = self.flow.max_fps
        self._socket = websocket
        self._room = room
        self._hearing = Hearing(self, room)
        self._patches = patches
        self._changed = asyncio.Event()
        self._greeting = True
        self._known: Story | None = None
        self._next_status = 0.0
        self._sent_sequence = 0
        self._window_start = time.monotonic()
        self._window_count = 0

    @property
    def may_drive(self) -> bool:
        """Whether a free seat is for this tab."""
        return self.may_act and not self.watches

    @property
    def drives(self) -> bool:
        """Whether what this tab asks for is done."""
        return self._room.driver is self

    @property
    def frame_rate(self) -> int:
        """Pictures per second that are worth rendering for this tab."""
        return self.flow.rate

    def limit_rate(self, fps: float | None = None, own: float | None = None) -> None:
        """Send at most so many pictures a second: what the room allows, what the tab itself asked for."""
        self._allowed_fps = self._allowed_fps if fps is None else fps
        self._own_fps = self._own_fps if own is None else own
        self.flow.max_fps = min(self._allowed_fps, self._own_fps)

    async def serve(self) -> None:
        """Talk with the tab until it is gone."""
        self._room.enter(self)
        sender = asyncio.create_task(self._send_all())
        try:
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    break
                if not self._within_rate():
                    await self._socket.close(4429, "too many messages")
                    break
                text = message.get("text")
                if text is not None:
                    self._hearing.hear(text)
        except WebSocketDisconnect:
            return
        finally:
            sender.cancel()
            self._room.leave(self)
            await asyncio.gather(sender, return_exceptions=True)

    async def stop(self) -> None:
        """Close the connection, since the server ends, with the last status before."""
        with contextlib.suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
            async with asyncio.timeout(_LAST_WORD_SECONDS):
                await self._send_status(self._room.story, last=True)
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await self._socket.close(1001, "the server ends")

    def wake(self) -> None:
        """Look again whether there is something to send."""
        self._changed.set()

    def sit_down(self) -> None:
        """Begin to drive."""
        self._hearing.sit_down()

    def greet(self) -> None:
        """Say (again) who drives, and with which keys."""
        self._greeting = True
        self.wake()

    async def _send_all(self) -> None:
        """Send what is new; what a slow tab misses in the meantime is not kept for it."""
        room = self._room
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._greeting:
                self._greeting = False
                await self._send(self._greet())
            while self.replies:
                await self._send(self.replies.popleft())
            await self._send_status(room.story)
            await self._send_picture()
            if self.drives and time.monotonic() - self.heard > _INPUT_TIMEOUT:
                self._hearing.let_go()

    def _greet(self) -> dict[str, Any]:
        room = self._room
        return {
            "type": "hello",
            "seat": {"name": room.name, "role": room.role},
            "driving": self.drives,
            "may_act": self.may_act,
            "occupied": room.driver is not None,
            "driver": room.driver.person if room.driver is not None else None,
            "allows": None if room.allows is None else sorted(room.allows),
            "keymap": room.status.get("keymap"),
            "controls": room.status.get("controls"),
        }

    async def _send_status(self, story: Story, *, last: bool = False) -> None:
        """Send what is new of it; a tab that does not keep up is told less often, but for the last word."""
        now = time.monotonic()
        if story is self._known or (not last and self.flow.is_late(now) and now < self._next_status):
            return
        self._next_status = now + _SLOW_STATUS_SECONDS
        text = story.since(self._known) if self._patches and self._known is not None else story.text
        self._known = story
        await self._socket.send_text(text)

    async def _send_picture(self) -> None:
        """Send the newest frame, if the tab looks and keeps up."""
        shot = self._room.shot
        if shot is None or not self.visible or shot.sequence <= self._sent_sequence:
            return
        if not self.flow.wants(shot.sequence, time.monotonic()):
            return
        picture = await self._room.picture(self.kind._replace(step=self.flow.step))
        if picture is None or picture[0] <= self._sent_sequence:
            return
        self._sent_sequence = picture[0]
        self.flow.sent(picture[0], time.monotonic())
        await self._socket.send_bytes(picture[1])

    async def _send(self, message: dict[str, Any]) -> None:
        await self._socket.send_text(as_text(message))

    def _within_rate(self) -> bool:
        now = time.monotonic()
        if now - self._window_start > 1.0:
            self._window_start, self._window_count = now, 0
        self._window_count += 1
        return self._window_count <= _MESSAGES_PER_SECOND
