"""What PPO and A2C make of a takeover: relabel it, mask it, or clone it."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch as th
from cogment_lab.integrations.sb3.actions import ActionEncoder
from cogment_lab.integrations.sb3.rollout_buffers import (
    MaskedRolloutBuffer,
    masks_takeovers,
    neutral_advantage,
)
from cogment_lab.integrations.sb3.stored_actions import StoredActionCheck
from gymnasium import spaces
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from cogment_lab.errors import WrongBufferError

__all__ = ["CloneTakeovers", "MaskTakeovers", "RelabelTakeovers"]


def _encoder(model: OnPolicyAlgorithm) -> ActionEncoder:
    """Return an encoder for what the policy samples: in [-1, 1] where it squashes its output."""
    return ActionEncoder(model.action_space, scaled=model.policy.squash_output)


class RelabelTakeovers:
    """The executed action counts as the policy's own, with the log-probability the policy gives it.

    Values do not depend on the action and stay. Biased where the policy would never do what the teacher did,
    so log-probabilities have a floor. Rather advantage-weighted imitation than policy gradient.

    Args:
        model: PPO, A2C or the like.
        floor: Least log-probability that is stored.
        kl_warning: ``train/approx_kl`` above which to warn, once.
    """

    def __init__(self, model: OnPolicyAlgorithm, *, floor: float, kl_warning: float) -> None:
        self._model = model
        self._floor = floor
        self._kl_warning = kl_warning
        self._warned = False
        self._relabelled = False
        self._encoder = _encoder(model)
        self.check = StoredActionCheck(model.rollout_buffer)

    def apply(self, step: Mapping[str, Any], executed: Mapping[int, Any]) -> None:
        """Write actions and log-probabilities into the arrays that are stored after the callback."""
        actions, log_probs = step["actions"], step["log_probs"]
        indices = list(executed)
        for index in indices:
            actions[index] = self._encoder.encode(executed[index])
            self.check.expect(index, actions[index])
        policy = self._model.policy
        as_tensor = th.as_tensor(actions, device=self._model.device)
        with th.no_grad():
            _, evaluated, _ = policy.evaluate_actions(step["obs_tensor"], as_tensor)
        log_probs[indices] = evaluated.reshape(log_probs.shape)[indices].clamp(min=self._floor)
        self._relabelled = True

    def begin_rollout(self) -> None:
        """Warn when the previous update moved the policy far."""
        kl = self._model.logger.name_to_value.get("train/approx_kl", 0.0)
        if self._relabelled and not self._warned and kl > self._kl_warning:
            self._warned = True
            warnings.warn(
                f"train/approx_kl is {kl:.3f} after a rollout with relabelled takeovers (warned above "
                f"{self._kl_warning}): the teacher does what the policy would hardly do, and the update is "
                "biased. Prefer TrialCallback(on_policy='mask') with MaskedRolloutBuffer",
                RuntimeWarning,
                stacklevel=2,
            )
        self._relabelled = False

    def end_rollout(self) -> None:
        """Do nothing."""


class MaskTakeovers:
    """Overridden steps train the value function only; the buffer does it, and is told here which they are.

    Args:
        model: PPO, A2C or the like, with one of our rollout buffers.

    Raises:
        WrongBufferError: another rollout buffer.
    """

    check: StoredActionCheck | None = None

    def __init__(self, model: OnPolicyAlgorithm) -> None:
        buffer: Any = model.rollout_buffer
        if not masks_takeovers(buffer):
            is_dict = isinstance(model.observation_space, spaces.Dict)
            better = "MaskedDictRolloutBuffer" if is_dict else "MaskedRolloutBuffer"
            raise WrongBufferError(
                f"on_policy='mask' needs {type(model).__name__}(..., rollout_buffer_class={better}), and the "
                f"model has a {type(buffer).__name__}"
            )
        self._buffer: MaskedRolloutBuffer = buffer
        self._buffer.normalised = _normalises_advantages(model)

    def apply(self, step: Mapping[str, Any], executed: Mapping[int, Any]) -> None:
        """Mark the rows that are stored next."""
        for index in executed:
            self._buffer.mark_intervention(index)

    def begin_rollout(self) -> None:
        """Do nothing."""

    def end_rollout(self) -> None:
        """Do nothing."""


class CloneTakeovers:
    """Between rollouts the policy clones what teachers did; in the rollout their steps are masked.

    With one of our rollout buffers masking is exact; with any other the advantages of overridden steps are
    set, once the rollout is complete, to the mean of the others over the whole rollout.

    Args:
        model: PPO, A2C or the like.
        steps: Gradient steps before each rollout.
        batch_size: Takeover steps per gradient step.
        learning_rate: Of an Adam optimiser that only cloning uses.
        memory: How many takeover steps are kept, the newest.
    """

    check: StoredActionCheck | None = None

    def __init__(
        self, model: OnPolicyAlgorithm, *, steps: int, batch_size: int, learning_rate: float, memory: int
    ) -> None:
        self._model = model
        self._steps = steps
        self._batch_size = batch_size
        self._encoder = _encoder(model)
        self._optimizer = th.optim.Adam(model.policy.parameters(), lr=learning_rate)
        self._rng = np.random.default_rng(model.seed)
        self._labelled: deque[tuple[Any, th.Tensor]] = deque(maxlen=memory)
        self._mask = MaskTakeovers(model) if masks_takeovers(model.rollout_buffer) else None
        self._rows: list[tuple[int, int]] = []

    def apply(self, step: Mapping[str, Any], executed: Mapping[int, Any]) -> None:
        """Keep observation and executed action of the overridden steps in which a teacher acted."""
        observations = step["obs_tensor"]
        dtype = th.as_tensor(step["actions"]).dtype
        for index, action in executed.items():
            self._rows.append((self._model.rollout_buffer.pos, index))
            if "is_fallback" in step["infos"][index]:  # nobody showed anything
                continue
            kept = (
                {key: part[index].clone() for key, part in observations.items()}
                if isinstance(observations, dict)
                else observations[index].clone()
            )
            label = th.as_tensor(self._encoder.encode(action), device=self._model.device).to(dtype)
            self._labelled.append((kept, label))
        if self._mask is not None:
            self._mask.apply(step, executed)

    def begin_rollout(self) -> None:
        """Clone."""
        if not self._labelled:
            return
        policy = self._model.policy
        policy.set_training_mode(True)
        losses = []
        for _ in range(self._steps):
            chosen = self._rng.integers(len(self._labelled), size=min(self._batch_size, len(self._labelled)))
            observations, actions = zip(*(self._labelled[index] for index in chosen), strict=True)
            batch = (
                {key: th.stack([each[key] for each in observations]) for key in observations[0]}
                if isinstance(observations[0], dict)
                else th.stack(observations)
            )
            _, log_prob, _ = policy.evaluate_actions(batch, th.stack(actions))
            loss = -log_prob.mean()
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            th.nn.utils.clip_grad_norm_(policy.parameters(), self._model.max_grad_norm)
            self._optimizer.step()
            losses.append(loss.item())
        policy.set_training_mode(False)  # a rollout follows
        self._model.logger.record("human/bc_loss", float(np.mean(losses)))

    def end_rollout(self) -> None:
        """Mask in a buffer that does not do so itself."""
        rows, self._rows = self._rows, []
        if self._mask is not None or not rows:
            return
        buffer = self._model.rollout_buffer
        flags = np.zeros(buffer.advantages.shape, np.bool_)
        flags[tuple(zip(*rows, strict=True))] = True
        buffer.advantages[flags] = neutral_advantage(
            buffer.advantages[~flags], normalised=_normalises_advantages(self._model)
        )


def _normalises_advantages(model: OnPolicyAlgorithm) -> bool:
    return bool(getattr(model, "normalize_advantage", False))
