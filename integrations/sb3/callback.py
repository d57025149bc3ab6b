"""``TrialCallback``: the one line that makes a Stable-Baselines3 learner profit from people."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from cogment_lab.integrations.sb3.actions import overriding_action
from cogment_lab.integrations.sb3.checks import (
    check_action_spaces,
    check_algorithm,
    check_proposed,
    check_replay_buffer,
)
from cogment_lab.integrations.sb3.confidence import share_confidence
from cogment_lab.integrations.sb3.deferral import DeferredTraining
from cogment_lab.integrations.sb3.on_policy import CloneTakeovers, MaskTakeovers, RelabelTakeovers
from cogment_lab.integrations.sb3.statistics import HelpStatistics
from cogment_lab.integrations.sb3.stored_actions import OffPolicyActions, store_last_step
from cogment_lab.integrations.sb3.trial_envs import acknowledge
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from cogment_lab.errors import ConfigurationError

__all__ = ["TrialCallback"]

_LOG = logging.getLogger("cogment_lab.sb3")
_MODES = (None, "relabel", "mask", "bc")
_REPORT_SECONDS = 0.5

_Treatment: TypeAlias = OffPolicyActions | RelabelTakeovers | MaskTakeovers | CloneTakeovers


class TrialCallback(BaseCallback):
    """Makes a model learn from what was really executed, and logs how much help was needed.

    For off-policy algorithms (DQN, SAC, TD3...) nothing else is needed, whatever the replay buffer. PPO and
    A2C with a teacher need ``on_policy``. It also obeys the page: *stop* ends training after the trial,
    *save* saves the model; and it writes the group ``human/`` to the model's logger.

    Args:
        on_policy: What PPO and A2C make of a takeover. ``"mask"`` (recommended; needs
            ``MaskedRolloutBuffer``): it trains the value function only. ``"relabel"``: its actions count as
            the policy's own, which is biased. ``"bc"``: masked, and cloned between rollouts.
        defer_training: ``"while_correcting"`` postpones an off-policy algorithm's gradient steps to the end
            of a trial in which somebody helped, so that the controls do not stall under their hands. None is
            lost.
        save_path: Where *save* on the page writes the model (``.zip``); by default
            ``runs/<algorithm>_<steps>_steps.zip``.
        log_prob_floor: For ``"relabel"``: least log-probability that is stored.
        kl_warning: For ``"relabel"``: ``train/approx_kl`` above which to warn.
        bc_steps: For ``"bc"``: gradient steps before each rollout.
        bc_batch_size: For ``"bc"``: takeover steps per gradient step.
        bc_learning_rate: For ``"bc"``: of cloning's own Adam optimiser.
        bc_memory: For ``"bc"``: how many takeover steps are kept, the newest.
        verbose: As in Stable-Baselines3.

    Raises:
        ConfigurationError: an unknown mode.

    When training starts it raises ``ActionWrapperOutside``, ``OnPolicyModeRequired`` or ``WrongBufferError``
    where something else than what happens would be learned; see :mod:`cogment_lab.errors`.

    Example:
        >>> import cogment_lab
        >>> from cogment_lab.integrations.sb3 import TrialCallback
        >>> from stable_baselines3 import DQN
        >>> env = cogment_lab.make("CartPole-v1", teacher=lambda observation: 0, store=None)
        >>> model = DQN("MlpPolicy", env, learning_starts=10).learn(20, callback=TrialCallback())
        >>> model.replay_buffer.actions[:20].max().item()
        0
    """

    def __init__(
        self,
        *,
        on_policy: Literal["relabel", "mask", "bc"] | None = None,
        defer_training: Literal["while_correcting"] | None = None,
        save_path: str | None = None,
        log_prob_floor: float = -20.0,
        kl_warning: float = 0.2,
        bc_steps: int = 10,
        bc_batch_size: int = 64,
        bc_learning_rate: float = 1e-3,
        bc_memory: int = 10_000,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        if on_policy not in _MODES:
            raise ConfigurationError(f"on_policy={on_policy!r} is unknown; choose 'relabel', 'mask' or 'bc'")
        if defer_training not in (None, "while_correcting"):
            raise ConfigurationError(
                f"defer_training={defer_training!r} is unknown; choose 'while_correcting' or None"
            )
        self.on_policy = on_policy
        self.defer_training = defer_training
        self.save_path = save_path
        self.log_prob_floor = log_prob_floor
        self.kl_warning = kl_warning
        self.bc_steps = bc_steps
        self.bc_batch_size = bc_batch_size
        self.bc_learning_rate = bc_learning_rate
        self.bc_memory = bc_memory
        self._trials: list[int] = []
        self._mute: list[int] = []
        self._treatment: _Treatment | None = None
        self._deferral: DeferredTraining | None = None
        self._needs_attention = False
        self._first_step = False
        self._next_report = float("inf")

    # --- when training starts ---

    def _on_training_start(self) -> None:
        vec_env = self.training_env
        self._trials = trials = acknowledge(vec_env, type(self).__name__)
        has_teacher = bool(trials) and any(vec_env.get_attr("has_teacher", trials))
        if trials:
            check_action_spaces(self.model.action_space, vec_env.get_attr("trial_action_space", trials))
        kept = vec_env.get_attr("keeps_requests", trials) if trials else ()
        self._mute = [index for index, keeps in zip(trials, kept, strict=True) if keeps]
        for index in self._mute:
            self._take_requests(index)  # what was asked before is over
        check_algorithm(self.model, self.on_policy, has_teacher=has_teacher)
        self._treatment = self._choose_treatment(has_teacher)
        self._deferral = self._choose_deferral()
        share_confidence(self.model, vec_env, trials)
        self._statistics = HelpStatistics(vec_env.num_envs)
        self._first_step = self._needs_attention = bool(trials)
        self._stop_with: set[int] = set()
        self._save_with: set[int] = set()
        self._rollout_began = self.num_timesteps
        self._reported = self.num_timesteps, time.monotonic()
        self._next_report = time.monotonic() + _REPORT_SECONDS if trials else float("inf")

    def _choose_treatment(self, has_teacher: bool) -> _Treatment | None:
        model: Any = self.model
        if isinstance(model, OffPolicyAlgorithm):
            return OffPolicyActions(model, check_replay_buffer(model))
        if not has_teacher:
            return None
        if self.on_policy == "mask":
            return MaskTakeovers(model)
        if self.on_policy == "bc":
            return CloneTakeovers(
                model,
                steps=self.bc_steps,
                batch_size=self.bc_batch_size,
                learning_rate=self.bc_learning_rate,
                memory=self.bc_memory,
            )
        return RelabelTakeovers(model, floor=self.log_prob_floor, kl_warning=self.kl_warning)

    def _choose_deferral(self) -> DeferredTraining | None:
        if self.defer_training is None:
            return None
        if not isinstance(self.model, OffPolicyAlgorithm):
            raise ConfigurationError(
                f"defer_training postpones gradient steps of off-policy algorithms, and "
                f"{type(self.model).__name__} updates between rollouts: leave it out"
            )
        return DeferredTraining(self.model)

    # --- in every step ---

    def _on_step(self) -> bool:
        if self._needs_attention:
            self._attend()
        for info in self.locals["infos"]:
            if (
                info.get("is_intervention")
                or "terminal_observation" in info
                or "intervene_action" in info
                or "feedback" in info
                or "requests" in info
            ):
                return self._on_eventful_step(self.locals["infos"])
        if time.monotonic() > self._next_report:
            self._report()
        return True

    def _attend(self) -> None:
        """Check, one step later, what the buffer holds; and once, what the trials received."""
        self._needs_attention = False
        self._verify()
        if self._first_step:
            self._first_step = False
            for index in self._trials:
                self._check_proposed(index)

    def _verify(self) -> None:
        check = self._treatment.check if self._treatment is not None else None
        if check is not None:
            check.verify()

    def _check_proposed(self, index: int) -> None:
        step = self.locals
        sent = step["clipped_actions"] if "clipped_actions" in step else step["actions"]
        info = step["infos"][index]
        if "proposed_action" in info:
            check_proposed(info["proposed_action"], sent[index])

    def _on_eventful_step(self, infos: list[dict[str, Any]]) -> bool:
        """Handle a step with a takeover, feedback, a request or a trial's end; return whether to go on."""
        executed: dict[int, Any] = {}
        for index, info in enumerate(infos):
            action = overriding_action(info)
            if action is not None:
                executed[index] = action
                if self._deferral is not None:
                    self._deferral.hold(index)
                if "tick" in info:
                    self._statistics.count_override(index, info)
            if "feedback" in info:
                self._statistics.count_feedback(info)
            if "requests" in info:
                self._note_requests(index, info["requests"])
        if executed and self._treatment is not None:
            for index in executed:
                self._check_proposed(index)
            self._treatment.apply(self.locals, executed)
            self._needs_attention = True
        goes_on = True
        for index, info in enumerate(infos):
            if "terminal_observation" in info:
                goes_on = self._end_trial(index, info) and goes_on
        if not goes_on and isinstance(self.model, OffPolicyAlgorithm):
            store_last_step(self.model, self.locals)
        if time.monotonic() > self._next_report:
            self._report()
        return goes_on

    def _take_requests(self, index: int) -> Sequence[str]:
        """Return what was asked for in a trial whose infos have a fixed structure."""
        (requests,) = self.training_env.env_method("take_requests", indices=[index])
        return cast("Sequence[str]", requests)

    def _note_requests(self, index: int, requests: Iterable[str]) -> None:
        """Keep what was asked for until the trial ends."""
        for request in requests:
            if request == "stop":
                self._stop_with.add(index)
            elif request == "save":
                self._save_with.add(index)

    def _end_trial(self, index: int, info: dict[str, Any]) -> bool:
        """Do what waited for the end of this trial; return whether to go on."""
        if "tick" in info:
            self._statistics.end_trial(index, info, self.logger)
        if self._deferral is not None:
            self._deferral.end_trial(index)
        if index in self._mute:
            self._note_requests(index, self._take_requests(index))
        if index in self._save_with:
            self._save_with.discard(index)
            self._save()
        if index in self._stop_with:
            self._stop_with.discard(index)
            _LOG.info("training stops after %d steps: somebody in the trial asked for it", self.num_timesteps)
            return False
        return True

    def _save(self) -> None:
        name = f"{type(self.model).__name__.lower()}_{self.num_timesteps}_steps.zip"
        path = Path(self.save_path) if self.save_path is not None else Path("runs") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.model.save(path)
        _LOG.info("the model is saved as %s: somebody in the trial asked for it", path)
        self.training_env.env_method(
            "tell_seats", {**self._progress(), "saved": str(path)}, indices=self._trials
        )

    def _report(self) -> None:
        """Tell those who watch how far training is."""
        self._next_report = time.monotonic() + _REPORT_SECONDS
        self.training_env.env_method("tell_seats", self._progress(), indices=self._trials)

    def _progress(self) -> dict[str, Any]:
        steps, now = self.num_timesteps, time.monotonic()
        past_steps, past = self._reported
        self._reported = steps, now
        return {
            "algorithm": type(self.model).__name__,
            "steps": steps,
            "total_steps": self.model._total_timesteps,
            "steps_per_s": round((steps - past_steps) / max(now - past, 1e-9), 1),
            "labelled_steps": self._statistics.labelled_steps,
        }

    # --- between rollouts, and at the end ---

    def _on_rollout_start(self) -> None:
        self._rollout_began = self.model.num_timesteps
        if self._deferral is not None:
            self._deferral.begin_rollout()
        if self._treatment is not None:
            self._treatment.begin_rollout()

    def _on_rollout_end(self) -> None:
        if self._deferral is not None:
            self._deferral.end_rollout(self.model.num_timesteps - self._rollout_began)
        if self._treatment is not None and not isinstance(self._treatment, OffPolicyActions):
            self._verify()  # before the algorithm rearranges the rollout
            self._treatment.end_rollout()

    def _on_training_end(self) -> None:
        self._verify()
        if self._deferral is not None:
            self._deferral.end_training()
        if not self._trials:
            return
        infos, dones = self.locals.get("infos", ()), self.locals.get("dones", ())
        unfinished = {
            index: 0 if dones[index] else infos[index]["tick"] + 1 for index in self._trials if len(infos)
        }
        self._statistics.end_training(unfinished, self.logger)
        self.logger.dump(self.num_timesteps)
