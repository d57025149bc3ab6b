"""A real Chromium, and a training loop that it looks at."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

import cogment_lab
from cogment_lab.errors import EnvironmentCrashedError
from cogment_lab.humans import WebUI

_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

expect.set_options(timeout=30_000)  # a loaded machine paints late
UNWATCHED = 0.002
"""Seconds between ticks: a trial at full speed would take the processor that the browser needs."""


@pytest.fixture(scope="module")  # Playwright runs an event loop in this thread, which others need free
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        if os.environ.get("COGMENT_LAB_NO_BROWSER") == "1":
            pytest.skip("COGMENT_LAB_NO_BROWSER=1 and no Chromium here")
        pytest.fail(
            "no Chromium: apt install chromium, or set COGMENT_LAB_NO_BROWSER=1 to leave these tests out"
        )
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=_ARGUMENTS, timeout=90_000)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 860}, color_scheme="dark")
    tab = context.new_page()
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    yield tab
    context.close()
    assert problems == []


class Trainer:
    """Steps LunarLander in a thread of its own, always proposing to do nothing, until it is told to stop."""

    def __init__(self, store: str | None, **make_kwargs: Any) -> None:
        self.ui = WebUI(port=0)
        self.seat = self.ui.seat("teacher")
        self.env = cogment_lab.make("LunarLander-v3", teacher=self.seat, store=store, **make_kwargs)
        self.env.acknowledge_takeovers("this test")
        self.before_step: Callable[[], None] = lambda: None
        self.stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.env.reset(seed=4)
        while not self.stopped.wait(UNWATCHED):
            self.before_step()
            _, _, terminated, truncated, info = self.env.step(0)
            if "stop" in info.get("requests", ()):
                break
            if terminated or truncated:
                self.env.reset()
        self.env.close()

    def stop(self) -> None:
        self.stopped.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def close(self) -> None:
        self.stop()
        self.ui.close()


@pytest.fixture
def trainer() -> Iterator[Trainer]:
    running = Trainer("page.db")
    yield running
    running.close()


class Anything(gym.Env[Any, Any]):
    """An environment of any action space: a moving bar, observations with words in them, 400 ticks long."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 30}

    def __init__(
        self, action_space: gym.Space[Any], mask: list[int] | None = None, pictures: bool = True
    ) -> None:
        self.action_space = action_space
        self.observation_space = gym.spaces.Dict(word=gym.spaces.Text(40), x=gym.spaces.Box(-9, 9, (2,)))
        self.render_mode = "rgb_array" if pictures else None
        self._mask = {} if mask is None else {"action_mask": np.array(mask, np.int8)}
        self._tick = 0

    def _observation(self) -> dict[str, Any]:
        return {"word": "<img src=x onerror=alert(1)>", "x": np.array([self._tick / 100, 0.25], np.float32)}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._tick = 0
        return self._observation(), dict(self._mask)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        self._tick += 1
        return self._observation(), 1.0, self._tick >= 400, False, dict(self._mask)

    def render(self) -> Any:
        picture = np.zeros((120, 180, 3), np.uint8)
        picture[:, self._tick % 180] = 255
        return picture


class Stage:
    """A trial after the other in a thread, somebody at its seat in a browser, and what was executed."""

    def __init__(
        self, env: Any, role: str, context: BrowserContext, ui: WebUI | None = None, **make_kwargs: Any
    ) -> None:
        self.ui = ui if ui is not None else WebUI(port=0)
        seat = self.ui.seat(role, keymap=make_kwargs.pop("keymap", None), patience=5.0)
        seats = {"observers": [seat]} if role == "observer" else {role: seat}
        make_kwargs = {"store": "stage.db", "record": "full", **seats, **make_kwargs}
        self.env = cogment_lab.make(env, **make_kwargs)
        if role == "teacher":
            self.env.acknowledge_takeovers("this test")
        self.executed: list[Any] = []
        self.error: Exception | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.problems: list[str] = []
        self.page = context.new_page()
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.goto(self.ui.url)
        self.until(
            "window.cogmentSeat?.framesPainted > 2 || window.cogmentSeat?.lastStatus?.renderable === false"
        )
        self.status("s.state === 'running'")

    def _run(self) -> None:
        zero = self.env.action_space.sample()
        self.env.reset(seed=4)
        try:
            while not self._stopped.wait(UNWATCHED):
                *_, terminated, truncated, info = self.env.step(zero)
                self.executed.append(info["executed_action"] if info["is_intervention"] else None)
                if terminated or truncated:
                    self.env.reset()
        except EnvironmentCrashedError as error:
            self.error = error
            self._stopped.wait(30)
        self.env.close()

    def until(self, expression: str) -> None:
        deadline = time.monotonic() + 60
        while not self.page.evaluate(expression):
            assert time.monotonic() < deadline, f"never true: {expression}"
            self.page.wait_for_timeout(20)

    def status(self, condition: str) -> Any:
        self.until(f"(s => Boolean(s && ({condition})))(window.cogmentSeat?.lastStatus)")
        return self.page.evaluate("window.cogmentSeat.lastStatus")

    def does(self, condition: Callable[[Any], Any]) -> Any:
        """Wait until an executed action of the teacher's (or anybody's, with a player) is so; return it."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for action in self.executed[-5:]:
                if action is not None and condition(action):
                    return action
            self.page.wait_for_timeout(20)
        raise AssertionError(f"never executed; the last were {self.executed[-3:]}")

    def events(self) -> list[tuple[int, str, dict[str, Any]]]:
        """End the trials; return what the record holds besides the ticks."""
        self.stop()
        with cogment_lab.TrialStore("stage.db") as store:
            return [tuple(event[:3]) for each in store.trials() for event in store.events(each.trial_id)]

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def close(self) -> None:
        self.stop()
        self.ui.close()
        assert self.problems == []


@pytest.fixture
def play(browser: Browser) -> Iterator[Callable[..., Stage]]:
    """Start trials with a seat in a browser of the wanted kind; everything ends with the test."""
    stages: list[Stage] = []
    contexts: list[BrowserContext] = []

    def start(
        env: Any, role: str = "teacher", script: str = "", device: Any = None, **make_kwargs: Any
    ) -> Stage:
        options = {"viewport": {"width": 1280, "height": 860}, "color_scheme": "dark", **(device or {})}
        contexts.append(browser.new_context(**options))
        if script:
            contexts[-1].add_init_script(script)
        env = Anything(env) if isinstance(env, gym.Space) else env
        stages.append(Stage(env, role, contexts[-1], **make_kwargs))
        return stages[-1]

    yield start
    for context in contexts:
        context.close()
    for stage in stages:
        stage.close()


@pytest.fixture
def anything() -> type[Anything]:
    return Anything
