"""``cogmentlab replay``: a trial executed again, compared with its record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from cogment_lab.cli.trials import open_existing

if TYPE_CHECKING:
    from cogment_lab.integrations.gymnasium.replay import Divergence

__all__ = ["replay_trial"]


def replay_trial(file: Path, trial_id: str, *, render: bool, video: Path | None) -> int:
    """Execute a trial again, and say whether it is the same; return the exit status: 1 if it is not.

    Raises:
        ConfigurationError: the environment cannot be made, or the video exists already.
        StoreError: there is no such store or trial.
    """
    from cogment_lab.integrations.gymnasium.replay import replay

    found: list[Divergence] = []
    count = -1

    def frames(store: Any) -> Iterator[npt.NDArray[np.uint8]]:
        nonlocal count
        for step in replay(store, trial_id, render=render or video is not None):
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
            console.print(f"wrote {video}: {written} frames", highlight=False, soft_wrap=True)
        else:
            pictures = sum(1 for _ in frames(store))
            if pictures:
                console.print(f"rendered {pictures} frames", highlight=False)
    if found:
        console.print(f"diverged: {found[0]}", highlight=False, markup=False, soft_wrap=True)
        return 1
    console.print(f"the same again: {count} ticks", highlight=False)
    return 0
