"""The life of a trial (protocol section 6.2)."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["TRIAL_TRANSITIONS", "TrialState", "may_follow"]


class TrialState(IntEnum):
    """State of a trial; the numbers are those of Cogment's protocol."""

    UNKNOWN = 0
    INITIALIZING = 1
    PENDING = 2
    RUNNING = 3
    TERMINATING = 4
    ENDED = 5


TRIAL_TRANSITIONS: dict[TrialState, frozenset[TrialState]] = {
    TrialState.UNKNOWN: frozenset({TrialState.INITIALIZING}),
    TrialState.INITIALIZING: frozenset({TrialState.PENDING, TrialState.ENDED}),
    TrialState.PENDING: frozenset({TrialState.RUNNING, TrialState.ENDED}),
    TrialState.RUNNING: frozenset({TrialState.TERMINATING}),
    TrialState.TERMINATING: frozenset({TrialState.ENDED}),
    TrialState.ENDED: frozenset(),
}
"""From each state to those that may follow; a hard end before RUNNING skips TERMINATING."""


def may_follow(state: TrialState, following: TrialState) -> bool:
    """Return whether a trial in ``state`` may go to ``following``."""
    return following in TRIAL_TRANSITIONS[state]
