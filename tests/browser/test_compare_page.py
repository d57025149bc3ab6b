"""The comparison page in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from cogment_lab import PreferenceQueue, TrialStore
from cogment_lab.humans import WebUI
from cogment_lab.store import Segment

pytestmark = pytest.mark.browser


def clip(shade: int) -> Segment:
    frames = [np.full((80, 120, 3), shade, np.uint8)] * 6
    return Segment(trial_id=f"t-{shade}", start=0, stop=6, frames=frames)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[PreferenceQueue]:
    with TrialStore(tmp_path / "runs.db") as store:
        queue = PreferenceQueue(store, "<i>walk</i>")
        queue.ask([(clip(10), clip(240)), (clip(40), clip(200)), (clip(60), clip(180))])
        yield queue


@pytest.fixture
def ui(queue: PreferenceQueue, tmp_path: Path) -> Iterator[WebUI]:
    with WebUI(port=0, store=tmp_path / "runs.db") as opened:
        yield opened


def test_clips_are_compared_by_keys_alone(page: Page, ui: WebUI, queue: PreferenceQueue) -> None:
    page.goto(f"http://127.0.0.1:{ui.port}/compare?token={ui.token}")
    expect(page.locator("#state")).to_contain_text("Say who you are")
    page.keyboard.type("<b>Ann</b>")
    page.keyboard.press("Enter")
    expect(page.locator("#clips")).to_be_visible()
    expect(page.locator("#state")).to_have_text("0 answered by you, 3 to go")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#state")).to_have_text("1 answered by you, 2 to go")
    page.keyboard.press("u")
    expect(page.locator("#state")).to_have_text("0 answered by you, 3 to go")
    for key, done in (("ArrowRight", 1), ("ArrowDown", 2)):
        page.keyboard.press(key)
        expect(page.locator("#state")).to_have_text(f"{done} answered by you, {3 - done} to go")
    page.keyboard.press("?")
    expect(page.locator("#state")).to_contain_text("Thank you")
    expect(page.locator("#clips")).to_be_hidden()
    answers = queue.answers()
    assert {answer.annotator for answer in answers} == {"<b>Ann</b>"}
    assert [answer.verdict for answer in answers][1:] == ["equal", "unsure"]
    wanted = "second" if answers[0].first_is_left else "first"
    assert answers[0].verdict == wanted and answers[0].seconds > 0
    queue.ask([(clip(20), clip(90))])
    expect(page.locator("#clips")).to_be_visible(timeout=15_000)


def test_clips_are_compared_by_touch_on_a_phone(browser: Browser, ui: WebUI, queue: PreferenceQueue) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    context.add_init_script("localStorage.setItem('cogment-person', 'Bob')")
    page = context.new_page()
    page.goto(f"{ui.compare_url}")
    expect(page.locator("#state")).to_have_text("0 answered by you, 3 to go")
    expect(page.locator("#choices kbd").first).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.locator("#pause").tap()
    expect(page.locator("#pause-word")).to_have_text("play")
    page.locator("#right-clip").tap()
    expect(page.locator("#state")).to_have_text("1 answered by you, 2 to go")
    page.get_by_role("button", name="can't tell").tap()
    expect(page.locator("#state")).to_have_text("2 answered by you, 1 to go")
    context.close()
    chosen, unsure = queue.answers()
    assert chosen.verdict == ("second" if chosen.first_is_left else "first")
    assert unsure.verdict == "unsure" and unsure.preference is None
