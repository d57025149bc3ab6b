"""What seats ask of a trial, and what comes of it: who is in control, and how fast it runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from cogment_lab.trial.pace import Pace, Pacer
from cogment_lab.trial.recorder import Events
from cogment_lab.trial.rules import TrialRules
from cogment_lab.trial.seat import Seat, Seats
from cogment_lab.trial.takeover import Phase, Request, TakeoverMachine

__all__ = ["Control"]

_VERDICTS = (Request.DISCARD, Request.SUCCESS, Request.FAILURE)
_NOTED = (Request.STOP, Request.SAVE, *_VERDICTS)


class Control:
    """Decides what seats may have; it neither waits nor asks anybody.

    Args:
        rules: What holds for every trial.
        machine: The takeover phase.
        pacer: Says when ticks are due.
        events: Keeps what was granted.

    Attributes:
        pace: How fast the trial runs.
        requests: What the learner is to be told of, by name, each once: their number is bounded.
        takeovers: Takeovers in this trial.
        all_takeovers: Takeovers in all trials.
        previous_override: What was executed for the teacher last, since the takeover.
    """

    def __init__(
        self,
        rules: TrialRules,
        machine: TakeoverMachine,
        pacer: Pacer,
        events: Events,
    ) -> None:
        self.pace = rules.pace or Pace.MAX
        self.requests: dict[str, None] = {}
        self.takeovers = 0
        self.all_takeovers = 0
        self.previous_override: Any = None
        self._rules = rules
        self._machine = machine
        self._pacer = pacer
        self._events = events
        self._asked_pace = self.pace
        self._is_watched = False

    def begin(self, trial_number: int) -> None:
        """Start a trial."""
        self.takeovers = 0
        self._is_watched = trial_number % self._rules.watch_every == 0

    def settle_pace(self) -> None:
        """Give a trial that began the pace that was asked for.

        Its record begins with it, unless it is ``max``, or fixed and so among the parameters.
        """
        self._pacer.forget()
        if self._rules.pace is None:
            self.pace = self._asked_pace if self._is_watched else Pace.MAX
            if self.pace is not Pace.MAX:
                self._note_pace("trial")

    def obey(self, requests: Sequence[Request | Pace], seat: Seat, seats: Seats) -> bool:
        """Apply requests in order; return whether one of them lets a paused trial do one tick.

        Only who acts may ask for control, pace, pause or stop; evaluators may judge a trial, and
        set its pace where nobody else may; observers may nothing.

        Args:
            requests: What was asked for.
            seat: Who asked.
            seats: Who sits in the trial.
        """
        stepped = False
        acting = seat is seats.teacher or seat is seats.player
        alone = seats.teacher is None and seats.player is None
        for request in requests:
            judging = request in _VERDICTS or (alone and isinstance(request, Pace))
            if not acting and not (judging and seat.role == "evaluator"):
                continue
            if isinstance(request, Pace):
                self._asked_pace = request
                self._set_pace(seat.name)
            elif request is Request.STEP:
                stepped = True
            elif request in _NOTED:
                self.requests[request.name.lower()] = None
                self._events.add(request.name.lower(), {"seat": seat.name})
            elif request is not Request.TAKE or seat is seats.teacher:
                self._change_phase(request, seat)
        return stepped

    def _change_phase(self, request: Request, seat: Seat) -> None:
        if not self._machine.request(request):
            return
        phase = self._machine.phase
        if phase is Phase.CORRECTING:
            self.takeovers += 1
            self.all_takeovers += 1
            self.previous_override = None
            self._pacer.slow_start(time.monotonic_ns())
        self._events.add(
            "phase", {"request": request.name.lower(), "phase": phase.name.lower(), "seat": seat.name}
        )

    def _set_pace(self, asked_by: str) -> None:
        """Take the pace that the seats asked for, unless it is fixed or this trial is not one to watch."""
        if self._rules.pace is not None:
            return
        pace = self._asked_pace if self._is_watched else Pace.MAX
        if pace is not self.pace:
            self.pace = pace
            self._pacer.forget()
            self._note_pace(asked_by)

    def _note_pace(self, asked_by: str) -> None:
        self._events.add("pace", {"pace": self.pace.name.lower(), "seat": asked_by})

    def let_go(self) -> None:
        """Run at full speed unless the pace is fixed: nobody is left."""
        self._asked_pace = Pace.MAX
        self._set_pace("trial")

    def end_pause(self) -> None:
        """Go on by itself: nobody ended a pause for so long."""
        self._events.add("pause_timeout", {"seconds": self._rules.max_pause})
        self._machine.request(Request.RESUME)
        if self.pace is Pace.STEP and self._rules.pace is None:
            self.pace = Pace.MAX
            self._note_pace("trial")

    def take_requests(self) -> tuple[str, ...]:
        """Return and forget what the learner is to be told."""
        requests = tuple(self.requests)
        self.requests.clear()
        return requests
