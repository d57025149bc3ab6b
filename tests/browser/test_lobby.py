"""The lobby in a real browser, a second person, and a seat inside another page."""

import http.server
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

import cogment_lab
from cogment_lab.humans import WebUI
from cogment_lab.humans.scripted import scripted_policy
from cogment_lab.testing import SeatClient

pytestmark = pytest.mark.browser
DEADLINE_MS = 45_000
_balance = scripted_policy("CartPole-v1")


class Stage:
    """A page with a store and trials on two seats."""

    def __init__(self, store: Path) -> None:
        self.ui = WebUI(port=0, store=store)
        self.stop = threading.Event()
        self.threads = []
        for name, env_id in (("cart", "CartPole-v1"), ("moon", "LunarLander-v3")):
            env = cogment_lab.make(
                env_id, teacher=self.ui.seat("teacher", name), store=store, max_episode_steps=60
            )
            env.acknowledge_takeovers("this test")
            self.threads.append(threading.Thread(target=self._run, args=(env,)))
            self.threads[-1].start()

    def _run(self, env: Any) -> None:
        observation, _ = env.reset(seed=1)
        while not self.stop.wait(0.002):  # at full speed it would take the browser's processor
            action = _balance(observation) if "CartPole" in str(env.spec.id) else 0
            observation, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                observation, _ = env.reset()
                self.stop.wait(0.02)  # trials that nobody looks at would fill the disk
        env.close()

    def close(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive()
        self.ui.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    running = Stage(tmp_path / "study.db")
    yield running
    running.close()


def until(page: Page, condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_MS / 1000
    while not condition():
        assert time.monotonic() < deadline, what
        page.wait_for_timeout(20)


def picture(page: Page, name: str) -> None:
    if folder := os.environ.get("COGMENT_LAB_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def painted(page: Page, more_than: int) -> None:
    until(page, lambda: page.evaluate(f"window.cogmentSeat?.framesPainted > {more_than}"), "pictures")


def test_who_has_a_choice_comes_to_the_lobby_and_sits_down(page: Page, stage: Stage) -> None:
    page.goto(stage.ui.url)
    page.wait_for_url("**/lobby")
    cards = page.locator("#seats > li")
    expect(cards).to_have_count(2)
    expect(cards.first).to_contain_text("CartPole-v1")
    expect(cards.first).to_contain_text("free")
    expect(page.locator("#trials tr").first).to_be_visible(timeout=DEADLINE_MS)
    expect(page.locator("#store")).to_have_text("study.db")
    page.locator("#person").fill("<i>Ann</i>")
    with SeatClient(stage.ui, "moon", person="Bob"):
        expect(cards.nth(1)).to_contain_text("taken by Bob", timeout=DEADLINE_MS)
        picture(page, "lobby")
        expect(cards.nth(1).get_by_text("Sit down")).to_have_count(0)
        page.keyboard.press("Tab")
        cards.first.get_by_text("Sit down").press("Enter")
        painted(page, 3)
        assert "seat=cart" in page.url and "token" not in page.url
        with SeatClient(stage.ui, "cart") as other:
            assert other.hello["driver"] == "<i>Ann</i>"
        page.reload()
        painted(page, 3)
        until(
            page,
            lambda: page.evaluate("window.cogmentSeat.lastStatus?.env_id") == "CartPole-v1",
            "the same seat",
        )


def test_who_comes_to_watch_watches_and_may_sit_down_later(page: Page, stage: Stage) -> None:
    with SeatClient(stage.ui, "cart", person="Bob") as bob:
        page.goto(stage.ui.lobby_url)
        page.get_by_role("link", name="Watch: cart").click()
        painted(page, 3)
        assert bob.drives
        expect(page.locator("#banner")).to_contain_text("You are watching Bob")
        expect(page.locator("#take")).to_be_disabled()
        picture(page, "watching")
        page.locator("#move-seat").click()
        bob.wait_until(lambda: not bob.drives, "the seat moved")
        expect(page.locator("#take")).to_be_enabled()


def test_a_watchers_link_shows_no_way_to_sit_down(page: Page, stage: Stage) -> None:
    page.goto(stage.ui.link("cart", watch=True))
    painted(page, 3)
    expect(page.locator("#take")).to_be_disabled()
    expect(page.locator("#move-seat")).to_have_count(0)


def test_messages_to_the_experimenter_stand_in_the_lobby(page: Page, stage: Stage) -> None:
    with SeatClient(stage.ui, "cart", person="Ann") as ann:
        ann.wait_until(lambda: ann.status.get("trial_id"), "a trial")
        ann.note("it <b>shakes</b>", to="experimenter")
        ann.note("for the record")
        page.goto(stage.ui.lobby_url)
        said = page.locator("#messages li")
        expect(said).to_have_count(1, timeout=DEADLINE_MS)
        expect(said).to_contain_text("it <b>shakes</b>")
        expect(said).to_contain_text("Ann · trial ")
    page.evaluate("sessionStorage.clear()")
    page.goto(stage.ui.link("moon").replace("/?", "/lobby?"))
    expect(page.locator("#seats > li")).to_have_count(1, timeout=DEADLINE_MS)
    expect(page.locator("#messages-section")).to_be_hidden()


def test_a_bad_link_says_what_to_do(page: Page, stage: Stage) -> None:
    page.goto(stage.ui.lobby_url.replace(stage.ui.token, "old-old-old"))
    expect(page.locator("h1")).to_have_text("Ask for a new link")


def test_without_choice_there_is_no_lobby(page: Page, stage: Stage) -> None:
    with SeatClient(stage.ui, "moon"):
        page.goto(stage.ui.url)
        painted(page, 3)
        assert "seat=cart" in page.url


def test_a_page_without_a_seat_waits_for_one(page: Page) -> None:
    with WebUI(port=0) as ui:
        page.goto(ui.url)
        expect(page.locator("#seats")).to_contain_text("No seat yet")
        picture(page, "lobby-empty")
        ui.seat("teacher")
        page.wait_for_url("**seat=teacher", timeout=DEADLINE_MS)


def test_the_lobby_fits_a_phone_in_the_light(browser: Browser, stage: Stage) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 780}, color_scheme="light", has_touch=True
    )
    try:
        tab = context.new_page()
        tab.goto(stage.ui.lobby_url)
        expect(tab.locator("#seats > li")).to_have_count(2)
        expect(tab.locator("#trials tr").first).to_be_visible(timeout=DEADLINE_MS)
        picture(tab, "lobby-phone")
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    finally:
        context.close()


class _Notebook(http.server.BaseHTTPRequestHandler):
    content = ""

    def do_GET(self) -> None:
        body = self.content.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])  # the page's own site, and another one
def test_a_notebook_shows_the_seat_in_a_frame(page: Page, stage: Stage, host: str) -> None:
    cell = stage.ui.display(height=640)._repr_html_()
    handler = type("_Cell", (_Notebook,), {"content": f"<!doctype html><h1>In [1]: ui.display()</h1>{cell}"})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        page.goto(f"http://{host}:{server.server_address[1]}/")
        seat = page.frame_locator("iframe")
        seat.get_by_role("link", name="Sit down: cart").click(timeout=DEADLINE_MS)
        expect(seat.locator("#env")).to_have_text("CartPole-v1", timeout=DEADLINE_MS)
        frame = page.frames[-1]
        until(page, lambda: frame.evaluate("window.cogmentSeat?.framesPainted > 3"), "pictures in the frame")
        seat.locator("#phase").click()
        page.keyboard.down("Space")
        expect(seat.locator("#phase")).to_contain_text("YOU", timeout=DEADLINE_MS)
        picture(page, "notebook")
        page.keyboard.up("Space")
        expect(page.get_by_text("Open the seat in a tab")).to_be_visible()
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def test_a_seat_leads_back_to_the_lobby_where_there_is_one(page: Page, stage: Stage) -> None:
    page.goto(f"{stage.ui.url}&seat=cart")
    expect(page.locator("#lobby")).to_be_visible(timeout=DEADLINE_MS)
    page.click("#lobby")
    expect(page.locator("#seats li")).to_have_count(2, timeout=DEADLINE_MS)
    page.evaluate("sessionStorage.clear()")
    page.goto(stage.ui.link("moon"))
    expect(page.locator("#env")).to_contain_text("LunarLander", timeout=DEADLINE_MS)
    expect(page.locator("#lobby")).to_be_hidden()
