"""Executes a trial again and writes its pictures: ``python -m ...rerender STORE TRIAL FILE MOST_FRAMES``.

A process of its own, because environments may be slow, may print, and may crash. Its last line of output is
JSON: the ticks and where the re-execution differs, or what went wrong.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from cogment_lab.errors import CogmentLabError, ConfigurationError
from cogment_lab.store import TrialStore
from cogment_lab.store.film import encode_picture, pack_film

__all__: list[str] = []

_WIDTH = 600


def main() -> None:
    """Read the arguments, render, answer."""
    path, trial_id, target, most_frames = sys.argv[1:]
    try:
        with TrialStore(path) as store:
            answer = _render(store, trial_id, Path(target), int(most_frames))
    except CogmentLabError as error:
        answer = {"error": str(error)}
    except Exception as error:  # the environment's own
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(f"\n{json.dumps(answer)}", flush=True)


def _render(store: TrialStore, trial_id: str, target: Path, most_frames: int) -> dict[str, object]:
    replaying = importlib.import_module("cogment_lab.integrations.gymnasium.replay")
    n_shown = store.info(trial_id).n_ticks + 1  # one more than ticks: what the last one led to
    pictures, ticks, divergence = [], [], ""
    for step in replaying.replay(store, trial_id, render=range(0, n_shown, -(-n_shown // most_frames))):
        if step.divergence is not None and not divergence:
            divergence = str(step.divergence)[:500]
        if step.frame is not None:
            pictures.append(encode_picture(step.frame, _WIDTH))
            ticks.append(step.tick + 1)
    if not pictures:
        raise ConfigurationError("the environment renders no pictures (render_mode='rgb_array')")
    target.write_bytes(pack_film(pictures))
    return {"ticks": ticks, "divergence": divergence}


if __name__ == "__main__":
    main()
