"""What recording costs per step: bare CartPole, ours recording into a file, Minari's DataCollector.

Keys: ``overhead_us`` (ours - bare, per step of a tight loop, resets included), ``minari_us`` and
``minari_ratio`` = (Minari - bare) / (ours - bare). Minari's collector needs ``pip install jax``; without it
those keys are null.
"""

from __future__ import annotations

import functools
import importlib.util
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
from common import arguments, interleave, median_and_spread, report

import cogment_lab
from cogment_lab.humans import SimulatedHuman


def never(observation: Any, proposed_action: Any) -> bool:
    return False


def microseconds_per_step(make_env: Any, steps: int) -> float:
    env = make_env()
    env.reset(seed=1)
    begin = time.perf_counter()
    for number in range(steps):
        _, _, terminated, truncated, _ = env.step(number & 1)
        if terminated or truncated:
            env.reset()
    elapsed = time.perf_counter() - begin
    env.close()
    return elapsed / steps * 1e6


def main() -> None:
    args = arguments(__doc__, pairs=9)
    steps = 5_000 if args.quick else 40_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "step.db"

        def ours() -> Any:
            teacher = SimulatedHuman(lambda observation: 0, gate=never)
            return cogment_lab.make("CartPole-v1", store=path, teacher=teacher)

        runs = [functools.partial(microseconds_per_step, lambda: gym.make("CartPole-v1"), steps)]
        runs.append(functools.partial(microseconds_per_step, ours, steps))
        if importlib.util.find_spec("jax") is not None:
            import minari

            warnings.simplefilter("ignore")
            runs.append(
                functools.partial(
                    microseconds_per_step, lambda: minari.DataCollector(gym.make("CartPole-v1")), steps // 10
                )
            )
        figures = interleave(args.pairs, *runs)
    overheads = [own - bare for bare, own in zip(figures[0], figures[1], strict=True)]
    overhead, spread = median_and_spread(overheads)
    bare, _ = median_and_spread(figures[0])
    results: dict[str, Any] = {"bare_us": bare, "overhead_us": overhead, "overhead_spread_us": spread}
    results |= {"minari_us": None, "minari_ratio": None}
    if len(figures) == 3:
        minari_overheads = [theirs - bare for bare, theirs in zip(figures[0], figures[2], strict=True)]
        results["minari_us"] = median_and_spread(minari_overheads)[0]
        results["minari_ratio"] = results["minari_us"] / overhead
    report(results, args.json)


if __name__ == "__main__":
    main()
