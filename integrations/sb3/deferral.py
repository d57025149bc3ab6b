"""Gradient steps that wait until the trial in which a person helps has ended."""

from __future__ import annotations

from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

__all__ = ["DeferredTraining"]


class DeferredTraining:
    """Postpones an off-policy algorithm's gradient steps; none is lost.

    ``OffPolicyAlgorithm.learn`` reads ``model.gradient_steps`` after each rollout. While a trial with a
    takeover runs, it reads 0 there; at the first rollout after that trial, the usual number and all that are
    owed. In every call to ``env.step`` the attribute has the user's value again.

    Args:
        model: The algorithm.
    """

    def __init__(self, model: OffPolicyAlgorithm) -> None:
        self._model = model
        self._usual = model.gradient_steps
        self._helped: set[int] = set()
        self.owed = 0

    def hold(self, index: int) -> None:
        """Wait for the end of the trial in environment ``index``."""
        self._helped.add(index)

    def end_trial(self, index: int) -> None:
        """Note that the trial in environment ``index`` has ended."""
        self._helped.discard(index)

    def begin_rollout(self) -> None:
        """Give the model its own number back."""
        self._model.gradient_steps = self._usual

    def end_rollout(self, steps: int) -> None:
        """Decide how many gradient steps follow this rollout of ``steps`` steps (of one environment each)."""
        model = self._model
        # What learn() does next: nothing before learning_starts, one per step where gradient_steps is
        # negative.
        due = 0 if model.num_timesteps <= model.learning_starts else self._usual
        if due < 0:
            due = steps
        if self._helped:
            self.owed += due
            model.gradient_steps = 0
        elif self.owed and due:
            model.gradient_steps = due + self.owed
            self.owed = 0

    def end_training(self) -> None:
        """Do what is still owed, and give the model its own number back."""
        self.begin_rollout()
        if self.owed:
            self._model.train(batch_size=self._model.batch_size, gradient_steps=self.owed)
            self.owed = 0
