from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_helpers import ACTION_SPACE, OBSERVATION_SPACE, begin, make_spec, make_tick

from cogment_lab.errors import SpecError
from cogment_lab.store import AgentSpec, TrialStore
from cogment_lab.store.codec import ValueCodec
from cogment_lab.store.columns import value_at

DTYPES = (np.float32, np.float64, np.float16, np.uint8, np.int8, np.int16, np.int32, np.int64, np.uint16)


@st.composite
def boxes(draw: st.DrawFn) -> spaces.Box:
    dtype: Any = draw(st.sampled_from(DTYPES))
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    return spaces.Box(0, 100, shape, dtype)


LEAVES = st.one_of(
    boxes(),
    st.builds(spaces.Discrete, st.integers(1, 9), start=st.integers(-5, 5)),
    st.builds(spaces.MultiDiscrete, st.lists(st.integers(1, 5), min_size=1, max_size=3)),
    st.builds(spaces.MultiBinary, st.integers(1, 5)),
    st.builds(spaces.Text, st.integers(1, 9)),
    st.builds(spaces.Sequence, boxes()),
)
SPACES = st.recursive(
    LEAVES,
    lambda parts: st.one_of(
        st.builds(spaces.Dict, st.dictionaries(st.text("abc", min_size=1), parts, min_size=1, max_size=3)),
        st.builds(spaces.Tuple, st.lists(parts, min_size=1, max_size=3)),
        st.builds(spaces.OneOf, st.lists(parts, min_size=1, max_size=2)),
    ),
    max_leaves=5,
)
LARGE = spaces.Box(0, 255, (32, 32, 3), np.uint8)
GRAPH = spaces.Graph(spaces.Box(-1, 1, (2,)), spaces.Discrete(4))


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, tuple):  # a GraphInstance too
        assert isinstance(found, tuple) and len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, np.ndarray | np.generic):
        assert found.dtype == expected.dtype and found.shape == expected.shape
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(space=SPACES, seed=st.integers(0, 2**31), count=st.integers(1, 4))
def test_columns_of_any_space_come_back(space: gym.Space[Any], seed: int, count: int) -> None:
    space.seed(seed)
    values = [space.sample() for _ in range(count)]
    codec = ValueCodec(space)
    packed = [codec.pack(value) for value in values]
    column = codec.unpack_each(packed)
    for index, value in enumerate(values):
        assert_same(value_at(column, index), value)
        assert_same(codec.unpack_one(packed[index]), value)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    observation_space=SPACES | st.just(LARGE) | st.just(GRAPH), action_space=SPACES, seed=st.integers(0, 99)
)
def test_trials_of_any_spaces_come_back(
    observation_space: gym.Space[Any], action_space: gym.Space[Any], seed: int
) -> None:
    observation_space.seed(seed)
    action_space.seed(seed)
    observations = [observation_space.sample() for _ in range(4)]
    actions = [action_space.sample() for _ in range(3)]
    proposed = [action_space.sample() for _ in range(3)]
    with TrialStore(":memory:") as store:
        stream = store.open_stream(make_spec(gym=AgentSpec(observation_space, action_space)))
        begin(stream, "a")
        for number in range(3):
            tick = make_tick(number, observations[number], actions[number], proposed=proposed[number])
            stream.recorder("gym").append(tick)
        stream.end(state="ENDED", end_reason="truncated", last_observations={"gym": observations[3]})
        data = store.load("a")["gym"]
        (batch,) = store.transitions()
    for number in range(3):
        for read in (data, batch):
            assert_same(value_at(read.observations, number), observations[number])
            assert_same(value_at(read.next_observations, number), observations[number + 1])
            assert_same(value_at(read.actions, number), actions[number])
            assert_same(value_at(read.proposed_actions, number), proposed[number])
    assert_same(data.last_observation, observations[3])


@pytest.mark.parametrize("record", ["actions", "interventions"])
@pytest.mark.parametrize("action_space", [ACTION_SPACE, spaces.Box(-1, 1, (2,)), spaces.Text(5)])
def test_partial_records_hold_any_action(record: str, action_space: gym.Space[Any]) -> None:
    action_space.seed(1)
    action = action_space.sample()
    with TrialStore(":memory:") as store:
        stream = store.open_stream(make_spec(record, gym=AgentSpec(LARGE, action_space)))
        begin(stream, "a")
        stream.recorder("gym").append(make_tick(0, LARGE.sample(), action, helped=True))
        assert_same(value_at(store.load("a")["gym"].actions, 0), action)


def test_dict_observations_come_as_dicts_of_arrays() -> None:
    space = spaces.Dict(image=LARGE, position=spaces.Box(-1, 1, (3,)), name=spaces.Text(4))
    with TrialStore(":memory:") as store:
        stream = store.open_stream(make_spec(gym=AgentSpec(space, ACTION_SPACE)))
        begin(stream, "a")
        for number in range(5):
            stream.recorder("gym").append(make_tick(number, space.sample()))
        observations: Any = store.load("a")["gym"].observations
    assert observations["image"].shape == (5, 32, 32, 3) and observations["image"].dtype == np.uint8
    assert observations["position"].shape == (5, 3)
    assert isinstance(observations["name"], list) and len(observations["name"]) == 5


@pytest.mark.parametrize(
    ("space", "value"),
    [
        (spaces.Dict(a=ACTION_SPACE), {"b": 1}),
        (spaces.Tuple([ACTION_SPACE, ACTION_SPACE]), (1,)),
        (spaces.Tuple([ACTION_SPACE]), 5),
        (OBSERVATION_SPACE, None),
        (OBSERVATION_SPACE, "text"),
        (spaces.Text(3), 5),
        (ACTION_SPACE, None),
        (ACTION_SPACE, [1, 2]),
    ],
)
def test_values_of_another_structure_are_refused(space: gym.Space[Any], value: Any) -> None:
    with pytest.raises(SpecError):
        ValueCodec(space).pack(value)


def test_a_space_of_an_unknown_kind_is_refused_when_the_stream_opens(store: TrialStore) -> None:
    class Own(gym.Space[Any]):
        pass

    with pytest.raises(SpecError, match="Own"):
        store.open_stream(make_spec(gym=AgentSpec(Own(), ACTION_SPACE)))
