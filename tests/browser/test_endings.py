"""The end of a program, as a person at its page sees it, and the way back after a lost connection."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from cogment_lab.humans import WebUI

pytestmark = pytest.mark.browser
DEADLINE_MS = 45_000
PROGRAM = """
import sys, threading
import cogment_lab

from cogment_lab.humans import WebUI

ui = WebUI(port=0, store="endings.db")
seat = ui.seat("teacher")
print(ui.url, flush=True)  # of the one seat: without one it leads to the lobby
env = cogment_lab.make("CartPole-v1", teacher=seat, store="endings.db")
env.acknowledge_takeovers("this test")
env.reset(seed=1)
told = threading.Event()
threading.Thread(target=lambda: sys.stdin.readline() and told.set(), daemon=True).start()
while not told.is_set():
    *_, terminated, truncated, _ = env.step(0)
    if terminated or truncated:
        env.reset()
"""


@pytest.fixture
def program(page: Page) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start a program with that end, and open its page."""
    processes: list[subprocess.Popen[str]] = []

    def start(end: str) -> subprocess.Popen[str]:
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        processes.append(subprocess.Popen([sys.executable, "-c", PROGRAM + end], text=True, **pipes))
        assert processes[-1].stdout is not None
        page.goto(processes[-1].stdout.readline().split()[-1])
        expect(page.locator("#phase")).to_contain_text("AGENT IS FLYING", timeout=DEADLINE_MS)
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_a_learner_that_crashes_is_shown_by_its_error_and_not_as_flying(page: Page, program: Any) -> None:
    process = program("raise RuntimeError('out of <b>memory</b>')")
    process.stdin.write("now\n")
    process.stdin.flush()
    banner = page.locator("#banner")
    expect(banner).to_contain_text("The program has stopped: RuntimeError: out of <b>memory</b>. Trial ")
    expect(page.locator("#copy-report")).to_be_visible()
    expect(page.locator("#phase")).to_have_text("✕ STOPPED")
    assert process.wait(60) == 1
    page.wait_for_timeout(1500)  # the server is gone, and the page has tried again
    expect(banner).to_contain_text("RuntimeError")
    assert "Traceback" in page.evaluate("window.cogmentSeat.lastStatus.crash")


def test_a_finished_program_leaves_its_card_and_says_what_can_be_done(page: Page, program: Any) -> None:
    process = program("")
    process.stdin.write("now\n")
    process.stdin.flush()
    card = page.locator("#overlay")
    expect(card).to_contain_text("Training finished", timeout=DEADLINE_MS)
    assert process.wait(60) == 0
    page.click("#play-again")
    expect(card).to_contain_text("The program has ended. Start it again")
    assert page.locator("#open-trials").count() == 0 or page.click("#open-trials") is None
    expect(card).to_contain_text("The program has ended.")
    expect(page.locator("#banner")).to_be_hidden()


def test_trials_can_be_opened_while_the_page_is_served(page: Page, play: Any) -> None:
    with WebUI(port=0, store="card.db") as ui:
        stage = play("CartPole-v1", ui=ui, store="card.db")
        stage.stop()
        tab = stage.page
        tab.click("#play-again")
        expect(tab.locator("#overlay")).to_contain_text("Nothing runs here now")
        tab.click("#open-trials")
        expect(tab.locator("#trials tr").first).to_be_visible(timeout=DEADLINE_MS)


def test_a_lost_connection_can_be_tried_again_at_once(page: Page) -> None:
    with WebUI(port=0, token="the-same-token") as ui:
        ui.seat("teacher")
        port = ui.port
        page.goto(ui.url)
        expect(page.locator("#phase")).to_contain_text("Waiting")
    expect(page.locator("#banner")).to_contain_text("Reconnecting… (5)", timeout=DEADLINE_MS)
    with WebUI(port=port, token="the-same-token") as ui:
        page.click("#reconnect")
        expect(page.locator("#banner")).to_contain_text("(6)", timeout=2_000)
        page.wait_for_timeout(500)
        expect(page.locator("#banner")).to_contain_text("Reconnecting")  # the server is there, the seat not
        ui.seat("teacher")
        page.click("#reconnect")
        expect(page.locator("#banner")).to_be_hidden(timeout=5_000)
