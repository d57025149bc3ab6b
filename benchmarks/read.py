"""Reading 100,000 stored CartPole transitions into a Stable-Baselines3 replay buffer.

Keys: ``fill_100k_s``, and ``transitions`` that were read.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from cogment_lab.integrations.sb3 import fill_replay_buffer
from common import arguments, median_and_spread, report
from stable_baselines3.common.buffers import ReplayBuffer

import cogment_lab


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


def main() -> None:
    args = arguments(__doc__, pairs=9)
    ticks = 10_000 if args.quick else 100_000
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "read.db"
        record(path, ticks)
        env = cogment_lab.make("CartPole-v1", store=None)
        for _ in range(args.pairs):
            buffer = ReplayBuffer(
                ticks, env.observation_space, env.action_space, device="cpu", handle_timeout_termination=True
            )
            begin = time.perf_counter()
            with cogment_lab.TrialStore(path) as store:
                filled = fill_replay_buffer(buffer, store, env_id="CartPole-v1")
            seconds.append(time.perf_counter() - begin)
        assert filled == ticks, f"{filled} of {ticks} transitions came back"
    median, spread = median_and_spread(seconds)
    per_100k = median * 100_000 / ticks
    report({"fill_100k_s": per_100k, "fill_spread_s": spread, "transitions": filled}, args.json)


if __name__ == "__main__":
    main()
