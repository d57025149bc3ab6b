"""The trials that a person has still to do, in front of whatever steps the environment."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from cogment_lab.integrations.gymnasium.environment import TrialEnv

__all__ = ["Planned", "SessionOver", "StudyTrials", "plan_trials"]

_BEGIN = "Begin"


class SessionOver(Exception):  # a signal, no fault
    """All trials are done, or the server wants the session to end."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One trial to come.

    Attributes:
        phase: ``"practice"`` or ``"trials"``.
        seed: Of its environment, ``None`` for any.
        opens: The first that counts, after practice: the person is asked before it begins.
    """

    phase: str
    seed: int | None
    opens: bool = False


def plan_trials(
    practice: int, trials: int, *, done_practice: int, done_trials: int, seed: int | None
) -> list[Planned]:
    """Return what is still to do of so many trials; the n-th has the same seed for everybody."""
    planned = [
        *(("practice", number) for number in range(done_practice, practice)),
        *(("trials", number) for number in range(done_trials, trials)),
    ]
    return [
        Planned(phase, _seed(seed, phase, number), opens=practice > 0 and (phase, number) == ("trials", 0))
        for phase, number in planned
    ]


def _seed(seed: int | None, phase: str, number: int) -> int | None:
    if seed is None:
        return None
    words = [seed & 0xFFFFFFFF, phase == "trials", number]
    return int(np.random.SeedSequence(words).generate_state(1)[0])


class StudyTrials(gym.Wrapper[Any, Any, Any, Any]):
    """Gives each trial its phase and its start, reports it when it is over, and ends after the last one.

    Args:
        env: The trial environment.
        plan: What is to be done.
        seat: The person's; it waits for them, and asks.
        properties: Of each trial, beside its ``phase``.
        report: Called with a trial's id and phase when it is over.
        is_ending: Asked before each tick.
        countdown: Seconds before each trial, for the person.
        patience: Seconds to wait for them.
    """

    def __init__(
        self,
        env: TrialEnv,
        plan: list[Planned],
        *,
        seat: Any,
        properties: dict[str, str],
        report: Callable[[str, str], None],
        is_ending: Callable[[], bool],
        countdown: int,
        patience: float,
    ) -> None:
        super().__init__(env)
        self._trials = env
        self._plan = deque(plan)
        self._seat = seat
        self._properties = properties
        self._report = report
        self._is_ending = is_ending
        self._countdown = countdown
        self._patience = patience
        self._is_known = False

    @property
    def is_done(self) -> bool:
        """Whether all trials are over."""
        return not self._plan

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin the next trial, once the person is there.

        Raises:
            SessionOver: there is none.
        """
        if not self._plan or self._is_ending():
            raise SessionOver
        planned = self._plan[0]
        self._trials.trial.properties = {**self._properties, "phase": planned.phase}
        begun = self._trials.reset(seed=planned.seed if planned.seed is not None else seed, options=options)
        self._seat.count_down(0, self._patience)  # until somebody is there
        if not self._is_known:
            self._is_known = True
            self._seat.begin(*begun)  # there was nobody to show it to
        if planned.opens:
            self._seat.ask("Practice is over. From here on your trials count.", [_BEGIN])
        self._seat.count_down(self._countdown, self._patience)
        return begun

    def step(self, action: Any) -> Any:
        """Run one tick.

        Raises:
            SessionOver: the server wants the session to end.
        """
        if self._is_ending():
            raise SessionOver
        result = self._trials.step(action)
        if result[2] or result[3]:
            planned = self._plan.popleft()
            self._report(self._trials.trial_id, planned.phase)
        return result
