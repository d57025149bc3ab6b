"""Arrays that learners take: returns, n-step transitions, and padded sequences of stored steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cogment_lab.errors import ConfigurationError
from cogment_lab.store.columns import Column, concatenate_columns, take_rows
from cogment_lab.store.trial_data import TrialData

__all__ = ["NSteps", "Sequences", "discounted_returns", "n_steps", "read_sequences", "stretch_ends"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NSteps:
    """A transition over up to ``n`` steps from each recorded one.

    ``rewards + discounts * (1 - terminated) * value(next_observations)`` is the target.

    Attributes:
        observations: ``(n, *shape)``.
        actions: ``(n, *shape)``, the first of each.
        rewards: ``(n,) float64``, discounted sum.
        next_observations: ``(n, *shape)``, after the last step of each.
        discounts: ``(n,) float64``, gamma to the power of its number of steps.
        terminated: ``(n,) bool``, whether its last step was terminal.
    """

    observations: Column
    actions: Column
    rewards: Floats
    next_observations: Column
    discounts: Floats
    terminated: Bools


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Sequences:
    """Stretches of trials, padded with zeros behind.

    Attributes:
        observations: ``(b, length, *shape)``.
        actions: ``(b, length, *shape)``.
        rewards: ``(b, length) float64``.
        terminated: ``(b, length) bool``.
        returns: ``(b, length) float64``, what is still to come in the trial, undiscounted.
        ticks: ``(b, length) int64``, -1 in the padding.
        mask: ``(b, length) bool``, true where there was a step.
    """

    observations: Column
    actions: Column
    rewards: Floats
    terminated: Bools
    returns: Floats
    ticks: npt.NDArray[np.int64]
    mask: Bools

    def __len__(self) -> int:
        return len(self.mask)


def stretch_ends(data: TrialData) -> Bools:
    """Return ``(n,) bool``: after which rows another trial begins, or ticks are missing."""
    return ~data.continues | data.done


def discounted_returns(data: TrialData, gamma: float = 1.0) -> Floats:
    """Return ``(n,) float64``: the discounted rewards from each row to the end of its stretch.

    Nothing is bootstrapped after truncation: add the value of ``next_observations`` there if need be.

    Raises:
        ConfigurationError: ``gamma`` is not in [0, 1].
    """
    _check_gamma(gamma)
    returns = np.array(data.rewards, np.float64)
    goes_on = ~stretch_ends(data)
    for row in range(len(returns) - 2, -1, -1):
        if goes_on[row]:
            returns[row] += gamma * returns[row + 1]
    return returns


def n_steps(data: TrialData, n: int, gamma: float) -> NSteps:
    """Return a transition over ``n`` steps from each row, shorter where its stretch ends before.

    Raises:
        ConfigurationError: ``n`` or ``gamma`` cannot be, or there are no observations.
    """
    _check_gamma(gamma)
    if n < 1:
        raise ConfigurationError(f"n={n} must be at least 1")
    _check_observations(data)
    ends = np.flatnonzero(stretch_ends(data))
    rows = np.arange(len(data))
    last = np.minimum(rows + n - 1, ends[np.searchsorted(ends, rows)])
    rewards = np.zeros(len(data))
    for offset in range(n):
        inside = rows + offset <= last
        rewards[inside] += gamma**offset * data.rewards[rows[inside] + offset]
    return NSteps(
        observations=data.observations,
        actions=data.actions,
        rewards=rewards,
        next_observations=take_rows(data.next_observations, last),
        discounts=np.power(gamma, last - rows + 1, dtype=np.float64),
        terminated=data.terminated[last],
    )


def read_sequences(
    trials: Iterable[TrialData], length: int, *, stride: int | None = None, batch_size: int = 64
) -> Iterator[Sequences]:
    """Yield stretches of ``length`` consecutive steps, across trials, ``batch_size`` at a time.

    Args:
        trials: A query, or any trials of the same spaces.
        length: Of each; the last of a trial is padded.
        stride: From the start of one to that of the next; ``length`` by default, so that they do not overlap.
        batch_size: How many are yielded together; the last batch may be smaller.

    Raises:
        ConfigurationError: a length, stride or batch size below 1, or a trial without observations.
    """
    stride = length if stride is None else stride
    if min(length, stride, batch_size) < 1:
        raise ConfigurationError(
            f"length={length}, stride={stride} and batch_size={batch_size} must be at least 1"
        )
    pieces: list[Sequences] = []
    for data in trials:
        _check_observations(data)
        piece = _cut(data, length, stride)
        for start in range(0, len(piece), batch_size):
            pieces.append(_part(piece, slice(start, start + batch_size)))
            while sum(map(len, pieces)) >= batch_size:
                joined = _join(pieces)
                yield _part(joined, slice(0, batch_size))
                pieces = [_part(joined, slice(batch_size, None))]
    if sum(map(len, pieces)):
        yield _join(pieces)


def _cut(data: TrialData, length: int, stride: int) -> Sequences:
    ends = np.flatnonzero(stretch_ends(data)) + 1
    begins = np.append(0, ends[:-1])
    firsts = np.concatenate([np.arange(begin, end, stride) for begin, end in zip(begins, ends, strict=True)])
    limits = ends[np.searchsorted(ends, firsts, "right")]
    rows = firsts[:, None] + np.arange(length)
    mask = rows < limits[:, None]
    rows = np.where(mask, rows, 0)

    def fold(column: Column) -> Column:
        if isinstance(column, dict):
            return {key: fold(part) for key, part in column.items()}
        if isinstance(column, tuple):
            return tuple(fold(part) for part in column)
        if isinstance(column, list):
            raise ConfigurationError("values without a fixed size cannot be padded into sequences")
        found = column[rows]
        found[~mask] = 0
        return found

    return Sequences(
        observations=fold(data.observations),
        actions=fold(data.actions),
        rewards=fold(data.rewards),
        terminated=fold(data.terminated),
        returns=fold(discounted_returns(data)),
        ticks=np.where(mask, data.ticks[rows], -1),
        mask=mask,
    )


_FIELDS = ("observations", "actions", "rewards", "terminated", "returns", "ticks", "mask")


def _join(pieces: list[Sequences]) -> Sequences:
    return Sequences(
        **{name: concatenate_columns([getattr(piece, name) for piece in pieces]) for name in _FIELDS}
    )


def _part(whole: Sequences, rows: slice) -> Sequences:
    index = np.arange(len(whole))[rows]
    return Sequences(**{name: take_rows(getattr(whole, name), index) for name in _FIELDS})


def _check_gamma(gamma: float) -> None:
    if not 0.0 <= gamma <= 1.0:
        raise ConfigurationError(f"gamma={gamma} must be between 0 and 1")


def _check_observations(data: TrialData) -> None:
    if data.observations is None:
        raise ConfigurationError(
            f"trial {data.trial_id!r} was recorded without observations (record='actions'): record='full' "
            "keeps them"
        )
