"""What held keys mean, on each kind of action space."""

import itertools
import json
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from cogment_lab.errors import ConfigurationError
from cogment_lab.humans.controls import controls_for
from cogment_lab.humans.keymaps import RESERVED_KEYS, KeyMap, keymap_for
from cogment_lab.humans.shipped_keymaps import SHIPPED

FAMILIES = ("classic_control", "box2d", "toy_text")
ENV_IDS = sorted(
    env_id
    for env_id, spec in gym.registry.items()
    if isinstance(spec.entry_point, str)
    and spec.entry_point.startswith(tuple(f"gymnasium.envs.{f}" for f in FAMILIES))
)
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((env_id, {}) for env_id in ENV_IDS),
    ("LunarLander-v3", {"continuous": True}),
    ("CarRacing-v3", {"continuous": False}),
]
SPACES: list[gym.Space[Any]] = [
    spaces.Discrete(1),
    spaces.Discrete(2),
    spaces.Discrete(4, start=-2),
    spaces.Discrete(18),
    spaces.Discrete(1000),
    spaces.Box(-1, 1, (1,)),
    spaces.Box(-2, 3, (2,), np.float64),
    spaces.Box(0, 1, ()),
    spaces.Box(1, 2, (3,)),
    spaces.Box(-np.inf, np.inf, (4,)),
    spaces.Box(5, np.inf, (2,)),
    spaces.Box(-1, 1, (2, 2)),
    spaces.Box(0, 255, (2,), np.uint8),
    spaces.Box(-1, 1, (17,)),
    spaces.MultiBinary(3),
    spaces.MultiBinary((2, 2)),
    spaces.MultiDiscrete([3, 2, 5]),
    spaces.MultiDiscrete([[3, 2], [2, 2]]),
    spaces.MultiDiscrete([3, 2], start=[-1, 4]),
    spaces.Text(5),
    spaces.Dict(a=spaces.Discrete(2)),
    spaces.Tuple((spaces.Discrete(2),)),
]


def action_space_of(env_id: str, options: dict[str, Any]) -> gym.Space[Any]:
    env = gym.make(env_id, disable_env_checker=True, **options)
    space = env.action_space
    env.close()
    return space


# --- shipped maps ---


def test_the_registry_has_the_environments_this_file_is_about() -> None:
    assert {"CartPole-v1", "LunarLander-v3", "Taxi-v4"} <= set(ENV_IDS)


@pytest.mark.filterwarnings("ignore:.*out of date:DeprecationWarning")
@pytest.mark.parametrize(("env_id", "options"), VARIANTS)
def test_every_bundled_environment_has_a_shipped_map_within_its_space(env_id: str, options: Any) -> None:
    space = action_space_of(env_id, options)
    layouts = [layout for layout in SHIPPED[env_id.rpartition("-v")[0]] if layout.space == space]
    assert len(layouts) == 1
    keymap = keymap_for(env_id, space)
    assert keymap.hint == layouts[0].hint
    assert set(keymap.labels) == set(keymap.bindings) != set()
    for keys in keymap.bindings:
        assert space.contains(keymap.resolve(list(keys)))
    if keymap.noop is not None:
        assert space.contains(keymap.noop)


@pytest.mark.filterwarnings("ignore:.*out of date:DeprecationWarning")
@pytest.mark.parametrize(("env_id", "options"), VARIANTS)
def test_every_discrete_action_of_a_bundled_environment_can_be_reached(env_id: str, options: Any) -> None:
    space = action_space_of(env_id, options)
    keymap = keymap_for(env_id, space)
    if isinstance(space, spaces.Discrete):
        reached = {*keymap.bindings.values(), keymap.noop} - {None}
        assert reached == set(range(int(space.n)))
        assert len(keymap.bindings) + (keymap.noop is not None) == space.n


@pytest.mark.filterwarnings("ignore:.*out of date:DeprecationWarning")
@pytest.mark.parametrize(("env_id", "options"), VARIANTS)
def test_only_toy_text_waits_for_a_key(env_id: str, options: Any) -> None:
    keymap = keymap_for(env_id, action_space_of(env_id, options))
    assert keymap.turn_based == ("toy_text" in str(gym.spec(env_id).entry_point))


@pytest.mark.parametrize(
    ("key", "before", "after"), [("ArrowLeft", 36, 36), ("ArrowUp", 36, 24), ("ArrowDown", 24, 36)]
)
def test_cliff_walking_arrows_move_where_they_point(key: str, before: int, after: int) -> None:
    env = gym.make("CliffWalking-v1").unwrapped
    env.reset(seed=0)
    env.s = before  # type: ignore[attr-defined]
    assert env.step(keymap_for("CliffWalking-v1", env.action_space).resolve([key]))[0] == after


@pytest.mark.parametrize("env_id", ["LunarLander-v3", "LunarLanderContinuous-v3"])
@pytest.mark.parametrize(("key", "sign"), [("ArrowLeft", -1), ("ArrowRight", 1)])
def test_lander_arrows_push_the_lander_where_they_point(env_id: str, key: str, sign: int) -> None:
    env = gym.make(env_id)
    keymap = keymap_for(env_id, env.action_space)
    speeds = []
    for held in ([key], []):
        env.reset(seed=1)
        for _ in range(10):
            observation = env.step(keymap.resolve(held))[0]
        speeds.append(observation[2])
    assert np.sign(speeds[0] - speeds[1]) == sign


def test_cartpole_has_no_action_for_no_key() -> None:
    assert keymap_for("CartPole-v1", spaces.Discrete(2)).resolve([]) is None


def test_car_racing_steers_and_accelerates_at_once() -> None:
    space = spaces.Box(np.array([-1, 0, 0], np.float32), np.ones(3, np.float32))
    action = keymap_for("CarRacing-v3", space).resolve(["ArrowUp", "ArrowLeft"])
    np.testing.assert_array_equal(action, np.array([-1, 1, 0], np.float32))


def test_a_rescaled_space_gets_a_generated_map() -> None:
    keymap = keymap_for("CarRacing-v3", spaces.Box(-1, 1, (3,)))
    assert keymap.axes == () and "KeyQ" in {code for keys in keymap.bindings for code in keys}


def test_a_namespaced_environment_gets_a_generated_map() -> None:
    assert keymap_for("mine/FrozenLake-v1", spaces.Discrete(4)).turn_based is False


def test_a_module_before_the_id_is_ignored() -> None:
    assert keymap_for("gymnasium.envs:FrozenLake-v1", spaces.Discrete(4)).turn_based is True


# --- generated maps ---


@pytest.mark.parametrize("space", SPACES, ids=str)
@given(data=st.data())
def test_any_held_keys_mean_an_action_of_the_space(space: gym.Space[Any], data: st.DataObject) -> None:
    keymap = keymap_for("Unheard-v0", space)
    codes = [code for keys in keymap.bindings for code in keys] + ["Space", "KeyT", "nonsense"]
    action = keymap.resolve(data.draw(st.lists(st.sampled_from(codes), unique=True)))
    if action is None:
        assert keymap.noop is None
    else:
        assert space.contains(action)
        if isinstance(action, np.ndarray):
            assert action.dtype == space.dtype and action.shape == space.shape


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_what_the_page_gets_is_strict_json(space: gym.Space[Any]) -> None:
    keymap = keymap_for("Unheard-v0", space)
    json.dumps([keymap.to_json(), controls_for(space, keymap)], allow_nan=False)


@pytest.mark.parametrize("space", SPACES[:19], ids=str)
def test_array_and_number_spaces_get_keys(space: gym.Space[Any]) -> None:
    keymap = keymap_for("Unheard-v0", space)
    assert keymap.bindings
    assert not {code for keys in keymap.bindings for code in keys} & RESERVED_KEYS


@pytest.mark.parametrize("space", SPACES[19:], ids=str)
def test_other_spaces_get_an_empty_map(space: gym.Space[Any]) -> None:
    assert keymap_for("Unheard-v0", space).resolve(["ArrowLeft"]) is None


def test_generated_discrete_keys_count_from_the_start() -> None:
    keymap = keymap_for("Unheard-v0", spaces.Discrete(4, start=-2))
    assert keymap.resolve(["Digit0"]) == -2 and keymap.resolve(["ArrowUp"]) == 1


def test_bits_combine() -> None:
    keymap = keymap_for("Unheard-v0", spaces.MultiBinary(3))
    assert keymap.resolve(["Digit0", "Digit2"]).tolist() == [1, 0, 1]


def test_multi_discrete_axes_combine_and_the_newest_key_of_an_axis_wins() -> None:
    keymap = keymap_for("Unheard-v0", spaces.MultiDiscrete([4, 3]))
    assert keymap.resolve(["Digit1", "KeyW", "Digit2"]).tolist() == [2, 2]


# --- resolving ---


BOX = spaces.Box(-1, 1, (2,))
STICK = {"no-op": [0, 0], "ArrowLeft": [-1, 0], "ArrowRight": [1, 0], "ArrowUp": [0.7, 1]}


def test_the_chord_with_most_keys_wins() -> None:
    keymap = KeyMap.from_any({"ArrowLeft": 0, "ArrowUp": 1, "ArrowLeft+ArrowUp": 2}, spaces.Discrete(3))
    for held in itertools.permutations(["ArrowLeft", "ArrowUp"]):
        assert keymap.resolve(held) == 2


def test_the_key_pressed_last_wins() -> None:
    keymap = KeyMap.from_any({"ArrowLeft": 0, "ArrowRight": 1}, spaces.Discrete(2))
    assert keymap.resolve(["ArrowLeft", "ArrowRight"]) == 1
    assert keymap.resolve(["ArrowRight", "ArrowLeft"]) == 0


def test_of_equal_chords_the_one_completed_last_wins() -> None:
    keymap = KeyMap.from_any({"KeyA+KeyS": 0, "KeyA+KeyD": 1}, spaces.Discrete(2))
    assert keymap.resolve(["KeyA", "KeyD", "KeyS"]) == 0


def test_vectors_of_single_keys_add_up_and_are_clipped() -> None:
    keymap = KeyMap.from_any(STICK, BOX)
    np.testing.assert_array_equal(keymap.resolve(["ArrowRight", "ArrowUp"]), np.ones(2, np.float32))


def test_an_explicit_chord_replaces_the_sum() -> None:
    keymap = KeyMap.from_any({**STICK, "ArrowRight+ArrowUp": [0.25, 0.25]}, BOX)
    assert keymap.resolve(["ArrowRight", "ArrowUp"]).tolist() == [0.25, 0.25]


def test_vectors_add_up_from_the_no_op() -> None:
    keymap = KeyMap.from_any({"no-op": [0.5, 0], "KeyA": [0.5, 1], "KeyS": [-0.5, 0]}, BOX)
    assert keymap.resolve(["KeyA", "KeyS"]).tolist() == [-0.5, 1]


def test_keys_that_mean_nothing_are_the_no_op() -> None:
    assert KeyMap.from_any(STICK, BOX).resolve(["KeyQ"]).tolist() == [0, 0]


def test_changing_a_returned_action_leaves_the_map_alone() -> None:
    keymap = KeyMap.from_any(STICK, BOX)
    for held in ([], ["ArrowLeft"]):
        before = keymap.resolve(held).tolist()
        keymap.resolve(held)[:] = 9
        assert keymap.resolve(held).tolist() == before


def test_discrete_actions_are_numpy_integers() -> None:
    action = KeyMap.from_any(["ArrowLeft"], spaces.Discrete(3, start=5)).resolve(["ArrowLeft"])
    assert action == 5 and isinstance(action, np.int64)


# --- what a user may give ---


def test_a_list_numbers_the_actions() -> None:
    keymap = KeyMap.from_any(["no-op", "ArrowLeft", "ArrowLeft+ArrowUp"], spaces.Discrete(4))
    assert [keymap.resolve(held) for held in ([], ["ArrowLeft"], ["ArrowUp", "ArrowLeft"])] == [0, 1, 2]


def test_a_number_is_enough_for_a_box_of_one() -> None:
    space = spaces.Box(-2, 2, (1,))
    assert KeyMap.from_any({"ArrowLeft": -2}, space).resolve(["ArrowLeft"]).shape == (1,)


def test_a_key_map_is_checked_against_the_new_space() -> None:
    keymap = KeyMap.from_any(["ArrowLeft", "ArrowRight"], spaces.Discrete(2))
    assert KeyMap.from_any(keymap, spaces.Discrete(3)).space == spaces.Discrete(3)
    with pytest.raises(ConfigurationError, match="ArrowRight"):
        KeyMap.from_any(keymap, spaces.Discrete(1))


def test_an_action_outside_the_space_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match=r"'ArrowRight' to 7, which is no action of Discrete\(4\)"):
        KeyMap.from_any({"ArrowLeft": 0, "ArrowRight": 7}, spaces.Discrete(4))


@pytest.mark.parametrize(
    ("action", "space"),
    [
        (0.5, spaces.Discrete(2)),
        ("left", spaces.Discrete(2)),
        (None, spaces.Discrete(2)),
        ([1, 2, 3], BOX),
        ([2, 0], BOX),
        ([np.nan, 0], BOX),
        ([1e300, 0], BOX),
        ([300], spaces.Box(0, 255, (1,), np.uint8)),
        ([1.5], spaces.Box(0, 255, (1,), np.uint8)),
        ([np.nan], spaces.Box(0, 255, (1,), np.uint8)),
        ([0.5, 1], spaces.MultiBinary(2)),
        ([3, 0], spaces.MultiDiscrete([3, 2])),
        (1, spaces.Text(3)),
    ],
)
def test_an_action_that_does_not_fit_is_refused(action: Any, space: gym.Space[Any]) -> None:
    with pytest.raises(ConfigurationError, match="which is no action of"):
        KeyMap.from_any({"KeyA": action}, space)
    with pytest.raises(ConfigurationError, match="has 'no-op' as"):
        KeyMap({}, space, noop="?" * 9 if action is None else action)


@pytest.mark.parametrize("code", sorted(RESERVED_KEYS))
def test_keys_of_the_page_are_refused(code: str) -> None:
    with pytest.raises(ConfigurationError, match=f"page itself uses {code}"):
        KeyMap.from_any({f"ArrowLeft+{code}": 0}, spaces.Discrete(2))


@pytest.mark.parametrize(
    ("code", "meant"), [("left", "ArrowLeft"), ("a", "KeyA"), ("1", "Digit1"), ("arrowup", "ArrowUp")]
)
def test_a_misspelt_key_is_refused_with_the_right_one(code: str, meant: str) -> None:
    with pytest.raises(ConfigurationError, match=f"did you mean '{meant}'"):
        KeyMap.from_any({code: 0}, spaces.Discrete(2))


@pytest.mark.parametrize(
    ("value", "space", "message"),
    [
        (["ArrowLeft"], BOX, "Discrete space"),
        (["ArrowLeft", "ArrowLeft"], spaces.Discrete(2), "twice"),
        ({"KeyA+KeyS": 0, "KeyS+KeyA": 1}, spaces.Discrete(2), "twice"),
        (["no-op", "no-op"], spaces.Discrete(2), "several"),
        ("ArrowLeft", spaces.Discrete(2), "a key map is"),
        (3, spaces.Discrete(2), "a key map is"),
        ([None], spaces.Discrete(2), "a key is"),
        ({"": 0}, spaces.Discrete(2), "no KeyboardEvent.code"),
        ({(): 0}, spaces.Discrete(2), "a binding is"),
        (["KeyA", "KeyS", "KeyD"], spaces.Discrete(2), "'KeyD' to 2"),
    ],
)
def test_a_malformed_key_map_is_refused(value: Any, space: gym.Space[Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        KeyMap.from_any(value, space)


def test_a_label_needs_its_binding() -> None:
    with pytest.raises(ConfigurationError, match="labels 'KeyA'"):
        KeyMap({}, spaces.Discrete(2), labels={frozenset({"KeyA"}): "a"})


def test_a_key_map_travels_to_another_process() -> None:
    keymap = keymap_for("CarRacing-v3", spaces.Discrete(5))
    assert pickle.loads(pickle.dumps(keymap)).to_json() == keymap.to_json()


# --- what the page shows ---


def test_labels_are_the_words_of_the_environment() -> None:
    keymap = keymap_for("LunarLander-v3", spaces.Discrete(4))
    assert [keymap.label(action) for action in range(4)] == ["engines off", "left", "main engine", "right"]


def test_own_keys_keep_the_words_of_the_environment() -> None:
    shipped = keymap_for("LunarLander-v3", spaces.Discrete(4))
    own = KeyMap.from_any(["no-op", "KeyA", "KeyW", "KeyD"], spaces.Discrete(4)).with_words_of(shipped)
    assert [own.label(action) for action in range(4)] == ["engines off", "left", "main engine", "right"]
    bare = KeyMap.from_any({"KeyA": 0, "KeyB": 3}, spaces.Discrete(4)).with_words_of(shipped)
    assert [bare.label(action) for action in range(4)] == ["engines off", "1", "2", "right"]


def test_own_words_outrank_those_of_the_environment() -> None:
    space = spaces.Discrete(4)
    own = KeyMap(
        {frozenset({"KeyW"}): 2}, space, noop=0, labels={frozenset({"KeyW"}): "lift"}, noop_label="fall"
    )
    named = own.with_words_of(keymap_for("LunarLander-v3", space))
    assert [named.label(action) for action in (0, 2)] == ["fall", "lift"]


def test_an_action_without_a_name_is_labelled_by_its_value() -> None:
    keymap = keymap_for("LunarLanderContinuous-v3", BOX)
    assert keymap.label(np.array([1, 0], np.float32)) == "main engine"
    assert keymap.label(np.array([0.5, -0.25], np.float32)) == "[0.5, -0.25]"
    assert keymap_for("Pendulum-v1", spaces.Box(-2, 2, (1,))).label(np.float32([0.5])) == "0.5"
    assert KeyMap({}, spaces.Discrete(9)).label(np.int64(7)) == "7"


def test_an_action_of_a_nested_space_has_a_label() -> None:
    space = spaces.Dict(a=spaces.Discrete(2))
    keymap = KeyMap.from_any({"KeyA": {"a": 1}}, space)
    assert keymap.label({"a": 1}) == "{'a': 1}"
    assert keymap.to_json()["bindings"][0]["value"] == {"a": 1}


def test_the_key_map_of_the_page_is_complete() -> None:
    assert keymap_for("MountainCar-v0", spaces.Discrete(3)).to_json() == {
        "bindings": [
            {"keys": ["ArrowLeft"], "label": "push left", "value": 0},
            {"keys": ["ArrowRight"], "label": "push right", "value": 2},
        ],
        "noop": {"label": "coast", "value": 1},
        "hint": "Build up speed: push the way the car already rolls.",
        "turn_based": False,
    }


@pytest.mark.parametrize(
    ("space", "controls"),
    [
        (
            spaces.Discrete(2, start=3),
            {"kind": "discrete", "n": 2, "start": 3, "labels": ["action 3", "action 4"]},
        ),
        (
            spaces.Box(-1, 2, (1, 2)),
            {
                "kind": "box",
                "low": [-1, -1],
                "high": [2, 2],
                "labels": ["axis 0", "axis 1"],
                "shape": [1, 2],
                "rest": [0, 0],
                "whole": False,
            },
        ),
        (
            spaces.Box(5, np.inf, (1,)),
            {
                "kind": "box",
                "low": [5],
                "high": [7],
                "labels": ["axis 0"],
                "shape": [1],
                "rest": [5],
                "whole": False,
            },
        ),
        (spaces.MultiBinary((2, 2)), {"kind": "multi_binary", "n": 4}),
        (
            spaces.MultiDiscrete([3, 2], start=[0, 1]),
            {"kind": "multi_discrete", "nvec": [3, 2], "start": [0, 1]},
        ),
        (
            spaces.Text(3, charset="ba"),
            {"kind": "text", "min_length": 1, "max_length": 3, "characters": "ab"},
        ),
        (
            spaces.Dict(go=spaces.Discrete(2), say=spaces.Tuple([spaces.MultiBinary(2)])),
            {
                "kind": "dict",
                "parts": {
                    "go": {"kind": "discrete", "n": 2, "start": 0, "labels": ["0", "1"]},
                    "say": {"kind": "tuple", "parts": [{"kind": "multi_binary", "n": 2}]},
                },
            },
        ),
    ],
    ids=str,
)
def test_controls_follow_the_action_space(space: gym.Space[Any], controls: dict[str, Any]) -> None:
    assert controls_for(space, keymap_for("Unheard-v0", space)) == controls


def test_sliders_carry_the_names_of_the_axes() -> None:
    keymap = keymap_for("LunarLanderContinuous-v3", BOX)
    assert controls_for(BOX, keymap)["labels"] == ["main engine", "sideways"]
