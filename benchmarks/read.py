"""Reading stored transitions: into arrays, into a Stable-Baselines3 buffer, in little memory, beside others.

Keys:

- ``arrays_100k_s`` and ``fill_100k_s``: seconds for 100,000 CartPole transitions (scaled, with ``--quick``);
- ``minari_ratio``: how many times as fast as Minari's ``iterate_episodes`` a query yields the same trials
  (from a dataset that Minari's own function wrote, without the infos that our export adds);
- ``stream_10m_peak_mb``: what ``store.transitions()`` adds to the memory of a fresh process, at its peak,
  while it goes through ``stream_transitions`` (ten million; fewer with ``--quick`` or ``--stream N``);
- ``samples_ratio``: how many times as fast as Cogment Lab 0.1.5's reader arrays are filled, see
  ``sample_reader.py``;
- ``write_100k_added_s``: what recording adds to 100,000 steps of CartPole, the store's closing included, and
  ``write_100k_added_cpu_s``, the processor's time in it (both threads').
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from cogment_lab.integrations.sb3 import fill_replay_buffer
from common import arguments, interleave, median_and_spread, report
from sample_reader import encode_samples, read_samples
from stable_baselines3.common.buffers import ReplayBuffer

import cogment_lab
from cogment_lab.store import AgentSpec, StreamSpec
from cogment_lab.trial.sample import Tick

_EPISODE = 1000
_BYTES_PER_TICK = 200  # of a file and its log, generously


def record(path: Path, ticks: int) -> None:
    """Write random CartPole trials (about 22 ticks each)."""
    with_store = cogment_lab.make("CartPole-v1", store=path)
    with_store.action_space.seed(1)
    with_store.reset(seed=1)
    for _ in range(ticks):
        _, _, terminated, truncated, _ = with_store.step(with_store.action_space.sample())
        if terminated or truncated:
            with_store.reset()
    with_store.close()


def write_long(path: Path, ticks: int) -> None:
    """Write trials of 1,000 ticks without an environment."""
    spec = AgentSpec(gym.spaces.Box(-1, 1, (4,), np.float32), gym.spaces.Discrete(2))
    with cogment_lab.TrialStore(path) as store:
        stream = store.open_stream(StreamSpec(env_id="Long-v0", agents={"gym": spec}))
        recorder = stream.recorder("gym")
        observation, tick = np.zeros(4, np.float32), Tick()
        tick.observation, tick.info, tick.reward = observation, {}, 1.0
        tick.executed_action = tick.proposed_action = 1
        for trial in range(ticks // _EPISODE):
            stream.begin(f"t{trial}", seed=trial, rng_state=None, options=None, properties={})
            for number in range(_EPISODE):
                observation[0] = tick.number = number
                tick.truncated = number == _EPISODE - 1
                recorder.append(tick)
            stream.end(state="ENDED", end_reason="truncated", last_observations={"gym": observation})
            store.flush()
        stream.close()


_GO_THROUGH = """
import re, sys
from cogment_lab.store import TrialStore

def memory(name):
    # Not ru_maxrss, which starts from the memory of the process that this one was forked from.
    with open("/proc/self/status") as status:
        return int(re.search(name + r":\\s+(\\d+) kB", status.read())[1]) / 1e3

with TrialStore(sys.argv[1]) as store:
    before = memory("VmRSS")
    count = sum(len(batch) for batch in store.transitions())
    print(count, memory("VmHWM") - before, memory("VmHWM"))
"""


def measure_stream(folder: Path, ticks: int) -> dict[str, Any]:
    path = folder / "long.db"
    needed = ticks * _BYTES_PER_TICK
    free = shutil.disk_usage(folder).free
    if free < needed:
        sys.exit(
            f"{folder} has {free / 1e9:.1f} GB free and {ticks} transitions need {needed / 1e9:.1f}: set "
            "TMPDIR to another place, or pass --stream with fewer"
        )
    begin = time.perf_counter()
    write_long(path, ticks)
    wrote = time.perf_counter() - begin
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _GO_THROUGH, str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=1800,
    )
    count, peak, whole = done.stdout.split()
    assert int(count) == ticks // _EPISODE * _EPISODE, f"{count} of {ticks} transitions came back"
    return {
        "stream_10m_peak_mb": float(peak),
        "stream_process_mb": float(whole),
        "stream_transitions": int(count),
        "stream_write_s": wrote,
        "stream_read_s": time.perf_counter() - begin,
        "stream_file_mb": path.stat().st_size / 1e6,
    }


def seconds_of_a_run(path: Path | None, ticks: int) -> tuple[float, float]:
    """Return the seconds of a run, and those of the processor in it (the writing thread's included)."""
    env = cogment_lab.make("CartPole-v1", store=path)
    env.reset(seed=1)
    begin, cpu = time.perf_counter(), time.process_time()
    for number in range(ticks):
        _, _, terminated, truncated, _ = env.step(number & 1)
        if terminated or truncated:
            env.reset()
    env.close()
    return time.perf_counter() - begin, time.process_time() - cpu


def measure_writing(folder: Path, ticks: int, pairs: int) -> tuple[float, float]:
    """Return the medians of what recording adds, in seconds, and in seconds of the processor."""
    added = []
    for number in range(pairs):
        without, recorded = seconds_of_a_run(None, ticks), seconds_of_a_run(folder / f"{number}.db", ticks)
        added.append([one - other for one, other in zip(recorded, without, strict=True)])
    wall, cpu = (median_and_spread(figures)[0] for figures in zip(*added, strict=True))
    return wall, cpu


def sample_reader(path: Path, ticks: int) -> Callable[[], float]:
    """Return what measures the seconds that 0.1.5's way takes for as many transitions, on fewer."""
    fewer = min(ticks, 10_000)
    with cogment_lab.TrialStore(path) as store:
        query = store.query()
        spec = query.spaces()
        samples = encode_samples(query, spec.observation_space, spec.action_space)[:fewer]

    def run() -> float:
        begin = time.perf_counter()
        seen, *_ = read_samples(samples, spec.observation_space, spec.action_space)
        assert len(seen) == fewer
        return (time.perf_counter() - begin) * ticks / fewer

    return run


def to_arrays(path: Path, ticks: int) -> float:
    begin = time.perf_counter()
    with cogment_lab.TrialStore(path) as store:
        found = [(batch.observations, batch.actions, batch.rewards) for batch in store.transitions()]
        arrays = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    seconds = time.perf_counter() - begin
    assert len(arrays[0]) == ticks, f"{len(arrays[0])} of {ticks} transitions came back"
    return seconds


def fill(path: Path, ticks: int) -> float:
    env = cogment_lab.make("CartPole-v1", store=None)
    buffer = ReplayBuffer(ticks, env.observation_space, env.action_space, device="cpu")
    begin = time.perf_counter()
    with cogment_lab.TrialStore(path) as store:
        filled = fill_replay_buffer(buffer, store, env_id="CartPole-v1")
    assert filled == ticks, f"{filled} of {ticks} transitions came back"
    return time.perf_counter() - begin


def iterate_ours(path: Path) -> float:
    begin = time.perf_counter()
    with cogment_lab.TrialStore(path) as store:
        total = sum(data.rewards.sum() + len(data.observations) for data in store.query())
    assert total > 0
    return time.perf_counter() - begin


def iterate_minari(name: str) -> float:
    import minari

    begin = time.perf_counter()
    episodes = minari.load_dataset(name).iterate_episodes()
    assert sum(episode.rewards.sum() + len(episode.observations) for episode in episodes) > 0
    return time.perf_counter() - begin


def write_minari(path: Path, name: str) -> None:
    """Write the trials as Minari itself would."""
    import minari
    from minari.data_collector import EpisodeBuffer

    with cogment_lab.TrialStore(path) as store:
        episodes = [
            EpisodeBuffer(
                observations=np.concatenate([data.observations, data.next_observations[-1:]]),
                actions=data.actions,
                rewards=data.rewards,
                terminations=data.terminated,
                truncations=data.truncated,
            )
            for data in store.query()
        ]
    minari.create_dataset_from_buffers(name, episodes, env="CartPole-v1")


def main() -> None:
    stream = 10_000_000
    if "--stream" in sys.argv:
        at = sys.argv.index("--stream")
        stream = int(sys.argv[at + 1])
        del sys.argv[at : at + 2]
    args = arguments(__doc__, pairs=9)
    ticks = 10_000 if args.quick else 100_000
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MINARI_DATASETS_PATH"] = folder
        path = Path(folder) / "read.db"
        record(path, ticks)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            write_minari(path, "read-v0")
        arrays, filled, samples = interleave(
            args.pairs,
            lambda: to_arrays(path, ticks),
            lambda: fill(path, ticks),
            sample_reader(path, ticks),
        )
        ours, minaris = interleave(
            min(args.pairs, 3), lambda: iterate_ours(path), lambda: iterate_minari("read-v0")
        )
        added, added_cpu = measure_writing(Path(folder), ticks, min(args.pairs, 5))
        streamed = measure_stream(Path(folder), 100_000 if args.quick else stream)
    scale = 100_000 / ticks
    fill_median, spread = median_and_spread(filled)
    report(
        {
            "arrays_100k_s": median_and_spread(arrays)[0] * scale,
            "fill_100k_s": fill_median * scale,
            "fill_spread_s": spread * scale,
            "minari_ratio": median_and_spread(minaris)[0] / median_and_spread(ours)[0],
            **streamed,
            "samples_ratio": median_and_spread(samples)[0] / median_and_spread(arrays)[0],
            "write_100k_added_s": added * scale,
            "write_100k_added_cpu_s": added_cpu * scale,
            "transitions": ticks,
        },
        args.json,
    )


if __name__ == "__main__":
    main()
