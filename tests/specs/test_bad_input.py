"""Bad input is refused with an error that says what was wrong; nothing is unpickled."""

import io
import pickle
from typing import Any

import numpy as np
import pytest
from gymnasium import Space, spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from cogment_lab.errors import SpecError
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
    space_to_message,
    value_from_bytes,
    value_from_message,
    value_to_bytes,
    value_to_message,
)
from cogment_lab.specs.generated import data_pb2, values_pb2
from cogment_lab.specs.generated import ndarray_pb2 as nd
from cogment_lab.specs.generated import spaces_pb2 as sp

RICH = spaces.Dict(
    {
        "box": spaces.Box(-1, 1, (2,)),
        "graph": spaces.Graph(spaces.Box(0, 1, (2,)), spaces.Discrete(3)),
        "one": spaces.OneOf([spaces.Discrete(2), spaces.Text(4)]),
        "stack": spaces.Sequence(spaces.Dict({"a": spaces.MultiDiscrete([2, 3])}), stack=True),
        "bits": spaces.Tuple([spaces.MultiBinary(3), spaces.Box(0, 9, (1,), np.uint16)]),
    },
    seed=7,
)
SAMPLE = RICH.sample()


def npy(array: Any, **kwargs: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **kwargs)
    return buffer.getvalue()


def npy_header(descr: str, shape: str) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


class Trap:
    """Unpickling one of these would be noticed."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("unpickled",))


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (nd.Array(), "holds no array"),
        (nd.Array(dtype=99, shape=[1], raw_data=b"1"), "unknown dtype"),
        (nd.Array(dtype=nd.DTYPE_UNKNOWN, shape=[1], raw_data=b"1234"), "unknown dtype"),
        (nd.Array(dtype=nd.DTYPE_FLOAT32, shape=[2], raw_data=b"1234"), "take 8"),
        (nd.Array(dtype=nd.DTYPE_FLOAT32, shape=[1], raw_data=b"12345"), "5 bytes"),
        (nd.Array(dtype=nd.DTYPE_UINT8, shape=[2**32 - 1] * 4, raw_data=b"1"), "take"),
        (nd.Array(dtype=nd.DTYPE_UINT8, shape=[2**32 - 1] * 4), "0 elements"),
        (nd.Array(dtype=nd.DTYPE_UINT8, shape=[0] + [2**32 - 1] * 4), "no array can have the shape"),
        (nd.Array(dtype=nd.DTYPE_UINT8, shape=[1] * 100, raw_data=b"1"), "no array can have the shape"),
        (nd.Array(dtype=nd.DTYPE_FLOAT64, shape=[2], double_data=[1.0]), "1 elements"),
        (nd.Array(dtype=nd.DTYPE_INT8, shape=[1], int32_data=[300]), "int8 cannot"),
        (nd.Array(dtype=nd.DTYPE_STRING, shape=[1], raw_data=b"\xff\xff\xff\xff"), "no character"),
        (nd.Array(dtype=nd.DTYPE_STRING, shape=[2], raw_data=b"abc"), "refused"),
        (nd.Array(npy_data=b"not npy"), "does not begin as a .npy file"),
        (nd.Array(npy_data=b"\x93NUMPY\x07\x00"), "version 1 or 2"),
        (nd.Array(npy_data=b"\x93NUMPY\x02\x00\xff\xff\xff\xff"), "no plain array"),
        (nd.Array(npy_data=npy(np.zeros(2))), "the message says"),
        (nd.Array(shape=[2], npy_data=npy(np.zeros(2))[:-1]), "15 bytes"),
        (nd.Array(shape=[2**31], npy_data=npy_header("'<f8'", "(2147483648,)")), "0 bytes"),
        (nd.Array(shape=[1], npy_data=npy(np.array([Trap()], object), allow_pickle=True)), "no plain array"),
        (nd.Array(shape=[1], npy_data=pickle.dumps(Trap())), "does not begin as"),
        (nd.Array(shape=[1], npy_data=npy(np.array([1], "M8[s]"))), "no plain array"),
        (nd.Array(shape=[1], npy_data=npy(np.zeros(1, [("a", "i4")]))), "no plain array"),
        (nd.Array(shape=[1], npy_data=npy_header("'<U0'", "(1,)")), "refused"),
        (nd.Array(shape=[1], npy_data=npy_header("'<f3'", "(1,)")), "data type"),
        (nd.Array(shape=[1], npy_data=npy_header("'<f8'", "(" + "9" * 5000 + ",)")), "limit"),
        (nd.Array(shape=[1], npy_data=npy_header("'<f8'", "(1 1)")), "invalid literal"),
        (nd.Array(shape=[0], npy_data=npy_header("'<f8'", f"(0, {10**30})")), "no array can have the shape"),
    ],
)
def test_a_malformed_array_is_refused(message: nd.Array, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        array_from_message(message)


@pytest.mark.parametrize(
    "array", [np.array([None]), np.array([1j]), np.array(["2024"], "M8[Y]"), np.array([b"a"])]
)
def test_an_array_of_another_kind_is_not_written(array: Any) -> None:
    with pytest.raises(SpecError, match="cannot be sent"):
        array_to_message(array)


def test_an_axis_too_long_for_the_message_is_not_written() -> None:
    with pytest.raises(SpecError, match="axis longer than"):
        array_to_message(np.zeros((2**32, 0)))


def array(*numbers: float, dtype: str = "int64") -> nd.Array:
    return array_to_message(np.array(numbers, dtype))


def deep_tuple(levels: int) -> spaces.Tuple:
    space = spaces.Tuple([spaces.Discrete(2)])
    for _ in range(levels - 2):
        space = spaces.Tuple([space])
    return space


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (sp.Space(), "no kind"),
        (sp.Space(discrete=sp.Discrete(n=0)), "Gymnasium refuses"),
        (sp.Space(discrete=sp.Discrete(n=-3)), "Gymnasium refuses"),
        (sp.Space(discrete=sp.Discrete(exact=array(1))), r"\[n, start\]"),
        (sp.Space(discrete=sp.Discrete(exact=array(1, 2, dtype="float32"))), "Gymnasium refuses"),
        (sp.Space(box=sp.Box(low=array(1))), "holds no array"),
        (sp.Space(box=sp.Box(low=array(1), high=array(1, 2))), "bounds of a Box differ"),
        (sp.Space(box=sp.Box(low=array(1), high=array(1, dtype="int8"))), "bounds of a Box differ"),
        (sp.Space(box=sp.Box(low=array(2), high=array(1))), "Gymnasium refuses"),
        (
            sp.Space(box=sp.Box(low=array(np.nan, dtype="f4"), high=array(1, dtype="f4"))),
            "Gymnasium refuses",
        ),
        (sp.Space(box=sp.Box(low=array(1), high=array(2), unbounded_below=array(1, 0))), "mask"),
        (sp.Space(multi_binary=sp.MultiBinary(n=array(0))), "Gymnasium refuses"),
        (sp.Space(multi_binary=sp.MultiBinary(n=array(0.5, dtype="f4"))), "one integer per axis"),
        (sp.Space(multi_binary=sp.MultiBinary(n=array(2**31, 2**31))), "more than"),
        (sp.Space(multi_discrete=sp.MultiDiscrete(nvec=array(0))), "Gymnasium refuses"),
        (sp.Space(multi_discrete=sp.MultiDiscrete(nvec=array(1.5, dtype="f4"))), "Gymnasium refuses"),
        (sp.Space(multi_discrete=sp.MultiDiscrete(nvec=array(1), start=array(1, 2))), "Gymnasium refuses"),
        (
            sp.Space(multi_discrete=sp.MultiDiscrete(nvec=array(1), start=array(1, dtype="i4"))),
            "start is int32",
        ),
        (sp.Space(text=sp.Text(max_length=1, min_length=2)), "Gymnasium refuses"),
        (sp.Space(text=sp.Text(max_length=-1)), "Gymnasium refuses"),
        (sp.Space(tuple=sp.Tuple(spaces=[sp.Space()])), "no kind"),
        (sp.Space(sequence=sp.Sequence()), "no kind"),
        (sp.Space(graph=sp.Graph()), "no kind"),
        (sp.Space(dict=sp.Dict(spaces=[{"key": "a", "space": {"discrete": {"n": 2}}}] * 2)), "key twice"),
    ],
)
def test_a_malformed_space_is_refused(message: sp.Space, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        space_from_message(message)


def test_a_space_nested_too_deep_is_refused_in_both_directions() -> None:
    space_from_bytes(space_to_bytes(deep_tuple(24)))
    with pytest.raises(SpecError, match="deeper than 24"):
        space_to_message(deep_tuple(25))
    message = space_to_message(deep_tuple(24))
    with pytest.raises(SpecError, match="deeper than 24"):
        space_from_message(sp.Space(tuple=sp.Tuple(spaces=[message])))


def test_the_deepest_value_can_be_parsed() -> None:
    space = deep_tuple(24)
    sample = space.sample()
    message = observation_to_message(space, sample)
    received = observation_from_message(space, data_pb2.Observation.FromString(message.SerializeToString()))
    assert received.value == sample


class Mission(spaces.Space[str]):
    """A space that is not Gymnasium's own."""


@pytest.mark.parametrize(
    ("space", "says"),
    [
        (Mission(), "Mission is not one of Gymnasium's spaces"),
        (spaces.Tuple([Mission()]), "Mission is not one"),
        (spaces.Dict([(1, spaces.Discrete(2))]), "expected a str"),  # type: ignore[list-item]
        (spaces.Dict({"\ud800": spaces.Discrete(2)}), "UTF-8"),
        (spaces.Text(3, charset="a\udfff"), "UTF-8"),
        (spaces.Text(2**70), "longer than"),
        (spaces.MultiBinary((2**13, 2**13)), "split it"),
    ],
)
def test_a_space_that_cannot_be_sent_is_refused(space: Space[Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        space_to_message(space)


BOX = spaces.Box(-1, 1, (2,))
GRAPH = spaces.Graph(spaces.Box(0, 1, (1,)), spaces.Discrete(3))
NODES = np.zeros((2, 1), np.float32)
LINKS = np.zeros((1, 2), np.int32)


@pytest.mark.parametrize(
    ("space", "value", "says"),
    [
        (BOX, np.zeros(3), r"shape \(3,\) does not fit"),
        (BOX, 0.5, r"shape \(\) does not fit"),
        (BOX, [[1], [1, 2]], "cannot be made an array"),
        (BOX, {"a": 1}, "must be numeric"),
        (BOX, None, "must be numeric"),
        (BOX, ["a", "b"], "must be numeric"),
        (BOX, np.array([1j, 0]), "must be numeric"),
        (spaces.Box(0, 255, (1,), np.uint8), [256], "uint8 cannot"),
        (spaces.Box(0, 255, (1,), np.uint8), [0.5], "uint8 cannot"),
        (spaces.Box(0, 255, (1,), np.uint8), [np.nan], "uint8 cannot"),
        (spaces.Box(0, 1, (1,), np.bool_), [2], "bool cannot"),
        (spaces.Discrete(3), 3, "is not in Discrete"),
        (spaces.Discrete(3), -1, "is not in Discrete"),
        (spaces.Discrete(3), 1.5, "int64 cannot"),
        (spaces.Discrete(3), "1", "must be numeric"),
        (spaces.Discrete(3), [1], "does not fit"),
        (spaces.Discrete(3), 2**80, "must be numeric"),
        (spaces.MultiDiscrete([2, 3]), [1, 3], "is not in MultiDiscrete"),
        (spaces.MultiBinary(2), [1, 1, 1], "does not fit"),
        (spaces.Text(3), 5, "expected a str"),
        (spaces.Text(3), "\ud800", "UTF-8"),
        (spaces.Dict({"a": BOX}), [1], "must be a dict"),
        (spaces.Dict({"a": BOX}), {"b": 1}, "missing {'a'}, unknown {'b'}"),
        (spaces.Tuple([BOX]), (), "tuple of 0 items"),
        (spaces.Tuple([BOX]), 5, "expected a tuple"),
        (spaces.Sequence(BOX), np.zeros((1, 2)), "expected a tuple"),
        (spaces.Sequence(BOX, stack=True), np.zeros(2), "do not fit"),
        (spaces.Sequence(BOX, stack=True), 1.0, "do not fit"),
        (spaces.Sequence(spaces.Discrete(2), stack=True), [0, 2], "is not in"),
        (
            spaces.Sequence(spaces.Tuple([BOX, BOX]), stack=True),
            (np.zeros((1, 2)), np.zeros((2, 2))),
            "differ in length",
        ),
        (spaces.OneOf([BOX]), (1, BOX.sample()), "begins with an index below 1"),
        (spaces.OneOf([BOX]), ("a", BOX.sample()), "begins with an index"),
        (spaces.OneOf([BOX]), BOX.sample(), "expected a tuple"),
        (GRAPH, (NODES, None, None), "must be a GraphInstance"),
        (GRAPH, spaces.GraphInstance(NODES, np.array([1]), None), "both edges and edge_links"),
        (GRAPH, spaces.GraphInstance(NODES, np.array([1, 2]), LINKS), r"integers \(2, 2\)"),
        (GRAPH, spaces.GraphInstance(NODES, np.array([1]), LINKS.astype("f4")), "integers"),
        (GRAPH, spaces.GraphInstance(NODES, np.array([1]), LINKS + 2), "but there are 2"),
        (spaces.Graph(BOX, None), spaces.GraphInstance(np.zeros((1, 2)), [1], LINKS), "its space has none"),
        (Mission(), "a", "not one of Gymnasium's spaces"),
    ],
)
def test_a_value_that_does_not_fit_its_space_is_refused(space: Space[Any], value: Any, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        value_to_message(space, value)


@pytest.mark.parametrize(
    ("space", "message", "says"),
    [
        (BOX, values_pb2.SpaceValue(), "must hold array, but holds None"),
        (BOX, values_pb2.SpaceValue(text="a"), "must hold array, but holds text"),
        (BOX, values_pb2.SpaceValue(array=array(1, 2, 3)), "does not fit"),
        (spaces.Text(2), values_pb2.SpaceValue(array=array(1)), "must hold text"),
        (spaces.Discrete(2), values_pb2.SpaceValue(array=array_to_message(np.int64(2))), "is not in"),
        (spaces.Tuple([BOX]), values_pb2.SpaceValue(items=values_pb2.SpaceValue.Items()), "0 items"),
        (
            spaces.OneOf([BOX]),
            values_pb2.SpaceValue(choice=values_pb2.SpaceValue.Choice(index=9)),
            "index below",
        ),
        (GRAPH, values_pb2.SpaceValue(graph=values_pb2.SpaceValue.GraphParts()), "must hold array"),
        (Mission(), values_pb2.SpaceValue(), "not one of Gymnasium's spaces"),
    ],
)
def test_a_value_message_that_does_not_fit_is_refused(
    space: Space[Any], message: values_pb2.SpaceValue, says: str
) -> None:
    with pytest.raises(SpecError, match=says):
        value_from_message(space, message)


@pytest.mark.parametrize(
    ("space", "flat", "says"),
    [
        (BOX, array(1, 2, 3), "flattens to 2"),
        (spaces.Discrete(3), array(0, 0, 0), "one-hot"),
        (spaces.Discrete(3), array(1, 0, 1), "one-hot"),
        (spaces.MultiDiscrete([2, 2]), array(1, 1, 0, 0), "one-hot"),
        (spaces.Text(2), array(-1, 0), "position -1"),
        (spaces.Text(2), array(0.5, 0, dtype="f8"), "int64 cannot"),
        (spaces.Box(0, 255, (1,), np.uint8), array(300), "uint8 cannot"),
        (spaces.Tuple([BOX]), array(1, 2), "must send exact_value"),
        (spaces.Dict(), array(1), "must send exact_value"),
        (BOX, nd.Array(shape=[2], raw_data=b"1234"), "take 8"),
    ],
)
def test_a_flattened_value_that_does_not_fit_is_refused(space: Space[Any], flat: nd.Array, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        action_from_message(space, data_pb2.PlayerAction(value=flat))


def test_an_observation_without_the_mask_of_its_space_is_refused() -> None:
    space = spaces.Dict({"observation": BOX, "action_mask": spaces.MultiBinary(2)})
    with pytest.raises(SpecError, match="without its action_mask"):
        observation_from_message(space, data_pb2.Observation(value=array(1, 1)))


@pytest.mark.parametrize("info", ["{", "[1]", '{"a":{"$array":["O",[1],"AAAA"]}}', '{"a":{"$tuple":1}}'])
def test_malformed_info_is_refused(info: str) -> None:
    with pytest.raises(SpecError):
        observation_from_message(BOX, data_pb2.Observation(info_json=info))


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05abc", space_to_bytes(RICH)[:-3], b"\x0a" * 1000])
def test_malformed_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(SpecError):
        space_from_bytes(data)
    with pytest.raises(SpecError):
        value_from_bytes(RICH, data)


def test_a_number_too_long_to_print_is_refused() -> None:
    with pytest.raises(SpecError, match="must be numeric"):
        value_to_message(spaces.Discrete(3), 10**5000)


def test_text_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(SpecError, match="no SpaceValue message"):
        value_from_bytes(spaces.Text(3), b"\x12\x02\xff\xfe")
    with pytest.raises(SpecError, match="no Space message"):
        space_from_bytes(b"\x32\x06\x08\x03\x1a\x02\xff\xfe")


def test_an_action_that_does_not_fit_is_not_written() -> None:
    with pytest.raises(SpecError, match="is not in Discrete"):
        action_to_message(spaces.Discrete(3), 3)


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    changed = bytearray(data)
    for position in draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=4)):
        changed[position] = draw(st.integers(0, 255))
    return bytes(changed[: draw(st.integers(len(data) // 2, len(data)))])


@settings(deadline=None, max_examples=300)
@given(damaged(space_to_bytes(RICH)) | st.binary(max_size=60))
def test_damaged_spaces_raise_nothing_else(data: bytes) -> None:
    try:
        space_from_bytes(data)
    except SpecError as error:
        assert str(error)


@settings(deadline=None, max_examples=300)
@given(damaged(npy(np.arange(6).reshape(2, 3))) | st.binary(max_size=30).map(b"\x93NUMPY\x01\x00".__add__))
def test_damaged_npy_data_raise_nothing_else(data: bytes) -> None:
    try:
        array_from_message(nd.Array(shape=[2, 3], npy_data=data))
    except SpecError as error:
        assert str(error)


@settings(deadline=None, max_examples=300)
@given(damaged(value_to_bytes(RICH, SAMPLE)) | st.binary(max_size=60))
def test_damaged_values_raise_nothing_else(data: bytes) -> None:
    try:
        value_from_bytes(RICH, data)
    except SpecError as error:
        assert str(error)
