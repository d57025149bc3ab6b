"""What the training process and the page's server share: one small file per seat, mapped by both.

Server to trial: who is there (words), and a ring of short messages. Trial to server: a status (newest wins)
and, in a file of its own that is sized for the frame, three frame slots (newest wins). Each region has one
writer; counters are single aligned 8-byte stores, made after the data they announce.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Frame", "FrameBoard", "SeatMemory", "now_ns"]

_RING_SLOTS = 256
_SLOT_BYTES = 1024
_STATUS_BYTES = 128 * 1024
_WORDS = 64
_RING = _WORDS * 8
_STATUS = _RING + _RING_SLOTS * _SLOT_BYTES
_SIZE = _STATUS + 2 * _STATUS_BYTES

# Indices of the 8-byte words at the beginning.
WRITTEN = 0  # messages the server wrote
READ = 1  # messages the trial took
SERVER_ALIVE = 2  # monotonic ns of the server's last sign of life
STATUS_SEQ = 3  # statuses the trial wrote
ACTIVE = 4  # monotonic ns of the trial's last call into its seat
INSIDE = 5  # 1 while the trial is inside a step
FRAME_GENERATION = 6  # which frame file is in use, 0 for none
FRAME_HEIGHT = 7
FRAME_WIDTH = 8
FRAME_SEQ = 9  # frames the trial wrote
DROPPED = 10  # messages that found the ring full
VIEWERS = 11  # visible tabs
DRIVING = 12  # 1 while somebody who may act is there and looks
VIEWER_FPS = 13  # frames per second that the fastest of them can see

_FRAME_SLOTS = 3
_FRAME_HEADER = 64


def now_ns() -> int:
    """Return the clock that both processes share (ns)."""
    return time.monotonic_ns()


def _map(path: Path, size: int) -> mmap.mmap:
    """Map a file, for this user only, made of zeros where it is new.

    Both processes may come upon a new one at once, so whoever finds it empty gives it its size; that of the
    other then changes nothing.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags, 0o600), "r+b") as file:
        if os.fstat(file.fileno()).st_size == 0:
            file.truncate(size)
        return mmap.mmap(file.fileno(), size)


class SeatMemory:
    """Both sides' view of one seat's file.

    Args:
        path: The file; created when it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._map = _map(path, _SIZE)
        self._view = memoryview(self._map)
        self.words = self._view[: _WORDS * 8].cast("Q")

    # --- server to trial ---

    def post(self, message: Mapping[str, Any]) -> bool:
        """Put a message into the ring; return ``False`` when it is full or the message too long."""
        data = json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
        written = self.words[WRITTEN]
        if written - self.words[READ] >= _RING_SLOTS or len(data) > _SLOT_BYTES - 4:
            self.words[DROPPED] += 1
            return False
        start = _RING + (written % _RING_SLOTS) * _SLOT_BYTES
        self._view[start : start + 4] = len(data).to_bytes(4, "little")
        self._view[start + 4 : start + 4 + len(data)] = data
        self.words[WRITTEN] = written + 1
        return True

    def take(self) -> list[dict[str, Any]]:
        """Return the messages that wait, oldest first."""
        messages = []
        read = self.words[READ]
        while read != self.words[WRITTEN]:
            start = _RING + (read % _RING_SLOTS) * _SLOT_BYTES
            length = int.from_bytes(self._view[start : start + 4], "little")
            messages.append(json.loads(bytes(self._view[start + 4 : start + 4 + length])))
            read += 1
            self.words[READ] = read
        return messages

    # --- trial to server ---

    def publish(self, status: Mapping[str, Any]) -> bool:
        """Replace the status; return ``False`` when it is too long."""
        data = json.dumps(status, separators=(",", ":"), default=str).encode()
        if len(data) > _STATUS_BYTES - 4:
            return False
        following = self.words[STATUS_SEQ] + 1
        start = _STATUS + (following % 2) * _STATUS_BYTES
        self._view[start : start + 4] = len(data).to_bytes(4, "little")
        self._view[start + 4 : start + 4 + len(data)] = data
        self.words[STATUS_SEQ] = following
        return True

    def status(self) -> dict[str, Any] | None:
        """Return the newest status, ``None`` before the first or while it changes too fast."""
        for _ in range(4):
            sequence = self.words[STATUS_SEQ]
            if sequence == 0:
                return None
            start = _STATUS + (sequence % 2) * _STATUS_BYTES
            length = int.from_bytes(self._view[start : start + 4], "little")
            data = bytes(self._view[start + 4 : start + 4 + min(length, _STATUS_BYTES - 4)])
            if self.words[STATUS_SEQ] == sequence:
                status: dict[str, Any] = json.loads(data)
                return status
        return None

    def close(self) -> None:
        """Unmap; the file stays."""
        self.words.release()
        self._view.release()
        self._map.close()


class Frame(NamedTuple):
    """A frame as the trial put it.

    Attributes:
        sequence: Counts the frames of its board.
        tick: What it shows.
        time_ns: When it was put.
        taken_messages: How many of the server's messages the trial had taken by then.
        pixels: ``(height, width, 3) uint8``.
    """

    sequence: int
    tick: int
    time_ns: int
    taken_messages: int
    pixels: npt.NDArray[np.uint8]


class FrameBoard:
    """The newest frames of a seat, in a file sized for them.

    Args:
        memory: The seat's file, whose words say which frame file is in use.
        generation: That file's number; a new one is made when the frame's size changes.
        height: Rows.
        width: Columns; pixels are three bytes, RGB.
    """

    def __init__(self, memory: SeatMemory, generation: int, height: int, width: int) -> None:
        self.generation = generation
        self.shape = (height, width, 3)
        self._words = memory.words
        self._slot = _FRAME_HEADER + height * width * 3
        self.path = memory.path.with_suffix(f".frames{generation}")
        self._map = _map(self.path, self._slot * _FRAME_SLOTS)
        self._bytes = np.frombuffer(self._map, np.uint8)

    @classmethod
    def announce(cls, memory: SeatMemory, height: int, width: int) -> FrameBoard:
        """Make a new board on the trial's side and let the server know."""
        words = memory.words
        if words[FRAME_GENERATION] > 1:  # the one before the last: nobody reads it any more
            with contextlib.suppress(OSError):  # on Windows, while somebody still maps it
                memory.path.with_suffix(f".frames{words[FRAME_GENERATION] - 1}").unlink(missing_ok=True)
        board = cls(memory, words[FRAME_GENERATION] + 1, height, width)
        words[FRAME_HEIGHT], words[FRAME_WIDTH] = height, width
        words[FRAME_SEQ] = 0
        words[FRAME_GENERATION] = board.generation
        return board

    @classmethod
    def current(cls, memory: SeatMemory) -> FrameBoard | None:
        """Open the board that the trial announced last, on the server's side."""
        words = memory.words
        generation = words[FRAME_GENERATION]
        if not generation:
            return None
        try:
            return cls(memory, generation, words[FRAME_HEIGHT], words[FRAME_WIDTH])
        except (OSError, ValueError):  # announced anew meanwhile
            return None

    def put(self, frame: npt.NDArray[np.uint8], tick: int) -> None:
        """Write a frame ``(height, width, 3) uint8``; the one before stays readable."""
        following = self._words[FRAME_SEQ] + 1
        start = (following % _FRAME_SLOTS) * self._slot
        header = np.array([tick & 0xFFFFFFFF, now_ns(), self._words[READ]], np.uint64)
        self._bytes[start : start + 24] = header.view(np.uint8)
        self._bytes[start + _FRAME_HEADER : start + self._slot] = frame.reshape(-1)
        self._words[FRAME_SEQ] = following

    def get(self, after: int) -> Frame | None:
        """Return the newest frame, ``None`` for none after ``after``.

        Of the three slots the writer uses the one after the newest: a reader that copies within two frame
        times reads whole frames; a slower one tries again.
        """
        for _ in range(4):
            sequence = self._words[FRAME_SEQ]
            if sequence in (0, after):
                return None
            start = (sequence % _FRAME_SLOTS) * self._slot
            tick, put, taken = self._bytes[start : start + 24].copy().view(np.uint64).tolist()
            pixels = self._bytes[start + _FRAME_HEADER : start + self._slot].copy()
            if self._words[FRAME_SEQ] - sequence < _FRAME_SLOTS - 1:
                return Frame(sequence, tick, put, taken, pixels.reshape(self.shape))
        return None

    def close(self) -> None:
        """Unmap; the file stays."""
        del self._bytes
        self._map.close()
