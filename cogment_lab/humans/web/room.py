"""One seat on the server's side: who looks, who drives, what they see."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cogment_lab.humans.web.claim import holder_of
from cogment_lab.humans.web.memory import (
    ACTIVE,
    DRIVING,
    FRAME_GENERATION,
    FRAME_SEQ,
    INSIDE,
    SERVER_ALIVE,
    STATUS_SEQ,
    VIEWER_FPS,
    VIEWERS,
    WRITTEN,
    FrameBoard,
    SeatMemory,
    now_ns,
)
from cogment_lab.humans.web.picture import Kind, Shot
from cogment_lab.humans.web.story import Story
from cogment_lab.store.process import process_exists

if TYPE_CHECKING:
    from cogment_lab.humans.web.viewer import Viewer

__all__ = ["Room"]

_LEARNING_NS = 150_000_000
_SPECTATORS_PICTURES = 900  # a second, all of a seat's spectators together
_FEWEST_FPS, _MOST_FPS = 2, 60
_INPUTS_REMEMBERED = 512
_GREETED = ("keymap", "controls")
_MESSAGES_KEPT = 20


class Room:
    """A seat with everybody who looks at it.

    Args:
        folder: Where the seat's files are.
        name: The seat's name.
        role: What its driver may do.
        encoders: Threads that encode.
    """

    def __init__(self, folder: Path, name: str, role: str, encoders: Executor) -> None:
        self.name = name
        self.role = role
        self.allows: frozenset[str] | None = None  # everything
        self.memory = SeatMemory(folder / f"{name}.seat")
        self.viewers: list[Viewer] = []
        self.driver: Viewer | None = None
        self.status: dict[str, Any] = {"type": "status", "state": "waiting"}
        self.story = Story(dict(self.status), None)
        self.shot: Shot | None = None
        self.shown_tick = 0
        self.messages: deque[dict[str, Any]] = deque(maxlen=_MESSAGES_KEPT)
        self._lock_path = folder / f"{name}.lock"
        self._status_seq = 0
        self._frame_seq = 0
        self._sequence = 0
        self._board: FrameBoard | None = None
        self._encoders = encoders
        self._pictures: dict[Kind, asyncio.Future[bytes | None]] = {}
        self._inputs: deque[tuple[int, int]] = deque(maxlen=_INPUTS_REMEMBERED)
        self._driver_input = 0

    @property
    def learning(self) -> bool:
        """Whether the learner computes: the trial runs, and no step has been asked for lately."""
        words = self.memory.words
        running = self.status.get("state") in ("running", "between") and self.status.get("pace") != "max"
        return bool(running and not words[INSIDE] and now_ns() - words[ACTIVE] > _LEARNING_NS)

    @property
    def holder(self) -> dict[str, Any] | None:
        """``pid`` and ``env_id`` of the living process that holds the seat."""
        holder = holder_of(self._lock_path)
        return holder if holder is not None and process_exists(holder["pid"]) else None

    def describe(self) -> dict[str, Any]:
        """Return what the lobby says of the seat."""
        holder = self.holder
        return {
            "name": self.name,
            "role": self.role,
            "env_id": holder["env_id"] if holder is not None else self.status.get("env_id"),
            "held": holder is not None,
            "state": self.status["state"] if self.viewers else "running" if holder else "waiting",
            "occupied": self.driver is not None,
            "driver": self.driver.person if self.driver is not None else None,
            "viewers": len(self.viewers),
        }

    # --- who looks ---

    def enter(self, viewer: Viewer) -> None:
        """Let somebody look; whoever comes first, or comes back, drives."""
        self.viewers.append(viewer)
        if self.driver is None and viewer.may_drive:
            self._seat(viewer)
        self._share_rate()
        self.tell_trial()
        self._follow_status()

    def leave(self, viewer: Viewer) -> None:
        """Somebody is gone; a driver's controls go back to the agent."""
        self.viewers.remove(viewer)
        if self.driver is viewer:
            self._tell_that_the_driver_left()
            again = (each for each in self.viewers if each.client == viewer.client and each.may_drive)
            self._seat(next(again, None))
        self._share_rate()
        self.tell_trial()

    def move_to(self, viewer: Viewer) -> None:
        """Let another tab drive."""
        if self.driver is viewer:
            return
        self._tell_that_the_driver_left()
        self.driver = None
        self.tell_trial()
        self._seat(viewer)
        self.tell_trial()

    def _tell_that_the_driver_left(self) -> None:
        """Say it in a message: a trial that is busy while somebody else sits down would miss the word."""
        if self.driver is not None:
            self.memory.post({"k": "left"})

    def _seat(self, viewer: Viewer | None) -> None:
        self.driver = viewer
        self._inputs.clear()
        self._driver_input = 0
        if viewer is not None:
            viewer.sit_down()
        for each in self.viewers:
            each.greet()

    def _share_rate(self) -> None:
        """Spectators share what the server can send, so that they never slow the driver."""
        spectators = [viewer for viewer in self.viewers if viewer is not self.driver]
        share = _SPECTATORS_PICTURES / max(len(spectators), 1)
        for viewer in spectators:
            viewer.limit_rate(min(_MOST_FPS, max(_FEWEST_FPS, share)))
        if self.driver is not None:
            self.driver.limit_rate(_MOST_FPS)

    def tell_trial(self) -> None:
        """Tell the trial who is there: it renders and keeps pace only for those."""
        visible = [viewer for viewer in self.viewers if viewer.visible]
        words = self.memory.words
        words[SERVER_ALIVE] = now_ns()
        words[DRIVING] = self.driver is not None and self.driver.visible
        words[VIEWER_FPS] = max((viewer.frame_rate for viewer in visible), default=0)
        words[VIEWERS] = len(visible)

    def post(self, message: dict[str, Any], number: int = 0) -> bool:
        """Hand the trial a message; ``number`` is the driver's own for an input, to find it in a picture."""
        if not self.memory.post(message):
            return False
        if number:
            self._inputs.append((self.memory.words[WRITTEN], number))
        return True

    def keep_message(self, text: str, person: str | None, trial: str | None) -> None:
        """Keep what somebody said to the experimenter, of the trial that they saw, for the lobby."""
        trial = trial or self.status.get("trial_id")
        message = {"seat": self.name, "person": person, "text": text, "trial": trial, "time": time.time()}
        self.messages.append(message)

    async def close(self) -> None:
        """End every connection, with the last word first."""
        if self.viewers:
            self._follow_status()  # the trial's own last word, and then what only this process knows
            self.check_alive()
            self._follow_status()
        await asyncio.gather(*(viewer.stop() for viewer in self.viewers))
        self._board = self.shot = None
        self._pictures = {}

    # --- what they see ---

    def look(self) -> None:
        """Notice a new frame, and wake whoever may want it; called every few milliseconds."""
        words = self.memory.words
        words[SERVER_ALIVE] = now_ns()
        generation = words[FRAME_GENERATION]
        if self._board is None or self._board.generation != generation:
            self._board = FrameBoard.current(self.memory)  # the former's map goes with its last picture
            self._frame_seq = 0
        sequence = words[FRAME_SEQ]
        if self._board is None or sequence in (0, self._frame_seq):
            return
        self._frame_seq = sequence
        self._sequence += 1
        self.shot = Shot(self._board, self._sequence)
        self._pictures = {}
        for viewer in self.viewers:
            viewer.wake()

    async def picture(self, kind: Kind) -> tuple[int, bytes] | None:
        """Return number and message of the newest frame's picture, ``None`` when there is none to see.

        Viewers who want the same kind of the same frame share one encoding.
        """
        shot = self.shot
        if shot is None:
            return None
        future = self._pictures.get(kind)
        if future is None:
            loop = asyncio.get_running_loop()
            future = self._pictures[kind] = loop.run_in_executor(self._encoders, shot.encode, kind)
        data = await asyncio.shield(future)
        if data is None:
            return None
        self.shown_tick = shot.tick
        while self._inputs and self._inputs[0][0] <= shot.taken_messages:
            self._driver_input = self._inputs.popleft()[1]
        return shot.sequence, shot.header(kind, self._driver_input) + data

    def follow(self) -> None:
        """Notice a new status, and wake everybody; called some times a second."""
        self._follow_status()
        for viewer in self.viewers:
            viewer.wake()

    def _follow_status(self) -> None:
        sequence = self.memory.words[STATUS_SEQ]
        if sequence != self._status_seq and (status := self.memory.status()) is not None:
            self._status_seq = sequence
            if any(status.get(name) != self.status.get(name) for name in _GREETED):
                for viewer in self.viewers:
                    viewer.greet()
            self.status = status
        learning = self.learning
        idle = (now_ns() - self.memory.words[ACTIVE]) / 1e9
        fields = {key: value for key, value in self.status.items() if key not in _GREETED}
        fields["learning"] = learning
        fields["learning_s"] = round(idle, 1) if learning else 0.0
        fields["viewers"] = len(self.viewers)
        if fields != self.story.fields:
            self.story.forget_before()
            self.story = Story(fields, self.story)

    def check_alive(self) -> None:
        """Notice a training process that died without a word."""
        self.tell_trial()  # a trial that found the server too slow has forgotten its viewers
        if self.status.get("state") not in ("running", "between", "waiting"):
            return
        holder = holder_of(self._lock_path)
        if holder is not None and not process_exists(holder["pid"]):
            self.status["state"] = "lost"
            self.status["crash"] = f"the training process {holder['pid']} is gone"

    def remove_files(self) -> None:
        """Remove what nobody needs any more."""
        self.memory.close()
        for path in [
            *self.memory.path.parent.glob(f"{self.name}.frames*"),
            self.memory.path,
            self._lock_path,
        ]:
            with contextlib.suppress(OSError):  # on Windows, while somebody still maps it
                path.unlink(missing_ok=True)
