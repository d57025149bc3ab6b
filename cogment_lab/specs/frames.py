"""Rendered frames as the bytes that travel inside observations."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from cogment_lab.errors import SpecError

__all__ = ["decode_frame", "encode_frame"]

_MOST_PIXELS = 64_000_000

# Keep an image's memory for the next one: fresh pages cost as much as the JPEG.
Image.core.set_blocks_max(4)  # type: ignore[attr-defined]


def encode_frame(frame: npt.NDArray[np.uint8], max_size: int = -1) -> bytes:
    """Return ``frame`` as a JPEG image.

    Args:
        frame: ``(height, width, 3) uint8``.
        max_size: Longest side in pixels, larger frames are shrunk; 0 and less keep the size.

    Raises:
        SpecError: it is no such array.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise SpecError(f"a frame is (height, width, 3) uint8, not {frame.shape} {frame.dtype}")
    image = Image.fromarray(frame)
    if 0 < max_size < max(image.size):
        image.thumbnail((max_size, max_size))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=90)  # lossless formats cost more than the rendering itself
    return buffer.getvalue()


def decode_frame(data: bytes) -> npt.NDArray[Any]:
    """Return the ``(height, width, 3) uint8`` array of an encoded frame, ours or 0.1.5's.

    Raises:
        SpecError: the bytes are no image, or one of more than 64 million pixels.
    """
    try:
        image = Image.open(io.BytesIO(data))
        if image.width * image.height > _MOST_PIXELS:
            raise SpecError(f"a frame of {image.width} x {image.height} pixels is refused")
        return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise SpecError(f"{len(data)} bytes are no image: {error}") from error
