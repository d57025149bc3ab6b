"""From what people said, and when, to the steps that they meant.

People react late: praise that arrives now is about something that was seen some tenths of a second ago. Each
piece of feedback is therefore spread over the steps before it, by the probability that it was about them.

Sources: Knox, Stone, "Interactively Shaping Agents via Human Reinforcement: The TAMER Framework", K-CAP 2009,
section 3.3 (credit assignment with a density of delays); Warnell et al., "Deep TAMER", AAAI 2018
(arXiv:1709.10163), Equations 3 and 4 (weights per pair of step and feedback, and a uniform density); Zhang et
al., "GUIDE: Real-Time Human-Shaped Agents", NeurIPS 2024 (arXiv:2410.15181), section 4 (a fixed delay, for
feedback that is given all the time).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cogment_lab.errors import ConfigurationError
from cogment_lab.store import TrialData
from cogment_lab.trial.sample import Feedback

__all__ = [
    "DEEP_TAMER",
    "GUIDE",
    "TAMER",
    "Credit",
    "DelayDistribution",
    "FixedDelay",
    "GammaDelay",
    "UniformDelay",
    "assign_credit",
]

Floats = npt.NDArray[np.float64]


class DelayDistribution(Protocol):
    """How long people take from what they see to what they say."""

    def cdf(self, seconds: Floats) -> Floats:
        """Return the probability of a delay of at most ``seconds``, elementwise."""


@dataclass(frozen=True, slots=True)
class UniformDelay:
    """Any delay between two bounds, in seconds, is as likely as any other."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.low < self.high:
            raise ConfigurationError(f"a delay between {self.low} and {self.high} s: 0 <= low < high")

    def cdf(self, seconds: Floats) -> Floats:
        """See :class:`DelayDistribution`."""
        return np.asarray(np.clip((seconds - self.low) / (self.high - self.low), 0.0, 1.0))


@dataclass(frozen=True, slots=True)
class FixedDelay:
    """The same delay always, in seconds."""

    delay: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.delay < math.inf:
            raise ConfigurationError(f"a delay of {self.delay} s must be 0 or more")

    def cdf(self, seconds: Floats) -> Floats:
        """See :class:`DelayDistribution`."""
        return np.asarray(seconds >= self.delay, np.float64)


@dataclass(frozen=True, slots=True)
class GammaDelay:
    """A Gamma distribution of whole shape (Erlang's): ``stages`` steps of ``scale`` seconds on average."""

    stages: int
    scale: float

    def __post_init__(self) -> None:
        if self.stages < 1 or not 0.0 < self.scale < math.inf:
            raise ConfigurationError(f"stages={self.stages} must be at least 1, scale={self.scale} positive")

    def cdf(self, seconds: Floats) -> Floats:
        """See :class:`DelayDistribution`."""
        # Positive and finite, for the logarithms: powers and factorials of many stages are no floats.
        x = np.clip(seconds / self.scale, 1e-300, 1e300)
        logs = (k * np.log(x) - x - math.lgamma(k + 1) for k in range(self.stages))
        tail = sum(map(np.exp, logs), np.zeros_like(x))
        return np.asarray(np.clip(1.0 - tail, 0.0, 1.0))


TAMER = UniformDelay(0.2, 0.6)
"""Bounds of the delay that Knox and Stone use."""

DEEP_TAMER = UniformDelay(0.28, 4.0)
"""Bounds of the delay that Warnell et al. use."""

GUIDE = FixedDelay(1.0)
"""One delay for feedback given all the time; measure your own people's, and pass theirs."""


@dataclass(frozen=True, slots=True, eq=False)
class Credit:
    """Which feedback is about which step.

    Attributes:
        weights: ``(n_feedback, n_steps)`` in ``[0, 1]``: the probability that it is about that step. A row
            adds up to 1, or less where some of the feedback is about what was before the trial (or outside
            the window), which is lost.
        values: ``(n_feedback,)``, times its confidence.
    """

    weights: Floats
    values: Floats

    def per_step(self) -> Floats:
        """Return TAMER's label of each step, ``(n_steps,)``: the credited feedback, summed."""
        return self.values @ self.weights

    def mean_per_step(self) -> Floats:
        """Return what was said about each step on average, ``(n_steps,)``; NaN where nothing was said."""
        total = self.weights.sum(axis=0)
        means: Floats = np.full_like(total, np.nan)
        np.divide(self.per_step(), total, out=means, where=total > 0.0)
        return means

    def pairs(self) -> tuple[npt.NDArray[np.intp], Floats, Floats]:
        """Return Deep TAMER's samples, one per pair that has a weight: its step, value, and weight."""
        given, steps = np.nonzero(self.weights)
        return steps, self.values[given], self.weights[given, steps]


def assign_credit(
    feedback: Sequence[Feedback] | TrialData,
    delay_distribution: DelayDistribution = TAMER,
    window: tuple[float, float] = (0.0, math.inf),
    *,
    t_shown: npt.ArrayLike | None = None,
    t_end: int | None = None,
) -> Credit:
    """Spread feedback over the steps that it may be about.

    A step is on show from ``t_shown[i]`` to ``t_shown[i + 1]``. Of feedback given at ``t`` it gets
    ``P(t - t_shown[i + 1] < delay <= t - t_shown[i])``: Knox and Stone's integral of the delay's density over
    the step. Pure: the same arguments give the same weights, and nothing is changed.

    Args:
        feedback: What was said, or a trial, which knows its feedback and times.
        delay_distribution: :data:`TAMER`, :data:`DEEP_TAMER`, :data:`GUIDE`, or one fitted to your people.
        window: ``(from, to)`` in seconds before the feedback; delays outside are impossible, and the
            probability of those inside is scaled up to 1.
        t_shown: ``(n_steps,)``, ns of the clock that ``Feedback.time`` is of, ascending; a trial's own.
        t_end: When the last step's successor was shown, ns; by default it was on show as long as the steps
            are in the median.

    Raises:
        ConfigurationError: times are missing or do not ascend, or no delay falls into the window.
    """
    opinions = feedback.feedback if isinstance(feedback, TrialData) else feedback
    if t_shown is None:
        if not isinstance(feedback, TrialData):
            raise ConfigurationError("pass t_shown=, when each step was shown, or a TrialData")
        t_shown = feedback.t_shown
    starts = np.asarray(t_shown, np.int64)
    if starts.ndim != 1 or (np.diff(starts) < 0).any():
        raise ConfigurationError("t_shown must be the ascending times of the steps of one trial, in ns")
    try:
        early, late = map(float, window)
    except (TypeError, ValueError):
        early = late = math.nan
    if not 0.0 <= early < late:
        raise ConfigurationError(f"window={window} must be (from, to) in seconds, 0 <= from < to")
    # A delay that is the window's first moment is inside it.
    before, high = delay_distribution.cdf(np.array([np.nextafter(early, 0.0), late], np.float64))
    low = before if early > 0.0 else 0.0
    if not high - low > 1e-12:  # less is rounding
        raise ConfigurationError(f"no delay of {delay_distribution} falls into the window {window}")
    values = np.array([opinion.value * opinion.confidence for opinion in opinions], np.float64)
    if not len(starts):
        return Credit(np.zeros((len(values), 0)), values)
    if t_end is None:
        t_end = int(starts[-1] + (np.median(np.diff(starts)) if len(starts) > 1 else 0))
    edges = np.append(starts, t_end)
    given = np.array([opinion.time for opinion in opinions], np.int64)
    # In whole nanoseconds first: as floats, they would lose the last digits.
    delays = (given[:, None] - edges[None, :]) / 1e9
    inside = np.clip(delay_distribution.cdf(np.clip(delays, early, late)), low, high)
    inside[delays < early] = low
    # Rounding may leave a distribution function that is not quite monotone.
    weights = np.maximum(inside[:, :-1] - inside[:, 1:], 0.0) / (high - low)
    return Credit(weights, values)
