"""Controls from the action space: keys, buttons, stick, sliders, switches, text, forms, gamepad, touch."""

import time
from typing import Any

import gymnasium as gym
import pytest
from gymnasium import spaces
from playwright.sync_api import Page, expect

import cogment_lab.humans

pytestmark = pytest.mark.browser
PHONE = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}
BOX = spaces.Box(-1, 1, (2,))
PAD = """
window.pad = { connected: true, axes: [0, 0, 0, 0] };
window.pad.buttons = Array.from({ length: 17 }, () => ({ pressed: false, value: 0 }));
navigator.getGamepads = () => [window.pad];
"""


def drag(page: Page, selector: str, right: float, up: float) -> None:
    """Press in the middle of something and move; the button stays down."""
    page.locator(selector).hover()  # waits until it stays where it is
    box = page.locator(selector).bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + right * box["width"] / 2, y - up * box["height"] / 2, steps=3)


def test_an_action_without_a_key_has_a_button(play: Any) -> None:
    stage = play(spaces.Discrete(40))
    button = stage.page.locator("#panel button[data-action='39']")
    button.hover()
    stage.page.mouse.down()
    stage.does(lambda action: action == 39)
    stage.page.mouse.up()
    stage.status("s.phase === 'autonomous'")


def test_keys_of_a_multi_binary_space_combine(play: Any) -> None:
    stage = play(spaces.MultiBinary(3))
    for key in (" ", "0", "2"):
        stage.page.keyboard.down(key)
    stage.does(lambda action: action.tolist() == [1, 0, 1])


def test_switches_and_choices_stand_for_bits_and_axes(play: Any) -> None:
    stage = play(spaces.Dict(lamps=spaces.MultiBinary(2), gear=spaces.MultiDiscrete([3, 2])))
    stage.page.get_by_role("switch").first.click()
    stage.page.locator("#panel select").first.select_option("2")
    stage.page.click("#panel .strong")
    stage.does(lambda action: action["lamps"][0] == 1 and action["gear"][0] == 2)


def test_the_stick_flies_while_it_is_held_and_springs_back(play: Any) -> None:
    stage = play(BOX)
    drag(stage.page, ".stick", 1.0, -1.0)
    stage.does(lambda action: action[0] > 0.9 and action[1] < -0.9)
    stage.page.mouse.up()
    stage.status("s.phase === 'autonomous'")


def test_a_slider_touches_one_component_and_leaves_the_other_to_the_agent(play: Any) -> None:
    stage = play(BOX, mix="touched")
    drag(stage.page, ".sliders label:nth-of-type(2) input", 0.9, 0)
    action = stage.does(lambda action: action[1] > 0.5)
    proposed = stage.status("s.executed?.by === 'teacher'")["proposal"]["value"]
    assert action[0] == pytest.approx(proposed[0], abs=1e-6)
    stage.page.mouse.up()
    stage.status("s.phase === 'autonomous'")


def test_a_slider_stays_where_the_keyboard_put_it_until_it_is_left(play: Any) -> None:
    stage = play(BOX)
    stage.page.locator(".sliders input").first.focus()
    for _ in range(3):
        stage.page.keyboard.press("ArrowRight")
    stage.does(lambda action: action[0] == pytest.approx(0.3, abs=0.01))
    expect(stage.page.locator(".sliders output").first).to_have_text("0.3")
    stage.page.locator(".sliders button").first.click()
    stage.status("s.phase === 'autonomous'")


def test_a_gamepads_axes_fly_while_the_trigger_is_held(play: Any) -> None:
    stage = play(BOX, script=PAD)
    stage.page.evaluate("window.pad.axes = [0.1, 0.05, 0, 0]")
    stage.page.evaluate("window.pad.buttons[7].pressed = true")
    stage.status("s.phase === 'correcting'")
    stage.does(lambda action: not action.any())
    stage.page.evaluate("window.pad.axes = [1, -0.575, 0, 0]")
    stage.does(
        lambda action: action[0] == pytest.approx(1, abs=0.01) and action[1] == pytest.approx(0.5, abs=0.02)
    )
    stage.page.evaluate("window.pad.buttons[7].pressed = false")
    stage.status("s.phase === 'autonomous'")


def test_a_gamepads_stick_is_the_arrow_keys_of_a_discrete_space(play: Any) -> None:
    stage = play("CartPole-v1", script=PAD)
    stage.page.evaluate("window.pad.buttons[0].pressed = true; window.pad.axes[0] = -1")
    stage.does(lambda action: action == 0)
    stage.page.evaluate("window.pad.axes[0] = 1")
    stage.does(lambda action: action == 1)
    stage.page.evaluate("window.pad = null")
    stage.status("s.phase === 'autonomous'")


def test_a_gamepads_buttons_and_axes_are_keys_where_a_key_map_binds_them(play: Any) -> None:
    keymap = {"Button2": 1, "Axis3Minus": 0, "Button0": 1}
    stage = play("CartPole-v1", script=PAD, keymap=keymap)
    expect(stage.page.locator("#keys")).to_contain_text("pad 2")
    stage.page.evaluate("window.pad.buttons[7].pressed = window.pad.buttons[2].pressed = true")
    stage.does(lambda action: action == 1)
    stage.page.evaluate("window.pad.buttons[2].pressed = false; window.pad.axes[3] = -1")
    stage.does(lambda action: action == 0)
    stage.page.evaluate("window.pad.buttons[7].pressed = false; window.pad.buttons[0].pressed = true")
    stage.status(
        "s.phase === 'autonomous' && s.pressed === 'push right'"
    )  # it is a key, and takes no control


def test_a_gamepads_button_is_chosen_by_pressing_it(play: Any) -> None:
    stage = play("CartPole-v1", script=PAD)
    page = stage.page
    page.click("#acting summary")
    page.click("#remap")
    page.locator("#remap-list button[data-code=ArrowLeft]").click()
    page.evaluate("window.pad.buttons[3].pressed = true")
    expect(page.locator("#remap-list button[data-code=ArrowLeft]")).to_have_text("pad 3")
    page.evaluate("window.pad.buttons[3].pressed = false")
    page.keyboard.press("Escape")
    page.evaluate("window.pad.buttons[7].pressed = window.pad.buttons[3].pressed = true")
    stage.does(lambda action: action == 0)


def test_a_fast_screen_says_no_more_than_the_server_hears(play: Any) -> None:
    stage = play(BOX)
    drag(stage.page, ".stick", 0.5, 0.0)
    stage.page.evaluate(
        """async () => {
        const stick = document.querySelector(".stick"), { left, top, width } = stick.getBoundingClientRect();
        for (let at = 0; at < 800; at += 1) {
          const to = { clientX: left + width * (0.5 + 0.4 * (at % 2)), clientY: top + width / 2 };
          stick.dispatchEvent(new PointerEvent("pointermove", to));
          if (at % 3 === 0) await new Promise((go) => setTimeout(go, 1));
        }
      }"""
    )
    stage.does(lambda action: action[0] > 0.9)  # the last of them counts
    stage.page.mouse.up()
    stage.status("s.phase === 'autonomous'")
    assert stage.page.evaluate("window.cogmentSeat.socketState") == "open"


def test_control_and_alt_may_be_keys_of_an_environment(play: Any) -> None:
    stage = play("CartPole-v1", keymap={"ControlLeft": 0, "KeyA": 1})
    stage.page.keyboard.down("Space")
    stage.page.keyboard.down("ControlLeft")
    stage.does(lambda action: action == 0)
    stage.page.keyboard.down("KeyA")
    stage.does(lambda action: action == 1)


def test_keys_are_called_as_on_the_persons_keyboard(play: Any) -> None:
    french = "navigator.keyboard.getLayoutMap = async () => new Map([['KeyA', 'q'], ['KeyZ', 'w']]);"
    stage = play("CartPole-v1", script=french, keymap={"KeyA": 0, "ArrowRight": 1})
    expect(stage.page.locator("#keys kbd").first).to_have_text("Q")
    expect(stage.page.locator("#bad kbd")).to_have_text("W")
    expect(stage.page.locator("#toggle kbd")).to_have_text("T")


def test_what_a_form_said_ends_when_it_is_handed_back(play: Any) -> None:
    stage = play(spaces.MultiDiscrete([3, 4]))
    page = stage.page
    expect(page.locator(".hand-back")).to_be_hidden()
    page.locator("#panel select").nth(1).select_option("3")
    page.click("#panel .strong")
    stage.does(lambda action: action[1] == 3)
    expect(page.locator("#hint")).to_have_text("T hands back")
    page.click(".hand-back")
    stage.status("s.phase === 'autonomous'")
    page.keyboard.press("Escape")
    page.keyboard.down("Space")
    page.keyboard.down("KeyQ")
    stage.does(lambda action: action.tolist() == [0, 1])


def test_nothing_held_is_not_called_too_late(play: Any) -> None:
    stage = play("CartPole-v1")  # which has no no-op
    stage.page.keyboard.down("Space")
    stage.status("s.executed?.by === 'idle' && s.late === 0")
    expect(stage.page.locator("#executed")).to_contain_text("nothing held")
    stage.page.keyboard.press("?")
    expect(stage.page.locator("#help-text")).to_contain_text(
        "Space without another key leaves it to the agent"
    )


def test_where_gamepads_are_forbidden_the_page_says_so(play: Any) -> None:
    script = "Object.defineProperty(window, 'isSecureContext', { get: () => false });"
    stage = play("CartPole-v1", script=script)
    expect(stage.page.locator("#pad-notice")).to_have_text(
        "Browsers allow gamepads only on https or localhost."
    )


def test_a_finger_holds_the_button_and_the_stick(play: Any) -> None:
    stage = play(BOX, device=PHONE)
    devtools = stage.page.context.new_cdp_session(stage.page)
    stage.page.locator(".stick").scroll_into_view_if_needed()
    box = stage.page.locator(".stick").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    devtools.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    moved = {"type": "touchMove", "touchPoints": [{"x": x + box["width"] / 2, "y": y}]}
    devtools.send("Input.dispatchTouchEvent", moved)
    stage.does(lambda action: action[0] > 0.9)
    devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    stage.status("s.phase === 'autonomous'")
    assert stage.page.evaluate("document.documentElement.scrollWidth") <= 390
    pill = stage.page.locator("#pill").bounding_box()
    assert pill["x"] >= 0 and pill["x"] + pill["width"] <= 390


def test_text_is_an_action(play: Any) -> None:
    stage = play(spaces.Text(12, charset="abc <>"), role="player")
    stage.page.fill("#panel input", "<b>")
    stage.page.keyboard.press("Enter")
    stage.status("s.executed && s.executed.value === '<b>'")
    expect(stage.page.locator("#executed")).to_have_text("<b>")
    assert stage.page.locator("#executed b").count() == 0
    stage.page.fill("#panel input", "xyz")
    assert not stage.page.evaluate("document.querySelector('#panel form').checkValidity()")


def test_a_form_holds_every_kind_and_leaves_the_rest_to_the_agent(play: Any) -> None:
    space = spaces.Dict(
        move=spaces.Discrete(3),
        arm=spaces.Box(-1, 1, (2,)),
        pair=spaces.Tuple((spaces.Discrete(2), spaces.Text(4))),
    )
    stage = play(space)
    stage.page.locator("#panel select").first.select_option("2")
    stage.page.locator("#panel input[type=text]").fill("go")
    stage.page.click("#panel .strong")
    action = stage.does(lambda action: action["move"] == 2 and action["pair"][1] == "go")
    assert space.contains(action)


def test_what_a_person_remaps_is_remembered(play: Any) -> None:
    stage = play("CartPole-v1")
    page = stage.page
    page.click("#acting summary")
    page.click("#remap")
    page.locator("#remap-list button[data-code=ArrowLeft]").click()
    page.keyboard.press("p")
    expect(page.locator("#remap-note")).to_contain_text("the page's own")
    page.keyboard.press("a")
    page.keyboard.press("Escape")
    page.reload()
    expect(page.locator("#keys kbd").first).to_have_text("A")
    stage.status("s.state === 'running'")
    page.keyboard.down("Space")
    page.keyboard.down("a")
    stage.does(lambda action: action == 0)
    expect(page.locator("#keys button").first).to_have_class("lit")


def goes_on_after_a_press(stage: Any) -> bool:
    """Press a key; return whether its action goes on without it (a machine that stood still releases all)."""
    stage.page.keyboard.press("ArrowUp", delay=200)
    stage.status("s.pressed === null")
    after = len(stage.executed)
    deadline = time.monotonic() + 4
    while stage.executed[after:].count(2) < 5 and time.monotonic() < deadline:
        stage.page.wait_for_timeout(20)
    return stage.executed[after:].count(2) >= 5


def test_a_person_chooses_what_nothing_held_means_and_that_the_trial_waits(play: Any) -> None:
    stage = play("LunarLander-v3")
    page = stage.page
    page.click("#acting summary")
    page.select_option("#idle", "repeat")
    stage.status("s.settings.idle === 'repeat'")
    page.keyboard.press("Escape")
    page.keyboard.down("Space")
    assert any(goes_on_after_a_press(stage) for _ in range(10)), "it goes on as before"
    page.keyboard.up("Space")
    stage.status("s.phase === 'autonomous'")
    page.select_option("#wait", "yes")
    stage.status("s.settings.wait === true")
    page.keyboard.press("Escape")
    page.keyboard.down("Space")
    tick = stage.status("s.phase === 'correcting'")["all_ticks"]
    page.wait_for_timeout(500)
    assert stage.status("true")["all_ticks"] <= tick + 2, "the trial waits"
    page.keyboard.press("ArrowLeft")
    stage.does(lambda action: action == 1)
    page.keyboard.up("Space")
    kinds = [(data["name"], data["value"]) for _, kind, data in stage.events() if kind == "setting"]
    assert kinds == [("idle", "repeat"), ("wait", True)]


def test_a_browser_remembers_how_its_person_acts_in_an_environment(play: Any) -> None:
    stage = play("LunarLanderContinuous-v3")
    page = stage.page
    page.click("#acting summary")
    page.select_option("#idle", "agent")
    page.select_option("#ramp", "0.3")
    stage.status("s.settings.idle === 'agent' && s.settings.ramp === 0.3")
    page.select_option("#idle", "repeat")
    stage.status("s.settings.idle === 'repeat'")
    page.evaluate("localStorage.setItem('cogment-acting:CartPole-v1', '{broken')")
    again = page.context.new_page()
    with cogment_lab.humans.WebUI(port=0) as other:
        env = cogment_lab.make("LunarLanderContinuous-v3", teacher=other.seat("teacher"), store=None)
        env.acknowledge_takeovers("this test")
        saved = page.evaluate("JSON.stringify(localStorage)")
        again.goto(other.url)
        again.evaluate("saved => Object.assign(localStorage, JSON.parse(saved))", saved)
        env.reset(seed=1)
        deadline = time.monotonic() + 20
        settings: Any = None
        while settings != {"idle": "repeat", "wait": False, "ramp": 0.3}:
            assert time.monotonic() < deadline, settings
            env.step(env.action_space.sample())
            again.wait_for_timeout(10)
            settings = again.evaluate("window.cogmentSeat?.lastStatus?.settings")
            if env.trial.tick.terminated or env.trial.tick.truncated:
                env.reset()
        expect(again.locator("#ramp")).to_have_value("0.3")
        env.close()
    again.close()


def test_an_impossible_action_is_refused_shown_and_recorded_and_the_trial_goes_on(play: Any) -> None:
    stage = play("LunarLander-v3")
    page = stage.page
    page.keyboard.down("Space")
    stage.status("s.phase === 'correcting'")
    page.evaluate(
        """() => { const send = WebSocket.prototype.send;
        WebSocket.prototype.send = function (text) { window.link = this; return send.call(this, text); }; }"""
    )
    for action in ("99", '"<script>alert(1)</script>"', "[[1, 2]]", "{}", "NaN"):
        text = '{"type": "controls", "action": ' + action + "}"
        page.evaluate("(text) => window.link?.send(text)", text)
        page.wait_for_timeout(300)
    expect(page.locator("#banner")).to_contain_text("Not executed")
    before = stage.status("s.refused >= 4")["all_ticks"]
    stage.status(f"s.all_ticks > {before + 5}")
    assert sum(kind == "action_refused" for _, kind, _ in stage.events()) >= 4


def test_discrete_actions_that_the_environment_forbids_are_struck_out(play: Any, anything: Any) -> None:
    stage = play(anything(spaces.Discrete(3), mask=[1, 0, 1]))
    barred = stage.page.locator("#keys button.barred")
    expect(barred.first).to_be_visible()
    assert {each.get_attribute("data-action") for each in barred.all()} == {"1"}
    stage.page.click("#inspector summary")
    expect(stage.page.locator("#values")).to_contain_text("action mask1 0 1")


def test_the_registry_is_not_needed_for_controls(play: Any) -> None:
    stage = play(gym.make("Pendulum-v1", render_mode="rgb_array"))
    expect(stage.page.locator(".stick.flat")).to_be_visible()
    drag(stage.page, ".stick", 1.0, 0.0)
    stage.does(lambda action: abs(action[0]) > 1.8)
