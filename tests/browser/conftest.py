"""A real Chromium, and a training loop that it looks at."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

import cogment_lab
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
        chromium = playwright.chromium.launch(executable_path=executable, args=_ARGUMENTS)
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
        while not self.stopped.is_set():
            self.before_step()
            _, _, terminated, truncated, info = self.env.step(0)
            if "stop" in info.get("requests", ()):
                break
            if terminated or truncated:
                self.env.reset()
        self.env.close()

    def stop(self) -> None:
        self.stopped.set()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def close(self) -> None:
        self.stop()
        self.ui.close()


@pytest.fixture
def trainer() -> Iterator[Trainer]:
    running = Trainer("page.db")
    yield running
    running.close()
