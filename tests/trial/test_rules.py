"""Parameters, routing, rewards and readiness: protocol sections 5 and 6."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogment_lab.errors import ConfigurationError
from cogment_lab.trial.parameters import ActorParameters, TrialParameters
from cogment_lab.trial.readiness import ActionSlots
from cogment_lab.trial.routing import RewardSource, RewardTable, aggregate_rewards, receivers
from cogment_lab.trial.states import TRIAL_TRANSITIONS, TrialState, may_follow

A = ActorParameters(name="ann", actor_class="player")
B = ActorParameters(name="bob", actor_class="teacher", optional=True)
C = ActorParameters(name="cy", actor_class="player", optional=True)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("bob", (1,)),
        ("*", (0, 1, 2)),
        ("player.*", (0, 2)),
        ("player.cy", (2,)),
        ("teacher.cy", ()),
        ("nobody", ()),
        ("*.*", ()),
        ("", ()),
    ],
)
def test_patterns_name_actors_in_order(pattern: str, expected: tuple[int, ...]) -> None:
    assert receivers(pattern, [A, B, C]) == expected


def test_rewards_are_weighted_by_confidence() -> None:
    assert aggregate_rewards([RewardSource("a", 1.0, 0.5), RewardSource("b", 4.0, 1.0)]) == pytest.approx(3.0)


def test_rewards_without_confidence_count_nothing_but_are_kept() -> None:
    table = RewardTable()
    table.add(0, 3, [RewardSource("a", 5.0, 0.0)])
    table.add(0, 1, [RewardSource("b", 2.0, 1.0)])
    taken = table.take(0)
    assert [(tick, value) for tick, value, _ in taken] == [(1, 2.0), (3, 0.0)]
    assert taken[1][2] == [RewardSource("a", 5.0, 0.0)]
    assert table.take(0) == []


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(0, 1)), max_size=6))
def test_aggregate_lies_within_the_opinions(pairs: list[tuple[float, float]]) -> None:
    sources = [RewardSource("x", value, confidence) for value, confidence in pairs]
    counted = [value for value, confidence in pairs if np.float32(confidence) > 1e-30]
    value = aggregate_rewards(sources)
    if not counted:
        return
    assert min(counted) - 1e-2 <= value <= max(counted) + 1e-2
    exact = sum(Fraction(v) * Fraction(c) for v, c in pairs) / sum(Fraction(c) for _, c in pairs)
    assert value == pytest.approx(float(exact), abs=1e-1)


@pytest.mark.parametrize(
    "actors",
    [
        (),
        (A, A),
        (ActorParameters(name="env", actor_class="player"),),
        (ActorParameters(name="a.b", actor_class="player"),),
        (ActorParameters(name="", actor_class="player"),),
        (ActorParameters(name="x", actor_class=""),),
    ],
)
def test_parameters_that_cannot_route_are_refused(actors: tuple[ActorParameters, ...]) -> None:
    with pytest.raises(ConfigurationError):
        TrialParameters(actors=actors)


def test_parameters_get_the_protocols_defaults() -> None:
    parameters = TrialParameters(actors=(A,), environment_name="", buffered_ticks=1)
    assert (parameters.environment_name, parameters.buffered_ticks) == ("env", 2)


def slots(default: str | None = None) -> ActionSlots[str]:
    return ActionSlots(actors=[A, B, C], defaults=[None, default, None])


def test_a_tick_is_complete_when_everybody_acted() -> None:
    tick = slots()
    tick.start(4)
    assert tick.act(0, 4, "left") and tick.act(1, -1, "right")
    assert not tick.complete
    assert tick.act(2, 4, "up")
    assert tick.complete
    assert tick.outcome().actions == ("left", "right", "up")


def test_late_early_and_second_actions_are_dropped() -> None:
    tick = slots()
    tick.start(4)
    assert not tick.act(0, 3, "old")
    assert not tick.act(0, 5, "future")
    assert tick.act(0, 4, "first")
    assert not tick.act(0, 4, "second")
    assert tick.outcome().actions[0] == "first"


def test_a_timeout_counts_for_its_tick_only() -> None:
    tick = slots(default="stay")
    tick.start(0)
    tick.act(0, 0, "a")
    tick.act(2, 0, "c")
    tick.time_out(1)
    assert tick.complete
    assert tick.outcome().defaulted == (1,)
    tick.start(1)
    assert not tick.complete
    assert tick.act(1, 1, "back")


def test_a_lost_required_actor_is_named() -> None:
    tick = slots()
    tick.start(0)
    tick.act(0, 0, "a")
    tick.lose(0)
    tick.lose(1)
    tick.act(2, 0, "c")
    assert tick.complete
    outcome = tick.outcome()
    assert outcome.missing_required == ("ann",)
    assert outcome.unavailable == (0, 1)


def test_with_nobody_left_a_tick_is_complete_at_once() -> None:
    tick = slots()
    for index in range(3):
        tick.lose(index)
    tick.start(1)
    assert tick.complete


def test_states_follow_the_protocol() -> None:
    assert may_follow(TrialState.PENDING, TrialState.ENDED)
    assert not may_follow(TrialState.RUNNING, TrialState.ENDED)
    assert not any(may_follow(TrialState.ENDED, state) for state in TrialState)
    assert set(TRIAL_TRANSITIONS) == set(TrialState)
