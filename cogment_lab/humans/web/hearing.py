"""What a browser tab may say, and what comes of it; what makes no sense is ignored."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any

from cogment_lab.humans.web.memory import now_ns
from cogment_lab.humans.web.picture import FORMATS
from cogment_lab.humans.web.wishes import REQUESTS, SETTINGS

if TYPE_CHECKING:
    from cogment_lab.humans.web.room import Room
    from cogment_lab.humans.web.viewer import Viewer

__all__ = ["Hearing"]

_PACES = frozenset({"max", "live", "half", "quarter", "step"})
_MOST_KEYS = 16
_LONGEST_NOTE = 800  # bytes, of the 1,020 of a message to the trial
_LONGEST_CAPTURE_NS = 5_000_000_000
_REFUSAL_SECONDS = 1.0  # so often a wish that is not granted is recorded
_SLOWEST_REACTION_MS = 60_000.0
_LARGEST_NUMBER = 2**32 - 1
_FPS = (1.0, 60.0)
_WIDTH = (32, 4096)


class Hearing:
    """Turns one tab's messages into what its trial is told.

    Args:
        viewer: The tab.
        room: Its seat.
    """

    def __init__(self, viewer: Viewer, room: Room) -> None:
        self._viewer = viewer
        self._room = room
        self._held: list[str] = []
        self._controls = False
        self._painted: float | None = None
        self._refused_at = -_REFUSAL_SECONDS

    def hear(self, text: str) -> None:
        """Act on one message."""
        try:
            message = json.loads(text)
            kind = message["type"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        handler = getattr(self, f"_on_{kind}", None) if isinstance(kind, str) else None
        if handler is None:
            return
        try:
            handler(message)
        except (KeyError, TypeError, ValueError, OverflowError):
            return

    def sit_down(self) -> None:
        """Begin to drive: the trial holds nothing, whatever this tab said when it drove before."""
        self._held = []
        self._controls = False

    def let_go(self) -> None:
        """Release what a tab holds that has fallen silent."""
        if self._held:
            self._hold([], 0)
        if self._controls:
            self._controls = False
            self._room.post({"k": "controls", "action": None})

    def _hold(self, held: list[str], number: int) -> None:
        self._held = held
        self._room.post({"k": "keys", "held": held}, number)

    def _may(self, wish: str) -> bool:
        """Return whether this tab's wish counts here; one that the seat does not allow is recorded."""
        if not self._viewer.drives:
            return False
        if self._room.allows is None or wish in self._room.allows:
            return True
        now = time.monotonic()
        if now - self._refused_at >= _REFUSAL_SECONDS:
            self._refused_at = now
            self._room.post({"k": "refused", "why": f"this seat does not allow {wish!r}"})
        return False

    # --- the driver ---

    def _on_keys(self, message: dict[str, Any]) -> None:
        self._viewer.heard = time.monotonic()
        held = [str(code)[:32] for code in message["held"][:_MOST_KEYS]]
        if self._viewer.drives and held != self._held:
            self._hold(held, _number(message))

    def _on_controls(self, message: dict[str, Any]) -> None:
        if not self._viewer.drives:
            return
        action = message["action"]
        self._viewer.heard = time.monotonic()
        self._controls = action is not None
        if not self._room.post({"k": "controls", "action": action}, _number(message)):
            self._room.post({"k": "refused", "why": "an action that long does not fit into a message"})

    def _on_request(self, message: dict[str, Any]) -> None:
        name = message["name"]
        if name not in REQUESTS or not self._may(name):
            return
        if name == "take" and self._room.learning:
            return
        post: dict[str, Any] = {"k": "request", "name": name, "trial": _trial(message)}
        if name == "take" and self._painted is not None:
            reaction = float(message["t"]) - self._painted
            if math.isfinite(reaction) and 0.0 < reaction < _SLOWEST_REACTION_MS:
                post["reaction_ns"] = int(reaction * 1e6)
        self._room.post(post)

    def _on_pace(self, message: dict[str, Any]) -> None:
        if message["name"] in _PACES and self._may("pace"):
            self._room.post({"k": "pace", "name": message["name"]})

    def _on_feedback(self, message: dict[str, Any]) -> None:
        value = float(message["value"])
        if math.isfinite(value) and self._may("feedback"):
            value = min(1.0, max(-1.0, value))
            self._room.post({"k": "feedback", "value": value, **self._moment(message)})

    def _on_note(self, message: dict[str, Any]) -> None:
        text = _whole(" ".join(str(message["text"]).split()))
        if text and self._may("note"):
            cut = text[:_LONGEST_NOTE]
            while len(json.dumps(cut, ensure_ascii=False).encode()) > _LONGEST_NOTE:
                cut = cut[:-16]
            to = "experimenter" if message.get("to") == "experimenter" else "record"
            self._room.post({"k": "note", "text": cut, "to": to, **self._moment(message)})
            if to == "experimenter":
                self._room.keep_message(cut, self._viewer.person, _trial(message))

    def _on_setting(self, message: dict[str, Any]) -> None:
        name, value = message["name"], message["value"]
        if name in SETTINGS and isinstance(value, bool | int | float | str) and self._may(name):
            self._room.post({"k": "setting", "name": name, "value": value})

    def _moment(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return when and about which tick of which trial something was said, as far as the tab knows."""
        now, newest = now_ns(), self._room.shown_tick
        captured, tick = message.get("captured"), message.get("tick")
        moment = int(float(captured) * 1e6) if isinstance(captured, int | float) else now
        if not now - _LONGEST_CAPTURE_NS <= moment <= now:
            moment = now
        tick = tick if isinstance(tick, int) and 0 <= tick <= newest else newest
        return {"time": moment, "tick": tick, "trial": _trial(message)}

    def _on_answer(self, message: dict[str, Any]) -> None:
        if self._viewer.drives:
            answer = {"k": "answer", "id": str(message["id"])[:64], "choice": str(message["choice"])[:64]}
            self._room.post(answer)

    # --- everybody ---

    def _on_ack(self, message: dict[str, Any]) -> None:
        painted = float(message["painted"])
        if self._viewer.flow.heard(int(message["seq"]), time.monotonic()):
            self._painted = painted
            self._viewer.wake()

    def _on_view(self, message: dict[str, Any]) -> None:
        viewer = self._viewer
        if "format" in message:
            wanted = "jpeg" if message["format"] == "auto" else message["format"]
            if wanted in FORMATS:
                viewer.kind = viewer.kind._replace(format=wanted)
        if "max_fps" in message:
            viewer.limit_rate(own=min(_FPS[1], max(_FPS[0], float(message["max_fps"]))))
            self._room.tell_trial()
        if "max_width" in message:
            width = int(message["max_width"])
            viewer.kind = viewer.kind._replace(max_width=width and min(_WIDTH[1], max(_WIDTH[0], width)))

    def _on_visible(self, message: dict[str, Any]) -> None:
        self._viewer.visible = bool(message["visible"])
        self._viewer.flow.forget()
        self._room.tell_trial()
        self._viewer.wake()

    def _on_ping(self, message: dict[str, Any]) -> None:
        pong = {"type": "pong", "id": message["id"], "t": message["t"], "server": now_ns() / 1e6}
        self._viewer.replies.append(pong)
        self._viewer.wake()

    def _on_move(self, message: dict[str, Any]) -> None:
        if self._viewer.may_act:
            self._viewer.watches = False
            self._room.move_to(self._viewer)


def _trial(message: dict[str, Any]) -> str | None:
    """Return the id of the trial that the tab saw, ``None`` where it does not say."""
    trial = message.get("trial")
    return _whole(trial[:64]) if isinstance(trial, str) else None


def _whole(text: str) -> str:
    """Return a text that UTF-8 can say: JSON may hold half a surrogate pair, which no answer holds."""
    return text.encode("utf-8", "replace").decode()


def _number(message: dict[str, Any]) -> int:
    """Return the page's number of an input, 0 for none."""
    number = message.get("n", 0)
    return number if isinstance(number, int) and 0 < number <= _LARGEST_NUMBER else 0
