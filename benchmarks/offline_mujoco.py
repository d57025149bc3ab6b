"""Offline learning on MuJoCo, with the algorithms, settings and scores of ``benchmarks/offline.py``.

Needs ``pip install "gymnasium[mujoco]"``. The data sets are made here, through trials of a SAC that learns
for ``--train-steps`` in each environment:

- ``mixed``: every trial that it learned from, from random actions to its last policy;
- ``expert``: 48 trials of its last policy.

A score of 0 is the return of random actions, 100 that of the last policy: how good that is depends on
``--train-steps``, so that scores of different lengths cannot be compared, nor any with D4RL's. ``--json``
prints what ``benchmarks/offline.py`` does. A short run, which shows that everything works and nothing more::

    python benchmarks/offline_mujoco.py --envs Hopper-v5 --train-steps 2000 --steps 200 --seeds 1
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from cogment_lab.integrations.sb3 import TrialCallback
from offline import ALGORITHMS, STEPS, T_95, TRIALS, end_with_parent, keep_freed_memory, learn_all, play
from stable_baselines3 import SAC

import cogment_lab

ENVS = ("Hopper-v5", "HalfCheetah-v5")
DATASETS = ("expert", "mixed")


def train(env_id: str, steps: int, folder: Path) -> Path:
    """Let a SAC learn, record the trials it learned from as ``mixed``, and return where it is; once."""
    path, model_path = folder / f"{env_id}-mixed.db", folder / f"{env_id}-sac.zip"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        unfinished.unlink(missing_ok=True)
        torch.set_num_threads(1)
        with cogment_lab.TrialStore(unfinished) as store:
            env = cogment_lab.make(env_id, store=store)
            model = SAC("MlpPolicy", env, seed=1, device="cpu", buffer_size=steps)
            model.learn(steps, callback=TrialCallback())
            env.close()
        model.save(model_path)
        unfinished.rename(path)
    return model_path


def record_expert(env_id: str, model: SAC, folder: Path) -> None:
    """Record trials of the last policy, if that was not done yet."""
    path = folder / f"{env_id}-expert.db"
    if path.exists():
        return
    unfinished = path.with_suffix(".part")
    unfinished.unlink(missing_ok=True)
    with cogment_lab.TrialStore(unfinished) as store:
        cogment_lab.run(env_id, acting(model), TRIALS, seed=1, store=store)
    unfinished.rename(path)


def acting(model: SAC) -> Callable[[Any], Any]:
    """Return the model's mean actions, for one observation or many."""
    return lambda observation: model.predict(observation, deterministic=True)[0]


def random_return(env_id: str) -> float:
    """Return the mean return of random actions."""
    space, rng = gym.make(env_id).action_space, np.random.default_rng(99)
    assert isinstance(space, gym.spaces.Box)
    return play(env_id, lambda seen: rng.uniform(space.low, space.high, (len(seen), *space.shape)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="make the last line one JSON object")
    parser.add_argument("--train-steps", type=int, default=100_000, help="of SAC (default %(default)s)")
    parser.add_argument("--steps", type=int, default=STEPS, help="gradient steps (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=5, choices=(1, *T_95), help="(default %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side (default %(default)s)")
    parser.add_argument("--envs", nargs="+", default=ENVS, choices=ENVS)
    parser.add_argument("--datasets", nargs="+", default=DATASETS, choices=DATASETS)
    parser.add_argument("--algorithms", nargs="+", default=list(ALGORITHMS), choices=list(ALGORITHMS))
    parser.add_argument("--folder", type=Path, default=Path("runs/offline-mujoco"), help="for the data sets")
    args = parser.parse_args()
    if importlib.util.find_spec("mujoco") is None:
        parser.exit(1, 'MuJoCo is not installed here: pip install "gymnasium[mujoco]"\n')
    torch.set_num_threads(1)
    folder = args.folder / f"{args.train_steps}-steps"  # other data: nothing of it is to be mixed up
    begin = time.perf_counter()
    ranges: dict[str, tuple[float, float]] = {}
    keep_freed_memory()
    with ProcessPoolExecutor(args.jobs, get_context("spawn"), end_with_parent) as pool:
        trained = {env_id: pool.submit(train, env_id, args.train_steps, folder) for env_id in args.envs}
        for env_id in args.envs:
            model = SAC.load(trained[env_id].result(), device="cpu")
            low, high = random_return(env_id), play(env_id, acting(model))
            seconds = time.perf_counter() - begin
            print(f"{env_id}: random {low:.0f}, SAC's last policy {high:.0f}   ({seconds:.0f} s)", flush=True)
            if high <= low:
                parser.exit(1, f"{env_id}: SAC has learned nothing to compare with: raise --train-steps\n")
            if "expert" in args.datasets:
                record_expert(env_id, model, folder)
            ranges[env_id] = (low, high)
        results = learn_all(pool, ranges, args, folder, lambda _: None)
    if args.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
