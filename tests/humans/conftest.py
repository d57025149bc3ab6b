"""Trials in threads, for people without a browser."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import cogment_lab
from cogment_lab.humans import WebUI
from cogment_lab.humans.scripted import scripted_policy

DEADLINE = 15.0
_balance = scripted_policy("CartPole-v1")


class Loop:
    """Steps CartPole, balancing well so that trials last, in a thread of its own."""

    def __init__(self, seat: Any, **make_kwargs: Any) -> None:
        make_kwargs = {"store": None, "max_episode_steps": 400, **make_kwargs}
        self.env = cogment_lab.make("CartPole-v1", teacher=seat, **make_kwargs)
        self.env.acknowledge_takeovers("this test")
        self.ticks = 0
        self.helped = 0
        self._observation, _ = self.env.reset(seed=1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._observation, _, terminated, truncated, info = self.env.step(_balance(self._observation))
            self.ticks += 1
            self.helped += info["is_intervention"]
            if terminated or truncated:
                self._observation, _ = self.env.reset()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()
        self.env.close()


@pytest.fixture(scope="module")
def page() -> Iterator[WebUI]:
    with WebUI(port=0) as ui:
        yield ui


@pytest.fixture
def loop(page: WebUI) -> Iterator[Loop]:
    running = Loop(page.seat("teacher", "stage"))
    yield running
    running.close()


@pytest.fixture
def start_loop() -> Iterator[Callable[..., Loop]]:
    """Start loops that end with the test."""
    running: list[Loop] = []

    def start(seat: Any, **make_kwargs: Any) -> Loop:
        running.append(Loop(seat, **make_kwargs))
        return running[-1]

    yield start
    for each in running:
        each.close()


@pytest.fixture
def eventually() -> Callable[..., Any]:
    def wait(condition: Callable[[], Any], what: str, deadline: float = DEADLINE) -> Any:
        end = time.monotonic() + deadline
        while time.monotonic() < end:
            if value := condition():
                return value
            time.sleep(0.01)
        raise AssertionError(f"{what} did not happen within {deadline} s")

    return wait
