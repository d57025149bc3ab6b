"""What each participant of ``study.yaml`` meets: a careless autopilot that they may override."""

from __future__ import annotations

from typing import Any

import numpy as np

from cogment_lab.humans.scripted import scripted_policy
from cogment_lab.studies import Session

CARELESSNESS = 0.35
HOLD_TICKS = 8


class CarelessPilot:
    """The scripted pilot, that sometimes holds an engine at random for a while."""

    def __init__(self, seed: int) -> None:
        self._pilot = scripted_policy("LunarLander-v3")
        self._rng = np.random.default_rng(seed)
        self._held = 0
        self._action = 0

    def __call__(self, observation: Any) -> int:
        if self._held == 0 and self._rng.random() < CARELESSNESS / HOLD_TICKS:
            self._held = HOLD_TICKS
            self._action = int(self._rng.integers(4))
        if self._held > 0:
            self._held -= 1
            return self._action
        return int(self._pilot(observation))


def session(participant: str, condition: str) -> Session:
    """Return the same lander for everybody; those who are ``blind`` do not see what the pilot proposes."""
    return Session(
        env="LunarLander-v3",
        role="teacher",
        policy=CarelessPilot(seed=11),
        show_proposal=condition == "proposal",
    )
