"""The quick way gives exactly what the general way gives, and leaves everything else to it."""

from typing import Any

import numpy as np
import pytest
from gymnasium import Space, spaces

from cogment_lab.specs import flat
from cogment_lab.specs.generated import ndarray_pb2 as pb
from cogment_lab.specs.quick import quick_message, quick_value

CASES: list[tuple[Space[Any], Any]] = [
    (spaces.Box(-1, 1, (4,)), np.array([0.5, -0.5, np.nan, np.inf], np.float32)),
    (spaces.Box(-1, 1, (2, 3), np.float64), np.arange(6.0).reshape(2, 3)),
    (spaces.Box(0, 255, (3, 2, 3), np.uint8), np.arange(18, dtype=np.uint8).reshape(3, 2, 3)[::-1]),
    (spaces.Box(-1, 1, (0,)), np.zeros(0, np.float32)),
    (spaces.Discrete(2), 1),
    (spaces.Discrete(5, start=-2), np.int64(-2)),
    (spaces.Discrete(64), np.int32(63)),
]


@pytest.mark.parametrize(("space", "value"), CASES)
def test_both_ways_agree(space: Space[Any], value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    message = quick_message(space, value)
    assert message is not None
    back = quick_value(space, message)
    monkeypatch.setattr(flat, "quick_message", lambda space, value: None)
    monkeypatch.setattr(flat, "quick_value", lambda space, message: None)
    assert message == flat.flat_to_message(space, value)
    general = flat.flat_from_message(space, message)
    assert type(back) is type(general)
    assert back.dtype == general.dtype
    np.testing.assert_array_equal(back, general)
    if isinstance(back, np.ndarray):
        assert back.flags.writeable


@pytest.mark.parametrize(
    ("space", "value"),
    [
        (spaces.Discrete(2), 2),
        (spaces.Discrete(2), True),
        (spaces.Discrete(2), 1.0),
        (spaces.Discrete(65), 1),
        (spaces.Box(-1, 1, (2,)), np.zeros(3, np.float32)),
        (spaces.Box(-1, 1, (2,)), np.zeros(2)),
        (spaces.Box(-1, 1, ()), np.zeros((), np.float32)),
        (spaces.Box(-1, 1, (1,), np.float16), np.zeros(1, np.float16)),
        (spaces.MultiBinary(2), np.zeros(2, np.int8)),
    ],
)
def test_the_rest_is_left_to_the_general_way(space: Space[Any], value: Any) -> None:
    assert quick_message(space, value) is None


@pytest.mark.parametrize(
    "message",
    [
        pb.Array(),
        pb.Array(dtype=pb.DTYPE_INT64, shape=[2], raw_data=b"\0" * 16),
        pb.Array(dtype=pb.DTYPE_INT64, shape=[2], raw_data=b"\1" + b"\0" * 7 + b"\1" + b"\0" * 7),
        pb.Array(dtype=pb.DTYPE_INT64, shape=[2], raw_data=b"\0\1" + b"\0" * 14),
        pb.Array(dtype=pb.DTYPE_INT64, shape=[3], raw_data=b"\1" + b"\0" * 15),
    ],
)
def test_a_vector_that_is_not_one_hot_is_left_to_the_general_way(message: pb.Array) -> None:
    assert quick_value(spaces.Discrete(2), message) is None
