"""The seat's page in a real browser: what a person does, and what comes of it in the store."""

import itertools
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

import cogment_lab

pytestmark = pytest.mark.browser
DEADLINE_MS = 45_000
MAIN_ENGINE = 2


def until(page: Page, expression: str) -> None:
    """Wait for a condition in the page; its own waiting would need ``eval``, which the page forbids."""
    deadline = time.monotonic() + DEADLINE_MS / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"never true: {expression}"
        page.wait_for_timeout(20)


def painted(page: Page, more_than: int) -> None:
    until(page, f"window.cogmentSeat?.framesPainted > {more_than}")


def status(page: Page, condition: str) -> Any:
    until(page, f"(s => Boolean(s && ({condition})))(window.cogmentSeat?.lastStatus)")
    return page.evaluate("window.cogmentSeat.lastStatus")


def phase(page: Page, name: str) -> None:
    page.wait_for_selector(f"#phase[data-phase={name}]", timeout=DEADLINE_MS)


def test_watch_take_over_release_reload_and_take_over_again(page: Page, trainer: Any) -> None:
    page.goto(trainer.ui.url)
    painted(page, 5)
    phase(page, "autonomous")
    assert "token" not in page.url, "the token leaves the address bar"
    expect(page.locator("#env")).to_have_text("LunarLander-v3")
    expect(page.locator("#hint")).to_contain_text("Hold SPACE", timeout=DEADLINE_MS)

    page.keyboard.down("Space")
    page.keyboard.down("ArrowUp")
    phase(page, "correcting")
    expect(page.locator("#phase")).to_contain_text("YOU")
    expect(page.locator("#pressed")).to_have_text("main engine", timeout=DEADLINE_MS)
    status(page, "s.executed?.by === 'teacher' && s.all_helped_ticks > 15")
    if folder := os.environ.get("COGMENT_LAB_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / "seat.png"))
    page.keyboard.up("ArrowUp")
    page.keyboard.up("Space")
    phase(page, "autonomous")
    expect(page.locator("#hint")).to_contain_text("steps of yours are in its memory")

    trial = status(page, "true")["trial_id"]
    page.keyboard.down("Space")
    phase(page, "correcting")
    page.reload()
    phase(page, "autonomous")
    painted(page, 3)
    assert status(page, "true")["trial_id"].split("-")[0] == trial.split("-")[0], "the same training goes on"

    page.keyboard.up("Space")
    page.keyboard.down("Space")
    page.keyboard.down("ArrowUp")
    phase(page, "correcting")
    again = status(page, "s.executed?.by === 'teacher' && s.executed.label === 'main engine'")["trial_id"]
    page.keyboard.up("Space")
    trainer.stop()
    phase(page, "closed")

    with cogment_lab.TrialStore("page.db") as store:
        flown = store.load(again)["gym"]
        events = [event for info in store.trials() for event in store.events(info.trial_id)]
    handed_back = [data["request"] for _, _, data, _ in events if data.get("phase") == "autonomous"]
    paces = [
        pace for pace, _ in itertools.groupby(data["pace"] for _, kind, data, _ in events if kind == "pace")
    ]
    assert (flown.actions[flown.is_intervention] == MAIN_ENGINE).any()
    assert (flown.proposed_actions == 0).all()
    assert len(handed_back) >= 2 and set(handed_back) <= {"release", "lost"}
    assert paces[:3] == ["live", "max", "live"], "the reload is in the record"


def test_control_that_is_held_goes_on_in_the_next_trial(page: Page, trainer: Any) -> None:
    page.goto(trainer.ui.url)
    painted(page, 2)
    page.click("#pace-max")
    page.keyboard.down("Space")
    number = status(page, "s.phase === 'correcting'")["trial_number"]
    status(page, f"s.trial_number > {number} && s.phase === 'correcting'")
    page.keyboard.up("Space")
    phase(page, "autonomous")


def test_losing_focus_releases_everything(page: Page, trainer: Any) -> None:
    page.goto(trainer.ui.url)
    painted(page, 2)
    page.keyboard.down("Space")
    page.keyboard.down("ArrowLeft")
    phase(page, "correcting")
    page.evaluate("window.dispatchEvent(new Event('blur'))")
    phase(page, "autonomous")
    expect(page.locator("#pressed")).to_have_text("\u2013")


def test_a_hidden_tab_releases_everything_and_costs_no_time(page: Page, trainer: Any) -> None:
    page.goto(trainer.ui.url)
    painted(page, 2)
    page.keyboard.down("Space")
    page.keyboard.down("ArrowUp")
    phase(page, "correcting")
    hide = """(hidden) => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
    document.dispatchEvent(new Event('visibilitychange')); }"""
    page.evaluate(hide, True)
    trial, deadline = trainer.env.trial, time.monotonic() + DEADLINE_MS / 1000
    while (trial.phase.name, trial.pace.name) != ("AUTONOMOUS", "MAX"):
        assert time.monotonic() < deadline, (trial.phase, trial.pace)
        page.wait_for_timeout(20)
    page.evaluate(hide, False)
    status(page, "s.phase === 'autonomous' && s.pace === 'live'")


def test_toggle_pause_step_and_pace_by_keyboard_and_mouse(page: Page, trainer: Any) -> None:
    page.goto(trainer.ui.url)
    painted(page, 2)
    page.keyboard.press("t")
    phase(page, "correcting")
    page.keyboard.press("t")
    phase(page, "autonomous")
    page.keyboard.press("p")
    phase(page, "paused")
    ticks = trainer.env.trial.all_ticks
    page.keyboard.press(".")
    status(page, f"s.all_ticks === {ticks + 1}")
    page.keyboard.press("p")
    phase(page, "autonomous")
    page.click("#pace-quarter")
    status(page, "s.pace === 'quarter'")
    page.keyboard.press("Space")
    assert status(page, "true")["pace"] == "quarter", "SPACE presses no button that has the focus"
    page.click("#pace-max")
    status(page, "s.pace === 'max'")


def test_an_on_screen_button_flies_while_it_is_held(page: Page, trainer: Any) -> None:
    page.goto(trainer.ui.url)
    painted(page, 2)
    button = page.locator("#keys button", has_text="main engine")
    box = button.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 10, box["y"] + 10)
    page.mouse.down()
    status(page, "s.phase === 'correcting' && s.executed?.label === 'main engine'")
    expect(button).to_have_class("lit")
    page.mouse.up()
    phase(page, "autonomous")


def test_a_second_tab_may_watch_or_move_the_seat(page: Page, browser: Browser, trainer: Any) -> None:
    page.goto(trainer.ui.url)
    painted(page, 2)
    other = browser.new_page()
    other.goto(trainer.ui.url)
    painted(other, 2)
    expect(other.locator("#banner")).to_contain_text("Already seated elsewhere")
    other.click("#move-seat")
    expect(page.locator("#banner")).to_contain_text("Already seated elsewhere", timeout=DEADLINE_MS)
    expect(other.locator("#banner")).not_to_contain_text("Already seated elsewhere", timeout=DEADLINE_MS)
    other.keyboard.down("Space")
    phase(other, "correcting")
    other.close()
    phase(page, "autonomous")


def test_a_computing_learner_is_shown(page: Page, trainer: Any) -> None:
    page.goto(trainer.ui.url)
    painted(page, 2)
    go_on = threading.Event()
    trainer.before_step = lambda: go_on.wait(20)
    phase(page, "learning")
    go_on.set()
    phase(page, "autonomous")


def test_stop_ends_the_training_and_the_page_says_so(page: Page, trainer: Any) -> None:
    page.goto(trainer.ui.url)
    painted(page, 2)
    page.click("#stop")
    expect(page.locator("#stop")).to_have_text("Really stop?")
    page.click("#stop")
    phase(page, "closed")
    expect(page.locator("#overlay")).to_contain_text("Training finished")


def test_a_server_that_is_gone_is_shown_as_offline(page: Page, trainer: Any) -> None:
    page.goto(trainer.ui.url)
    painted(page, 2)
    trainer.ui.close()
    phase(page, "offline")
    expect(page.locator("#banner")).to_contain_text("the agent is flying")


def test_a_bad_link_asks_for_a_new_one(page: Page, trainer: Any) -> None:
    page.goto(f"http://127.0.0.1:{trainer.ui.port}/?token=not-the-token")
    expect(page.locator("h1")).to_have_text("Ask for a new link")


def test_a_phone_sees_everything_without_scrolling_sideways(browser: Browser, trainer: Any) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(trainer.ui.url)
    painted(page, 2)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()


def test_a_phone_held_sideways_has_the_controls_beside_the_picture(browser: Browser, trainer: Any) -> None:
    context = browser.new_context(viewport={"width": 844, "height": 390}, is_mobile=True, has_touch=True)
    page = context.new_page()
    page.goto(trainer.ui.url)
    painted(page, 2)
    picture, take = page.locator("#frame").bounding_box(), page.locator("#take").bounding_box()
    assert picture is not None and take is not None
    assert picture["height"] > 200
    assert take["x"] > picture["x"] + picture["width"]
    assert max(picture["y"] + picture["height"], take["y"] + take["height"]) < 390
    context.close()


def test_the_page_weighs_less_than_150_kb(page: Page, trainer: Any) -> None:
    sizes: list[int] = []
    page.on("response", lambda response: sizes.append(len(response.body())))
    page.goto(trainer.ui.url)
    painted(page, 2)
    assert 10_000 < sum(sizes) < 150_000
