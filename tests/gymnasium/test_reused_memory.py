"""Environments that write each observation into the same array are recorded as what they were."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import cogment_lab

BOX = gym.spaces.Box(-100, 100, (2,), np.float32)


class Reusing(gym.Env[Any, Any]):
    """Counts; what it returns is the same memory each time."""

    action_space = gym.spaces.Discrete(2)

    def __init__(self, how: str) -> None:
        self._how = how
        self._memory = np.zeros(2, np.float32)
        self._dict = {"a": {"b": self._memory}, "c": 1}
        is_dict = how in ("dict", "array in a dict")
        inner = gym.spaces.Dict(a=gym.spaces.Dict(b=BOX), c=gym.spaces.Discrete(3))
        self.observation_space: Any = inner if is_dict else BOX

    def _observation(self) -> Any:
        if self._how == "view":
            return self._memory[:]
        if self._how == "dict":
            return self._dict
        if self._how == "array in a dict":
            return {"a": {"b": self._memory}, "c": 1}
        return self._memory

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._memory[:] = 0
        is_fresh = self._how == "array after the reset"
        return self._memory.copy() if is_fresh else self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._memory += 1
        return self._observation(), 0.0, bool(self._memory[0] == 6), False, {}


@pytest.mark.parametrize("how", ["array", "array after the reset", "view", "dict", "array in a dict"])
def test_what_was_observed_is_recorded(how: str) -> None:
    store = cogment_lab.TrialStore(":memory:")
    env = cogment_lab.make(Reusing(how), store=store, record="full")
    for _ in range(2):
        env.reset(seed=1)
        while not env.step(0)[2]:
            pass
    env.close()
    for info in store.trials():
        data = store.load(info.trial_id)["gym"]
        observations, last = data.observations, data.last_observation
        if how in ("dict", "array in a dict"):
            observations, last = observations["a"]["b"], last["a"]["b"]
        assert observations[:, 0].tolist() == [0, 1, 2, 3, 4, 5] and last[0] == 6


def test_what_the_learner_gets_is_the_environments_own() -> None:
    inner = Reusing("array")
    env = cogment_lab.make(inner, store=None)
    assert env.reset(seed=1)[0] is inner._memory and env.step(0)[0] is inner._memory
