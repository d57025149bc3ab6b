"""Opinions with their moment, notes and messages, verdicts: what a person says of a trial, and its record."""

import logging
from typing import Any

import pytest
from playwright.sync_api import expect

import cogment_lab
from cogment_lab.humans.web.memory import now_ns

pytestmark = pytest.mark.browser
DEADLINE_MS = 15_000


def opinions() -> list[Any]:
    with cogment_lab.TrialStore("stage.db") as store:
        loaded = [store.load(each.trial_id)["gym"] for each in store.trials()]
    return [opinion for data in loaded for opinion in data.feedback]


def test_an_evaluator_praises_and_scolds_by_key_and_button(play: Any) -> None:
    stage = play("CartPole-v1", role="evaluator")
    stage.status("s.pace === 'live'")
    expect(stage.page.locator("#controls")).to_be_hidden()
    stage.page.keyboard.press("x")
    stage.page.keyboard.press("z")
    stage.page.click("#good")
    expect(stage.page.locator("#feedbacks")).to_have_text("3", timeout=DEADLINE_MS)
    stage.page.wait_for_timeout(300)
    stage.stop()
    given = opinions()
    assert sorted(opinion.value for opinion in given) == [-1, 1, 1]
    assert all(opinion.tick >= 0 and opinion.time > 0 for opinion in given)


def test_a_held_slider_is_a_signal_with_the_moment_of_each_value(play: Any) -> None:
    begin = now_ns()
    stage = play("LunarLander-v3", role="evaluator")
    stage.status("s.pace === 'live'")
    box = stage.page.locator("#feedback").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    stage.page.mouse.move(x, y)
    stage.page.mouse.down()
    stage.page.mouse.move(x + 0.45 * box["width"], y, steps=2)
    stage.status("s.feedbacks >= 4")
    stage.page.mouse.up()
    assert stage.page.locator("#feedback").input_value() == "0"
    stage.page.wait_for_timeout(200)
    stage.stop()
    times = [opinion.time for opinion in opinions()]
    assert len(times) >= 3
    assert (max(times) - min(times)) / (len(times) - 1) > 0.05e9  # ten a second, however slow the machine
    assert begin < min(times) and max(times) < now_ns()


def test_notes_go_into_the_record_and_messages_to_the_experimenter(play: Any, caplog: Any) -> None:
    caplog.set_level(logging.WARNING, "cogment_lab.humans")
    stage = play("LunarLander-v3")
    page = stage.page
    page.fill("#note", "it <script>alert('swings')</script> \U0001f680" + 100 * '"')
    page.keyboard.press("Enter")
    expect(page.locator("#hint")).to_have_text("Kept in the trial's record")
    page.fill("#note", "please stop soon")
    page.click("#note-send")
    stage.status("s.notes === 2")
    events = [(kind, data) for _, kind, data in stage.events() if kind in ("note", "message")]
    assert [kind for kind, _ in events] == ["note", "message"]
    assert events[0][1]["text"].startswith("it <script>alert('swings')</script> \U0001f680")
    assert events[0][1]["tick"] >= 0 and events[0][1]["t"] > 0
    assert "please stop soon" in caplog.text


def test_keys_typed_into_a_note_fly_nothing(play: Any) -> None:
    stage = play("CartPole-v1")
    stage.page.focus("#note")
    stage.page.keyboard.type("xz tp .")
    assert stage.page.input_value("#note") == "xz tp ."
    after = stage.status("s.state === 'running'")
    assert after["feedbacks"] == 0
    assert after["phase"] == "autonomous"


def test_verdicts_are_requests_of_the_trial_that_was_seen(play: Any) -> None:
    stage = play("LunarLander-v3", role="evaluator")
    stage.page.click("#success")
    stage.page.click("#discard")
    stage.page.click("#failure")
    stage.page.wait_for_timeout(600)
    kinds = [kind for _, kind, data in stage.events() if kind in ("success", "failure", "discard")]
    assert sorted(kinds) == ["discard", "failure", "success"]


def test_space_presses_the_focused_button_of_an_evaluator(play: Any) -> None:
    stage = play("LunarLander-v3", role="evaluator")
    stage.page.locator("#good").focus()
    stage.page.keyboard.press("Space")
    stage.status("s.feedbacks === 1")


def test_an_observer_can_do_nothing_but_look(play: Any) -> None:
    stage = play("CartPole-v1", role="observer")
    expect(stage.page.locator("#tools")).to_be_hidden()
    expect(stage.page.locator("#controls")).to_be_hidden()
    for key in ("Space", "x", "p"):
        stage.page.keyboard.press(key)
    assert stage.status("s.state === 'running'")["phase"] == "autonomous"
    assert not [kind for _, kind, _ in stage.events() if kind != "pace"]
