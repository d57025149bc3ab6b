import itertools

import pytest

from cogment_lab.trial.pace import LEARNING_GAP_NS, SLOW_START_NS, Pace, Pacer

PERIOD = 20_000_000


def test_live_pace_is_one_tick_per_frame_time() -> None:
    pacer = Pacer(fps=50.0)
    now = 1_000_000_000
    dues = []
    for _ in range(10):
        now = max(now, pacer.due(now, Pace.LIVE))
        dues.append(now)
    assert {after - before for before, after in itertools.pairwise(dues)} == {PERIOD}


@pytest.mark.parametrize(("pace", "factor"), [(Pace.HALF, 2), (Pace.QUARTER, 4)])
def test_slow_motion_stretches_the_frame_time(pace: Pace, factor: int) -> None:
    pacer = Pacer(fps=50.0)
    first = pacer.due(10**9, pace)
    assert pacer.due(first, pace) - first == factor * PERIOD


def test_a_trial_that_fell_behind_does_not_catch_up() -> None:
    pacer = Pacer(fps=50.0)
    now = pacer.due(10**9, Pace.LIVE)
    late = now + LEARNING_GAP_NS + 10**9
    first = pacer.due(late, Pace.LIVE)
    assert first - late == 4 * PERIOD, "a slow start follows the learner's update"
    after = late + SLOW_START_NS + PERIOD
    pacer.forget()
    assert pacer.due(after, Pace.LIVE) - after <= PERIOD


def test_max_pace_never_waits() -> None:
    assert Pacer(fps=50.0).due(123, Pace.MAX) == 123


def test_slow_is_another_name_of_half() -> None:
    assert Pace.parse("slow") is Pace.HALF
    assert Pace.HALF.name == "HALF"


def test_unknown_pace_names_the_choices() -> None:
    with pytest.raises(ValueError, match="'quarter'"):
        Pace.parse("warp")
