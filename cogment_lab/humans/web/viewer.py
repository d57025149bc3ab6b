"""One browser tab at a seat: what it is sent, what it may say."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from typing import TYPE_CHECKING, Any

from fastapi import WebSocket, WebSocketDisconnect

from cogment_lab.humans.web.memory import now_ns

if TYPE_CHECKING:
    from cogment_lab.humans.web.room import Room

__all__ = ["Viewer"]

_FRAMES_IN_FLIGHT = 2
_MESSAGES_PER_SECOND = 200
_INPUT_TIMEOUT = 1.0
_REQUESTS = frozenset({"take", "release", "pause", "resume", "step", "stop", "save", "discard"})
_PACES = frozenset({"max", "live", "half", "quarter", "step"})
_MOST_KEYS = 16
_LONGEST_TEXT = 2000


class Viewer:
    """A connected tab.

    Args:
        websocket: Accepted already.
        room: The seat it looks at.
        client: Survives a reload of the tab, so that the same person drives again.
    """

    frame_rate = 60

    def __init__(self, websocket: WebSocket, room: Room, client: str) -> None:
        self.client = client
        self.visible = True
        self._socket = websocket
        self._room = room
        self._changed = asyncio.Event()
        self._greeting = True
        self._in_flight: list[int] = []
        self._acked_frame = 0
        self._sent_status = ""
        self._painted: float | None = None
        self._replies: list[dict[str, Any]] = []
        self._held: list[str] = []
        self._heard = time.monotonic()
        self._window_start = time.monotonic()
        self._window_count = 0

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
                    self._hear(text)
        except WebSocketDisconnect:
            return
        finally:
            sender.cancel()
            self._room.leave(self)
            await asyncio.gather(sender, return_exceptions=True)

    async def stop(self) -> None:
        """Close the connection: the server ends."""
        with contextlib.suppress(RuntimeError):
            await self._socket.close(1001, "the training has ended")

    def wake(self) -> None:
        """Look again whether there is something to send."""
        self._changed.set()

    def greet(self) -> None:
        """Say (again) who drives, and with which keys."""
        self._greeting = True
        self.wake()

    # --- to the tab ---

    async def _send_all(self) -> None:
        """Send what is new; a frame only when the tab has seen the ones before."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            room = self._room
            if self._greeting:
                self._greeting = False
                await self._send(
                    {
                        "type": "hello",
                        "seat": {"name": room.name, "role": room.role},
                        "driving": room.driver is self,
                        "keymap": room.status.get("keymap"),
                        "controls": room.status.get("controls"),
                    }
                )
            while self._replies:
                await self._send(self._replies.pop(0))
            status = json.dumps({k: v for k, v in room.status.items() if k not in ("keymap", "controls")})
            if status != self._sent_status:
                self._sent_status = status
                await self._socket.send_text(status)
            if self._wants(room.frame):
                assert room.frame is not None
                self._in_flight.append(room.frame[0])
                await self._socket.send_bytes(room.frame[1])
            if room.driver is self and time.monotonic() - self._heard > _INPUT_TIMEOUT and self._held:
                self._hold([])

    def _wants(self, frame: tuple[int, bytes] | None) -> bool:
        """Return whether to send that frame: it is new, the tab looks, and keeps up."""
        if frame is None or not self.visible or len(self._in_flight) >= _FRAMES_IN_FLIGHT:
            return False
        newest = self._in_flight[-1] if self._in_flight else self._acked_frame
        return frame[0] > newest

    async def _send(self, message: dict[str, Any]) -> None:
        await self._socket.send_text(json.dumps(message))

    # --- from the tab ---

    def _within_rate(self) -> bool:
        now = time.monotonic()
        if now - self._window_start > 1.0:
            self._window_start, self._window_count = now, 0
        self._window_count += 1
        return self._window_count <= _MESSAGES_PER_SECOND

    def _hear(self, text: str) -> None:
        """Act on one message; what makes no sense is ignored."""
        try:
            message = json.loads(text)
            kind = message["type"]
        except (ValueError, KeyError, TypeError):
            return
        handler = getattr(self, f"_on_{kind}", None) if isinstance(kind, str) else None
        if handler is None:
            return
        try:
            handler(message)
        except (KeyError, TypeError, ValueError, OverflowError):
            return

    def _on_keys(self, message: dict[str, Any]) -> None:
        self._heard = time.monotonic()
        held = [str(code)[:32] for code in message["held"][:_MOST_KEYS]]
        if self._drives() and held != self._held:
            self._hold(held)

    def _hold(self, held: list[str]) -> None:
        self._held = held
        self._room.memory.post({"k": "keys", "held": held})

    def _on_controls(self, message: dict[str, Any]) -> None:
        if self._drives():
            self._room.memory.post({"k": "controls", "action": message["action"]})

    def _on_request(self, message: dict[str, Any]) -> None:
        name = message["name"]
        if name not in _REQUESTS or not self._drives():
            return
        if name == "take" and self._room.learning:
            return
        post: dict[str, Any] = {"k": "request", "name": name}
        if name == "take" and self._painted is not None:
            reaction = float(message["t"]) - self._painted
            if math.isfinite(reaction) and 0.0 < reaction < 60_000.0:
                post["reaction_ns"] = int(reaction * 1e6)
        self._room.memory.post(post)

    def _on_pace(self, message: dict[str, Any]) -> None:
        if message["name"] in _PACES and self._drives():
            self._room.memory.post({"k": "pace", "name": message["name"]})

    def _on_feedback(self, message: dict[str, Any]) -> None:
        value = float(message["value"])
        if self._drives() and math.isfinite(value):
            value = min(1.0, max(-1.0, value))
            self._room.memory.post(
                {"k": "feedback", "value": value, "time": now_ns(), "tick": self._room.shown_tick}
            )

    def _on_note(self, message: dict[str, Any]) -> None:
        if self._drives():
            self._room.memory.post({"k": "note", "text": str(message["text"])[: _LONGEST_TEXT // 4]})

    def _on_answer(self, message: dict[str, Any]) -> None:
        if self._drives():
            answer = {"k": "answer", "id": str(message["id"])[:64], "choice": str(message["choice"])[:64]}
            self._room.memory.post(answer)

    def _on_ack(self, message: dict[str, Any]) -> None:
        sequence = int(message["seq"])
        if sequence in self._in_flight:
            self._in_flight = [each for each in self._in_flight if each > sequence]
            self._acked_frame = sequence
            self._painted = float(message["painted"])
            self.wake()

    def _on_visible(self, message: dict[str, Any]) -> None:
        self.visible = bool(message["visible"])
        self._in_flight.clear()
        self._room.tell_trial()
        self.wake()

    def _on_ping(self, message: dict[str, Any]) -> None:
        if len(self._replies) < _FRAMES_IN_FLIGHT:
            self._replies.append(
                {"type": "pong", "id": message["id"], "t": message["t"], "server": now_ns() / 1e6}
            )
            self.wake()

    def _on_move(self, message: dict[str, Any]) -> None:
        if self._room.role != "observer":
            self._room.move_to(self)

    def _drives(self) -> bool:
        return self._room.driver is self
