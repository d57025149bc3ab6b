"""Frames as an mp4 file."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from cogment_lab.integrations.exchange import new_path

from cogment_lab.errors import ConfigurationError, MissingExtraError

__all__ = ["write_video"]


def write_video(frames: Iterable[npt.NDArray[np.uint8]], path: Path, fps: float) -> int:
    """Write frames ``(height, width, 3)`` of one size; odd sizes lose a row or column.

    Returns:
        How many frames were written.

    Raises:
        ConfigurationError: there are no frames, or the file exists.
        MissingExtraError: imageio-ffmpeg is not installed.
        StoreFullError: the disk is full; nothing is left of the file.
    """
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        raise MissingExtraError('a video needs imageio-ffmpeg: pip install "cogment_lab[video]"')
    import imageio_ffmpeg

    count = 0
    writer: Any = None
    with new_path(path) as unfinished:
        # ffmpeg tells the format by the name's end.
        part = unfinished.with_name(f"{unfinished.name}.mp4")
        try:
            for frame in frames:
                even = frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]
                if writer is None:
                    size = even.shape[1], even.shape[0]
                    writer = imageio_ffmpeg.write_frames(str(part), size, fps=fps, macro_block_size=1)
                    writer.send(None)
                writer.send(np.ascontiguousarray(even))
                count += 1
            if writer is None:
                raise ConfigurationError(f"there are no frames for {path}")
            writer.close()
            part.rename(unfinished)
        finally:
            if writer is not None:
                writer.close()
            part.unlink(missing_ok=True)
    return count
