"""What is held, and the action that it means."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from cogment_lab.errors import InvalidActionError
from cogment_lab.humans.keymaps import KeyMap, keymap_for
from cogment_lab.humans.web.driving import Driving
from cogment_lab.humans.web.observed import allowed_actions, table

BOX = spaces.Box(-1, 1, (2,))
CARS = keymap_for("LunarLanderContinuous-v3", BOX)


def driving(space: gym.Space[Any], keymap: KeyMap, mix: Any = "replace", clock: Any = lambda: 0.0) -> Driving:
    return Driving(space, keymap, mix, clock)


def test_nothing_held_does_what_the_person_chose() -> None:
    keymap = KeyMap.from_any(["no-op", "ArrowLeft", "ArrowRight"], spaces.Discrete(3))
    controls = driving(spaces.Discrete(3), keymap)
    assert controls.take(1) == 0
    controls.held = ["ArrowRight"]
    assert controls.take(1) == 2
    controls.held = ()
    controls.idle = "repeat"
    assert controls.take(1) == 2
    controls.idle = "agent"
    assert controls.take(1) is None


def test_sliders_outrank_keys() -> None:
    controls = driving(BOX, CARS)
    controls.held = ["ArrowUp"]
    controls.controls = [0.5, 0.5]
    assert controls.take(np.zeros(2)).tolist() == [0.5, 0.5]


def test_a_component_nobody_touches_stays_the_players() -> None:
    controls = driving(BOX, CARS)
    controls.controls = [None, 0.5]
    assert controls.take(np.array([-0.75, 0], np.float32)).tolist() == [-0.75, 0.5]


def test_where_touched_components_are_mixed_the_others_are_nan() -> None:
    controls = driving(BOX, CARS, "touched")
    controls.held = ["ArrowUp"]
    action = controls.take(np.zeros(2))
    assert action[0] == 1.0
    assert np.isnan(action[1])
    controls.held = ()
    controls.controls = [None, -0.5]
    action = controls.take(np.zeros(2))
    assert np.isnan(action[0])
    assert action[1] == -0.5


def test_an_impossible_action_is_refused_once_and_let_go() -> None:
    controls = driving(BOX, CARS)
    controls.controls = [5, 5]
    with pytest.raises(InvalidActionError, match="outside"):
        controls.take(None)
    assert controls.take(None).tolist() == [0, 0]


def test_a_trial_that_waits_takes_each_press_and_each_form_once() -> None:
    keymap = KeyMap.from_any({"ArrowLeft": 1}, spaces.Discrete(2))
    controls = driving(spaces.Discrete(2), keymap)
    controls.waits = True
    assert not controls.has_input
    controls.held = ["KeyQ"]
    assert not controls.has_input
    controls.held = ["ArrowLeft"]
    assert controls.has_input
    assert controls.take(0) == 1
    assert not controls.has_input
    controls.controls = 0
    assert controls.take(1) == 0
    assert not controls.has_input


def test_a_tap_shorter_than_a_tick_counts_once_and_an_old_one_never() -> None:
    now = [0.0]
    keymap = KeyMap.from_any(["no-op", "ArrowLeft"], spaces.Discrete(2))
    controls = driving(spaces.Discrete(2), keymap, clock=lambda: now[0])
    controls.hold(["ArrowLeft"])
    controls.hold([])
    assert [controls.take(0), controls.take(0)] == [1, 0]
    controls.hold(["ArrowLeft"])
    controls.hold([])
    now[0] = 1.0
    assert controls.take(0) == 0


def test_a_ramp_takes_its_time_both_ways() -> None:
    now = [0.0]
    controls = driving(BOX, CARS, clock=lambda: now[0])
    controls.ramp = 1.0
    controls.held = ["ArrowUp"]
    reached = []
    for _ in range(15):
        now[0] += 0.1
        reached.append(float(controls.take(None)[0]))
    assert reached[0] == pytest.approx(0.1, abs=0.01)
    assert reached[4] == pytest.approx(0.5, abs=0.01)
    assert reached[-1] == 1.0
    controls.held = ()
    now[0] += 0.1
    assert float(controls.take(None)[0]) == pytest.approx(0.9, abs=0.01)


def test_letting_go_forgets_what_was_held() -> None:
    controls = driving(BOX, CARS)
    controls.idle = "repeat"
    controls.controls = [0.5, 0.5]
    controls.take(None)
    controls.let_go()
    assert not controls.has_input
    assert controls.take(None) is None


def test_observations_become_rows() -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    rows = dict(table({"x": np.array([1.5, 2]), "word": "<b>", "eye": picture, "pair": (1, "two")}))
    assert rows["x.0"] == "1.5"
    assert rows["word"] == "<b>"
    assert rows["eye"] == "8x8x3 uint8, 0 to 0, mean 0"
    assert rows["pair.1"] == "two"
    assert len(table(np.zeros(40))) == 40


def test_the_action_mask_is_the_infos_or_the_observations() -> None:
    assert allowed_actions(0, {"action_mask": np.array([1, 0], np.int8)}) == [1, 0]
    assert allowed_actions({"action_mask": [0, 1]}, {}) == [0, 1]
    assert allowed_actions(0, {}) is None
