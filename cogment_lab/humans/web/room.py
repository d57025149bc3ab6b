"""One seat on the server's side: who looks, who drives, what they see."""

from __future__ import annotations

import asyncio
import io
import logging
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cogment_lab.humans.web.claim import holder_of, is_alive
from cogment_lab.humans.web.memory import (
    ACTIVE,
    DRIVING,
    FRAME_GENERATION,
    INSIDE,
    SERVER_ALIVE,
    STATUS_SEQ,
    VIEWER_FPS,
    VIEWERS,
    FrameBoard,
    SeatMemory,
    now_ns,
)

if TYPE_CHECKING:
    from cogment_lab.humans.web.viewer import Viewer

__all__ = ["Room"]

_LOG = logging.getLogger("cogment_lab.humans")
_FRAME_HEADER = struct.Struct("<IIIId")
_JPEG = 1
_LEARNING_NS = 150_000_000
_ALIVE_CHECK_SECONDS = 0.5
_IDLE_SECONDS = 0.05
_LIVE_SECONDS = 0.002
_STATUS_SECONDS = 0.05
_QUALITY = 85


class Room:
    """A seat with everybody who looks at it.

    Args:
        folder: Where the seat's files are.
        name: The seat's name.
        role: What its driver may do.
    """

    def __init__(self, folder: Path, name: str, role: str) -> None:
        self.name = name
        self.role = role
        self.memory = SeatMemory(folder / f"{name}.seat")
        self.viewers: list[Viewer] = []
        self.driver: Viewer | None = None
        self.status: dict[str, Any] = {"type": "status", "state": "waiting"}
        self.frame: tuple[int, bytes] | None = None
        self.shown_tick = 0
        self._lock_path = folder / f"{name}.lock"
        self._status_seq = 0
        self._frame_seq = 0
        self._board: FrameBoard | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def env_id(self) -> str | None:
        """The environment that the seat is in, ``None`` before one took it."""
        return self.status.get("env_id")

    @property
    def learning(self) -> bool:
        """Whether the learner computes: the trial runs, and no step has been asked for lately."""
        words = self.memory.words
        running = self.status.get("state") in ("running", "between") and self.status.get("pace") != "max"
        return bool(running and not words[INSIDE] and now_ns() - words[ACTIVE] > _LEARNING_NS)

    # --- who looks ---

    def enter(self, viewer: Viewer) -> None:
        """Let somebody look; whoever comes first, or comes back, drives."""
        self.viewers.append(viewer)
        if self.driver is None and self.role != "observer":
            self.driver = viewer
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._watch())
            self._task.add_done_callback(_report)
        self.tell_trial()

    def leave(self, viewer: Viewer) -> None:
        """Somebody is gone; a driver's controls go back to the agent."""
        self.viewers.remove(viewer)
        if self.driver is viewer:
            self.driver = next((each for each in self.viewers if each.client == viewer.client), None)
        self.tell_trial()

    def move_to(self, viewer: Viewer) -> None:
        """Let another tab drive."""
        self.driver = None
        self.tell_trial()
        self.driver = viewer
        self.tell_trial()
        for each in self.viewers:
            each.greet()

    def tell_trial(self) -> None:
        """Tell the trial who is there: it renders and keeps pace only for those."""
        visible = [viewer for viewer in self.viewers if viewer.visible]
        words = self.memory.words
        words[SERVER_ALIVE] = now_ns()
        words[DRIVING] = self.driver is not None and self.driver.visible
        words[VIEWER_FPS] = max((viewer.frame_rate for viewer in visible), default=0)
        words[VIEWERS] = len(visible)

    async def close(self) -> None:
        """End the watch and every connection."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for viewer in list(self.viewers):
            await viewer.stop()
        if self._board is not None:
            self._board.close()
            self._board = None

    # --- what they see ---

    async def _watch(self) -> None:
        """Follow the trial's status and frames while anybody looks."""
        next_status = next_check = 0.0
        while True:
            now = time.monotonic()
            self.memory.words[SERVER_ALIVE] = now_ns()
            fresh = False
            if self.viewers:
                if now >= next_check:
                    next_check = now + _ALIVE_CHECK_SECONDS
                    self._check_alive()
                    self.tell_trial()  # a trial that found the server too slow has forgotten its viewers
                fresh = await self._follow_frame()
                if now >= next_status:
                    next_status = now + _STATUS_SECONDS
                    self._follow_status()
                    for viewer in self.viewers:
                        viewer.wake()
            await asyncio.sleep(0 if fresh else _LIVE_SECONDS if self.viewers else _IDLE_SECONDS)

    def _follow_status(self) -> None:
        sequence = self.memory.words[STATUS_SEQ]
        if sequence != self._status_seq:
            status = self.memory.status()
            if status is not None:
                self._status_seq = sequence
                changed = status.get("keymap") != self.status.get("keymap")
                self.status = status
                if changed:
                    for viewer in self.viewers:
                        viewer.greet()
        learning = self.learning
        self.status["learning"] = learning
        idle = (now_ns() - self.memory.words[ACTIVE]) / 1e9
        self.status["learning_s"] = round(idle, 1) if learning else 0.0
        self.status["viewers"] = len(self.viewers)

    def _check_alive(self) -> None:
        """Notice a training process that died without a word."""
        if self.status.get("state") not in ("running", "between", "waiting"):
            return
        holder = holder_of(self._lock_path)
        if holder is not None and not is_alive(holder["pid"]):
            self.status["state"] = "lost"
            self.status["crash"] = f"the training process {holder['pid']} is gone"

    async def _follow_frame(self) -> bool:
        """Encode the newest frame once for all; return whether there was one."""
        generation = self.memory.words[FRAME_GENERATION]
        if self._board is None or self._board.generation != generation:
            if self._board is not None:
                self._board.close()
            self._board = FrameBoard.current(self.memory)
            self._frame_seq = 0
        newest = self._board.get(self._frame_seq) if self._board is not None else None
        if newest is None:
            return False
        self._frame_seq, tick, taken, pixels = newest
        image = await asyncio.to_thread(_encode, pixels)
        sequence = (self.frame[0] if self.frame is not None else 0) + 1
        header = _FRAME_HEADER.pack(_JPEG, sequence, tick, 0, taken / 1e6)
        self.frame = (sequence, header + image)
        for viewer in self.viewers:
            viewer.wake()
        return True


def _report(task: asyncio.Task[None]) -> None:
    """Say on the server's log why a watch ended, unless it was told to."""
    if not task.cancelled() and task.exception() is not None:
        _LOG.error("the watch of a seat ended", exc_info=task.exception())


def _encode(pixels: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return buffer.getvalue()
