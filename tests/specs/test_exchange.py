"""What an observation carries beside its value, and what configurations carry of a reset."""

import math
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from cogment_lab.errors import SpecError
from cogment_lab.specs import (
    observation_from_message,
    observation_to_message,
    reset_options_of,
    seed_of,
    set_reset_options,
    set_seed,
)
from cogment_lab.specs.generated.data_pb2 import AgentConfig, EnvironmentConfig, Observation, Value
from cogment_lab.specs.tagged_json import from_json, to_json

Same = Callable[[Any, Any], bool]
SPACE = spaces.Discrete(2)


def exchanged(**parts: Any) -> Any:
    message = observation_to_message(SPACE, 1, **parts)
    return observation_from_message(SPACE, Observation.FromString(message.SerializeToString()))


@pytest.mark.parametrize(
    ("terminated", "truncated"), [(False, False), (True, False), (False, True), (True, True)]
)
def test_terminated_and_truncated_stay_apart(terminated: bool, truncated: bool) -> None:
    received = exchanged(terminated=terminated, truncated=truncated)
    assert (received.terminated, received.truncated) == (terminated, truncated)
    assert received.alive is not (terminated or truncated)


def test_active_and_alive_may_be_given() -> None:
    received = exchanged(active=False, alive=True, terminated=True)
    assert (received.active, received.alive) == (False, True)


def test_the_reward_is_bit_exact() -> None:
    assert exchanged(reward=0.1 + 0.2).reward == 0.1 + 0.2
    assert math.copysign(1, exchanged(reward=-0.0).reward) == -1


def test_what_is_not_given_is_not_there() -> None:
    received = exchanged()
    assert (received.reward, received.rendered_frame, received.info) == (None, None, {})


def test_an_empty_frame_is_not_no_frame() -> None:
    assert exchanged(rendered_frame=b"").rendered_frame == b""


def test_info_comes_back_with_its_types(same: Same) -> None:
    info = {
        "TimeLimit.truncated": True,
        "count": 3,
        "score": np.float32(0.1),
        "mask": np.array([True, False]),
        "where": (1, 2.5, None),
        "raw": b"\x00\xff",
        "bad": [math.inf, -math.inf],
        "nested": {"$odd": 1, 5: {"a": "é\ud800"}},
    }
    assert same(exchanged(info=info).info, info)


def test_info_that_cannot_be_written_becomes_text() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    circle: list[Any] = []
    circle.append(circle)
    info = exchanged(info={"object": object, "broken": Broken(), "circle": circle, "huge": 10**5000}).info
    assert info["object"] == "<class 'object'>"
    assert info["broken"].startswith("<Broken")
    assert list(info) == ["object", "broken", "circle", "huge"]


json_leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st_numpy.arrays(st_numpy.scalar_dtypes().filter(lambda dtype: dtype.kind in "biuf"), (2,))
)
json_values = st.recursive(
    json_leaves,
    lambda children: (
        st.lists(children, max_size=3)
        | st.lists(children, max_size=3).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), children, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=100)
@given(json_values)
def test_json_keeps_all_types(same: Same, value: Any) -> None:
    assert same(from_json(to_json(value)), value)


def test_json_keeps_nan() -> None:
    assert math.isnan(from_json(to_json(math.nan)))


class Side(IntEnum):
    LEFT = 0


@pytest.mark.parametrize("value", [object(), {1, 2}, Side.LEFT, np.array([None])])
def test_strict_json_refuses_what_would_not_come_back(value: Any) -> None:
    with pytest.raises(SpecError, match="cannot be written as JSON"):
        to_json([value])


def test_strict_json_refuses_integers_that_python_would_not_read() -> None:
    with pytest.raises(SpecError, match="int cannot be written as JSON"):
        to_json(10**5000)


@pytest.mark.parametrize("config_type", [EnvironmentConfig, AgentConfig])
@pytest.mark.parametrize("seed", [None, 0, 1, 2**32 - 1, 2**32, 2**64 - 1])
def test_a_seed_comes_back_and_none_is_not_0(config_type: Any, seed: int | None) -> None:
    config = config_type(seed=9, exact_seed=9)
    set_seed(config, seed)
    assert seed_of(config_type.FromString(config.SerializeToString())) == seed
    assert config.seed == (seed or 0) % 2**32


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(SpecError, match=str(seed)):
        set_seed(EnvironmentConfig(), seed)


def test_the_seed_of_an_old_config_is_read() -> None:
    assert seed_of(EnvironmentConfig(seed=7)) == 7
    assert seed_of(EnvironmentConfig()) is None


def test_reset_options_come_back_and_fill_the_old_field(same: Same) -> None:
    options = {
        "text": "a",
        "n": -3,
        "x": 0.5,
        "flag": True,
        "big": 2**40,
        "start": np.zeros(2),
        "deep": {"a": 1},
    }
    config = EnvironmentConfig()
    set_reset_options(config, options)
    restored = EnvironmentConfig.FromString(config.SerializeToString())
    assert same(reset_options_of(restored), options)
    assert {key: str(value).strip() for key, value in restored.reset_args.items()} == {
        "text": 'string_value: "a"',
        "n": "int_value: -3",
        "x": "float_value: 0.5",
        "flag": "int_value: 1",
    }


def test_reset_options_can_be_taken_back() -> None:
    config = EnvironmentConfig()
    set_reset_options(config, {"a": 1})
    set_reset_options(config, None)
    assert config == EnvironmentConfig()
    assert reset_options_of(config) == {}


def test_reset_options_of_an_old_config_are_read() -> None:
    data = (
        "0a017210011880052007280132080a016112030a017832"
        "100a0162120b10fdffffffffffffffff01320a0a016312051d0000003f"
    )
    config = EnvironmentConfig.FromString(bytes.fromhex(data))
    assert reset_options_of(config) == {"a": "x", "b": -3, "c": 0.5}
    assert (config.run_id, config.render, config.render_width, seed_of(config)) == ("r", True, 640, 7)
    config.reset_args["d"].CopyFrom(Value())
    assert reset_options_of(config)["d"] is None


@pytest.mark.parametrize("options", [{"a": object()}, {1: 2}, {"a": "\ud800"}])
def test_reset_options_that_cannot_be_sent_are_refused(options: dict[Any, Any]) -> None:
    with pytest.raises(SpecError):
        set_reset_options(EnvironmentConfig(), options)


@pytest.mark.parametrize("text", ["[1]", "{"])
def test_malformed_reset_options_are_refused(text: str) -> None:
    with pytest.raises(SpecError):
        reset_options_of(EnvironmentConfig(reset_options_json=text))


def test_values_that_hold_themselves_are_refused_or_cut_short_at_once() -> None:
    loop: list[object] = []
    loop += [loop, loop]
    with pytest.raises(SpecError, match="in itself"):
        to_json(loop)
    assert from_json(to_json({"x": loop}, lossy=True))["x"][0].startswith("[")
