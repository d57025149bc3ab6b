"""Offline learning on data sets made here.

Data sets, each 48 trials of Pendulum-v1 or LunarLanderContinuous-v3, recorded through trials:

- ``expert``: a scripted policy;
- ``mixed``: trials of four players from expert to random, by how many of their actions are random;
- ``human-like``: an unskilled player, and a simulated person who takes over in danger, late and with errors.

Every algorithm gets the same data, 64x64 networks, 5,000 gradient steps of 256 with targets that move fast
(tau = 0.02, as there are so few) and a learning rate that falls from 0.002 to 0, and 5 seeds. A run's score
is the mean return of its last policy in 20 trials with the same starts for all. It is normalised as D4RL's
are: 0 is the random player's return, 100 the scripted expert's. ``--json`` prints ``{env: {data: {algorithm:
[mean, half-width of its 95 % interval over seeds]}}}``; ``--write`` merges each of these into
``benchmarks/results.json`` as soon as its seeds are done, and draws the table of ``docs/offline.md`` from
there. Finished runs are kept in ``--folder``, with the seconds of CPU that they took: what was stopped goes
on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from cogment_lab.algorithms import AWAC, BC, CQL, IQL, TD3BC
from stable_baselines3.common.utils import LinearSchedule

import cogment_lab
from cogment_lab.humans.scripted import scripted_gate, scripted_policy
from cogment_lab.humans.simulated import SimulatedHuman

ENVS = ("Pendulum-v1", "LunarLanderContinuous-v3")
DATASETS = ("expert", "mixed", "human-like")
ALGORITHMS: dict[str, Callable[..., Any]] = {"BC": BC, "AWAC": AWAC, "TD3+BC": TD3BC, "CQL": CQL, "IQL": IQL}
OPTIONS: dict[str, dict[str, Any]] = {
    "IQL": {"expectile": 0.8},
    "TD3+BC": {"policy_delay": 1},
}
"""Where they differ from the defaults, for all data sets; every actor gets as many updates as BC's."""

Results = dict[str, dict[str, dict[str, list[float]]]]

MIXED_ERRORS = (0.0, 0.3, 0.6, 1.0)
TRIALS = 48
STEPS = 5_000
FIRST_RATE, TAU = 2e-3, 0.02
STARTS = 20
SEEDS = 5
RESULTS = Path(__file__).with_name("results.json")
DOCUMENT = Path(__file__).parents[1] / "docs" / "offline.md"
MARKS = "<!-- written by benchmarks/offline.py -->\n", "<!-- up to here -->\n"
CORL = {"BC": 50.4, "AWAC": 67.7, "TD3+BC": 76.5, "CQL": 78.3, "IQL": 81.6}
"""Published averages over D4RL's locomotion tasks (Tarasov et al. 2023, arXiv:2210.07105)."""
T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 10: 2.262}
"""Student's t for the mean of so many seeds."""


def erring(env_id: str, errors: float, seed: int) -> Callable[[Any], Any]:
    """Return the scripted policy with a share of random actions."""
    policy, rng = scripted_policy(env_id), np.random.default_rng(seed)
    space = gym.make(env_id).action_space
    assert isinstance(space, gym.spaces.Box)

    def act(observation: Any) -> Any:
        if rng.random() < errors:
            return rng.uniform(space.low, space.high).astype(np.float32)
        return policy(observation)

    return act


def record(env_id: str, kind: str, path: Path) -> None:
    """Record a data set, if it is not there yet."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.unlink(missing_ok=True)
    with cogment_lab.TrialStore(unfinished) as store:
        if kind == "expert":
            cogment_lab.run(env_id, erring(env_id, 0.0, 0), TRIALS, seed=1, store=store)
        elif kind == "mixed":
            for index, errors in enumerate(MIXED_ERRORS):
                share = TRIALS // len(MIXED_ERRORS)
                cogment_lab.run(env_id, erring(env_id, errors, index), share, seed=1 + index, store=store)
        else:
            person = SimulatedHuman(
                scripted_policy(env_id), scripted_gate(env_id), reaction_ticks=5, error_rate=0.1
            )
            actors = {"gym": erring(env_id, 0.9, 7), "teacher": person}
            cogment_lab.run(env_id, actors, TRIALS, seed=1, store=store)
    unfinished.rename(path)


def play(env_id: str, act: Callable[[Any], Any], starts: Iterable[int] = range(STARTS)) -> float:
    """Return the mean return from starts that are the same for everybody.

    Args:
        env_id: Of the environment.
        act: Takes ``(n, *shape)`` observations of trials that go on side by side, returns ``n`` actions.
        starts: Numbers of trials.
    """
    going = {start: gym.make(env_id) for start in starts}
    seen = {start: env.reset(seed=10_000 + start)[0] for start, env in going.items()}
    returns = dict.fromkeys(going, 0.0)
    while going:
        actions = act(np.stack([seen[start] for start in going]))
        for (start, env), action in zip(list(going.items()), actions, strict=True):
            seen[start], reward, terminated, truncated, _ = env.step(action)
            returns[start] += float(reward)
            if terminated or truncated:
                going.pop(start).close()
    return statistics.fmean(returns.values())


def player_return(env_id: str, errors: float) -> float:
    """Return the mean return of the scripted policy with a share of random actions."""
    act = erring(env_id, errors, 99)
    # One after the other: the random actions of one trial follow those of the last.
    return statistics.fmean(
        play(env_id, lambda observations: [act(one) for one in observations], [start])
        for start in range(STARTS)
    )


def learn(env_id: str, kind: str, name: str, seed: int, folder: Path, steps: int) -> float:
    """Return the mean return of what an algorithm has learned.

    What was measured is kept in ``folder``, and not measured again.
    """
    options = OPTIONS.get(name, {})
    settings = {"first_rate": FIRST_RATE, "tau": TAU, "starts": STARTS, **options}
    cell = folder / "cells" / f"{env_id}-{kind}-{name}-{seed}-{steps}.json"
    if cell.exists():
        kept = json.loads(cell.read_text())
        if kept.get("settings") == settings:
            return float(kept["return"])
    torch.set_num_threads(1)
    begin = time.process_time()
    model = ALGORITHMS[name](
        "MlpPolicy",
        folder / f"{env_id}-{kind}.db",
        learning_rate=LinearSchedule(FIRST_RATE, 0.0, 1.0),
        tau=TAU,
        seed=seed,
        device="cpu",
        policy_kwargs={"net_arch": [64, 64], "optimizer_kwargs": {"fused": True}},
        **options,
    )
    model.learn(steps)
    score = play(env_id, lambda observations: model.predict(observations, deterministic=True)[0])
    cell.parent.mkdir(parents=True, exist_ok=True)
    unfinished = cell.with_suffix(".part")
    seconds = round(time.process_time() - begin, 1)
    unfinished.write_text(json.dumps({"return": score, "settings": settings, "cpu_seconds": seconds}))
    unfinished.replace(cell)
    return score


def interval(values: list[float]) -> list[float]:
    """Return the mean, and half the width of its 95 % interval over seeds."""
    n = len(values)
    half = T_95[n] * statistics.stdev(values) / n**0.5 if n > 1 else 0.0
    return [round(statistics.fmean(values), 1), round(half, 1)]


def table(results: Results) -> str:
    """Return the table of the document: a row per data set, and the published averages."""
    lines = [
        f"| environment, data | {' | '.join(ALGORITHMS)} |",
        f"|---|{'---|' * len(ALGORITHMS)}",
    ]
    for env_id in (env_id for env_id in ENVS if env_id in results):
        for kind in (kind for kind in DATASETS if kind in results[env_id]):
            scores = results[env_id][kind]
            best = max(scores, key=lambda name: scores[name][0])
            shown = [
                "not measured" if name not in scores else "{:.1f} ± {:.1f}".format(*scores[name])
                for name in ALGORITHMS
            ]
            cells = [
                f"**{text}**" if name == best else text for name, text in zip(ALGORITHMS, shown, strict=True)
            ]
            lines.append(f"| {env_id}, {kind} | {' | '.join(cells)} |")
    lines.append(f"| published: D4RL locomotion | {' | '.join(str(CORL[name]) for name in ALGORITHMS)} |")
    return "\n".join(lines) + "\n"


def write(results: Results) -> None:
    """Merge results into those that were kept, and draw the document's table anew."""
    kept: Results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for env_id, of_env in results.items():
        for kind, scores in of_env.items():
            kept.setdefault(env_id, {}).setdefault(kind, {}).update(scores)
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
    before, rest = DOCUMENT.read_text().split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    DOCUMENT.write_text(f"{before}{MARKS[0]}{table(kept)}{MARKS[1]}{after}")


def learn_all(
    pool: ProcessPoolExecutor,
    ranges: Mapping[str, tuple[float, float]],
    args: argparse.Namespace,
    folder: Path,
    finish: Callable[[Results], None],
) -> Results:
    """Learn from every data set by every algorithm, as much side by side as the pool can.

    Args:
        pool: Started with ``end_with_parent``.
        ranges: By environment, the returns that are scores of 0 and 100.
        args: Has ``datasets, algorithms, seeds, steps``.
        folder: Holds the data sets.
        finish: Is given what is new whenever an algorithm's seeds are done.
    """
    begin = time.perf_counter()
    runs = {
        (env_id, kind, name): [
            pool.submit(learn, env_id, kind, name, seed, folder, args.steps)
            for seed in range(1, args.seeds + 1)
        ]
        for kind in args.datasets
        for name in args.algorithms
        for env_id in ranges
    }
    results: Results = {}
    for (env_id, kind, name), of_seeds in runs.items():
        low, high = ranges[env_id]
        mean, half = interval([100 * (run.result() - low) / (high - low) for run in of_seeds])
        seconds = time.perf_counter() - begin
        print(f"{env_id:24} {kind:11} {name:7} {mean:7.1f} ± {half:5.1f}   ({seconds:.0f} s)", flush=True)
        results.setdefault(env_id, {}).setdefault(kind, {})[name] = [mean, half]
        finish({env_id: {kind: {name: [mean, half]}}})
    return results


def end_with_parent() -> None:
    """Let a worker end when the benchmark is killed, not go on for hours."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def keep_freed_memory() -> None:
    """Let workers to come keep what they freed, where their C library is glibc.

    CQL's tensors of some 800 kB would otherwise go back to the system and be cleared anew in each step, which
    takes a fifth of its time.
    """
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"):
        os.environ.setdefault(name, str(2**28))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="make the last line one JSON object")
    parser.add_argument("--write", action="store_true", help="write results.json and docs/offline.md")
    parser.add_argument("--steps", type=int, default=STEPS, help="gradient steps (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=SEEDS, choices=(1, *T_95), help="(default %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side (default %(default)s)")
    parser.add_argument("--envs", nargs="+", default=ENVS, choices=ENVS)
    parser.add_argument("--datasets", nargs="+", default=DATASETS, choices=DATASETS)
    parser.add_argument("--algorithms", nargs="+", default=list(ALGORITHMS), choices=list(ALGORITHMS))
    parser.add_argument("--folder", type=Path, default=Path("runs/offline"), help="for the data sets")
    args = parser.parse_args()
    is_written = args.write and (args.steps, args.seeds) == (STEPS, SEEDS)
    if args.write and not is_written:
        print(f"the document's table is of {STEPS} steps and {SEEDS} seeds: nothing will be written")
    keep_freed_memory()
    with ProcessPoolExecutor(args.jobs, get_context("spawn"), end_with_parent) as pool:
        sets = [(env_id, kind) for env_id in args.envs for kind in args.datasets]
        recorded = [pool.submit(record, *of, args.folder / f"{'-'.join(of)}.db") for of in sets]
        ranges = {env_id: (player_return(env_id, 1.0), player_return(env_id, 0.0)) for env_id in args.envs}
        for env_id, (low, high) in ranges.items():
            print(f"{env_id}: random {low:.0f}, scripted expert {high:.0f}", flush=True)
        for done in recorded:
            done.result()
        finish = write if is_written else lambda _: None
        results = learn_all(pool, ranges, args, args.folder, finish)
    if args.json:
        print(json.dumps(results))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
