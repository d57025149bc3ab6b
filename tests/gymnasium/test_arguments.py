"""What ``make`` refuses, and what it says then."""

from typing import Any

import pettingzoo
import pytest

import cogment_lab
from cogment_lab.errors import ConfigurationError
from cogment_lab.humans import SimulatedHuman


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"fallback": "x"}, "fallback='x' is unknown; choose 'agent' or 'repeat'"),
        ({"reward_mixing": "x"}, "reward_mixing='x' is unknown; choose 'add', 'replace' or None"),
        ({"on_unacknowledged": "x"}, "choose 'raise', 'warn' or 'ignore'"),
        ({"teacher_order": "x"}, "teacher_order='x' is unknown; choose 'after_player'"),
        ({"teacher_order": "simultaneous"}, "GymTeacherParallel"),
        ({"info_keys": "x"}, "choose 'all' or 'fixed'"),
        ({"watch": "x"}, "choose 'always' or 'sampled'"),
        ({"max_pause": -1}, "max_pause=-1 must be a number, 0 or more"),
        ({"max_pause": float("nan")}, "max_pause=nan"),
        ({"max_pause": "long"}, "max_pause='long'"),
        ({"properties": {"a": 1}}, "write {'a': '1'}"),
        ({"properties": {1: "a"}}, "write {'1': 'a'}"),
        ({"properties": "a"}, "a dict of text by name"),
    ],
)
def test_a_wrong_value_is_refused_with_the_right_ones(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        cogment_lab.make("CartPole-v1", store=None, **wrong)
    assert words in str(caught.value)


def test_the_order_of_teachers_here_may_be_named() -> None:
    env = cogment_lab.make("CartPole-v1", store=None, teacher_order="after_player")
    assert env.reset(seed=1)[1]["trial_id"]


def test_games_of_several_agents_have_the_same_properties() -> None:
    env = pettingzoo.make("parallel", "classic/rps-v2", max_cycles=4)
    actors = dict.fromkeys(("player_0", "player_1"), lambda observation: 0)
    with pytest.raises(ConfigurationError, match="names and values are text"):
        cogment_lab.run(env, actors, store=None, properties={"a": 1})


def test_one_observer_needs_no_list() -> None:
    seat = SimulatedHuman(lambda observation: 0, role="observer")
    for given, expected in ((None, 0), ((), 0), ("web", 1), (seat, 1), ([seat, "web"], 2)):
        env = cogment_lab.make("CartPole-v1", observers=given, store=None)
        assert len(env.config.seating.observers) == expected
    with pytest.raises(ConfigurationError, match="observer=5 cannot sit"):
        cogment_lab.make("CartPole-v1", observers=5, store=None)
