"""What the page is told about a trial, collected tick by tick while somebody looks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cogment_lab.humans.keymaps import KeyMap, jsonable
from cogment_lab.humans.web.observed import allowed_actions, table
from cogment_lab.trial.sample import Tick
from cogment_lab.trial.seat import TrialView
from cogment_lab.trial.takeover import DECIDED_BY, DecidedBy, Phase

__all__ = ["Narration"]

_LONGEST_BAND = 400
_MOST_CONFIDENCES = 6


class Narration:
    """The story of a trial, as the page tells it.

    Args:
        trial: What is told of.
        keymap: Names the actions.
        controls: What the page builds its controls from.
        role: The seat's.

    Attributes:
        refused: How many of the person's actions were none of the space.
        refusal: Why the last one was not.
        notes: How many notes and messages were recorded.
        feedbacks: How many opinions were given.
        shows_proposal: Whether the person sees what the player is about to do.
        inspects: Whether the person looks at the observation.
        explain: Returns the probability of each action of a Discrete space, given an observation.
        settings: How the person acts: ``idle``, ``wait``, ``ramp``.
        is_idle: Whether the person holds nothing, by which the tick's fallback is no lateness.
        crash: What stopped the program: its error in one line, then the traceback; ``None`` for nothing.
    """

    def __init__(self, trial: TrialView, keymap: KeyMap, controls: Mapping[str, Any], role: str) -> None:
        self.refused = 0
        self.refusal: str | None = None
        self.notes = 0
        self.feedbacks = 0
        self.shows_proposal = True
        self.inspects = False
        self.explain: Callable[[Any], Sequence[float] | None] | None = None
        self.settings: dict[str, Any] = {}
        self.crash: str | None = None
        self.is_idle = False
        self._role = role
        self._mask: list[int] | None = None
        self.render_ms = 0.0
        self.learner: dict[str, Any] | None = None
        self.question: dict[str, Any] | None = None
        self.countdown: int | None = None
        self._trial = trial
        self._keymap = keymap
        self._keymap_json = keymap.to_json()
        self._controls = dict(controls)
        self._band: list[tuple[int, str, str]] = []
        self._proposal: Any = None
        self._executed: tuple[Any, str] | None = None
        self._observation: Any = None
        self._end_reason: str | None = None
        self._late = 0
        self._stopped_at: float | None = None
        self._rate = 0.0
        self._rate_ticks = 0
        self._rate_since = 0

    def begin(self, observation: Any, info: Mapping[str, Any]) -> None:
        """Start the story of a trial."""
        self._mask = allowed_actions(observation, info)
        self.crash = None
        self._band = []
        self._proposal = None
        self._executed = None
        self._end_reason = None
        self._observation = observation

    def propose(self, action: Any) -> None:
        """Note what the player is about to do."""
        self._proposal = action

    def observe(self, tick: Tick) -> None:
        """Note what happened."""
        is_fallback = tick.decided_by == DecidedBy.FALLBACK
        by = "idle" if is_fallback and self.is_idle else DECIDED_BY[tick.decided_by]
        phase = Phase(tick.phase).name.lower()
        if not self._band or self._band[-1][1:] != (phase, by):
            self._band.append((tick.number, phase, by))
            del self._band[:-_LONGEST_BAND]
        self._proposal = tick.proposed_action
        self._executed = (tick.executed_action, by)
        self._observation = tick.next_observation
        self._mask = allowed_actions(tick.next_observation, tick.info)
        self._late += by == "fallback"
        self._rate_ticks += 1

    def end(self, end_reason: str) -> None:
        """Note how the trial ended."""
        self._end_reason = end_reason

    def status(self, state: str, pressed: Any, now: int) -> dict[str, Any]:
        """Return the page's status message, without what only the server knows.

        Args:
            state: ``waiting``, ``running``, ``between`` or ``closed``.
            pressed: The action that the person's held keys mean, ``None`` for none.
            now: Monotonic ns.
        """
        trial = self._trial
        if now - self._rate_since > 1_000_000_000:
            self._rate = self._rate_ticks * 1e9 / (now - self._rate_since) if self._rate_since else 0.0
            self._rate_since, self._rate_ticks = now, 0
        label = self._keymap.label
        return {
            "type": "status",
            "keymap": self._keymap_json,
            "controls": self._controls,
            "env_id": trial.env_id,
            "trial_id": trial.trial_id,
            "trial_number": trial.trial_number,
            "seed": trial.seed,
            "tick": self._tick_number(),
            "return": float(trial.total_reward),
            "phase": trial.phase.name.lower(),
            "pace": trial.pace.name.lower(),
            "fps": trial.fps,
            "rate": round(self._rate, 1),
            "takeovers": trial.takeovers,
            "helped_ticks": trial.helped_ticks,
            "all_takeovers": trial.all_takeovers,
            "all_helped_ticks": trial.all_helped_ticks,
            "all_ticks": trial.all_ticks,
            "returns": [round(float(value), 3) for value in trial.returns],
            "role": self._role,
            "learns": self.learner is not None or (self._role == "teacher" and bool(trial.acknowledged_by)),
            "mix": trial.mix,
            "proposal": _named(self._proposal, label) if self._tells_proposal() else None,
            "confidence": self._confidence(),
            "shows_proposal": self.shows_proposal,
            "executed": self._executed and {**_named(self._executed[0], label), "by": self._executed[1]},
            "pressed": None if pressed is None else label(pressed),
            "refused": self.refused,
            "refusal": self.refusal,
            "notes": self.notes,
            "feedbacks": self.feedbacks,
            "settings": self.settings,
            "mask": self._mask,
            "late": self._late,
            "band": self._band,
            "learner": self.learner,
            "acknowledged": trial.acknowledged_by is not None,
            "renderable": trial.renderable,
            "remedy": None if trial.renderable else trial.remedy,
            "observation": None if trial.renderable and not self.inspects else table(self._observation),
            "state": state,
            "end_reason": self._end_reason,
            "crash": self.crash or trial.failure,
            "render_ms": round(self.render_ms, 2),
            "question": self.question,
            "countdown": self.countdown,
            "store_status": trial.recording_failure and f"{trial.recording_failure}; the trial goes on",
            "store_stopped": self._recording_stopped(),
        }

    def _tells_proposal(self) -> bool:
        return self.shows_proposal and self._proposal is not None and self._role != "player"

    def _recording_stopped(self) -> float | None:
        """Return when recording stopped, in seconds since 1970, as far as this has seen it."""
        if self._trial.recording_failure is None:
            self._stopped_at = None
        elif self._stopped_at is None:
            self._stopped_at = time.time()
        return self._stopped_at

    def _confidence(self) -> list[dict[str, Any]] | None:
        """Return the actions that the player considers, the likeliest first."""
        if self.explain is None or not self._tells_proposal():
            return None
        probabilities = self.explain(self._observation)
        if probabilities is None:
            return None
        start = int(getattr(self._trial.action_space, "start", 0))
        ranked = sorted(enumerate(probabilities), key=lambda pair: -pair[1])[:_MOST_CONFIDENCES]
        return [{"label": self._keymap.label(start + index), "p": round(float(p), 3)} for index, p in ranked]

    def _tick_number(self) -> int:
        return self._trial.tick.number + 1 if self._executed is not None else 0


def _named(action: Any, label: Callable[[Any], str]) -> dict[str, Any]:
    return {"label": label(action), "value": jsonable(action)}
