"""Cogment Lab 0.1.5 reads what we write, and we read what it wrote.

The hexadecimal bytes are what 0.1.5 itself wrote (under Gymnasium 0.29.1 and NumPy 1.26). The other direction
goes through message classes built from its schema, and does what its reader did.
"""

import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gymnasium import Space, spaces

from cogment_lab.specs import (
    action_from_message,
    action_to_message,
    array_from_message,
    array_to_message,
    observation_from_message,
    observation_to_message,
    space_from_bytes,
    space_from_message,
    space_to_bytes,
)
from cogment_lab.specs.generated import data_pb2, ndarray_pb2, spaces_pb2

Same = Callable[[Any, Any], bool]

CASES: dict[str, tuple[Space[Any], Any, str, str]] = {
    "box": (
        spaces.Box(np.array([-1, -np.inf], np.float32), np.array([1, np.inf], np.float32)),
        np.array([0.5, -2.25], np.float32),
        "1232121708011201022a10000000000000f0bf000000000000f0ff"
        "1a1708011201022a10000000000000f03f000000000000f07f",
        "0a0f08011201021a080000003f000010c010011801",
    ),
    "image": (
        spaces.Box(0, 255, (2, 2), np.uint8),
        np.array([[0, 1], [254, 255]], np.uint8),
        "1220120c0806120202024204000000001a100806120202024208ff01ff01ff01ff01",
        "0a0b08061201041a040001feff10011801",
    ),
    "box without axes": (
        spaces.Box(-1, 1, (), np.float64),
        np.array(0.25),
        "121c120c08022a08000000000000f0bf1a0c08022a08000000000000f03f",
        "0a0f08021201011a08000000000000d03f10011801",
    ),
    "discrete": (
        spaces.Discrete(4, start=-1),
        np.int64(2),
        "0a0d080410ffffffffffffffffff01",
        "0a2708051201041a20000000000000000000000000000000000000000000000000010000000000000010011801",
    ),
    "multi-discrete": (
        spaces.MultiDiscrete([2, 3]),
        np.array([1, 2]),
        "2a0b0a0908051201023a020406",
        "0a2f08051201051a280000000000000000010000000000000000000000000000000000000000000000010000000000000010011801",
    ),
    "multi-binary": (
        spaces.MultiBinary((2, 2)),
        np.array([[1, 0], [0, 1]], np.int8),
        "220b0a09080412010232020404",
        "0a0b08031201041a040100000110011801",
    ),
    "text": (
        spaces.Text(4, charset="zaé"),
        "éz",
        "320a080410011a04617ac3a9",
        "0a1708041201041a100200000001000000030000000300000010011801",
    ),
    "teacher": (
        spaces.Dict({"active": spaces.Discrete(2), "action": spaces.Box(-1, 1, (2,))}),
        {"active": np.int64(1), "action": np.array([0.5, -0.5], np.float32)},
        "1a500a3e0a06616374696f6e12341232121708011201022a10000000000000f0bf000000000000f0bf"
        "1a1708011201022a10000000000000f03f000000000000f03f0a0e0a0661637469766512040a020802",
        "0a2708021201041a20000000000000e03f000000000000e0bf0000000000000000000000000000f03f10011801",
    ),
    "nested": (
        spaces.Dict(
            {
                "b": spaces.Dict({"y": spaces.MultiBinary(2), "x": spaces.Discrete(2)}),
                "a": spaces.Box(0, 9, (1,), np.int32),
            }
        ),
        {"a": np.array([7], np.int32), "b": {"x": np.int64(1), "y": np.array([1, 0], np.int8)}},
        "1a440a1b0a016112161214120808041201013201001a0808041201013201120a250a016212201a1e0a090a0178"
        "12040a0208020a110a0179120c220a0a080804120101320104",
        "0a2f08051201051a280700000000000000000000000000000001000000000000000100000000000000"
        "000000000000000010011801",
    ),
    "flat dtype that 0.1.5 has no number for": (
        spaces.Dict({"a": spaces.Box(0, 255, (2,), np.uint8), "b": spaces.MultiBinary(2)}),
        {"a": np.array([3, 200], np.uint8), "b": np.array([0, 1], np.int8)},
        "1a340a1f0a0161121a121812090806120102420200001a0b08061201024204ff01ff010a110a0162120c220a"
        "0a080804120101320104",
        "0a0d1201041a080300c8000000010010011801",
    ),
}
each_case = pytest.mark.parametrize("name", CASES)


@each_case
def test_a_space_that_0_1_5_wrote_is_read(name: str) -> None:
    space, _, space_bytes, _ = CASES[name]
    assert space_from_bytes(bytes.fromhex(space_bytes)) == space


@each_case
def test_an_observation_that_0_1_5_wrote_is_read(same: Same, name: str) -> None:
    _, value, space_bytes, observation = CASES[name]
    space = space_from_bytes(bytes.fromhex(space_bytes))
    received = observation_from_message(space, data_pb2.Observation.FromString(bytes.fromhex(observation)))
    assert same(received.value, value)
    assert (received.active, received.alive) == (True, True)
    assert (received.terminated, received.truncated, received.reward) == (None, None, None)


@each_case
def test_a_space_that_we_write_is_read_by_0_1_5(old: SimpleNamespace, name: str) -> None:
    space, *_ = CASES[name]
    assert read_space(old.Space.FromString(space_to_bytes(space))) == space


@each_case
def test_what_we_write_is_read_by_0_1_5(old: SimpleNamespace, name: str) -> None:
    space, value, _, observation_bytes = CASES[name]
    written = old.Observation.FromString(bytes.fromhex(observation_bytes))
    observation = old.Observation.FromString(observation_to_message(space, value).SerializeToString())
    action = old.PlayerAction.FromString(action_to_message(space, value).SerializeToString())
    expected = read_array(written.value, np.dtype(np.int16))
    assert np.array_equal(read_array(observation.value), expected)
    assert np.array_equal(read_array(action.value), expected)
    assert (observation.active, observation.alive) == (True, True)


@pytest.mark.parametrize("dtype", ["bool", "float16", "uint16", "uint64"])
def test_0_1_5_reads_boxes_of_dtypes_it_has_no_number_for(old: SimpleNamespace, dtype: str) -> None:
    space = spaces.Box(0, 1, (2,), np.dtype(dtype))
    value = np.array([0, 1], dtype)
    assert read_space(old.Space.FromString(space_to_bytes(space))) == space
    observation = old.Observation.FromString(observation_to_message(space, value).SerializeToString())
    read = read_array(observation.value)
    assert read.dtype == value.dtype
    assert np.array_equal(read, value)


def test_0_1_5_sees_a_start_beyond_its_range_as_0(old: SimpleNamespace) -> None:
    space = spaces.Discrete(3, start=2**40)
    assert read_space(old.Space.FromString(space_to_bytes(space))) == spaces.Discrete(3)
    action = old.PlayerAction(value=write_array(old, np.array([0, 1, 0])))
    message = data_pb2.PlayerAction.FromString(action.SerializeToString())
    assert action_from_message(space, message) == 2**40 + 1


def test_0_1_5_positions_of_characters_do_not_depend_on_the_order_of_the_charset(
    old: SimpleNamespace,
) -> None:
    message = observation_to_message(spaces.Text(3, charset="cba"), "ca").value
    assert array_from_message(message).tolist() == [2, 0, 3]


def test_0_1_5_gets_the_observation_of_one_with_an_action_mask(old: SimpleNamespace, same: Same) -> None:
    space = spaces.Dict({"observation": spaces.Box(0, 1, (2,)), "action_mask": spaces.MultiBinary(3)})
    value = {"observation": np.array([0.5, 1], np.float32), "action_mask": np.array([1, 0, 1], np.int8)}
    message = observation_to_message(space, value)
    seen = old.Observation.FromString(message.SerializeToString())
    assert same(read_array(seen.value), value["observation"])
    assert same(observation_from_message(space, message).value, value)


@pytest.mark.parametrize(
    ("space", "value"),
    [
        (spaces.Tuple([spaces.Discrete(2)]), (1,)),
        (spaces.Text(2, charset="a"), "b"),
        (spaces.Text(2, charset="a"), "aaa"),
        (spaces.Discrete(10_000_000), 5),
        (spaces.Dict(), {}),
        (spaces.Dict({"a": spaces.Dict(), "b": spaces.Discrete(2)}), {"a": {}, "b": 1}),
    ],
    ids=str,
)
def test_what_0_1_5_cannot_express_is_sent_exactly_only(space: Space[Any], value: Any) -> None:
    message = action_to_message(space, value)
    assert not message.HasField("value")
    assert action_from_message(space, message) == value


def test_nothing_is_sent_twice_where_the_flat_value_is_exact() -> None:
    assert not observation_to_message(spaces.Box(0, 1, (2,)), [0, 1]).HasField("exact_value")
    assert not action_to_message(spaces.Discrete(3), 1).HasField("exact_value")


def test_an_incompatible_message_is_exact_only() -> None:
    message = action_to_message(spaces.Discrete(300), 1, compatible=False)
    assert not message.HasField("value")
    assert message.ByteSize() < 30


def test_no_value_is_none_in_both_directions(old: SimpleNamespace) -> None:
    space = spaces.Discrete(2)
    assert action_to_message(space, None) == data_pb2.PlayerAction()
    assert action_from_message(space, data_pb2.PlayerAction()) is None
    empty_array = old.PlayerAction(value=old.Array()).SerializeToString()
    assert action_from_message(space, data_pb2.PlayerAction.FromString(empty_array)) is None
    waiting = observation_to_message(space, None, active=False, alive=True)
    assert observation_from_message(space, waiting).value is None


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "int32", "int64", "uint8"])
@pytest.mark.parametrize("how", ["raw", "npy", "structured"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 2), (0,)])
def test_an_array_of_each_of_its_formats_is_read(
    old: SimpleNamespace, same: Same, dtype: str, how: str, shape: tuple[int, ...]
) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    message = ndarray_pb2.Array.FromString(write_array(old, array, how).SerializeToString())
    assert same(array_from_message(message), array)


@pytest.mark.parametrize(
    "written", ["0807120201024a0261624a0163", "0807120201021a1061000000620000006300000000000000"]
)
def test_strings_are_read(same: Same, written: str) -> None:
    message = ndarray_pb2.Array.FromString(bytes.fromhex(written))
    assert same(array_from_message(message), np.array([["ab", "c"]]))


def test_strings_that_we_write_are_read_by_0_1_5(old: SimpleNamespace) -> None:
    array = np.array(["ab", "é"])
    assert np.array_equal(
        read_array(old.Array.FromString(array_to_message(array).SerializeToString())), array
    )


def test_a_multi_binary_of_one_axis_is_read_as_0_1_5_meant_it(old: SimpleNamespace) -> None:
    message = old.Space(multi_binary={"n": write_array(old, np.array([5], np.int32), "structured")})
    ours = spaces_pb2.Space.FromString(message.SerializeToString())
    assert space_from_message(ours) == spaces.MultiBinary(5)


def write_array(old: SimpleNamespace, array: Any, how: str = "raw") -> Any:
    """Write an array as ``serialize_ndarray`` of 0.1.5 does."""
    dtypes = ["", "float32", "float64", "int8", "int32", "int64", "uint8"]
    message = old.Array(shape=array.shape, dtype=dtypes.index(str(array.dtype)))
    if how == "raw":
        message.raw_data = array.tobytes()
    elif how == "npy":
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        message.npy_data = buffer.getvalue()
    else:
        lists = {"f": message.double_data, "u": message.uint32_data, "i": message.int32_data}
        chosen = message.int64_data if array.dtype == np.int64 else lists[array.dtype.kind]
        chosen.extend(array.ravel().tolist())
    return message


def read_array(message: Any, unknown_dtype: np.dtype[Any] | None = None) -> Any:
    """Read an array as ``deserialize_ndarray`` of 0.1.5 does, but for the dtype of unknown raw data."""
    dtypes = [unknown_dtype, *map(np.dtype, ["float32", "float64", "int8", "int32", "int64", "uint8", "str"])]
    if message.raw_data:
        return np.frombuffer(message.raw_data, dtypes[message.dtype]).reshape(tuple(message.shape))
    if message.npy_data:
        return np.load(io.BytesIO(message.npy_data), allow_pickle=False)
    return np.zeros(tuple(message.shape), dtypes[message.dtype])


def read_space(message: Any) -> Space[Any]:
    """Read a space as ``deserialize_space`` of 0.1.5 does."""
    match message.WhichOneof("kind"):
        case "discrete":
            return spaces.Discrete(message.discrete.n, start=message.discrete.start)
        case "box":
            low, high = read_array(message.box.low), read_array(message.box.high)
            return spaces.Box(low, high, shape=low.shape, dtype=low.dtype)
        case "multi_binary":
            n = read_array(message.multi_binary.n)
            return spaces.MultiBinary(n if n.size > 1 else int(n[0]))
        case "multi_discrete":
            return spaces.MultiDiscrete(read_array(message.multi_discrete.nvec))
        case "dict":
            return spaces.Dict([(item.key, read_space(item.space)) for item in message.dict.spaces])
        case "text":
            text = message.text
            return spaces.Text(text.max_length, min_length=text.min_length, charset=text.charset)
    raise AssertionError(message)


def test_the_messages_have_the_import_paths_of_0_1_5() -> None:
    import cogment_lab.generated.cog_settings as settings
    import cogment_lab.generated.spaces_pb2 as spaces_pb
    from cogment_lab.generated.data_pb2 import Observation

    from cogment_lab.generated import cog_settings
    from cogment_lab.specs.generated import data_pb2, spaces_pb2

    assert settings is cog_settings
    assert spaces_pb is spaces_pb2
    assert Observation is data_pb2.Observation
