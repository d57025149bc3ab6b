"""A participant's pages in a real browser."""

import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, Page, expect

from cogment_lab import TrialStore
from cogment_lab.studies import JoinLimit, StudyServer, read_study

pytestmark = pytest.mark.browser

DEADLINE = 30_000
SESSION = """
from cogment_lab.studies import Session

def session(participant, condition):
    return Session(env="Pendulum-v1", countdown=1, make={"max_episode_steps": STEPS})
"""
BLIND = """
from cogment_lab.studies import Session

def session(participant, condition):
    return Session(env="Pendulum-v1", role="teacher", policy=lambda _: [0.0], show_proposal=False)
"""
STUDY = """
name: pilot
title: A <b>pilot</b>
session: MODULE:session
consent: |
  # Your data

  We keep what you press.

  - under a random name
preflight: {keys: [ArrowLeft, Space], min_width: 700, min_height: 500, max_round_trip_ms: 2000}
instructions: [The first page., The second page.]
practice: 1
trials: 2
max_sessions: 1
questionnaire:
  - {key: fun, kind: scale, text: "How much <i>fun</i>?", required: true, low: 1, high: 5, low_label: none}
  - {key: often, kind: choice, text: "How often?", required: true, options: [never, always]}
  - {key: why, kind: text, text: "Why?", longest: 40}
thanks: You helped.
completion_code: CODE-7
return_url: https://example.org/done?cc={code}
"""


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., StudyServer]]:
    running: list[StudyServer] = []

    def start(
        steps: int = 20,
        port: int = 0,
        join_limit: JoinLimit | None = None,
        session: str = SESSION,
        **study_keys: Any,
    ) -> StudyServer:
        module = f"session_of_{tmp_path.name}".replace("-", "_")
        (tmp_path / f"{module}.py").write_text(session.replace("STEPS", str(steps)))
        more = "".join(f"{key}: {value}\n" for key, value in study_keys.items())
        (tmp_path / "study.yaml").write_text(STUDY.replace("MODULE", module) + more)
        study = read_study(tmp_path / "study.yaml")
        path = tmp_path / "study.db"
        running.append(StudyServer(study, path, port=port, say=lambda text: None, join_limit=join_limit))
        return running[-1]

    yield start
    for each in running:
        each.close()


def ask(server: StudyServer, path: str, token: str = "", content: Any = None) -> Any:
    """Take part without a browser, as far as needed."""
    request = urllib.request.Request(
        f"{server.base_url}/study/api/{path}",
        data=json.dumps(content or {}).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        return json.load(answer)


def walk_to_trials(page: Page, server: StudyServer, who: str = "anna") -> None:
    page.goto(f"{server.join_url}?id={who}")
    page.click("#agree")
    page.wait_for_selector(".checks")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    page.get_by_role("button", name="Continue").click()
    page.click("#next")
    page.click("#next")
    page.wait_for_selector("#begin")


def test_a_study_works_where_a_browser_keeps_nothing(page: Page, serve: Callable[..., StudyServer]) -> None:
    page.add_init_script(path=Path(__file__).parent / "no_storage.js")
    walk_to_trials(page, serve())
    page.click("#begin")
    seat = page.frame_locator("iframe")
    seat.get_by_role("button", name="Begin").click(timeout=DEADLINE)
    expect(page.locator(".progress")).to_have_text("Trial 1 of 2", timeout=DEADLINE)


def test_a_person_goes_all_the_way(page: Page, serve: Callable[..., StudyServer]) -> None:
    server = serve()
    walk_to_trials(page, server)
    expect(page.locator("h2")).to_have_text("Practice first")
    page.click("#begin")
    seat = page.frame_locator("iframe")
    expect(page.locator(".progress")).to_have_text("Practice 1 of 1", timeout=DEADLINE)
    seat.get_by_role("button", name="Begin").click(timeout=DEADLINE)
    expect(page.locator(".progress")).to_have_text("Trial 1 of 2", timeout=DEADLINE)
    expect(seat.locator("#question")).to_be_hidden()
    page.keyboard.down("ArrowLeft")  # goes to the seat, and not to this page
    expect(page.locator(".progress")).to_have_text("Trial 2 of 2", timeout=DEADLINE)
    expect(page.locator("h2")).to_have_text("Some questions", timeout=DEADLINE)
    page.keyboard.up("ArrowLeft")
    with TrialStore(server.store) as store:
        phases = [trial.properties["phase"] for trial in store.trials()]
        assert phases == ["practice", "trials", "trials"]
        for trial in store.trials(properties={"phase": "trials"}):
            assert (store.load(trial.trial_id)["gym"].actions[-5:] != 0.0).all()

    page.get_by_role("button", name="Send answers").click()
    expect(page.locator(".is-wrong")).to_have_count(2)
    page.locator(".points label").nth(3).click()
    page.get_by_text("always").click()
    page.fill("textarea", "<img src=x onerror=alert(1)>")
    expect(page.locator(".counter")).to_have_text("28 of 40")
    page.reload()
    expect(page.locator("textarea")).to_have_value("<img src=x onerror=alert(1)>")
    expect(page.locator(".points input:checked")).to_have_value("4")
    page.get_by_role("button", name="Send answers").click()
    expect(page.locator("#code")).to_have_text("CODE-7")
    expect(page.locator("#return")).to_have_attribute("href", "https://example.org/done?cc=CODE-7")
    page.click("#copy")
    expect(page.locator("#copy")).not_to_have_text("Copy")


def test_who_comes_with_too_many_others_is_told_and_joins_by_themselves(
    page: Page, serve: Callable[..., StudyServer]
) -> None:
    server = serve(join_limit=JoinLimit(burst=1, seconds=6.0))
    ask(server, "join")
    page.goto(server.join_url)
    expect(page.locator("h2")).to_have_text("Many people are joining just now")
    expect(page.locator("#page")).to_contain_text(re.compile(r"by itself in (\d+ seconds|a second)"))
    expect(page.locator("#leave")).to_be_hidden()
    expect(page.locator("#agree")).to_be_visible()
    assert len(server.people()) == 2


def test_texts_are_texts(page: Page, serve: Callable[..., StudyServer]) -> None:
    page.goto(serve().join_url)
    expect(page.locator("#title")).to_have_text("A <b>pilot</b>")
    expect(page.locator(".page h3")).to_have_text("Your data")
    expect(page.locator(".page li")).to_have_text("under a random name")
    assert page.locator("#title b").count() == 0


def test_the_name_leaves_the_address_and_the_token_never_enters_it(
    page: Page, serve: Callable[..., StudyServer]
) -> None:
    server = serve()
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    page.goto(f"{server.join_url}?id=anna")
    page.wait_for_selector("#agree")
    assert page.url == server.join_url
    token = page.evaluate("sessionStorage.getItem('cogment-study-token')")
    assert token and not [url for url in seen if token in url]


def test_a_reload_and_the_back_button_change_nothing(page: Page, serve: Callable[..., StudyServer]) -> None:
    server = serve()
    page.goto(f"{server.join_url}?id=anna")
    page.click("#agree")
    page.wait_for_selector(".checks")
    page.reload()
    page.wait_for_selector(".checks")
    page.goto("about:blank")
    page.go_back()
    page.wait_for_selector(".checks")
    assert len(server.people()) == 1


def test_another_browser_goes_on_and_the_older_tab_is_told(
    page: Page, browser: Browser, serve: Callable[..., StudyServer]
) -> None:
    server = serve()
    page.goto(f"{server.join_url}?id=anna")
    page.click("#agree")
    page.wait_for_selector(".checks")
    context = browser.new_context()
    other = context.new_page()
    other.goto(f"{server.join_url}?id=anna")
    other.wait_for_selector(".checks")
    expect(page.locator("h2")).to_have_text("You went on somewhere else", timeout=DEADLINE)
    page.get_by_role("button", name="Continue here").click()
    page.wait_for_selector(".checks")
    expect(other.locator("h2")).to_have_text("You went on somewhere else", timeout=DEADLINE)
    context.close()


def test_a_token_that_is_none_is_said_politely(page: Page, serve: Callable[..., StudyServer]) -> None:
    server = serve()
    page.add_init_script(
        "sessionStorage.getItem('tried') || sessionStorage.setItem('cogment-study-token', 'x')"
    )
    page.goto(server.join_url)
    expect(page.locator("h2")).to_have_text("This link is not valid")


def test_whoever_declines_is_thanked(page: Page, serve: Callable[..., StudyServer]) -> None:
    page.goto(serve().join_url)
    page.click("#decline")
    expect(page.locator("h2")).to_have_text("You do not take part")


def test_a_trial_offers_what_is_the_participants(page: Page, serve: Callable[..., StudyServer]) -> None:
    server = serve(steps=5000)
    walk_to_trials(page, server)
    page.click("#begin")
    seat = page.frame_locator("iframe")
    seat.locator("#phase", has_text="YOU").wait_for(timeout=DEADLINE)
    expect(seat.locator("#keys button").first).to_be_visible()
    for name in ("pause", "step", "stop", "save", "pace-max", "note", "success", "show-proposal", "wait"):
        expect(seat.locator(f"#{name}")).to_be_hidden()
    expect(seat.locator("#tools")).to_be_hidden()
    page.get_by_role("button", name="Help").click()
    expect(seat.locator("#help")).to_be_visible()
    expect(seat.locator("#help-keys")).not_to_contain_text("pause")
    page.keyboard.press("Escape")  # the keys go to the trial's page, which showed the help
    expect(seat.locator("#help")).to_be_hidden()
    page.keyboard.press("p")
    tick = int(seat.locator("#tick").inner_text())
    expect(seat.locator("#tick")).not_to_have_text(str(tick))
    expect(seat.locator("#banner")).to_be_hidden()  # the page does not even ask


def test_who_is_not_to_see_the_proposal_does_not_see_that_it_is_hidden(
    page: Page, serve: Callable[..., StudyServer]
) -> None:
    walk_to_trials(page, serve(session=BLIND))
    page.click("#begin")
    seat = page.frame_locator("iframe")
    seat.locator("#phase", has_text="AGENT").wait_for(timeout=DEADLINE)
    expect(seat.locator("#executed")).to_be_visible()
    expect(seat.locator("#proposal")).to_be_hidden()
    expect(seat.get_by_text("agent proposes")).to_be_hidden()


def reach_by_tab(page: Page, selector: str) -> None:
    """Go backwards, as somebody without a mouse does whose keys go to the trial."""
    for _ in range(60):
        page.keyboard.press("Shift+Tab")
        if page.evaluate(f"document.activeElement === document.querySelector('{selector}')"):
            return
    raise AssertionError(f"no way leads to {selector} by the keyboard")


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_who_plays_stops_by_the_keyboard_and_has_everything_deleted(
    page: Page, serve: Callable[..., StudyServer], theme: str
) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    server = serve(steps=5000, farewell="Write to <b>ada@lab.example</b>.")
    walk_to_trials(page, server)
    page.click("#begin")
    expect(page.locator(".progress")).to_have_text("Practice 1 of 1", timeout=DEADLINE)
    page.frame_locator("iframe").locator("#phase", has_text="YOU").wait_for(timeout=DEADLINE)
    reach_by_tab(page, "#leave")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Stop taking part?")
    expect(dialog).to_have_accessible_description(re.compile("without giving a reason"))
    expect(page.get_by_role("button", name="Go on taking part")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator("iframe")).to_be_focused()  # keys go to the trial again
    assert [person.status for person in server.people()] == ["active"]
    reach_by_tab(page, "#leave")
    page.keyboard.press("Enter")
    reach_by_tab(page, "#leave-delete")
    page.keyboard.press("Enter")
    expect(page.locator("h2")).to_have_text("You have stopped taking part")
    expect(page.locator("h2")).to_be_focused()
    expect(page.locator("#announce")).to_have_text("You have stopped taking part")
    expect(page.locator("#page")).to_contain_text("Write to <b>ada@lab.example</b>.")
    expect(page.locator("#page")).to_contain_text("What you gave is deleted")
    expect(page.locator("#leave")).to_be_hidden()
    page.goto(f"{server.join_url}?id=anna")
    expect(page.locator("h2")).to_have_text("You have stopped taking part")
    assert [person.status for person in server.people()] == ["withdrawn"]


def test_a_way_out_is_on_every_page_and_what_was_kept_may_be_deleted_later(
    page: Page, serve: Callable[..., StudyServer]
) -> None:
    server = serve()
    page.goto(f"{server.join_url}?id=anna")
    leave = page.get_by_role("button", name="Stop taking part", exact=True)
    page.wait_for_selector("#agree")
    leave.click()
    expect(page.locator("#leave-delete")).to_have_count(0)  # there is nothing yet to delete
    page.click("#leave-not")
    page.click("#agree")
    page.wait_for_selector(".checks")
    expect(leave).to_be_visible()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    page.get_by_role("button", name="Continue").click()
    page.wait_for_selector("#next")
    leave.click()
    page.click("#leave-keep")
    expect(page.locator("h2")).to_have_text("You have stopped taking part")
    expect(page.locator("#page")).to_contain_text("is kept for the study")
    page.click("#erase")
    page.click("#leave-delete")
    expect(page.locator("#page")).to_contain_text("What you gave is deleted")
    expect(page.locator("#erase")).to_have_count(0)


def test_a_small_window_is_explained(page: Page, serve: Callable[..., StudyServer]) -> None:
    page.set_viewport_size({"width": 600, "height": 800})
    page.goto(serve().join_url)
    page.click("#agree")
    expect(page.locator(".checks")).to_contain_text("The window must be wider")
    expect(page.locator(".checks")).to_contain_text("700 \u00d7 500 are needed")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    expect(page.locator(".checks")).to_contain_text("fast enough")
    go = page.get_by_role("button", name="Continue")
    expect(go).to_be_disabled()
    page.set_viewport_size({"width": 900, "height": 800})
    expect(go).to_be_enabled()


def test_who_waits_begins_by_itself(page: Page, serve: Callable[..., StudyServer]) -> None:
    server = serve()
    token = ask(server, "join")["token"]
    answers = {"keys": ["ArrowLeft", "Space"], "width": 700, "height": 500, "round_trip_ms": 1}
    for step, content in (("consent", {"agreed": True}), ("preflight", answers), ("instructions", {})):
        ask(server, f"steps/{step}", token, {"answers": content})
    ask(server, "session", token)
    walk_to_trials(page, server)
    page.click("#begin")
    expect(page.locator("h2")).to_have_text("One moment: all places are taken")
    expect(page.locator("#page")).to_contain_text("You are next")
    process_of_session().kill()
    expect(page.locator(".progress")).to_have_text("Practice 1 of 1", timeout=DEADLINE)


def test_a_session_that_dies_is_said_and_goes_on(page: Page, serve: Callable[..., StudyServer]) -> None:
    server = serve(steps=5000)
    walk_to_trials(page, server)
    page.click("#begin")
    expect(page.locator(".progress")).to_have_text("Practice 1 of 1", timeout=DEADLINE)
    page.frame_locator("iframe").locator("#phase", has_text="YOU").wait_for(timeout=DEADLINE)
    process_of_session().kill()
    expect(page.locator("h2")).to_have_text("Your session ended unexpectedly", timeout=5000)
    page.click("#begin")
    expect(page.locator(".progress")).to_have_text("Practice 1 of 1", timeout=DEADLINE)


def test_who_does_nothing_is_warned_and_may_go_on(page: Page, serve: Callable[..., StudyServer]) -> None:
    server = serve(steps=5000, idle_timeout=6)
    walk_to_trials(page, server)
    page.click("#begin")
    expect(page.locator(".still")).to_contain_text("Are you still there?", timeout=DEADLINE)
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".still")).to_be_hidden()
    expect(page.locator("h2")).to_have_text("Are you still there?", timeout=DEADLINE)
    page.click("#begin")
    expect(page.locator(".progress")).to_have_text("Practice 1 of 1", timeout=DEADLINE)


def test_a_server_that_starts_again_is_found(page: Page, serve: Callable[..., StudyServer]) -> None:
    server = serve()
    page.goto(f"{server.join_url}?id=anna")
    page.wait_for_selector("#agree")
    server.close()
    page.click("#agree")
    expect(page.locator("#notice")).to_contain_text("Connection lost")
    serve(port=server.port)
    expect(page.locator("#notice")).to_be_hidden(timeout=DEADLINE)
    page.click("#agree")
    page.wait_for_selector(".checks")


def process_of_session() -> psutil.Process:
    deadline = time.monotonic() + 20.0
    while time.monotonic() < deadline:
        for each in psutil.Process().children():
            if any("session_process" in part for part in each.cmdline()):
                return each
        time.sleep(0.05)
    raise AssertionError("no session has a process")
