"""Frames as an mp4 file."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from cogment_lab.integrations.exchange import new_path

from cogment_lab.errors import ConfigurationError, MissingExtraError

__all__ = ["write_video"]

_ENCODING_SECONDS = 120.0  # after the last frame was handed over


def write_video(frames: Iterable[npt.NDArray[np.uint8]], path: Path, fps: float) -> int:
    """Write frames ``(height, width, 3)`` of one size; odd sizes lose a row or column.

    Returns:
        How many frames were written.

    Raises:
        ConfigurationError: there are no frames, or of several sizes, or the file exists or cannot be made, or
            its name does not end in ``.mp4``.
        MissingExtraError: imageio-ffmpeg is not installed.
        StoreFullError: the disk is full; nothing is left of the file.
    """
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        raise MissingExtraError('a video needs imageio-ffmpeg: pip install "cogment_lab[video]"')
    if path.suffix.lower() != ".mp4":
        raise ConfigurationError(f"{path} would hold an mp4: give it a name that ends in .mp4")
    count = 0
    shape: tuple[int, ...] = ()
    with contextlib.ExitStack() as stack:
        unfinished = stack.enter_context(new_path(path))
        pipe: IO[bytes] | None = None
        for frame in frames:
            if pipe is None:
                shape = frame.shape
                size = shape[1] // 2 * 2, shape[0] // 2 * 2
                pipe = stack.enter_context(_encoder(unfinished, size, fps))
            if frame.shape != shape:
                raise ConfigurationError(
                    f"frame {count} is {frame.shape} and the first was {shape}: a video needs one size"
                )
            even = frame[: shape[0] // 2 * 2, : shape[1] // 2 * 2]
            pipe.write(np.ascontiguousarray(even).tobytes())
            count += 1
        if pipe is None:
            raise ConfigurationError(f"there are no frames for {path}")
    return count


@contextlib.contextmanager
def _encoder(path: Path, size: tuple[int, int], fps: float) -> Iterator[IO[bytes]]:
    """Give a pipe for raw RGB frames; the file is complete when the context ends.

    Not ``imageio_ffmpeg.write_frames``: it does not say whether ffmpeg could write the file.

    Raises:
        OSError: ffmpeg could not write it.
    """
    import imageio_ffmpeg

    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24",
        "-s", f"{size[0]}x{size[1]}", "-r", str(fps), "-i", "-", "-an", "-pix_fmt", "yuv420p",
        "-f", "mp4", str(path),
    ]  # fmt: skip
    with tempfile.TemporaryFile() as said:
        process: subprocess.Popen[Any] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said
        )
        assert process.stdin is not None
        try:
            # A broken pipe only says that ffmpeg is gone; why is in its exit status and in its words.
            with contextlib.suppress(BrokenPipeError):
                yield process.stdin
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.wait(_ENCODING_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise OSError(f"ffmpeg did not finish within {_ENCODING_SECONDS:.0f} s") from error
        finally:
            process.kill()
            process.wait()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        said.seek(0)
        words = said.read().decode(errors="replace").strip()
    if process.returncode == -getattr(signal, "SIGXFSZ", 0):
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    if process.returncode or words:
        raise OSError(f"ffmpeg ended with status {process.returncode}: {words}")
