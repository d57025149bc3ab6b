from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_helpers import begin, make_spec, make_tick

from cogment_lab.store import TrialStore, TrialStream
from cogment_lab.store.info import decode_info, encode_info

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda parts: (
        st.lists(parts) | st.tuples(parts, parts) | st.dictionaries(st.text() | st.integers(), parts)
    ),
    max_leaves=10,
)


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class BrokenDict(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("no")


@given(st.dictionaries(st.text(), VALUES))
def test_plain_values_come_back_exactly(info: dict[str, Any]) -> None:
    assert decode_info(encode_info(info)) == info


@pytest.mark.parametrize(
    "value",
    [
        np.arange(6, dtype=np.int16).reshape(2, 3),
        np.float32(0.1),
        np.array(["a", "bc"]),
        np.bool_(True),
        np.zeros((0, 2)),
        float("inf"),
        {"$array": 1},
        "\ud800",
    ],
)
def test_what_json_lacks_comes_back_exactly(value: Any) -> None:
    found = decode_info(encode_info({"x": value}))["x"]
    assert type(found) is type(value)
    np.testing.assert_array_equal(found, value)


def test_nan_comes_back() -> None:
    assert np.isnan(decode_info(encode_info({"x": float("nan")}))["x"])


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, lambda: 0, Broken(), 10**6000, np.array([object()]), BrokenDict(a=1)],
    ids=["object", "set", "function", "broken", "huge", "objects", "broken_dict"],
)
def test_other_values_are_kept_as_text(store: TrialStore, stream: TrialStream, value: Any) -> None:
    begin(stream, "a")
    stream.recorder("gym").append(make_tick(0, info={"known": 1, "other": value}))
    stream.recorder("gym").append(make_tick(1))
    infos = store.load("a")["gym"].infos
    assert store.status == "recording" and len(infos) == 2
    assert infos[0].get("known") == 1 or isinstance(value, BrokenDict)
    assert all(isinstance(text, str) for key, text in infos[0].items() if key != "known")


def test_circular_values_are_kept_as_text() -> None:
    branching: list[Any] = []
    branching += [branching, branching, branching]
    nested: dict[str, Any] = {"list": [1]}
    nested["self"] = nested
    info: dict[str, Any] = {"a": branching, "b": nested, "known": [1, 2]}
    info["info"] = info
    found = decode_info(encode_info(info))
    assert found["known"] == [1, 2]
    assert isinstance(found["a"], str) and isinstance(found["b"], str) and isinstance(found["info"], str)


def test_shared_values_are_no_circles() -> None:
    shared = [1]
    assert decode_info(encode_info({"a": [shared, shared]})) == {"a": [[1], [1]]}


def test_deep_values_are_kept() -> None:
    value: Any = 1
    for _ in range(5000):
        value = [value]
    assert decode_info(encode_info({"known": 1, "deep": value}))


def test_infos_stay_with_their_ticks(store: TrialStore, stream: TrialStream) -> None:
    begin(stream, "a")
    for number in range(20):
        info = {"number": number} if number % 3 == 0 else {}
        stream.recorder("gym").append(make_tick(number, info=info))
    infos = store.load("a")["gym"].infos
    assert infos == [{"number": number} if number % 3 == 0 else {} for number in range(20)]


NUMBERS = st.sampled_from([np.float32(0.5), np.float64(-1), np.int8(3), np.uint64(2**63), np.True_])
ARRAYS = st.sampled_from([np.arange(3), np.zeros((2, 2), np.float16), np.array(1.5), np.zeros((0, 2))])
FLAT = st.dictionaries(
    st.sampled_from("abcd"),
    st.floats(allow_nan=False) | st.integers() | st.booleans() | st.text() | st.none() | NUMBERS | ARRAYS,
    min_size=1,
)


def assert_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype and found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


@given(st.lists(FLAT | st.just({}) | st.just({"nested": {"x": 1}}), min_size=1, max_size=12))
def test_infos_that_change_from_tick_to_tick_come_back(infos: list[dict[str, Any]]) -> None:
    with TrialStore(":memory:") as store:
        stream = store.open_stream(make_spec())
        begin(stream, "a")
        for number, info in enumerate(infos):
            stream.recorder("gym").append(make_tick(number, info=info))
            if number % 5 == 3:
                store.flush()
        found = store.load("a")["gym"].infos
    assert [list(info) for info in found] == [list(info) for info in infos]
    for info, expected in zip(found, infos, strict=True):
        for key, value in expected.items():
            assert_same(info[key], value)


def test_arrays_in_infos_are_copied(store: TrialStore, stream: TrialStream) -> None:
    begin(stream, "a")
    velocity = np.zeros(2)
    for number in range(3):
        stream.recorder("gym").append(make_tick(number, info={"velocity": velocity, "number": number}))
        velocity += 1
    infos = store.load("a")["gym"].infos
    assert [info["velocity"].tolist() for info in infos] == [[0, 0], [1, 1], [2, 2]]
    infos[0]["velocity"] += 1
    assert [info["number"] for info in infos] == [0, 1, 2]
