"""What the page is told about a trial, collected tick by tick while somebody looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cogment_lab.humans.keymaps import KeyMap
from cogment_lab.trial.sample import Tick
from cogment_lab.trial.seat import TrialView
from cogment_lab.trial.takeover import DECIDED_BY, DecidedBy, Phase

__all__ = ["Narration"]

_LONGEST_BAND = 400
_LONGEST_OBSERVATION = 24


class Narration:
    """The story of a trial, as the page tells it.

    Args:
        trial: What is told of.
        keymap: Names the actions.
        controls: What the page builds its controls from.
    """

    def __init__(self, trial: TrialView, keymap: KeyMap, controls: Mapping[str, Any]) -> None:
        self.refused = 0
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
        self._rate = 0.0
        self._rate_ticks = 0
        self._rate_since = 0

    def begin(self, observation: Any) -> None:
        """Start the story of a trial."""
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
        by = DECIDED_BY[tick.decided_by]
        phase = Phase(tick.phase).name.lower()
        if not self._band or self._band[-1][1:] != (phase, by):
            self._band.append((tick.number, phase, by))
            del self._band[:-_LONGEST_BAND]
        self._proposal = tick.proposed_action
        self._executed = (tick.executed_action, by)
        self._observation = tick.next_observation
        self._late += tick.decided_by == DecidedBy.FALLBACK
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
            "proposal": None if self._proposal is None else _named(self._proposal, label),
            "confidence": None,
            "executed": self._executed and {**_named(self._executed[0], label), "by": self._executed[1]},
            "pressed": None if pressed is None else label(pressed),
            "refused": self.refused,
            "late": self._late,
            "band": self._band,
            "learner": self.learner,
            "acknowledged": trial.acknowledged_by is not None,
            "renderable": trial.renderable,
            "remedy": None if trial.renderable else "pass render_mode='rgb_array' to make()",
            "observation": None if trial.renderable else _table(self._observation),
            "state": state,
            "end_reason": self._end_reason,
            "crash": None,
            "render_ms": round(self.render_ms, 2),
            "question": self.question,
            "countdown": self.countdown,
            "store_status": trial.recording_failure and f"{trial.recording_failure}; training goes on",
        }

    def _tick_number(self) -> int:
        return self._trial.tick.number + 1 if self._executed is not None else 0


def _named(action: Any, label: Any) -> dict[str, Any]:
    return {"label": label(action), "value": np.asarray(action).tolist()}


def _table(observation: Any, name: str = "") -> list[tuple[str, str]]:
    """Return an observation as ``(name, value)`` rows."""
    rows: list[tuple[str, str]] = []
    if isinstance(observation, Mapping):
        for key, part in observation.items():
            rows += _table(part, f"{name}{key}.")
    elif isinstance(observation, tuple):
        for index, part in enumerate(observation):
            rows += _table(part, f"{name}{index}.")
    elif isinstance(observation, np.ndarray) and observation.ndim:
        flat = observation.reshape(-1)[:_LONGEST_OBSERVATION]
        rows += [(f"{name}{index}", f"{value:.4g}") for index, value in enumerate(flat.tolist())]
    elif observation is not None:
        rows.append((name.rstrip(".") or "observation", str(observation)[:200]))
    return rows[:_LONGEST_OBSERVATION]
