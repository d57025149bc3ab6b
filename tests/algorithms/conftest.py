"""Small data sets on which offline learning can be told from cloning within seconds."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

import cogment_lab


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def import_benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Import a script of ``benchmarks/`` by its name."""
    monkeypatch.syspath_prepend(str(Path(cogment_lab.__file__).parents[1] / "benchmarks"))
    return importlib.import_module


@pytest.fixture
def bandit() -> Callable[..., dict[str, Any]]:
    """Arrays of one-step trials: any action was tried, and 0.5 is the best; cloning gives 0."""

    def make(n: int = 2000, *, discrete: bool = False, seed: int = 0) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        observations = rng.uniform(-1.0, 1.0, (n, 2)).astype(np.float32)
        if discrete:
            actions = rng.choice(3, n, p=[0.6, 0.3, 0.1])
            rewards = np.array([0.0, 0.2, 1.0])[actions]
        else:
            actions = rng.uniform(-1.0, 1.0, (n, 1)).astype(np.float32)
            rewards = 1.0 - 4.0 * np.square(actions[:, 0] - 0.5)
        return {
            "observations": observations,
            "actions": actions,
            "next_observations": observations,
            "rewards": rewards,
            "terminated": np.ones(n, np.bool_),
        }

    return make


class Spaces:
    """What the arrays do not say."""

    observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)


class DiscreteSpaces(Spaces):
    action_space = spaces.Discrete(3)


@pytest.fixture
def box_spaces() -> Spaces:
    return Spaces()


@pytest.fixture
def discrete_spaces() -> DiscreteSpaces:
    return DiscreteSpaces()
