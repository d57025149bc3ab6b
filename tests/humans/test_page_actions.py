"""From what the page's controls say to an action of any space."""

import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from cogment_lab.errors import InvalidActionError
from cogment_lab.humans.keymaps import jsonable
from cogment_lab.humans.web.actions import parse_action

EVERY_KIND = spaces.Dict(
    move=spaces.Discrete(3, start=-1),
    arm=spaces.Box(-1, 1, (2,)),
    pixels=spaces.Box(0, 255, (2, 2), np.uint8),
    lamps=spaces.MultiBinary(3),
    gear=spaces.MultiDiscrete([3, 2]),
    say=spaces.Text(8),
    both=spaces.Tuple((spaces.Discrete(2), spaces.Box(-np.inf, np.inf, ()))),
)


@given(seed=st.integers(0, 2**31))
def test_every_action_of_every_kind_of_space_survives_the_way_through_the_page(seed: int) -> None:
    EVERY_KIND.seed(seed)
    action = EVERY_KIND.sample()
    said = json.loads(json.dumps(jsonable(action)))
    heard = parse_action(said, EVERY_KIND)
    assert EVERY_KIND.contains(heard)
    assert jsonable(heard) == jsonable(action)


@pytest.mark.parametrize(
    ("value", "space", "why"),
    [
        (7, spaces.Discrete(3), "lies outside"),
        (0.5, spaces.Discrete(3), "no whole number"),
        ("<script>alert(1)</script>", spaces.Discrete(3), "no whole number"),
        ([0.0, 2.0], spaces.Box(-1, 1, (2,)), "lies outside"),
        ([0.0], spaces.Box(-1, 1, (2,)), "2 components, not 1"),
        ([0.0, float("nan")], spaces.Box(-1, 1, (2,)), "no number"),
        ([0.0, float("inf")], spaces.Box(-np.inf, np.inf, (2,)), "no number"),
        ([0.0, True], spaces.Box(-1, 1, (2,)), "no number"),
        ([10**400, 0], spaces.Box(-1, 1, (2,)), "no number"),
        ([1e300, 0], spaces.Box(-np.inf, np.inf, (2,)), "which is no float32"),
        ([0.0, "1"], spaces.Box(-1, 1, (2,)), "no number"),
        ([1e300, 0], spaces.Box(0, 255, (2,), np.uint8), "uint8"),
        ([2, 0], spaces.MultiBinary(2), "lies outside"),
        ([0, 10**30], spaces.MultiDiscrete([3, 2]), "which is no"),
        ("far too long", spaces.Text(4), "lies outside"),
        (4, spaces.Text(4), "is text"),
        ({"a": 0, "b": 0}, spaces.Dict(a=spaces.Discrete(2)), "has the parts 'a'"),
        ([0], spaces.Dict(a=spaces.Discrete(2)), "has the parts 'a'"),
        ({"a": 5}, spaces.Dict(a=spaces.Discrete(2)), "'a' of the action"),
        ([0], spaces.Tuple((spaces.Discrete(2), spaces.Discrete(2))), "has 2 parts"),
        (None, spaces.Discrete(2), "left out"),
        ({}, spaces.Dict(a=spaces.Discrete(2)), "left out"),
        ([None, 0], spaces.MultiBinary(2), "left out"),
        ([0], spaces.Sequence(spaces.Discrete(2)), "no controls"),
    ],
)
def test_what_is_no_action_is_refused_and_says_why(value: Any, space: gym.Space[Any], why: str) -> None:
    with pytest.raises(InvalidActionError, match=why):
        parse_action(value, space)


def test_a_part_that_is_left_out_is_the_players() -> None:
    proposed = {"move": np.int64(1), "arm": np.array([0.25, -0.25], np.float32)}
    space = spaces.Dict(move=spaces.Discrete(2), arm=spaces.Box(-1, 1, (2,)))
    heard = parse_action({"move": None, "arm": [1.0, None]}, space, proposed)
    assert heard["move"] == 1
    assert heard["arm"].tolist() == [1.0, -0.25]


def test_what_is_added_may_lie_beyond_the_space() -> None:
    space = spaces.Box(0, 1, (2,))
    heard = parse_action([-0.5, None], space, np.full(2, np.nan, np.float32), bounded=False)
    assert heard[0] == -0.5
    assert np.isnan(heard[1])
