"""What a trial asks of whoever keeps its record; the store's streams are such recorders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from cogment_lab.trial.sample import Tick

__all__ = ["Events", "Recorder", "TickRecorder"]


class TickRecorder(Protocol):
    """Keeps the ticks of one agent."""

    def append(self, tick: Tick) -> None:
        """Keep a copy of the tick; called for each step, so it takes microseconds."""


class Recorder(Protocol):
    """Keeps the trials of one environment, one after the other."""

    @property
    def failure(self) -> str | None:
        """Why recording has stopped, ``None`` while it goes on."""

    def begin(
        self,
        trial_id: str,
        *,
        seed: int | None,
        rng_state: Mapping[str, Any] | None,
        options: Mapping[str, Any] | None,
        properties: Mapping[str, str],
        user_id: str | None = None,
    ) -> None:
        """Start a trial. ``rng_state`` is the generator's state before a reset without a seed."""

    def recorder(self, agent: str) -> TickRecorder:
        """Return the recorder of that agent's ticks; the same object for all trials."""

    def event(
        self, tick_number: int, kind: str, data: Mapping[str, Any], trial_id: str | None = None
    ) -> None:
        """Keep something that happened between ticks: a request, a change of phase or pace, a failure.

        It belongs to the running trial, or to one of the last that ended, where ``trial_id`` names it.
        """

    def end(self, *, state: str, end_reason: str, last_observations: Mapping[str, Any]) -> None:
        """End the trial; the last observation of each agent is stored once."""

    def close(self) -> None:
        """Hand over what is pending and let go of the store."""


class Events:
    """What happens between the ticks of a trial, on its way to whoever keeps it.

    Attributes:
        recorder: Who keeps it; ``None`` keeps nothing.
        tick_number: The tick that is being decided.
    """

    def __init__(self) -> None:
        self.recorder: Recorder | None = None
        self.tick_number = 0

    def add(self, kind: str, data: Mapping[str, Any], trial_id: str | None = None) -> None:
        """Keep something; see :meth:`Recorder.event`."""
        if self.recorder is not None:
            self.recorder.event(self.tick_number, kind, data, trial_id)
