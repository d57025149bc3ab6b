"""People at their seats: how soon a key shows, how even the pictures come, how many can watch.

- ``key_to_frame_*_ms``: one person, CartPole 600x400 at 60 fps in a process of its own. From sending a key to
  having the picture of the first tick that used it (a numbered input, see docs/seat-protocol.md), without
  painting it.
- ``frame_gap_*_ms``: ``--people`` trials at 30 fps, each in a process of its own, each with one person; time
  between two pictures, of all people together, and the worst person's p99.
- ``cores_of_*``: processor time per second of the page's server and of the trials (they render) meanwhile.
- ``most_people``: the largest number tried for which p99 of the gaps stays below 70 ms (``--limit``).
- ``spectators``: the largest number tried of whom each gets at least 14 of 15 pictures a second of one trial.

The people are one asyncio process of bare WebSocket clients on the same machine and take their share of it.
``load_before`` is the machine's load average when the benchmark began: other programs lengthen every figure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import common
import gymnasium as gym
import httpx
import numpy as np
import psutil
import uvloop
from gymnasium.envs.classic_control import CartPoleEnv
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

import cogment_lab
from cogment_lab.humans import WebUI
from cogment_lab.testing import SeatClient
from cogment_lab.testing.seat_address import PROTOCOL, Picture, SeatAddress

_LIMIT_MS = 70.0
_PEOPLE_FPS = 30
_SPECTATOR_FPS = 15.0
_ENOUGH_FPS = 14.0
_WARM_UP = 2.0
_SPAWN = multiprocessing.get_context("spawn")


class EndlessCartPole(CartPoleEnv):
    """A pole that stands up again where it would fall, so that a person can play on and on."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(action)
        if terminated:
            self.state = np.zeros(4)
            self.steps_beyond_terminated = None
        return observation, float(reward), False, truncated, info


def run_trial(seat: Any, fps: float, stop: Any) -> None:
    """Step a trial whose agent does something at random; the body of a process."""
    env = cogment_lab.make(EndlessCartPole(render_mode="rgb_array"), teacher=seat, store=None, fps=fps)
    env.acknowledge_takeovers("this benchmark")
    actions = gym.spaces.Discrete(2, seed=0)
    env.reset(seed=0)
    while not stop.is_set():
        env.step(int(actions.sample()))
    env.close()


@contextmanager
def trials(ui: WebUI, names: Sequence[str], fps: float) -> Any:
    """Run a trial in a process for each name."""
    stop = _SPAWN.Event()
    processes = [
        _SPAWN.Process(target=run_trial, args=(ui.seat("teacher", name), fps, stop)) for name in names
    ]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        stop.set()
        for process in processes:
            process.join(20.0)
            if process.exitcode is None:
                process.kill()
                process.join()


def percentile(values: Sequence[float], share: float) -> float:
    return float(np.percentile(np.asarray(values), share))


# --- a key, and the picture that shows it ---


def key_to_frame(seconds: float) -> dict[str, float]:
    arrived: dict[int, float] = {}

    def note(picture: Picture) -> None:
        arrived.setdefault(picture.driver_input, time.perf_counter())

    sent: dict[int, float] = {}
    chance = random.Random(0)
    with WebUI(port=0) as ui, trials(ui, ["keys"], 60.0), SeatClient(ui, "keys", on_picture=note) as person:
        person.wait_until(lambda: person.pictures > 30, "a moving picture", 30.0)
        person.take()
        person.wait_until(lambda: person.status.get("phase") == "correcting", "control", 10.0)
        end = time.monotonic() + seconds + _WARM_UP
        begin = time.monotonic() + _WARM_UP
        while time.monotonic() < end:
            time.sleep(chance.uniform(0.08, 0.16))
            pressed = time.perf_counter()
            number = person.hold(chance.choice(["ArrowLeft", "ArrowRight"]), f"F{len(sent) % 2 + 13}")
            if time.monotonic() > begin:
                sent[number] = pressed
        time.sleep(0.5)
    shown = sorted(arrived)
    latencies = []
    for number, pressed in sent.items():
        first = next((each for each in shown if each >= number), None)
        if first is not None:
            latencies.append(1000.0 * (arrived[first] - pressed))
    return {
        "key_to_frame_p50_ms": percentile(latencies, 50),
        "key_to_frame_p99_ms": percentile(latencies, 99),
        "keys": float(len(latencies)),
        "keys_never_shown": float(len(sent) - len(latencies)),
    }


# --- people, each at a trial; spectators, all at one ---


async def watch(link: str, seat: str, seconds: float, max_fps: float, watches: bool) -> list[float]:
    """Look at a seat; return when pictures came."""
    address = SeatAddress.parse(link)
    url = address.socket_url(seat, client=str(random.random()), patches="1", watch="1" if watches else "")
    times = []
    protocols = [Subprotocol(PROTOCOL), Subprotocol(f"token.{address.token}")]
    async with connect(url, subprotocols=protocols, compression=None, proxy=None, max_size=None) as socket:
        await socket.send(json.dumps({"type": "view", "max_fps": max_fps}))
        begin = time.monotonic() + _WARM_UP
        end = begin + seconds
        while time.monotonic() < end:
            async with asyncio.timeout(10.0):
                message = await socket.recv()
            if isinstance(message, bytes):
                now = time.monotonic()
                sequence = int.from_bytes(message[4:8], "little")
                await socket.send(json.dumps({"type": "ack", "seq": sequence, "painted": 1000.0 * now}))
                if now > begin:
                    times.append(now)
    return times


def look(link: str, seats: Sequence[str], seconds: float, max_fps: float, watches: bool, out: Any) -> None:
    """Be all the people; the body of a process."""

    async def tell() -> None:
        await asyncio.sleep(_WARM_UP)
        out.send(None)

    async def everybody() -> list[list[float]]:
        telling = asyncio.create_task(tell())
        times = await asyncio.gather(*(watch(link, seat, seconds, max_fps, watches) for seat in seats))
        await telling
        return times

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        out.send(runner.run(everybody()))


def look_from_outside(
    link: str,
    seats: Sequence[str],
    seconds: float,
    max_fps: float,
    watches: bool,
    on_warm: Callable[[], None] | None = None,
) -> list[list[float]]:
    ours, theirs = _SPAWN.Pipe(duplex=False)
    process = _SPAWN.Process(target=look, args=(link, seats, seconds, max_fps, watches, theirs))
    process.start()
    theirs.close()
    try:
        if not ours.poll(60.0):
            raise TimeoutError("the people did not find their seats")
        assert ours.recv() is None
        if on_warm is not None:
            on_warm()
        if not ours.poll(seconds + 60.0):
            raise TimeoutError("the people did not come back")
        return list(ours.recv())
    finally:
        process.join(10.0)
        if process.exitcode is None:
            process.kill()
            process.join()


def people(number: int, seconds: float) -> dict[str, float]:
    names = [f"person{index}" for index in range(number)]
    with ExitStack() as stack:
        ui = stack.enter_context(WebUI(port=0))
        stack.enter_context(trials(ui, names, _PEOPLE_FPS))
        wait_for_seats(ui, number)
        workers = {each.pid: each for each in psutil.Process().children(recursive=True)}
        spent: list[tuple[float, dict[int, float]]] = []

        def note() -> None:
            spent.append((time.monotonic(), {pid: sum(p.cpu_times()[:2]) for pid, p in workers.items()}))

        all_times = look_from_outside(ui.url, names, seconds, 60.0, False, note)
        note()
        server_pid = ui.server_pid
    gaps = [1000.0 * np.diff(times) for times in all_times]
    (begin, before), (end, after) = spent
    cores = {pid: (after[pid] - before[pid]) / (end - begin) for pid in workers}
    return {
        "frame_gap_p50_ms": percentile(np.concatenate(gaps), 50),
        "frame_gap_p99_ms": percentile(np.concatenate(gaps), 99),
        "frame_gap_worst_p99_ms": max(percentile(each, 99) for each in gaps),
        "frames_per_s": statistics.mean(len(times) / seconds for times in all_times),
        "cores_of_server": cores.pop(server_pid),
        "cores_of_trials": sum(cores.values()),
    }


def wait_for_seats(ui: WebUI, number: int) -> None:
    """Wait until every trial's process holds its seat."""
    headers = {"Authorization": f"Bearer {ui.token}"}
    deadline = time.monotonic() + 120.0
    while time.monotonic() < deadline:
        seats = httpx.get(f"http://127.0.0.1:{ui.port}/api/seats", headers=headers).json()
        if sum(seat["held"] for seat in seats) == number:
            return
        time.sleep(0.2)
    raise TimeoutError("the trials did not start")


def spectators(numbers: Sequence[int], seconds: float) -> dict[str, Any]:
    held, rates = 0, {}
    with WebUI(port=0) as ui, trials(ui, ["stage"], _PEOPLE_FPS), SeatClient(ui, "stage") as driver:
        driver.wait_until(lambda: driver.pictures > 10, "a moving picture", 60.0)
        for number in numbers:
            times = look_from_outside(
                ui.link("stage", watch=True), ["stage"] * number, seconds, _SPECTATOR_FPS, True
            )
            rates[number] = min(len(each) / seconds for each in times)
            if rates[number] < _ENOUGH_FPS:
                break
            held = number
    return {"spectators": held, "slowest_spectator_fps": {str(key): round(v, 1) for key, v in rates.items()}}


def most_people(first: int, seconds: float) -> int:
    """Try more and more people, and one number twice before giving up: other programs share the machine."""
    held, number = 0, first
    while number <= 64:
        if min(people(number, seconds)["frame_gap_p99_ms"] for _ in range(2)) >= _LIMIT_MS:
            break
        held, number = number, number + 2
    return held


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--spectators", type=int, nargs="*", default=[10, 25, 50, 75, 100])
    parser.add_argument("--limit", action="store_true", help="find the largest number of people, too")
    parser.add_argument("--quick", action="store_true", help="shorter runs, for a smoke test")
    parser.add_argument("--json", action="store_true", help="make the last line one JSON object")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.spectators = 4.0, [10]
    results: dict[str, Any] = {"load_before": os.getloadavg()[0], **key_to_frame(options.seconds)}
    results |= {"people": options.people, **people(options.people, options.seconds)}
    results |= spectators(options.spectators, min(options.seconds, 10.0))
    if options.limit:
        results["most_people"] = most_people(options.people, options.seconds)
    common.report(results, options.json)


if __name__ == "__main__":
    main()
