"""Trials in threads, for people without a browser."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import cogment_lab
from cogment_lab.humans import WebUI
from cogment_lab.humans.scripted import scripted_policy
from cogment_lab.humans.web.app import make_app
from cogment_lab.humans.web.page_config import PageConfig

DEADLINE = 40.0
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


class PageClient:
    """Speaks HTTP to a page's application, in this process."""

    def __init__(self, config: PageConfig, token: str) -> None:
        self._app = make_app(config)
        self._runner = asyncio.Runner()
        self._lifespan = self._app.router.lifespan_context(self._app)
        self._runner.run(self._enter())
        transport = httpx.ASGITransport(self._app)
        self._http = httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", headers={"Authorization": f"Bearer {token}"}
        )

    async def _enter(self) -> None:
        await self._lifespan.__aenter__()

    async def _leave(self) -> None:
        await self._http.aclose()
        await self._lifespan.__aexit__(None, None, None)

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self._runner.run(self._http.get(path, **more))

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self._runner.run(self._http.post(path, **more))

    def close(self) -> None:
        self._runner.run(self._leave())
        self._runner.close()


@pytest.fixture
def open_page(tmp_path: Path) -> Iterator[Callable[..., PageClient]]:
    """Opens a client of a page for a store; closes them all."""
    (tmp_path / "seats").mkdir()
    opened: list[PageClient] = []

    def open_client(store: Path, token: str | None = None) -> PageClient:
        page_token = "a-token-of-the-page"
        config = PageConfig(
            folder=tmp_path / "seats", token=page_token, host="127.0.0.1", port=1, store=store
        )
        opened.append(PageClient(config, page_token if token is None else token))
        return opened[-1]

    yield open_client
    for client in opened:
        client.close()
