"""An environment in a process of its own: the same results, and its death is an error."""

import os
import signal
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from cogment_lab.integrations.gymnasium.process import ProcessEnv
from gymnasium.envs.classic_control import CartPoleEnv

import cogment_lab
from cogment_lab.errors import ConfigurationError, EnvironmentCrashedError


class Fragile(CartPoleEnv):
    """Raises at its third step."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def step(self, action: Any) -> Any:
        self.count += 1
        if self.count == 3:
            raise ZeroDivisionError("the pole is gone")
        return super().step(action)


def test_it_steps_like_the_environment_inside() -> None:
    bare = gym.make("CartPole-v1")
    env = cogment_lab.make("CartPole-v1", process=True, store=None)
    try:
        for _ in range(3):
            expected, observed = bare.reset(seed=3), env.reset(seed=3)
            np.testing.assert_array_equal(expected[0], observed[0])
            for action in (0, 1, 1, 0):
                ours, theirs = env.step(action), bare.step(action)
                np.testing.assert_array_equal(ours[0], theirs[0])
                assert ours[1:4] == theirs[1:4]
        assert env.observation_space == bare.observation_space
        assert env.trial.env.pid not in (None, os.getpid())
    finally:
        env.close()


def test_its_exception_ends_the_trial_and_is_shown() -> None:
    env = ProcessEnv(Fragile)
    try:
        env.reset()
        env.step(0)
        env.step(0)
        with pytest.raises(EnvironmentCrashedError, match="the pole is gone"):
            env.step(0)
    finally:
        env.close()


def test_its_death_is_an_error_at_once() -> None:
    env = cogment_lab.make("CartPole-v1", process=True, store=None)
    env.reset(seed=1)
    os.kill(env.trial.env.pid, signal.SIGKILL)
    with pytest.raises(EnvironmentCrashedError, match="gone"):
        env.step(0)
    env.close()


def test_closing_ends_the_child() -> None:
    env = ProcessEnv(CartPoleEnv)
    pid = env.pid
    assert pid is not None
    env.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_what_cannot_be_sent_to_a_process_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="importable module"):
        ProcessEnv(lambda: gym.make("CartPole-v1"))
    with pytest.raises(ConfigurationError, match="could not be made"):
        ProcessEnv(Broken)


class Broken(CartPoleEnv):
    """Cannot be made."""

    def __init__(self) -> None:
        raise OSError("no display")
