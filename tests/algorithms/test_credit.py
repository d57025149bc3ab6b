"""Which feedback is about which step."""

import math

import numpy as np
import pytest
from cogment_lab.algorithms.credit import (
    DEEP_TAMER,
    GUIDE,
    TAMER,
    FixedDelay,
    GammaDelay,
    UniformDelay,
    assign_credit,
)
from hypothesis import given
from hypothesis import strategies as st

from cogment_lab.errors import ConfigurationError
from cogment_lab.trial.sample import Feedback

SECOND = 1_000_000_000


def said(*opinions: tuple[float, float]) -> list[Feedback]:
    """Feedback of ``(seconds, value)``."""
    return [Feedback("somebody", value, time=round(seconds * SECOND)) for seconds, value in opinions]


def shown_every(seconds: float, n: int) -> np.ndarray:
    return np.arange(n) * round(seconds * SECOND)


def test_tamers_window_by_hand():
    # Steps of 0.1 s; praise at 1.0 s is about what was shown between 0.4 and 0.8 s: four steps.
    credit = assign_credit(said((1.0, 1.0)), TAMER, t_shown=shown_every(0.1, 20))
    np.testing.assert_allclose(credit.weights[0, 4:8], 0.25, rtol=1e-6)
    assert credit.weights[0].sum() == pytest.approx(1.0)


def test_a_long_step_gets_all_credit_that_falls_into_it():
    credit = assign_credit(said((2.5, -1.0)), TAMER, t_shown=shown_every(1.0, 5))
    np.testing.assert_allclose(credit.per_step(), [0.0, -0.25, -0.75, 0.0, 0.0], atol=1e-9)


def test_guides_fixed_delay_is_about_the_step_that_was_shown_then():
    credit = assign_credit(said((2.05, 0.5), (3.0, 1.0)), GUIDE, t_shown=shown_every(0.25, 20))
    assert credit.weights.sum(axis=1).tolist() == [1.0, 1.0]
    assert credit.weights.argmax(axis=1).tolist() == [4, 8]


def test_confidence_weighs_what_was_said():
    praise = [Feedback("somebody", 1.0, 0.5, SECOND)]
    assert assign_credit(praise, FixedDelay(0.5), t_shown=[0, SECOND]).per_step().tolist() == [0.5, 0.0]


def test_feedback_about_the_time_before_the_trial_is_lost():
    credit = assign_credit(said((0.4, 1.0)), TAMER, t_shown=shown_every(0.1, 5))
    assert credit.weights.sum() == pytest.approx(0.5)


def test_a_window_bounds_the_delays_and_keeps_the_sum():
    credit = assign_credit(said((5.0, 1.0)), DEEP_TAMER, (0.0, 1.28), t_shown=shown_every(0.1, 60))
    assert credit.weights.sum() == pytest.approx(1.0)
    assert np.flatnonzero(credit.weights[0] > 1e-9).tolist() == list(range(37, 48))


def test_means_and_pairs_of_several_opinions():
    credit = assign_credit(said((1.5, 1.0), (1.6, -0.5)), FixedDelay(0.5), t_shown=shown_every(1.0, 3))
    means = credit.mean_per_step()
    assert means[1] == pytest.approx(0.25)
    assert math.isnan(means[0]) and math.isnan(means[2])
    steps, values, weights = credit.pairs()
    assert (steps.tolist(), values.tolist(), weights.tolist()) == ([1, 1], [1.0, -0.5], [1.0, 1.0])


def test_a_gamma_delay_is_erlangs():
    delay = GammaDelay(2, 0.5)
    at = np.array([0.0, 1.0, np.inf])
    np.testing.assert_allclose(delay.cdf(at), [0.0, 1.0 - math.exp(-2.0) * 3.0, 1.0])


@pytest.mark.parametrize("stages", [120, 200, 1000])
def test_a_gamma_delay_of_many_stages_is_nearly_a_fixed_one(stages):
    delay = GammaDelay(stages, 0.6 / stages)
    at = np.array([0.0, 0.1, 0.6, 2.0, 3600.0, np.inf])
    np.testing.assert_allclose(delay.cdf(at), [0.0, 0.0, 0.5, 1.0, 1.0, 1.0], atol=0.02)
    credit = assign_credit(said((4.9, 1.0), (3600.0, 1.0)), delay, t_shown=shown_every(0.1, 100))
    np.testing.assert_allclose(credit.weights.sum(axis=1), [1.0, 0.0], atol=1e-6)
    assert abs(int(credit.weights[0].argmax()) - 43) <= 1


@pytest.mark.parametrize("window", [(0.3, 1.0), (0.0, 0.3), (0.0, 1.0)])
def test_a_fixed_delay_at_either_end_of_the_window_is_inside(window):
    opinions = said((0.95, 1.0), (0.9, 1.0), (0.1, 1.0))
    credit = assign_credit(opinions, FixedDelay(0.3), window, t_shown=shown_every(0.1, 10))
    assert credit.weights.sum(axis=1).tolist() == [1.0, 1.0, 0.0]
    assert credit.weights.argmax(axis=1)[:2].tolist() == [6, 6]


@given(
    st.lists(st.integers(0, 10 * SECOND), min_size=1, max_size=30, unique=True),
    st.lists(st.tuples(st.integers(0, 20 * SECOND), st.floats(-1, 1)), max_size=5),
    st.sampled_from([TAMER, DEEP_TAMER, GUIDE, GammaDelay(3, 0.2), FixedDelay(0.0)]),
)
def test_no_feedback_counts_more_than_once(times, opinions, delay):
    feedback = [Feedback("somebody", value, time=time) for time, value in opinions]
    credit = assign_credit(feedback, delay, t_shown=sorted(times))
    assert credit.weights.shape == (len(opinions), len(times))
    assert (credit.weights >= 0.0).all() and (credit.weights.sum(axis=1) <= 1.0 + 1e-9).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"t_shown": [2, 1]}, "ascending"),
        ({}, "t_shown"),
        ({"t_shown": [0], "window": (1.0, 0.5)}, "window"),
        ({"t_shown": [0], "window": 4.0}, r"window=4.0 must be \(from, to\)"),
        ({"t_shown": [0], "window": (0.0, 1.0, 2.0)}, "window"),
        ({"t_shown": [0], "window": (2.0, 3.0)}, "no delay"),
        ({"t_shown": [0], "window": (0.6, 1.0)}, "no delay"),
    ],
)
def test_what_cannot_be_is_an_error(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        assign_credit(said((1.0, 1.0)), TAMER, **arguments)


def test_a_delay_distribution_has_sensible_bounds():
    with pytest.raises(ConfigurationError):
        UniformDelay(0.5, 0.2)
    with pytest.raises(ConfigurationError):
        GammaDelay(0, 1.0)
