"""Putting the executed action where Stable-Baselines3 takes it from, and seeing that it got there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from cogment_lab.integrations.sb3.actions import ActionEncoder
from stable_baselines3.common.buffers import BaseBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from cogment_lab.errors import StoredActionMismatchError

__all__ = ["OffPolicyActions", "StoredActionCheck", "store_last_step"]


class StoredActionCheck:
    """Remembers what a buffer should hold after the step, and compares one step later.

    That a callback may still change the arrays that are stored next is how Stable-Baselines3 works, and not
    what it promises; were its order of calls to change, this raises instead of letting the buffer fill with
    wrong actions. Buffers without an ``actions`` array of their own are not looked into.

    Args:
        buffer: A replay buffer or a rollout buffer.
    """

    def __init__(self, buffer: BaseBuffer) -> None:
        self._buffer = buffer
        self._expected: list[tuple[int, int, npt.NDArray[Any]]] = []

    def expect(self, index: int, action: Any) -> None:
        """Expect the encoded ``action`` of environment ``index`` in the row that is written next."""
        if isinstance(getattr(self._buffer, "actions", None), np.ndarray):
            self._expected.append((self._buffer.pos, index, np.array(action)))

    def verify(self) -> None:
        """Compare what was expected with what is stored, once.

        Raises:
            StoredActionMismatchError: the buffer holds something else.
        """
        expected, self._expected = self._expected, []
        for row, index, action in expected:
            actions = self._buffer.actions  # type: ignore[attr-defined]
            stored = actions[row, index]
            if not np.array_equal(stored, action.reshape(-1).astype(actions.dtype)):
                raise StoredActionMismatchError(
                    f"row {row} of the {type(self._buffer).__name__} holds the action {stored} of "
                    f"environment {index}, but {action} was executed: another callback or buffer changed it, "
                    "or this version of Stable-Baselines3 stores transitions before it calls callbacks. Use "
                    "replay_buffer_class=TakeoverReplayBuffer, and report it"
                )


class OffPolicyActions:
    """Writes executed actions into the array that an off-policy algorithm stores after the callback.

    ``collect_rollouts`` calls ``callback.on_step()`` between ``env.step`` and ``_store_transition``, and
    passes the latter its local ``buffer_actions``: every buffer class gets what is written there.

    Args:
        model: The algorithm.
        buffer: Its replay buffer.
    """

    def __init__(self, model: OffPolicyAlgorithm, buffer: BaseBuffer) -> None:
        self._encoder = ActionEncoder(model.action_space, scaled=True)
        self.check = StoredActionCheck(buffer)

    def apply(self, step: Mapping[str, Any], executed: Mapping[int, Any]) -> None:
        """Write the ``executed`` actions, by environment, of this ``step`` (the algorithm's locals)."""
        buffer_actions = step["buffer_actions"]
        for index, action in executed.items():
            buffer_actions[index] = self._encoder.encode(action)
            self.check.expect(index, buffer_actions[index])

    def begin_rollout(self) -> None:
        """Do nothing: rows were checked one step later."""


def store_last_step(model: OffPolicyAlgorithm, step: Mapping[str, Any]) -> None:
    """Store the step after which a callback stops training; Stable-Baselines3 would forget it.

    A trial's last step often carries its reward, and ``learn(reset_num_timesteps=False)`` goes on from here.
    """
    model._update_info_buffer(step["infos"], step["dones"])
    model._store_transition(
        step["replay_buffer"],
        step["buffer_actions"],
        step["new_obs"],
        step["rewards"],
        step["dones"],
        step["infos"],
    )
