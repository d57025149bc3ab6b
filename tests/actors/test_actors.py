"""Actors that can be served: what they answer, and that a trial can be played with them."""

import asyncio
import collections
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from cogment_lab import Cogment
from cogment_lab.actors import ConstantActor, RandomActor, SB3Actor
from cogment_lab.actors.nn_actor import BoltzmannActor, NNActor
from cogment_lab.envs import GymEnvironment
from cogment_lab.errors import ConfigurationError


class Fixed(nn.Module):
    """Values the actions the same, whatever it sees; notes what it sees."""

    def __init__(self, values: list[float], shape: Any = torch.Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.tensor(values))
        self.shape = shape
        self.seen: list[torch.Tensor] = []

    def forward(self, observation: torch.Tensor) -> Any:
        self.seen.append(observation)
        return self.shape(self.values)


def answers(actor: Any, observation: Any, times: int = 1) -> list[Any]:
    async def ask() -> list[Any]:
        return [await actor.act(observation) for _ in range(times)]

    return asyncio.run(ask())


@pytest.mark.parametrize(
    "shape",
    [lambda v: v, lambda v: v[None], lambda v: [v], lambda v: (v, None)],
    ids=["n", "1n", "list", "tuple"],
)
def test_a_network_acts_by_its_largest_value(shape: Any) -> None:
    network = Fixed([0.1, 0.7, 0.2], shape)
    assert answers(NNActor(network), np.arange(4, dtype=np.float64)) == [1]
    assert network.seen[0].dtype == torch.float32
    assert network.seen[0].tolist() == [0, 1, 2, 3]


def test_epsilon_is_the_share_of_random_actions() -> None:
    actor = NNActor(Fixed([0.0, 1.0]))
    actor.rng = np.random.default_rng(3)
    actor.set_eps(0.5)
    counts = collections.Counter(answers(actor, np.zeros(4), 400))
    assert 60 < counts[0] < 140  # half of the half
    actor.set_eps(0.0)
    assert set(answers(actor, np.zeros(4), 50)) == {1}


def test_boltzmann_samples_by_the_softmax_of_the_values() -> None:
    torch.manual_seed(5)
    actor = BoltzmannActor(Fixed([0.0, float(np.log(3.0))]))
    counts = collections.Counter(answers(actor, np.zeros(4), 400))
    assert 240 < counts[1] < 360  # three quarters
    actor.set_temperature(1e-3)
    assert set(answers(actor, np.zeros(4), 50)) == {1}
    assert actor.args[-1] == 1.0  # what another process makes it from


def test_a_random_actor_keeps_to_the_mask() -> None:
    actor = RandomActor(gym.spaces.Discrete(5, seed=1))
    mask = np.array([0, 1, 0, 1, 0], np.int8)
    assert set(answers(actor, {"observation": None, "action_mask": mask}, 50)) == {1, 3}
    assert set(answers(actor, np.zeros(2), 200)) == set(range(5))


def test_a_constant_actor_gives_lists_as_arrays() -> None:
    (action,) = answers(ConstantActor([0.5, -1.0]), None)
    assert action.tolist() == [0.5, -1.0]
    assert answers(ConstantActor({"active": 1, "action": 0}), None) == [{"active": 1, "action": 0}]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PPO model for CartPole, in a file."""
    path = tmp_path_factory.mktemp("models") / "ppo.zip"
    PPO("MlpPolicy", "CartPole-v1", seed=1, device="cpu").save(path)
    return path


def test_a_saved_model_does_what_it_predicts(saved: Path) -> None:
    model = PPO.load(saved, device="cpu")
    actor = SB3Actor(saved)
    for observation in np.random.default_rng(2).normal(size=(20, 4)).astype(np.float32):
        assert answers(actor, observation) == [model.predict(observation, deterministic=True)[0]]
    either = SB3Actor(str(saved).removesuffix(".zip"), deterministic=False)
    assert set(map(int, answers(either, np.zeros(4, np.float32), 60))) == {0, 1}


def test_the_algorithm_is_named(tmp_path: Path, saved: Path) -> None:
    path = tmp_path / "dqn.zip"
    DQN("MlpPolicy", "CartPole-v1", buffer_size=10, device="cpu").save(path)
    assert isinstance(SB3Actor(path, "DQN").model, DQN)
    with pytest.raises(ConfigurationError, match="'DQM' is no algorithm"):
        SB3Actor(path, "DQM")
    with pytest.raises(ConfigurationError, match=r"cannot be loaded as PPO .*'use_sde'"):
        SB3Actor(path, "PPO")
    with pytest.raises(ConfigurationError, match=r"no model file '.*nothing\.zip'"):
        SB3Actor(tmp_path / "nothing.zip")


@pytest.mark.parametrize(
    "algorithm",
    [A2C, DDPG, DQN, PPO, SAC, TD3, ARS, CrossQ, MaskablePPO, QRDQN, RecurrentPPO, TQC, TRPO],
)
def test_the_algorithm_is_found_in_the_file(algorithm: Any, tmp_path: Path) -> None:
    policy = {ARS: "LinearPolicy", RecurrentPPO: "MlpLstmPolicy"}.get(algorithm, "MlpPolicy")
    env = "Pendulum-v1" if algorithm in (DDPG, SAC, TD3, CrossQ, TQC) else "CartPole-v1"
    size = {"buffer_size": 10} if issubclass(algorithm, OffPolicyAlgorithm) else {}
    model = algorithm(policy, env, device="cpu", seed=1, **size)
    model.save(tmp_path / "model")
    actor = SB3Actor(tmp_path / "model")
    assert type(actor.model) is (TD3 if algorithm is DDPG else algorithm)
    seen = model.observation_space.sample()
    np.testing.assert_array_equal(answers(actor, seen)[0], model.predict(seen, deterministic=True)[0])


class OwnPolicy(ActorCriticPolicy):
    """As a user may write one."""


def test_a_file_that_does_not_say_its_algorithm_has_it_named(tmp_path: Path) -> None:
    PPO(OwnPolicy, "CartPole-v1", device="cpu").save(tmp_path / "own")
    with pytest.raises(ConfigurationError, match="name it"):
        SB3Actor(tmp_path / "own")
    assert isinstance(SB3Actor(tmp_path / "own", "PPO").model, PPO)
    (tmp_path / "broken.zip").write_bytes(b"PK no zip")
    with pytest.raises(ConfigurationError, match="no file of a Stable-Baselines3 model"):
        SB3Actor(tmp_path / "broken.zip")


def test_trials_are_played_by_networks_and_models(saved: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(250), Cogment(orchestrator_port=0) as cog:
            await cog.run_env(GymEnvironment("CartPole-v1"), "cartpole", port=None)
            await cog.run_actor(SB3Actor(saved), "ppo", port=None)
            cog.run_local_actor(NNActor(nn.Linear(4, 2)), "network", port=None)
            model = PPO.load(saved, device="cpu")
            data = (await cog.get_trial_data(await cog.start_trial("cartpole", "ppo")))["gym"]
            expected, _ = model.predict(data.observations, deterministic=True)
            np.testing.assert_array_equal(data.actions, expected)
            data = (await cog.get_trial_data(await cog.start_trial("cartpole", "network")))["gym"]
            values = cog.actors["network"].network(torch.as_tensor(data.observations))
            np.testing.assert_array_equal(data.actions, values.argmax(-1).numpy())

    asyncio.run(main())
