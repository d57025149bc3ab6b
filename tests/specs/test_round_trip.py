"""Every Gymnasium space, and what it samples, comes back exactly."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium import Space, spaces
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from cogment_lab.specs import (
    action_from_message,
    action_to_message,
    array_from_message,
    array_to_message,
    observation_from_message,
    observation_to_message,
    space_from_bytes,
    space_to_bytes,
    value_from_bytes,
    value_to_bytes,
)
from cogment_lab.specs.generated.data_pb2 import Observation, PlayerAction
from cogment_lab.specs.generated.ndarray_pb2 import Array

Same = Callable[[Any, Any], bool]

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", ">i2"]
DTYPES = [np.dtype(name) for name in ["bool", "float16", "float32", "float64", ">f4", *INTEGERS]]
shapes = st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=3)
thorough = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


@st.composite
def boxes(draw: st.DrawFn) -> spaces.Box:
    dtype, shape = draw(st.sampled_from(DTYPES)), draw(shapes)
    if dtype.kind == "b":
        return spaces.Box(0, 1, shape, dtype)
    infinity = [] if dtype.kind == "u" else [np.inf]
    lows = st.sampled_from([0, 1, *(-bound for bound in infinity)])
    highs = st.sampled_from([2, 100, *infinity])
    if dtype.kind == "f" or draw(st.booleans()):
        bounded = st.sampled_from([0, 1]), st.sampled_from([2, 100])
        lows, highs = (lows, highs) if dtype.kind == "f" else bounded
        return spaces.Box(
            draw(st_numpy.arrays(dtype, shape, elements=lows)),
            draw(st_numpy.arrays(dtype, shape, elements=highs)),
            dtype=dtype,
        )
    return spaces.Box(draw(lows), draw(highs), shape, dtype)


@st.composite
def discretes(draw: st.DrawFn) -> spaces.Discrete:
    dtype = np.dtype(draw(st.sampled_from(INTEGERS[:-1])))
    start = draw(st.integers(np.iinfo(dtype).min, np.iinfo(dtype).max - 10))
    return spaces.Discrete(draw(st.integers(1, 10)), start=start, dtype=dtype.type)


@st.composite
def multi_discretes(draw: st.DrawFn) -> spaces.MultiDiscrete:
    dtype = np.dtype(draw(st.sampled_from(INTEGERS[:-1])))
    nvec = draw(st_numpy.arrays(dtype, draw(shapes), elements=st.integers(1, 9)))
    start = draw(st_numpy.arrays(dtype, nvec.shape, elements=st.integers(0, 50)))
    return spaces.MultiDiscrete(nvec, dtype=dtype.type, start=start)


sizes = st.integers(1, 4)
multi_binaries = (sizes | st.lists(sizes, max_size=3).map(tuple)).map(spaces.MultiBinary)
characters = st.characters(exclude_categories=["Cs"])


@st.composite
def texts(draw: st.DrawFn) -> spaces.Text:
    shortest = draw(st.integers(0, 3))
    longest = draw(st.integers(shortest, 6))
    charset = draw(st.lists(characters, min_size=1, max_size=8, unique=True))
    return spaces.Text(longest, min_length=shortest, charset="".join(charset))


def composites(children: st.SearchStrategy[Space[Any]]) -> st.SearchStrategy[Space[Any]]:
    several = st.lists(children, min_size=1, max_size=3)
    named = st.dictionaries(st.text(characters, max_size=5), children, min_size=1, max_size=3)
    return (
        several.map(spaces.Tuple)
        | several.map(spaces.OneOf)
        | named.map(lambda items: spaces.Dict(list(items.items())))
        | named.map(lambda items: spaces.Dict(items, sort_keys=False))
        | st.builds(spaces.Sequence, children, stack=st.booleans())
        | st.builds(spaces.Graph, children, st.none() | children)
    )


leaves = boxes() | discretes() | multi_discretes() | multi_binaries | texts()
any_spaces = st.recursive(leaves, composites, max_leaves=5)


def sample_of(space: Space[Any], seed: int) -> Any:
    space.seed(seed)
    try:
        return space.sample()
    except ValueError:  # Gymnasium cannot draw from some spaces that it lets one build
        reject()


@thorough
@given(any_spaces)
def test_a_space_comes_back_exactly(same_space: Same, space: Space[Any]) -> None:
    assert same_space(space_from_bytes(space_to_bytes(space)), space)


@thorough
@given(any_spaces)
def test_equal_spaces_have_equal_bytes(space: Space[Any]) -> None:
    assert space_to_bytes(space_from_bytes(space_to_bytes(space))) == space_to_bytes(space)


@thorough
@given(any_spaces, st.integers(0, 2**32 - 1))
def test_a_sample_comes_back_exactly(same: Same, space: Space[Any], seed: int) -> None:
    sample = sample_of(space, seed)
    assert same(value_from_bytes(space, value_to_bytes(space, sample)), sample)


@thorough
@given(any_spaces, st.integers(0, 2**32 - 1), st.booleans())
def test_a_sample_comes_back_from_observation_and_action(
    same: Same, space: Space[Any], seed: int, compatible: bool
) -> None:
    sample = sample_of(space, seed)
    observation = observation_to_message(space, sample, compatible=compatible).SerializeToString()
    action = action_to_message(space, sample, compatible=compatible).SerializeToString()
    assert same(observation_from_message(space, Observation.FromString(observation)).value, sample)
    assert same(action_from_message(space, PlayerAction.FromString(action)), sample)


@thorough
@given(any_spaces, st.integers(0, 2**32 - 1))
def test_a_restored_space_draws_the_same_samples(same: Same, space: Space[Any], seed: int) -> None:
    restored = space_from_bytes(space_to_bytes(space))
    assert same(sample_of(restored, seed), sample_of(space, seed))


array_dtypes = st.sampled_from([*DTYPES, np.dtype("<U3"), np.dtype(">U2"), np.dtype("longdouble")])
array_shapes = st_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)


@thorough
@given(array_dtypes.flatmap(lambda dtype: st_numpy.arrays(dtype, array_shapes)), st.booleans())
def test_an_array_comes_back_with_its_bits(same: Same, array: Any, is_fortran: bool) -> None:
    if is_fortran:
        array = np.array(array, order="F")
    restored = array_from_message(Array.FromString(array_to_message(array).SerializeToString()))
    assert same(restored, array)
    assert restored.flags.writeable


@pytest.mark.parametrize("scalar", [np.float32("nan"), np.int8(-3), np.bool_(True), np.uint64(2**63)])
def test_a_scalar_stays_a_scalar(same: Same, scalar: np.generic) -> None:
    assert same(array_from_message(array_to_message(scalar)), scalar)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_nan_infinity_and_negative_zero_come_back(same: Same, dtype: str) -> None:
    space = spaces.Box(-1, 1, (4,), np.dtype(dtype))
    value = np.array([np.nan, np.inf, -np.inf, -0.0], dtype=dtype)
    assert same(value_from_bytes(space, value_to_bytes(space, value)), value)
    assert same(observation_from_message(space, observation_to_message(space, value)).value, value)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Dict(),
        spaces.Tuple(()),
        spaces.Discrete(2**63 - 1),
        spaces.Discrete(2**63, dtype=np.uint64, start=5),
        spaces.Discrete(3, start=-(2**40)),
        spaces.Text(2**40, min_length=2**33),
        spaces.Text(0, min_length=0, charset=""),
        spaces.Text(3, charset="\0\n日本é😀"),
        spaces.MultiBinary(()),
        spaces.MultiBinary((5,)),
        spaces.MultiBinary(5),
        spaces.Box(0, 255, (0, 3), np.uint8),
        spaces.Box(np.array(-np.inf), np.array(np.inf), (), np.float64),
        spaces.Box(-np.inf, np.inf, (2,), np.int64),
        spaces.Box(0, 1, (2,), np.longdouble),
        spaces.Dict([("b", spaces.Discrete(2)), ("a", spaces.Discrete(3)), ("", spaces.Discrete(4))]),
    ],
    ids=str,
)
def test_an_odd_space_comes_back_exactly(same_space: Same, space: Space[Any]) -> None:
    assert same_space(space_from_bytes(space_to_bytes(space)), space)


@pytest.mark.parametrize(
    ("space", "given_value", "expected"),
    [
        (spaces.Discrete(4), 3, np.int64(3)),
        (spaces.Discrete(4), np.array(3), np.int64(3)),
        (spaces.Discrete(4, dtype=np.uint8), np.int64(3), np.uint8(3)),
        (spaces.Box(-1, 1, (2,)), [0.5, 1], np.array([0.5, 1], np.float32)),
        (spaces.Box(-1, 1, (1,)), np.array([0.1]), np.array([0.1], np.float32)),
        (spaces.Box(-1, 1, (1,)), np.array([5.0], np.float32), np.array([5.0], np.float32)),
        (spaces.Box(0, 255, (2,), np.uint8), [0, 255], np.array([0, 255], np.uint8)),
        (spaces.MultiBinary(2), [True, False], np.array([1, 0], np.int8)),
        (spaces.Tuple([spaces.Discrete(2)]), [1], (np.int64(1),)),
        (spaces.Text(2), "longer, and spaces", "longer, and spaces"),
    ],
)
def test_a_value_comes_back_in_the_types_of_its_space(
    same: Same, space: Space[Any], given_value: Any, expected: Any
) -> None:
    assert same(value_from_bytes(space, value_to_bytes(space, given_value)), expected)
    assert same(action_from_message(space, action_to_message(space, given_value)), expected)


def test_a_dict_value_is_written_in_the_order_of_the_space(same: Same) -> None:
    space = spaces.Dict([("b", spaces.Discrete(2)), ("a", spaces.Discrete(3))])
    value = {"a": np.int64(2), "b": np.int64(1)}
    restored = value_from_bytes(space, value_to_bytes(space, value))
    assert same(restored, value)
    assert list(restored) == ["b", "a"]


def test_a_graph_without_edges_comes_back(same: Same) -> None:
    space = spaces.Graph(spaces.Box(0, 1, (2,)), spaces.Discrete(3))
    value = spaces.GraphInstance(np.zeros((1, 2), np.float32), None, None)
    assert same(value_from_bytes(space, value_to_bytes(space, value)), value)


def test_an_empty_stack_keeps_its_shape(same: Same) -> None:
    space = spaces.Sequence(spaces.Box(0, 1, (2, 3)), stack=True)
    empty = np.zeros((0, 2, 3), np.float32)
    assert same(value_from_bytes(space, value_to_bytes(space, empty)), empty)


def test_a_restored_value_can_be_written_to() -> None:
    space = spaces.Box(0, 1, (2,))
    value = np.zeros(2, np.float32)
    observation = observation_from_message(space, observation_to_message(space, value)).value
    observation += 1
    value_from_bytes(space, value_to_bytes(space, value))[0] = 1
    assert value.tolist() == [0, 0]
