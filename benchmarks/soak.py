"""Many trials between processes, one after the other and at once, and what they leave behind.

1,000 trials in a row, then 200 at once, three times (``--quick``: 60, and 20). Every trial's data is checked:
an end at its last step only, and positions that follow from the velocities before, so that no two trials are
mixed. Keys: seconds of each part, and by how much each process's memory (MB), threads and open files grew
from the 200th trial (``--quick``: the 10th) to the last one in a row (``*_grew``).
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import numpy as np
from common import arguments, report
from services import Role

from cogment_lab import Cogment
from cogment_lab.actors import RandomActor
from cogment_lab.envs import GymEnvironment

Use = dict[str, tuple[float, int, int]]


def usage(pids: dict[str, int]) -> Use:
    """Return memory in MB, threads and open files of each process."""
    found = {}
    for name, pid in pids.items():
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            status = dict(line.split(":", 1) for line in file)
        memory = int(status["VmRSS"].split()[0]) / 1024
        found[name] = (memory, int(status["Threads"]), len(os.listdir(f"/proc/{pid}/fd")))
    return found


def check(data: Any) -> None:
    """Raise AssertionError unless these are the samples of one episode of CartPole."""
    assert data.terminated[-1] and not data.terminated[:-1].any()
    seen = data.observations
    assert np.allclose(seen[1:, 0], seen[:-1, 0] + 0.02 * seen[:-1, 1], atol=1e-5), "trials are mixed"


async def measure(in_a_row: int, at_once: int, warm_up: int) -> dict[str, Any]:
    """Run the trials; return seconds and growth."""
    roles = {role: Role(role) for role in ("orchestrator", "datastore")}
    results: dict[str, Any] = {}
    async with Cogment(
        orchestrator_port=roles["orchestrator"].port, datastore_port=roles["datastore"].port
    ) as cog:
        await cog.run_env(GymEnvironment("CartPole-v1"), "cart", port=0)
        await cog.run_actor(RandomActor(), "random", port=0)
        pids = {"client": os.getpid()} | {name: role.process.pid for name, role in roles.items()}
        pids |= {name: process.pid for name, process in cog.processes.items()}

        async def play() -> str:
            trial_id = await cog.start_trial("cart", "random")
            check((await cog.get_trial_data(trial_id))["gym"])
            return trial_id

        begin = time.perf_counter()
        for number in range(in_a_row):
            if number == warm_up:
                before = usage(pids)
            await play()
        results["in_a_row_s"] = time.perf_counter() - begin
        after = usage(pids)
        for name in pids:
            results[f"{name}_grew"] = "{:+.1f} MB, {:+d} threads, {:+d} files".format(
                *(new - old for old, new in zip(before[name], after[name], strict=True))
            )
        for each in range(3):
            begin = time.perf_counter()
            assert len(set(await asyncio.gather(*(play() for _ in range(at_once))))) == at_once
            results[f"at_once_{each}_s"] = time.perf_counter() - begin
        settled = usage(pids)
        assert all(settled[name][2] <= before[name][2] + 2 for name in pids), "files stay open"
    for role in roles.values():
        role.close()
    return results


def main() -> None:
    args = arguments(__doc__, pairs=1)
    sizes = (60, 20, 10) if args.quick else (1000, 200, 200)
    report(asyncio.run(measure(*sizes)), args.json)


if __name__ == "__main__":
    main()
