"""How much help was needed: the ``human/`` group of the training log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stable_baselines3.common.logger import Logger

__all__ = ["HelpStatistics"]


class _Trial:
    """What happened in the trial that one environment is running."""

    __slots__ = ("fallbacks", "helped", "last_tick", "reaction_ms", "reactions", "takeovers", "ticks")

    def __init__(self) -> None:
        self.ticks = 0
        self.helped = 0
        self.fallbacks = 0
        self.takeovers = 0
        self.last_tick = -2  # the last overridden one
        self.reaction_ms = 0.0
        self.reactions = 0


class HelpStatistics:
    """Counts takeovers and writes them to a logger at the end of each trial.

    Rates and durations are means over the trials since the logger's last dump; counts are totals since
    training began, so that human effort can be an axis. Only steps in which something happened cost anything.

    Args:
        n_envs: How many environments there are.
    """

    def __init__(self, n_envs: int) -> None:
        self._running = [_Trial() for _ in range(n_envs)]
        self.takeovers = 0
        self.switches = 0
        self.labelled_steps = 0
        self.feedback_count = 0
        self._trials_ended = False

    def count_override(self, index: int, info: Mapping[str, Any]) -> None:
        """Note that a step of environment ``index`` was overridden."""
        trial = self._running[index]
        tick = info.get("tick", trial.last_tick + 1)
        if tick != trial.last_tick + 1:
            if trial.helped:
                self.switches += 1  # the previous takeover was handed back before
            self.switches += 1
            self.takeovers += 1
            trial.takeovers += 1
        trial.last_tick = tick
        trial.helped += 1
        if info.get("is_fallback"):
            trial.fallbacks += 1
        else:
            self.labelled_steps += 1
        if "reaction_ms" in info:
            trial.reaction_ms += info["reaction_ms"]
            trial.reactions += 1

    def count_feedback(self, info: Mapping[str, Any]) -> None:
        """Note the feedback of one step."""
        self.feedback_count += len(info["feedback"])

    def end_trial(self, index: int, info: Mapping[str, Any], logger: Logger) -> None:
        """Note that the trial of environment ``index`` ended with this step, and record it."""
        trial = self._running[index]
        trial.ticks = info["tick"] + 1
        if trial.helped and trial.last_tick != info["tick"]:
            self.switches += 1
        self._record_trial(trial, logger)
        self._running[index] = _Trial()
        self._trials_ended = True
        self._record_totals(logger)

    def end_training(self, ticks: Mapping[int, int], logger: Logger) -> None:
        """Record what is not recorded yet.

        Args:
            ticks: Length, so far, of the trial of each environment. Where no trial ended, these are recorded.
            logger: The model's.
        """
        for index, count in ticks.items() if not self._trials_ended else ():
            trial = self._running[index]
            trial.ticks = count
            if count:
                self._record_trial(trial, logger)
        self._record_totals(logger)

    def _record_trial(self, trial: _Trial, logger: Logger) -> None:
        logger.record_mean("human/intervention_rate", trial.helped / trial.ticks)
        if not trial.helped:
            return
        logger.record_mean("human/takeover_length", trial.helped / trial.takeovers)
        logger.record_mean("human/fallback_rate", trial.fallbacks / trial.helped)
        if trial.reactions:
            logger.record_mean("human/reaction_ms", trial.reaction_ms / trial.reactions)

    def _record_totals(self, logger: Logger) -> None:
        logger.record("human/takeovers", self.takeovers)
        logger.record("human/switches", self.switches)
        logger.record("human/labelled_steps", self.labelled_steps)
        logger.record("human/feedback_count", self.feedback_count)
