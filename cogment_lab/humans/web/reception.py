"""The trial's side of what a person at the page asks for and says: each message to what it means."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from typing import Any

from cogment_lab.humans.web.driving import IDLE_RULES, LONGEST_RAMP, Driving
from cogment_lab.humans.web.narration import Narration
from cogment_lab.trial.pace import Pace
from cogment_lab.trial.sample import LATE_FEEDBACK, Feedback
from cogment_lab.trial.seat import TrialView
from cogment_lab.trial.takeover import Request

__all__ = ["Reception"]

_LOG = logging.getLogger("cogment_lab.humans")
_MOST_LATE_EVENTS = 100
_VERDICTS = (Request.DISCARD, Request.SUCCESS, Request.FAILURE)
_REQUESTS = {request.name.lower(): request for request in Request if request is not Request.LOST}


class Reception:
    """Hears the messages of one seat for as long as one environment holds it.

    Args:
        seat: The seat's name.
        role: What who sits there may do.
        trial: Where it goes.
        driving: What is held.
        narration: What the page is told of it.

    Attributes:
        feedback: Opinions about the tick that runs, ``None`` for none.
        answer: Number of a question and the choice of who answered it.
        chosen_pace: What the person asked for last.
        reaction_ns: From the picture to the takeover, 0 for no takeover since it was read.
        may_pace: Whether the seat decides how fast the trial runs.
    """

    def __init__(
        self, seat: str, role: str, trial: TrialView, driving: Driving, narration: Narration
    ) -> None:
        self.feedback: list[Feedback] | None = None
        self.answer: tuple[str, str] | None = None
        self.chosen_pace: Pace | None = None
        self.reaction_ns = 0
        self.may_pace = role != "observer"
        self._sees_proposals = role != "player"
        self._seat = seat
        self._trial = trial
        self._driving = driving
        self._narration = narration
        self._in_trial = False
        self._shown: tuple[bool, bool] | None = None
        self._late_events: deque[tuple[str, dict[str, Any]]] = deque(maxlen=_MOST_LATE_EVENTS)
        self._tell_settings()

    def begin(self) -> None:
        """Start a trial: what was set since the previous one goes into its record."""
        self._in_trial = True
        self._shown = None
        while self._late_events:
            self._event(*self._late_events.popleft())

    def end(self) -> None:
        """End the trial: what is said of it from now on is late."""
        self._in_trial = False

    def hear(self, message: Mapping[str, Any], requests: list[Request | Pace]) -> None:
        """Do what one message means; what the trial has to decide is added to ``requests``."""
        kind = message["k"]
        if kind == "keys":
            self._driving.hold(message["held"])
        elif kind == "controls":
            self._driving.controls = message["action"]
        elif kind == "request":
            self._hear_request(message, requests)
        elif kind == "pace":
            self.chosen_pace = Pace.parse(message["name"])
            if self.may_pace:
                requests.append(self.chosen_pace)
        elif kind == "feedback":
            self._hear_feedback(message)
        elif kind == "note":
            self._hear_note(message)
        elif kind == "setting":
            self._set(message["name"], message["value"])
        elif kind == "refused":
            self.refuse(message["why"])
        elif kind == "answer":
            self.answer = (message["id"], message["choice"])

    def refuse(self, why: str) -> None:
        """Show and record that an action of the person's was none."""
        self._narration.refused += 1
        self._narration.refusal = why[:300]
        self._event("action_refused", {"seat": self._seat, "why": why[:300]})

    def record_what_is_shown(self, *, driving: bool) -> None:
        """Record, on each change, whether the person sees the player's proposal and its confidence."""
        narration = self._narration
        visible = driving and narration.shows_proposal and self._sees_proposals
        shown = (visible, visible and narration.explain is not None)
        if self._in_trial and shown != (self._shown or (False, False)):
            self._event("proposal_shown", {"seat": self._seat, "shown": shown[0], "confidence": shown[1]})
        self._shown = shown

    def _hear_request(self, message: Mapping[str, Any], requests: list[Request | Pace]) -> None:
        request = _REQUESTS.get(message["name"])
        if request is None:
            return
        if request in _VERDICTS and self._is_late(message):
            self._event(message["name"], {"seat": self._seat}, self._trial_of(message))
            return
        requests.append(request)
        if request is Request.TAKE:
            self.reaction_ns = int(message.get("reaction_ns", 0))

    def _hear_feedback(self, message: Mapping[str, Any]) -> None:
        """Keep an opinion for the next tick, or in the record of the earlier trial that it is about."""
        value, moment, tick = message["value"], message["time"], message["tick"]
        self._narration.feedbacks += 1
        if self._is_late(message):
            data = {"seat": self._seat, "agent": self._trial.agent, "value": value, "tick": tick, "t": moment}
            self._event(LATE_FEEDBACK, data, self._trial_of(message))
            return
        self.feedback = [*(self.feedback or []), Feedback(self._seat, value, 1.0, moment, tick)]

    def _hear_note(self, message: Mapping[str, Any]) -> None:
        self._narration.notes += 1
        to_experimenter = message["to"] == "experimenter"
        if to_experimenter:
            _LOG.warning("seat %r says in trial %s: %s", self._seat, message["trial"], message["text"])
        self._event(
            "message" if to_experimenter else "note",
            {"seat": self._seat, "text": message["text"], "tick": message["tick"], "t": message["time"]},
            self._trial_of(message),
        )

    def _is_late(self, message: Mapping[str, Any]) -> bool:
        """Return whether the person saw an earlier trial than the one that runs."""
        return message["trial"] not in (None, self._trial.trial_id) or not self._in_trial

    def _trial_of(self, message: Mapping[str, Any]) -> str:
        """Return the trial that the person saw, the latest one where the page does not say."""
        return message["trial"] or self._trial.trial_id

    def _set(self, name: str, value: Any) -> None:
        """Change how the person acts, or what they see; what makes no sense is ignored."""
        if name == "idle" and value in IDLE_RULES:
            self._driving.idle = value
        elif name == "wait" and isinstance(value, bool):
            self._driving.waits = value
        elif name == "ramp" and isinstance(value, int | float) and 0 <= value <= LONGEST_RAMP:
            self._driving.ramp = float(value)
        elif name == "proposal" and isinstance(value, bool):
            self._narration.shows_proposal = value
        elif name == "inspect" and isinstance(value, bool):
            self._narration.inspects = value
            return
        else:
            return
        self._tell_settings()
        self._event("setting", {"seat": self._seat, "name": name, "value": value})

    def _tell_settings(self) -> None:
        driving = self._driving
        self._narration.settings = {"idle": driving.idle, "wait": driving.waits, "ramp": driving.ramp}

    def _event(self, kind: str, data: dict[str, Any], trial_id: str | None = None) -> None:
        """Record it in the trial that it is about; else in this one, or between trials in the next."""
        if self._in_trial or trial_id is not None:
            self._trial.event(kind, data, trial_id)
        else:
            self._late_events.append((kind, data))
