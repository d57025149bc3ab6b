"""Trials between processes, against the floor of the machine.

Keys, per second, medians of interleaved rounds (each ``*_ratio`` is the median of the ratios within a round):

- ``floor_per_s``: raw bytes over two grpc.aio stream round trips between three processes;
  ``grpc_trial_per_s``: steps of a trial with a process each for environment, actor, orchestrator, datastore;
  ``grpc_only_per_s``: the same without the socket that our own processes of one machine use beside gRPC
- ``floor8_per_s``, ``concurrent8_per_s``: the same, eight at once
- ``short_trials_per_s``, ``short_trials_4_per_s``: 10-step trials started, run, stored and read back, one at
  a time and four in flight; ``colocated_per_s``: the same in one process
- ``render_floor_per_s``, ``rendered_per_s``: CartPole at 600x400, bare and through a trial
- ``pipe_floor_per_s``: blocking echoes over a pipe to a subprocess; ``pipe_per_s``: steps of a recorded trial
  whose environment is one

``read_2000_s`` are the seconds that it takes to read a trial of 2,000 ticks back.
"""

from __future__ import annotations

import asyncio
import functools
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import gymnasium as gym
from common import arguments, report
from gymnasium.envs.classic_control import CartPoleEnv

import cogment_lab
from cogment_lab import Cogment
from cogment_lab.actors import ConstantActor
from cogment_lab.envs import GymEnvironment

MESSAGE = b"x" * 60


class EndlessCartPole(CartPoleEnv):
    """CartPole that stands up again, until ``steps`` are over."""

    def __init__(self, steps: int, render_mode: str | None = None) -> None:
        super().__init__(render_mode=render_mode)
        self.limit = steps

    def reset(self, **kwargs: Any) -> Any:
        self.count = 0
        return super().reset(**kwargs)

    def step(self, action: Any) -> Any:
        self.count += 1
        observation, reward, fallen, _, info = super().step(action)
        if fallen:
            observation, _ = super().reset()
        return observation, reward, False, self.count >= self.limit, info


# --- the processes of the floor, and of orchestrator and datastore ---


class Echo(grpc.GenericRpcHandler):
    """Sends back what it receives."""

    def service(self, details: Any) -> Any:
        async def echo(requests: Any, context: Any) -> None:
            while (message := await context.read()) is not grpc.aio.EOF:
                await context.write(message)

        return grpc.stream_stream_rpc_method_handler(echo)


async def serve(role: str) -> None:
    """Run one role until standard input closes; print its port."""
    service: Any
    if role == "echo":
        service = grpc.aio.server()
        service.add_generic_rpc_handlers((Echo(),))
        port = service.add_insecure_port("127.0.0.1:0")
        await service.start()
    elif role == "orchestrator":
        from cogment_lab.services.orchestrator import Orchestrator, OrchestratorSettings

        service = Orchestrator(OrchestratorSettings(lifecycle_port=0, actor_port=0))
        port = await service.start()
    else:
        from cogment_lab.services.trial_datastore import TrialDatastore, TrialDatastoreSettings

        service = TrialDatastore(TrialDatastoreSettings(port=0))
        port = await service.start()
    print(json.dumps(port), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await service.stop(0.1)


class Role:
    """One of these processes."""

    def __init__(self, role: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--role", role],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(20)


# --- what is measured ---


class Floor:
    """Round trips of raw bytes, as a trial makes them."""

    def __init__(self, first: int, second: int) -> None:
        self.channels = [grpc.aio.insecure_channel(f"127.0.0.1:{port}") for port in (first, second)]
        self.calls = [channel.stream_stream("/echo/Echo")() for channel in self.channels]

    async def per_second(self, steps: int) -> float:
        begin = time.perf_counter()
        for _ in range(steps):
            for call in self.calls:
                await call.write(MESSAGE)
                await call.read()
        return steps / (time.perf_counter() - begin)

    async def close(self) -> None:
        for call in self.calls:
            call.cancel()
        for channel in self.channels:
            await channel.close()


async def run_trial(cog: Cogment, env: str, **session_config: Any) -> float:
    """Run one trial; return its steps per second between its first and last sample."""
    trial_id = await cog.start_trial(env, "left", session_config)
    data = (await cog.get_trial_data(trial_id))["gym"]
    skipped = len(data) // 20  # connecting
    elapsed = (data.t_acted[-1] - data.t_acted[skipped]) / 1e9
    return float((len(data) - 1 - skipped) / elapsed)


async def at_once(work: Callable[[], Awaitable[float]], count: int) -> float:
    """Return the sum of what ``count`` of them reach at once."""
    return sum(await asyncio.gather(*(work() for _ in range(count))))


async def short_trials(cog: Cogment, count: int, in_flight: int) -> float:
    """Return 10-step trials per second, started, run, stored and read back."""
    gate = asyncio.Semaphore(in_flight)

    async def one() -> None:
        async with gate:
            data = await cog.get_trial_data(await cog.start_trial("short", "left"))
            assert len(data["gym"]) == 10

    begin = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(one())
    return count / (time.perf_counter() - begin)


def colocated(count: int) -> float:
    """Return 10-step trials per second with everything in this process."""
    with tempfile.TemporaryDirectory() as folder:
        store = cogment_lab.TrialStore(str(Path(folder) / "bench.db"))
        env = cogment_lab.make(functools.partial(EndlessCartPole, 10), store=store)
        begin = time.perf_counter()
        for _ in range(count):
            env.reset()
            for _ in range(10):
                env.step(0)
            store.flush()
            assert len(store.load(env.trial_id)["gym"]) == 10
        elapsed = time.perf_counter() - begin
        env.close()
        store.close()
    return count / elapsed


def echo_pipe(pipe: Any) -> None:
    try:
        while True:
            pipe.send_bytes(pipe.recv_bytes())
    except EOFError:
        pass


def pipe_floor(steps: int) -> float:
    """Return blocking round trips per second over a pipe to a subprocess."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=echo_pipe, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    ours.send_bytes(MESSAGE)
    ours.recv_bytes()
    begin = time.perf_counter()
    for _ in range(steps):
        ours.send_bytes(MESSAGE)
        ours.recv_bytes()
    elapsed = time.perf_counter() - begin
    ours.close()
    process.join()
    return steps / elapsed


def pipe_trial(steps: int) -> float:
    """Return steps per second of a recorded trial whose environment is a subprocess."""
    with tempfile.TemporaryDirectory() as folder:
        build = functools.partial(EndlessCartPole, 1_000_000)
        env = cogment_lab.make(build, process=True, store=str(Path(folder) / "bench.db"))
        env.reset()
        env.step(0)
        begin = time.perf_counter()
        for _ in range(steps):
            env.step(0)
        elapsed = time.perf_counter() - begin
        env.close()
    return steps / elapsed


def render_floor(frames: int) -> float:
    """Return steps with rendering per second of the bare environment."""
    env: gym.Env[Any, Any] = EndlessCartPole(1_000_000, "rgb_array")
    env.reset()
    env.render()
    begin = time.perf_counter()
    for _ in range(frames):
        env.step(0)
        env.render()
    elapsed = time.perf_counter() - begin
    env.close()
    return frames / elapsed


async def measure(rounds: int, scale: float) -> dict[str, Any]:
    figures: dict[str, list[float]] = {}
    ratios: dict[str, list[float]] = {}
    steps = max(100, int(600 * scale))

    def note(key: str, value: float, floor: float | None = None) -> float:
        figures.setdefault(key, []).append(value)
        if floor is not None:
            ratios.setdefault(key.removesuffix("_per_s") + "_ratio", []).append(value / floor)
        return value

    roles = [Role(role) for role in ("echo", "echo", "orchestrator", "datastore")]
    first, second, orchestrator, datastore = (role.port for role in roles)
    floors = [Floor(first, second) for _ in range(8)]
    async with (
        Cogment(orchestrator_port=orchestrator, datastore_port=datastore) as cog,
        Cogment(orchestrator_port=orchestrator, datastore_port=datastore) as plain_cog,
    ):
        os.environ["COGMENT_LAB_SHORTCUT"] = "0"  # for the processes that follow
        plain = GymEnvironment(EndlessCartPole, make_kwargs={"steps": steps})
        await plain_cog.run_env(plain, "plain", port=0)
        await plain_cog.run_actor(ConstantActor(0), "left", port=0)
        del os.environ["COGMENT_LAB_SHORTCUT"]
        for name, length, render in (
            ("long", steps, False),
            ("short", 10, False),
            ("shown", steps // 4, True),
        ):
            env = GymEnvironment(EndlessCartPole, make_kwargs={"steps": length}, render=render)
            await cog.run_env(env, name, port=0)
        env = GymEnvironment(EndlessCartPole, make_kwargs={"steps": 2_000})
        await cog.run_env(env, "read", port=0)
        await cog.run_actor(ConstantActor(0), "left", port=0)
        await run_trial(cog, "long")
        await floors[0].per_second(steps)
        for _ in range(rounds):
            floor = note("floor_per_s", await floors[0].per_second(steps))
            note("grpc_trial_per_s", await run_trial(cog, "long"), floor)
            note("grpc_only_per_s", await run_trial(plain_cog, "plain"), floor)
            floor8 = note("floor8_per_s", await at_once_floor(floors, steps // 2))
            note("concurrent8_per_s", await at_once(lambda: run_trial(cog, "long"), 8), floor8)
            note("short_trials_per_s", await short_trials(cog, 20, 1))
            note("short_trials_4_per_s", await short_trials(cog, 40, 4))
            bare = note("render_floor_per_s", await asyncio.to_thread(render_floor, steps // 4))
            note("rendered_per_s", await run_trial(cog, "shown", render=True), bare)
        trial_id = await cog.start_trial("read", "left")
        await cog.get_trial_data(trial_id)
        for _ in range(rounds):
            begin = time.perf_counter()
            data = await cog.get_trial_data(trial_id)
            note("read_2000_s", time.perf_counter() - begin)
            assert len(data["gym"]) == 2_000
        for each in floors:
            await each.close()
    for role in roles:
        role.close()
    for _ in range(rounds):
        note("colocated_per_s", await asyncio.to_thread(colocated, 50))
        pipe = note("pipe_floor_per_s", await asyncio.to_thread(pipe_floor, steps * 4))
        note("pipe_per_s", await asyncio.to_thread(pipe_trial, steps * 4), pipe)
    results = {key: statistics.median(values) for key, values in (figures | ratios).items()}
    return dict(sorted(results.items()))


async def at_once_floor(floors: list[Floor], steps: int) -> float:
    return float(sum(await asyncio.gather(*(each.per_second(steps) for each in floors))))


def main() -> None:
    if sys.argv[1:2] == ["--role"]:
        asyncio.run(serve(sys.argv[2]))
        return
    args = arguments(__doc__, pairs=9)
    report(asyncio.run(measure(2 if args.quick else args.pairs, 0.3 if args.quick else 1.0)), args.json)


if __name__ == "__main__":
    main()
