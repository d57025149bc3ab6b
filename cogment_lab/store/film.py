"""Films: pictures of consecutive ticks in one piece of bytes, as clips are stored and pages fetch them."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cogment_lab.errors import ConfigurationError, CorruptStoreError

__all__ = ["encode_picture", "fits_picture", "pack_film", "unpack_film"]

_MAGIC = b"CLF1"
_HEAD = struct.Struct("<4sI")
_QUALITY = 80
_MOST_PICTURES = 1_000_000


def fits_picture(shape: Sequence[int], dtype: Any) -> bool:
    """Return whether values of this shape and dtype are pictures: ``(h, w)`` or ``(h, w, 1 or 3) uint8``."""
    is_plane = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
    return np.dtype(dtype) == np.uint8 and is_plane and min(shape[:2]) >= 8


def encode_picture(frame: npt.NDArray[np.uint8], max_width: int, quality: int = _QUALITY) -> bytes:
    """Return a frame as JPEG.

    Args:
        frame: ``(h, w, 3)``, ``(h, w, 1)`` or ``(h, w) uint8``.
        max_width: Wider ones are scaled down to it.
        quality: 1 to 95.

    Raises:
        ConfigurationError: it is no picture.
    """
    pixels = np.asarray(frame)
    if not fits_picture(pixels.shape, pixels.dtype):
        raise ConfigurationError(
            f"a frame of shape {pixels.shape} and dtype {pixels.dtype} is no picture; give (h, w, 3) uint8"
        )
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else np.ascontiguousarray(pixels))
    if image.width > max_width:
        height = max(1, round(image.height * max_width / image.width))
        image = image.resize((max_width, height), Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def pack_film(pictures: Sequence[bytes]) -> bytes:
    """Return encoded pictures as one piece: a mark, their number, their lengths, the pictures."""
    lengths = np.array([len(each) for each in pictures], "<u4")
    return _HEAD.pack(_MAGIC, len(pictures)) + lengths.tobytes() + b"".join(pictures)


def unpack_film(film: bytes) -> list[bytes]:
    """Return the pictures of a film.

    Raises:
        CorruptStoreError: the bytes are damaged.
    """
    try:
        magic, count = _HEAD.unpack_from(film)
        if magic != _MAGIC or count > _MOST_PICTURES:
            raise ValueError("it does not begin as films do")
        lengths = np.frombuffer(film, "<u4", count, _HEAD.size).astype(np.int64)
        ends = _HEAD.size + 4 * count + np.cumsum(lengths)
        if (ends[-1] if count else _HEAD.size) != len(film):
            raise ValueError("its length is wrong")
        return [film[end - length : end] for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)]
    except (struct.error, ValueError) as error:
        raise CorruptStoreError(f"a film is damaged: {error}; other clips can be shown") from error
