"""A frame and its pictures: each kind that somebody needs is encoded once."""

from __future__ import annotations

import io
import struct
import threading
from typing import NamedTuple

from PIL import Image

from cogment_lab.humans.web.memory import FrameBoard

__all__ = ["FORMATS", "STEPS", "Kind", "Shot"]

FORMATS = {"jpeg": 1, "webp": 2, "png": 3}
"""The kinds of picture, and their numbers in the header."""

_HEADER = struct.Struct("<IIIId")
_SMALLEST = 32


class _Step(NamedTuple):
    quality: int
    scale: float


STEPS = (_Step(90, 1.0), _Step(75, 1.0), _Step(60, 1.0), _Step(45, 1.0), _Step(45, 0.5), _Step(40, 1 / 3))
"""Quality (0 to 100) and scale, from the best to what a very slow link bears."""


class Kind(NamedTuple):
    """Which picture of a frame.

    Attributes:
        step: Index into :data:`STEPS`.
        format: Key of :data:`FORMATS`.
        max_width: Pixels; 0 for no limit.
    """

    step: int = 0
    format: str = "jpeg"
    max_width: int = 0


class Shot:
    """One frame of a trial; its pixels are read when somebody wants them.

    Args:
        board: Where the trial puts its frames.
        sequence: Number that viewers acknowledge.
    """

    def __init__(self, board: FrameBoard, sequence: int) -> None:
        self.sequence = sequence
        self.tick = 0
        self.taken_messages = 0
        self._time_ms = 0.0
        self._board = board
        self._lock = threading.Lock()
        self._image: Image.Image | None = None

    def encode(self, kind: Kind) -> bytes | None:
        """Return the file, without its header, ``None`` where the frame could not be read; for any thread."""
        with self._lock:
            if self._image is None:
                newest = self._board.get(0)
                if newest is None:
                    return None
                self.tick, self.taken_messages = newest.tick, newest.taken_messages
                self._time_ms = newest.time_ns / 1e6
                self._image = Image.fromarray(newest.pixels)
            image = self._image
        return _encode(image, kind)

    def header(self, kind: Kind, driver_input: int) -> bytes:
        """Return the 24 bytes before the file; ``driver_input`` numbers the driver's newest input in it."""
        return _HEADER.pack(FORMATS[kind.format], self.sequence, self.tick, driver_input, self._time_ms)


def _encode(image: Image.Image, kind: Kind) -> bytes:
    step = STEPS[kind.step]
    width = round(image.width * step.scale)
    if kind.max_width:
        width = min(width, kind.max_width)
    width = max(width, min(_SMALLEST, image.width))
    if width < image.width:
        height = max(1, round(image.height * width / image.width))
        image = image.resize((width, height), Image.Resampling.BOX)
    buffer = io.BytesIO()
    if kind.format == "png":
        image.save(buffer, "PNG", compress_level=1)
    elif kind.format == "webp":
        image.save(buffer, "WEBP", quality=step.quality, method=0)
    else:
        image.save(buffer, "JPEG", quality=step.quality)
    return buffer.getvalue()
