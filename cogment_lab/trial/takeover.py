"""Who is flying: the takeover machine and the one function that picks the executed action.

Devices only *request*; the table below decides. Every transition is reported to the caller, who records it.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["DECIDED_BY", "DecidedBy", "Phase", "Request", "TakeoverMachine"]


class Phase(IntEnum):
    """Who is in control during a tick."""

    AUTONOMOUS = 0
    PAUSED = 1
    CORRECTING = 2


class Request(IntEnum):
    """What a device may ask for."""

    TAKE = 1
    RELEASE = 2
    PAUSE = 3
    RESUME = 4
    LOST = 5
    """The seat's connection is gone: control goes back to the player, whatever the phase."""
    STEP = 6
    """While paused: let one tick through."""
    STOP = 7
    """End training after this trial."""
    SAVE = 8
    """Save the model after this trial."""
    DISCARD = 9
    """Mark this trial as one that nobody should learn from."""
    SUCCESS = 10
    """Mark this trial as one in which the agent did what it should."""
    FAILURE = 11
    """Mark this trial as one in which it did not."""


class DecidedBy(IntEnum):
    """Where an executed action came from."""

    PLAYER = 0
    TEACHER = 1
    FALLBACK = 2
    """The teacher was in control and gave no usable action in time."""


DECIDED_BY = tuple(member.name.lower() for member in DecidedBy)

_TRANSITIONS: dict[tuple[Phase, Request], Phase] = {
    (Phase.AUTONOMOUS, Request.TAKE): Phase.CORRECTING,
    (Phase.AUTONOMOUS, Request.PAUSE): Phase.PAUSED,
    (Phase.PAUSED, Request.TAKE): Phase.CORRECTING,
    (Phase.PAUSED, Request.RESUME): Phase.AUTONOMOUS,
    (Phase.PAUSED, Request.RELEASE): Phase.AUTONOMOUS,
    (Phase.PAUSED, Request.LOST): Phase.AUTONOMOUS,
    (Phase.CORRECTING, Request.RELEASE): Phase.AUTONOMOUS,
    (Phase.CORRECTING, Request.PAUSE): Phase.PAUSED,
    (Phase.CORRECTING, Request.LOST): Phase.AUTONOMOUS,
}


class TakeoverMachine:
    """The phase of one trial.

    Example:
        >>> machine = TakeoverMachine()
        >>> machine.request(Request.TAKE), machine.phase.name
        (True, 'CORRECTING')
        >>> machine.request(Request.RESUME)  # nothing is paused: ignored
        False
    """

    __slots__ = ("phase",)

    def __init__(self) -> None:
        self.phase = Phase.AUTONOMOUS

    def request(self, request: Request) -> bool:
        """Apply ``request``; return whether the phase changed."""
        following = _TRANSITIONS.get((self.phase, request))
        if following is None:
            return False
        self.phase = following
        return True
