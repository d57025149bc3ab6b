"""What must hold before a learner and a trial may work together."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from cogment_lab.errors import (
    ActionWrapperOutside,
    ConfigurationError,
    OnPolicyModeRequired,
    WrongBufferError,
)
from cogment_lab.store import TrialStore

__all__ = [
    "check_action_spaces",
    "check_algorithm",
    "check_n_steps",
    "check_proposed",
    "check_query",
    "check_replay_buffer",
]

_WRAP_INSIDE = (
    "Put the wrapper inside the trial: cogment_lab.make(lambda: RescaleAction(gym.make(env_id), -1, 1), ...) "
    "instead of RescaleAction(cogment_lab.make(env_id), -1, 1)"
)


def check_action_spaces(model_space: gym.Space[Any], trial_spaces: Sequence[gym.Space[Any]]) -> None:
    """Check that the learner and every trial mean the same by an action.

    Raises:
        ActionWrapperOutside: a wrapper between them changes the action space.
    """
    for space in trial_spaces:
        if space != model_space:
            raise ActionWrapperOutside(
                f"the model acts in {model_space}, the trial in {space}: a wrapper outside the trial "
                "changes actions, so a teacher's action would be stored in other units than the model's. "
                f"{_WRAP_INSIDE}"
            )


def check_proposed(proposed: Any, sent: Any) -> None:
    """Check that the trial received the action that the learner sent.

    Raises:
        ActionWrapperOutside: a wrapper between them changes actions.
    """
    same = proposed == sent if np.ndim(sent) == 0 else np.array_equal(proposed, sent)
    if same or np.allclose(proposed, sent, rtol=1e-5, atol=1e-6):
        return
    raise ActionWrapperOutside(
        f"the model sent the action {sent} and the trial received {proposed}: a wrapper outside the "
        f"trial changes actions, so what is stored would be wrong. {_WRAP_INSIDE}"
    )


def check_query(query: Iterable[str]) -> None:
    """Check that a store's query has arguments of these names.

    Raises:
        ConfigurationError: it has not.
    """
    known = [name for name in inspect.signature(TrialStore.query).parameters if name != "self"]
    unknown = [repr(name) for name in query if name not in known]
    if unknown:
        raise ConfigurationError(f"query= knows no {', '.join(unknown)}; choose among {', '.join(known)}")


def check_n_steps(model: BaseAlgorithm, buffer: ReplayBuffer) -> None:
    """Check that n-step returns, where the model is told to compute them, are computed as told.

    Raises:
        WrongBufferError: the buffer would silently give one-step returns, or discount otherwise.
    """
    if not isinstance(model, OffPolicyAlgorithm):
        return
    n_steps, gamma = int(getattr(model, "n_steps", 1)), model.gamma
    if isinstance(buffer, NStepReplayBuffer):
        if buffer.gamma == gamma and n_steps in (1, buffer.n_steps):
            return
        complaint = (
            f"{type(buffer).__name__} computes {buffer.n_steps}-step returns with gamma={buffer.gamma}, the "
            f"model is told n_steps={n_steps} and gamma={gamma}"
        )
        n_steps = buffer.n_steps if n_steps == 1 else n_steps
    elif n_steps > 1:
        complaint = f"n_steps={n_steps} has no effect with {type(buffer).__name__}"
    else:
        return
    raise WrongBufferError(
        f"{complaint}: Stable-Baselines3 passes both to its own buffer only. Leave out the model's n_steps "
        "and pass replay_buffer_class=TakeoverNStepReplayBuffer, "
        f'replay_buffer_kwargs={{"n_steps": {n_steps}, "gamma": {gamma}}}; or leave out replay_buffer_class '
        "and use TrialCallback"
    )


def check_replay_buffer(model: OffPolicyAlgorithm) -> ReplayBuffer:
    """Return the model's replay buffer, which can hold what it collects.

    Raises:
        WrongBufferError: it cannot; the message names the class that can.
    """
    buffer = model.replay_buffer
    if buffer is None:
        raise WrongBufferError("the model has no replay buffer")
    check_n_steps(model, buffer)
    return buffer


def check_algorithm(model: BaseAlgorithm, on_policy: str | None, *, has_teacher: bool) -> None:
    """Check that takeovers can be learned from by this algorithm, as told.

    Raises:
        OnPolicyModeRequired: PPO or A2C with a teacher, and no mode was named.
        ConfigurationError: an algorithm whose way of collecting data is not known here.
    """
    if isinstance(model, OffPolicyAlgorithm):
        if on_policy is not None:
            raise ConfigurationError(
                f"on_policy={on_policy!r} is for PPO and A2C; {type(model).__name__} learns off-policy and "
                "stores executed actions: leave it out"
            )
        return
    if not has_teacher:
        return
    name = type(model).__name__
    if (
        not isinstance(model, OnPolicyAlgorithm)
        or type(model).collect_rollouts is not OnPolicyAlgorithm.collect_rollouts
    ):
        raise ConfigurationError(
            f"{name} collects data in a way of its own, so takeovers would be learned from wrongly. Use an "
            "off-policy algorithm (DQN, SAC, TD3), PPO or A2C, or leave out the teacher"
        )
    if on_policy is None:
        raise OnPolicyModeRequired(
            f"{name} learns from its own policy's actions only, and this trial has a teacher. Name what "
            "should become of takeovers: TrialCallback(on_policy='mask') with "
            "rollout_buffer_class=MaskedRolloutBuffer (recommended: they train the value function only), "
            "'relabel' (their actions count as the policy's own; biased), or 'bc' (they are cloned between "
            "rollouts)"
        )
