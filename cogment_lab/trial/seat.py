"""What a trial asks of whoever sits in it: a person in a browser, a script, a process elsewhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from cogment_lab.trial.mixing import ActionMix
from cogment_lab.trial.pace import Pace
from cogment_lab.trial.sample import Feedback, Tick
from cogment_lab.trial.takeover import Phase, Request

__all__ = ["Seat", "Seats", "TrialView"]


class TrialView(Protocol):
    """What a seat may know of the trial it sits in; the embedded driver is one.

    All attributes are to be read only, and only during a call that the trial makes into the seat.
    """

    env_id: str
    agent: str
    """Whose actions the seat is about; ``"gym"`` where the environment has one agent."""
    trial_id: str
    trial_number: int
    """0 for the environment's first trial."""
    seed: int | None
    action_space: gym.Space[Any]
    observation_space: gym.Space[Any]
    fps: float
    """Ticks per second at pace ``live``."""
    tick: Tick
    """The record of the tick that was executed last, or that is being decided."""
    total_reward: float
    helped_ticks: int
    """Ticks of this trial in which a teacher's action was executed."""
    all_helped_ticks: int
    """The same since the environment was made."""
    all_ticks: int
    """Ticks since the environment was made."""
    returns: deque[float]
    """Returns of the trials that ended, oldest first, the last 100 at most."""
    acknowledged_by: str | None
    """Who learns from takeovers (a callback, a buffer), or ``None``."""
    renderable: bool
    """Whether ``render`` gives frames."""
    remedy: str
    """The line of a program that gives frames where there are none."""
    properties: Mapping[str, str]
    mix: ActionMix
    """How a teacher's action and the player's make the executed one."""
    failure: str | None
    """What the environment raised, in one line, then its traceback; ``None`` while it works."""

    @property
    def recording_failure(self) -> str | None:
        """Why recording has stopped, ``None`` while it goes on (or nothing is recorded)."""

    @property
    def phase(self) -> Phase:
        """The takeover phase."""

    @property
    def pace(self) -> Pace:
        """How fast it runs."""

    @property
    def takeovers(self) -> int:
        """Takeovers in this trial."""

    @property
    def all_takeovers(self) -> int:
        """Takeovers since the environment was made."""

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Return the current frame, ``(height, width, 3) uint8``, or ``None`` without ``rgb_array``."""

    def event(self, kind: str, data: Mapping[str, Any], trial_id: str | None = None) -> None:
        """Keep something a person said or did in the trial's record; without effect between trials.

        ``trial_id`` names the trial that it is about: one of the last that ended here may get it late.
        """


class Seat(Protocol):
    """One chair of a trial.

    The trial calls ``attach`` once, before its first reset; for each trial ``begin``, then for each tick
    ``poll``, ``act`` (only while the phase is CORRECTING) and ``watch``, then ``end``; and ``detach`` when
    the environment closes. All calls come from the thread that steps the environment, so a call that is slow
    slows the trial.

    A seat pickles as a handle: another process may unpickle and attach it.
    """

    name: str
    role: str
    """``"player"``, ``"teacher"``, ``"evaluator"`` or ``"observer"``."""
    watches: bool
    """Whether ``watch`` and ``feedback`` are wanted after each tick; scripts that only act save the calls."""

    def attach(self, trial: TrialView) -> None:
        """Take the seat for this environment.

        Raises:
            SeatTakenError: another environment holds it.
        """

    def begin(self, observation: Any, info: Mapping[str, Any]) -> None:
        """Start a trial: this is its first observation."""

    def show(self, proposed_action: Any) -> None:
        """Show what the player is about to do; called before a paced trial waits for its next tick."""

    def poll(self, observation: Any, proposed_action: Any) -> Sequence[Request | Pace] | None:
        """Return what was asked for since the previous call, ``None`` for nothing (the usual, fast case)."""

    def act(self, observation: Any, proposed_action: Any) -> Any:
        """Return the action to execute while this seat is in control, ``None`` for no usable one."""

    def feedback(self) -> list[Feedback] | None:
        """Return the feedback given since the previous call, ``None`` for none."""

    def watch(self, tick: Tick) -> None:
        """See the tick that was just executed; ``tick.next_observation`` is what follows."""

    def end(self, end_reason: str) -> None:
        """End the trial: ``terminated``, ``truncated``, ``reset``, ``closed``, ``environment_crashed``..."""

    def detach(self) -> None:
        """Leave; the seat is free for another environment."""


@dataclass(frozen=True, slots=True)
class Seats:
    """Who sits in the trial besides the learner."""

    player: Seat | None = None
    teacher: Seat | None = None
    evaluators: tuple[Seat, ...] = ()
    observers: tuple[Seat, ...] = ()

    def all(self) -> tuple[Seat, ...]:
        """Return every seat, each once."""
        acting = [seat for seat in (self.player, self.teacher) if seat is not None]
        return (*acting, *self.evaluators, *self.observers)
