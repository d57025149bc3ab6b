"""Simulated humans: the same seat as a person's, so that a study can be dry-run and an algorithm tested."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cogment_lab.errors import ConfigurationError
from cogment_lab.trial.pace import Pace
from cogment_lab.trial.sample import Feedback, Tick
from cogment_lab.trial.seat import TrialView
from cogment_lab.trial.takeover import Phase, Request

__all__ = ["SimulatedEvaluator", "SimulatedHuman"]

Policy = Callable[[Any], Any]
Gate = Callable[[Any, Any], bool]


class _QuietSeat:
    """The calls of a seat that a script has no use for."""

    name = "script"
    role = "observer"
    watches = True

    def attach(self, trial: TrialView) -> None:
        pass

    def begin(self, observation: Any, info: Mapping[str, Any]) -> None:
        pass

    def show(self, proposed_action: Any) -> None:
        pass

    def poll(self, observation: Any, proposed_action: Any) -> Sequence[Request | Pace] | None:
        return None

    def act(self, observation: Any, proposed_action: Any) -> Any:
        return None

    def feedback(self) -> list[Feedback] | None:
        return None

    def watch(self, tick: Tick) -> None:
        pass

    def end(self, end_reason: str) -> None:
        pass

    def detach(self) -> None:
        pass


class SimulatedHuman(_QuietSeat):
    """A scripted teacher (or player) with a person's limits.

    Args:
        policy: ``policy(observation) -> action``: what this human would do.
        gate: ``gate(observation, proposed_action) -> bool``: whether this human wants to be in control;
            ``None`` is always in control.
        reaction_ticks: Ticks between the gate's change of mind and the hand on the controls.
        error_rate: Probability, in ``[0, 1]``, that an action is a random one.
        budget: Ticks of help this human gives in all; ``None`` is unlimited.
        rng: Source of the errors; a fixed seed by default, so that runs repeat.
        role: ``"teacher"`` or ``"player"``.
        name: Source name in records.

    Example:
        >>> from cogment_lab.humans import SimulatedHuman
        >>> teacher = SimulatedHuman(lambda observation: 0, gate=lambda observation, proposed: proposed == 1)
    """

    def __init__(
        self,
        policy: Policy,
        gate: Gate | None = None,
        reaction_ticks: int = 0,
        error_rate: float = 0.0,
        budget: int | None = None,
        rng: np.random.Generator | None = None,
        *,
        role: str = "teacher",
        name: str = "simulated human",
    ) -> None:
        if not callable(policy):
            raise ConfigurationError(f"policy={policy!r} is not callable: pass policy(observation) -> action")
        if not 0.0 <= error_rate <= 1.0:
            raise ConfigurationError(f"error_rate={error_rate} is no probability")
        if reaction_ticks < 0:
            raise ConfigurationError(f"reaction_ticks={reaction_ticks} is negative")
        if budget is not None and budget < 0:
            raise ConfigurationError(f"budget={budget} is negative")
        self.policy = policy
        self.gate = gate
        self.reaction_ticks = reaction_ticks
        self.error_rate = error_rate
        self.budget = budget
        self.role = role
        self.name = name
        self.watches = False
        self.spent = 0
        self._rng = rng if rng is not None else np.random.default_rng(0)
        self._wishes: deque[bool] = deque(maxlen=reaction_ticks + 1)
        self._trial: TrialView | None = None

    def attach(self, trial: TrialView) -> None:
        """Sit down; a script may sit in several environments, one at a time."""
        self._trial = trial
        if self.error_rate:
            trial.action_space.seed(int(self._rng.integers(2**31)))

    def begin(self, observation: Any, info: Mapping[str, Any]) -> None:
        """Start a trial with no wish pending."""
        self._wishes.clear()

    def poll(self, observation: Any, proposed_action: Any) -> Sequence[Request | Pace] | None:
        """Ask for control, or give it back, when the (delayed) wish differs from the phase."""
        wish = self.gate is None or bool(self.gate(observation, proposed_action))
        if self.reaction_ticks:
            wishes = self._wishes
            wishes.append(wish)
            wish = wishes[0] if len(wishes) == wishes.maxlen else False
        if wish and self.budget is not None and self.spent >= self.budget:
            wish = False
        assert self._trial is not None
        in_control = self._trial.phase is Phase.CORRECTING
        if wish is in_control:
            return None
        return _TAKE if wish else _RELEASE

    def act(self, observation: Any, proposed_action: Any) -> Any:
        """Return what this human does."""
        self.spent += 1
        if self.error_rate and self._rng.random() < self.error_rate:
            assert self._trial is not None
            return self._trial.action_space.sample()
        return self.policy(observation)

    def __repr__(self) -> str:
        return f"SimulatedHuman({getattr(self.policy, '__name__', self.policy)!r}, role={self.role!r})"


class SimulatedEvaluator(_QuietSeat):
    """A scripted evaluator.

    Args:
        opinion: ``opinion(tick) -> value`` in ``[-1, 1]``, or ``None`` to say nothing.
        confidence: Weight of its opinions, in ``[0, 1]``.
        name: Source name in records.
    """

    role = "evaluator"

    def __init__(
        self,
        opinion: Callable[[Tick], float | None],
        confidence: float = 1.0,
        *,
        name: str = "simulated evaluator",
    ) -> None:
        self.opinion = opinion
        self.confidence = confidence
        self.name = name
        self._given: list[Feedback] | None = None

    def watch(self, tick: Tick) -> None:
        """Form an opinion of the tick."""
        value = self.opinion(tick)
        if value is not None:
            self._given = [Feedback(self.name, float(value), self.confidence, tick.t_acted, tick.number)]

    def feedback(self) -> list[Feedback] | None:
        """Return the opinion of the last tick."""
        given, self._given = self._given, None
        return given


_TAKE = (Request.TAKE,)
_RELEASE = (Request.RELEASE,)
