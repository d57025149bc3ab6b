"""What a person sees: phases, the band's words, observations, proposals, failures, each role's words."""

import re
import time
from typing import Any

import pytest
from gymnasium import spaces
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
DEADLINE_MS = 45_000


def test_a_phase_is_announced_once_and_not_with_every_tenth_of_a_second(play: Any) -> None:
    stage = play("CartPole-v1")
    expect(stage.page.locator("#announce")).to_have_text("AGENT IS FLYING")
    stage.page.keyboard.down("Space")
    expect(stage.page.locator("#announce")).to_have_text("YOU are flying", timeout=DEADLINE_MS)


def test_the_band_says_who_acted_on_hover_and_by_the_keyboard(play: Any) -> None:
    stage = play("LunarLander-v3")
    stage.page.click("#pace-quarter")
    stage.page.keyboard.down("Space")
    stage.status("s.band.some(run => run[2] === 'teacher') && s.helped_ticks > 5")
    box = stage.page.locator("#band").bounding_box()
    deadline = time.monotonic() + 45
    offset = 0
    while (
        "tick" not in stage.page.locator("#band-tip").inner_text()
    ):  # a trial that ends takes the band with it
        assert time.monotonic() < deadline
        offset = 1 - offset
        stage.page.mouse.move(box["x"] + 3 + offset, box["y"] + 8)
        stage.page.wait_for_timeout(50)
    stage.page.keyboard.up("Space")
    stage.page.locator("#band").focus()
    stage.page.keyboard.press("Home")
    text = stage.page.locator("#band").get_attribute("aria-valuetext")
    assert text is not None and re.match(r"tick (\d+): .*since tick \1( · .*)?$", text)  # the first one shown


def test_the_inspector_shows_values_and_text_and_no_script_of_theirs_runs(play: Any) -> None:
    stage = play(spaces.Discrete(2))
    stage.page.click("#inspector summary")
    values = stage.page.locator("#values")
    expect(values).to_contain_text("<img src=x onerror=alert(1)>", timeout=DEADLINE_MS)
    expect(values).to_contain_text("0.25")
    assert stage.page.locator("#values img").count() == 0


def test_without_pictures_there_is_a_table_and_the_line_that_brings_them(play: Any, anything: Any) -> None:
    with pytest.warns(UserWarning, match="rgb_array"):
        stage = play(anything(spaces.Discrete(2), pictures=False))
        expect(stage.page.locator("#observation")).to_contain_text("0.25", timeout=DEADLINE_MS)
        expect(stage.page.locator("#frame")).to_be_hidden()
    expect(stage.page.locator("#banner code")).to_contain_text('render_mode="rgb_array"')


def test_the_proposal_and_how_sure_the_agent_is_can_be_hidden_which_is_recorded(play: Any) -> None:
    stage = play("MountainCar-v0")  # its trials last: between two of them nothing is recorded
    stage.env.tell_seats({"explain": lambda observation: [0.25, 0.0, 0.75]})
    expect(stage.page.locator("#confidence li").first).to_have_text("push right75 %", timeout=DEADLINE_MS)
    stage.page.click("#show-proposal")
    expect(stage.page.locator("#proposal")).to_have_text("hidden", timeout=DEADLINE_MS)
    expect(stage.page.locator("#confidence li")).to_have_count(0)
    stage.status("s.proposal === null")
    shown = [
        (data["shown"], data["confidence"]) for _, kind, data in stage.events() if kind == "proposal_shown"
    ]
    assert (True, True) in shown
    assert shown[-1] == (False, False)


def test_a_phone_shows_what_the_agent_wants_beside_the_picture(play: Any) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    stage = play("CartPole-v1", device=phone)
    stage.env.tell_seats({"explain": lambda observation: [0.25, 0.75]})
    wish = stage.page.locator("#phase-proposal")
    expect(wish).to_contain_text("wants push", timeout=DEADLINE_MS)
    stage.status("s.confidence?.[0].p === 0.75")
    expect(wish).to_be_in_viewport()
    stage.page.locator("#show-proposal").click()
    expect(wish).to_have_text("", timeout=DEADLINE_MS)


def test_a_player_is_told_nothing_of_training(play: Any) -> None:
    stage = play("CartPole-v1", role="player")
    page = stage.page
    expect(page.locator("#phase")).to_have_text("YOU are playing", timeout=DEADLINE_MS)
    expect(page.locator("#hint")).to_contain_text("You play", timeout=DEADLINE_MS)
    visible = page.locator("body").inner_text().lower()
    for word in ("agent", "training", "learn", "takeover"):
        assert word not in visible, word
    stage.stop()
    expect(page.locator("#overlay")).to_contain_text("That was all", timeout=DEADLINE_MS)
    expect(page.locator("#play-again")).to_be_visible()
    assert page.locator("#open-trials").count() == 0, "this page knows no store"
    assert "training" not in page.locator("body").inner_text().lower()


def test_a_crash_of_the_environment_is_shown_with_its_trial(play: Any, anything: Any) -> None:
    class Fragile(anything):  # type: ignore[misc]
        broken = False

        def step(self, action: Any) -> Any:
            if self.broken:
                raise RuntimeError("the motor <b>burnt</b>")
            return super().step(action)

    env = Fragile(spaces.Discrete(2))
    stage = play(env)
    env.broken = True
    banner = stage.page.locator("#banner")
    expect(banner).to_contain_text("RuntimeError: the motor <b>burnt</b>", timeout=DEADLINE_MS)
    expect(banner).to_contain_text(stage.env.trial_id)
    expect(banner.locator("button")).to_have_text("Copy report")


def test_a_slow_link_lowers_the_pace_and_says_so(play: Any) -> None:
    slow = """
    const paint = window.createImageBitmap;
    window.createImageBitmap = async (...given) => {
      await new Promise((go) => setTimeout(go, 400));
      return paint(...given);
    };
    """
    stage = play(spaces.Discrete(2), script=slow)
    expect(stage.page.locator("#banner")).to_contain_text("pace lowered to 1/2", timeout=30_000)
    assert stage.status("s.pace === 'half'")
    stage.page.click("#live-again")
    stage.status("s.pace === 'live'")


def test_the_page_can_be_used_by_keyboard_alone(play: Any) -> None:
    stage = play("CartPole-v1")
    page = stage.page
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    names = []
    for _ in range(60):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.id"))
    assert {"theme", "take", "pause", "pace-half", "good", "note", "discard", "stop", "band"} <= set(names)
    page.locator("#pace-half").focus()
    page.keyboard.press("Enter")
    stage.status("s.pace === 'half'")
    page.keyboard.press("Space")
    assert stage.status("true")["pace"] == "half"


def test_every_control_has_a_name(play: Any) -> None:
    stage = play(spaces.Box(-1, 1, (3,)))
    nameless = stage.page.evaluate(
        """[...document.querySelectorAll("button, input, select, [role=slider]")]
        .filter((each) => !(each.ariaLabel || each.textContent.trim() || each.labels?.length))
        .map((each) => each.outerHTML)"""
    )
    assert nameless == []
