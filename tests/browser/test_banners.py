"""What went wrong, as the page says it: each provoked by what it speaks of."""

import multiprocessing
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

import cogment_lab
from cogment_lab.humans import WebUI

pytestmark = pytest.mark.browser
DEADLINE_MS = 40_000
MOST_BYTES = 150_000


def test_a_record_that_stops_is_said_and_the_trial_goes_on(play: Any) -> None:
    with cogment_lab.TrialStore("small.db", max_gb=1e-4) as store:
        stage = play("LunarLander-v3", store=store)
        banner = stage.page.locator("#banner")
        expect(banner).to_contain_text("Recording stopped at", timeout=DEADLINE_MS)
        expect(banner).to_contain_text("raise max_gb, or give another path; the trial goes on")
        expect(banner).to_have_attribute("data-kind", "error")
        ticks = stage.status("s.store_status")["all_ticks"]
        stage.status(f"s.all_ticks > {ticks} && s.store_status")
        stage.stop()
    assert "recording stopped" not in banner.inner_text()


def fly(seat: Any) -> None:
    """Step until killed; the body of a process."""
    env = cogment_lab.make("LunarLander-v3", teacher=seat, store=None)
    env.acknowledge_takeovers("this test")
    while True:
        env.reset()
        over = False
        while not over:
            _, _, terminated, truncated, _ = env.step(0)
            over = terminated or truncated


@pytest.fixture
def ui() -> Iterator[WebUI]:
    with WebUI(port=0) as opened:
        yield opened


def test_a_training_that_is_killed_is_said_with_its_last_trial(page: Page, ui: WebUI) -> None:
    process = multiprocessing.get_context("spawn").Process(target=fly, args=(ui.seat("teacher"),))
    process.start()
    try:
        page.goto(ui.url)
        phase = page.locator("#phase")
        expect(phase).to_contain_text("AGENT IS FLYING", timeout=DEADLINE_MS)
        page.keyboard.down("Space")
        expect(phase).to_contain_text("YOU are flying", timeout=DEADLINE_MS)
        trial = page.evaluate("window.cogmentSeat.lastStatus.trial_id").split("-")[0]
        process.kill()
        banner = page.locator("#banner")
        expect(banner).to_contain_text(f"process {process.pid} is gone", timeout=DEADLINE_MS)
        expect(banner).to_contain_text(f"Trial {trial}-")
        expect(page.locator("#copy-report")).to_be_visible()
        expect(phase).not_to_contain_text("YOU are flying")
    finally:
        process.kill()
        process.join(20)


@pytest.mark.parametrize("path", ["lobby", "trials", "compare"])
def test_each_page_weighs_less_than_150_kb(page: Page, path: str) -> None:
    sizes = []
    with WebUI(port=0, store="weight.db") as ui:
        page.on("response", lambda answer: sizes.append(len(answer.body())))
        page.goto(f"http://127.0.0.1:{ui.port}/{path}?token={ui.token}")
        page.wait_for_load_state("networkidle")
    assert len(sizes) > 4 and sum(sizes) < MOST_BYTES, sizes
