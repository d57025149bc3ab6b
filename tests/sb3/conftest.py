"""What the tests of the Stable-Baselines3 integration share."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.envs import BitFlippingEnv

import cogment_lab
from cogment_lab.humans import SimulatedHuman


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def make() -> Iterator[Callable[..., Any]]:
    """Return ``cogment_lab.make`` without a store; what it made is closed after the test."""
    made = []

    def make_env(env_id: Any, teacher: Any = None, **kwargs: Any) -> Any:
        env = cogment_lab.make(env_id, teacher=teacher, store=None, **kwargs)
        made.append(env)
        return env

    yield make_env
    for env in made:
        env.close()


@pytest.fixture
def bits() -> Callable[[], gym.Env[Any, Any]]:
    """Return a maker of a small goal-conditioned environment: Dict observations, four discrete actions."""
    return functools.partial(BitFlippingEnv, n_bits=4, continuous=False, max_steps=4)


@pytest.fixture
def always_zero() -> SimulatedHuman:
    return SimulatedHuman(lambda observation: 0)


@pytest.fixture
def always_one_newton_metre() -> SimulatedHuman:
    """Pendulum's torque reaches from -2 to 2: half of it is 0.5 in [-1, 1]."""
    return SimulatedHuman(lambda observation: np.array([1.0], np.float32))


@pytest.fixture
def every_third_tick() -> SimulatedHuman:
    """Take over for one tick in three, with action 0."""
    ticks = iter(range(10**9))
    return SimulatedHuman(lambda observation: 0, gate=lambda observation, proposed: next(ticks) % 3 == 2)
