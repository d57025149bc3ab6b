"""The demo's progress bar, as a Stable-Baselines3 callback."""

from __future__ import annotations

import time

from rich.progress import Progress
from stable_baselines3.common.callbacks import BaseCallback

__all__ = ["ProgressCallback"]

_SECONDS_BETWEEN_UPDATES = 0.2


class ProgressCallback(BaseCallback):
    """Moves a bar, at most five times a second.

    Args:
        progress: A started :class:`rich.progress.Progress` whose columns show the field ``note``.
        total: Steps in all.
    """

    def __init__(self, progress: Progress, total: int) -> None:
        super().__init__()
        self._progress = progress
        self._task = progress.add_task("learning", total=total, note="")
        self._next = 0.0

    def _on_step(self) -> bool:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _SECONDS_BETWEEN_UPDATES
            self._update()
        return True

    def _on_training_end(self) -> None:
        self._update()

    def _update(self) -> None:
        returns = [episode["r"] for episode in list(self.model.ep_info_buffer or ())[-20:]]
        note = f"mean return {sum(returns) / len(returns):.0f}" if returns else ""
        self._progress.update(self._task, completed=self.num_timesteps, note=note)
