"""``cogmentlab replay``: a trial executed again, compared with its record."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from cogment_lab.cli.counting import counted
from cogment_lab.cli.trials import open_existing
from cogment_lab.errors import ConfigurationError

if TYPE_CHECKING:
    from cogment_lab.integrations.gymnasium.replay import Divergence

__all__ = ["replay_trial"]


def replay_trial(
    file: Path, trial_id: str, *, render: bool, video: Path | None, env: str | None = None
) -> int:
    """Execute a trial again, and say whether it is the same; return the exit status: 1 if it is not.

    Args:
        file: The store.
        trial_id: Which.
        render: Render each tick.
        video: Where to write the pictures.
        env: ``MODULE:FUNCTION`` that makes the environment; by default the recorded spec.

    Raises:
        ConfigurationError: the environment cannot be made, or the video exists already.
        StoreError: there is no such store or trial.
    """
    from cogment_lab.integrations.gymnasium.replay import replay

    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pictures become arrays: no screen is needed
    make_env = None if env is None else _find_function(env)
    found: list[Divergence] = []
    count = -1

    def frames(store: Any) -> Iterator[npt.NDArray[np.uint8]]:
        nonlocal count
        for step in replay(store, trial_id, render=render or video is not None, env=make_env):
            count += 1
            if step.divergence is not None and not found:
                found.append(step.divergence)
            if step.frame is not None:
                yield step.frame

    console = Console()
    with open_existing(file) as store:
        fps = float(store.info(trial_id).parameters.get("fps") or 30.0)
        if video is not None:
            from cogment_lab.integrations.video import write_video

            written = write_video(frames(store), video, fps)
            console.print(f"wrote {video}: {counted(written, 'frame')}", highlight=False, soft_wrap=True)
        else:
            pictures = sum(1 for _ in frames(store))
            if pictures:
                console.print(f"rendered {counted(pictures, 'frame')}", highlight=False)
    if found:
        console.print(f"diverged: {found[0]}", highlight=False, markup=False, soft_wrap=True)
        return 1
    console.print(f"the same again: {counted(count, 'tick')}", highlight=False)
    return 0


def _find_function(text: str) -> Callable[[], Any]:
    module, separator, name = text.partition(":")
    if not separator:
        raise ConfigurationError(f"--env {text!r} is not MODULE:FUNCTION, such as mygame:make_env")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Callable[[], Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"--env {text!r} cannot be found from {Path.cwd()}: {error}") from error
    finally:
        sys.path.remove(str(Path.cwd()))
    return found
