"""Batches of the learner's own and of stored steps, while the store grows."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from cogment_lab.integrations.sb3 import MixedReplayBuffer, TrialCallback, linear_schedule
from stable_baselines3 import DQN, SAC

import cogment_lab
from cogment_lab.errors import ConfigurationError, WrongBufferError
from cogment_lab.humans.scripted import scripted_policy

PENDULUM = scripted_policy("Pendulum-v1")


def demonstrate(trials: int = 1, seed: int = 1, path: str = "demos.db") -> None:
    cogment_lab.run("Pendulum-v1", PENDULUM, trials, seed=seed, store=path, max_episode_steps=30)


def make_buffer(**options: Any) -> MixedReplayBuffer:
    env = gym.make("Pendulum-v1")
    return MixedReplayBuffer(
        100, env.observation_space, env.action_space, "cpu", **{"store": "demos.db", **options}
    )


def add(buffer: MixedReplayBuffer, steps: int) -> None:
    for _ in range(steps):
        observation = np.full((1, 3), 7, np.float32)
        buffer.add(observation, observation, np.zeros((1, 1)), np.array([7.0]), np.zeros(1), [{}])


def test_a_batch_holds_the_share_asked_for() -> None:
    demonstrate()
    buffer = make_buffer(ratio=0.25)
    assert buffer.stored.size() == 30
    assert len(buffer.sample(8).rewards) == 8  # nothing of its own yet: all are stored
    add(buffer, 10)
    batch = buffer.sample(64)
    assert batch.observations.shape == (64, 3)
    assert int((batch.rewards != 7).sum()) == 16


def test_the_share_follows_a_schedule() -> None:
    demonstrate()
    buffer = make_buffer(ratio=linear_schedule(1.0, 0.0, 20))
    assert buffer.stored_share() == 1.0
    add(buffer, 10)
    assert buffer.stored_share() == 0.5
    add(buffer, 20)
    assert buffer.stored_share() == 0.0 and int((buffer.sample(32).rewards == 7).sum()) == 32


def test_a_learner_picks_up_trials_that_end_meanwhile() -> None:
    env = cogment_lab.make("Pendulum-v1", store=None)
    model = SAC(
        "MlpPolicy", env, learning_starts=20, train_freq=10, batch_size=16, buffer_size=200, device="cpu",
        replay_buffer_class=MixedReplayBuffer, policy_kwargs={"net_arch": [8]},
        replay_buffer_kwargs={"store": "demos.db", "refresh_every": 10},
    )  # fmt: skip
    buffer: Any = model.replay_buffer
    sizes = []

    class Elsewhere(TrialCallback):
        def _on_step(self) -> bool:
            sizes.append(buffer.stored.size())
            if self.num_timesteps == 15:
                demonstrate(2)
            return super()._on_step()

    model.learn(60, callback=Elsewhere())
    assert sizes[14] == 0 and sizes[-1] == 60
    model.save_replay_buffer("buffer.pkl")
    model.load_replay_buffer("buffer.pkl")
    again: Any = model.replay_buffer
    assert again.stored.size() == 60 and again.refresh() == 0


def test_only_takeovers_can_be_mixed_in() -> None:
    demonstrate()
    assert make_buffer(query={"only": "interventions"}).stored.size() == 0
    assert make_buffer(query={"only": "autonomous"}).stored.size() == 30


def test_what_cannot_be_mixed_says_why() -> None:
    with pytest.raises(ConfigurationError, match="needs the store"):
        make_buffer(store=None)
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        make_buffer(ratio=1.5)
    demonstrate()
    with pytest.raises(WrongBufferError, match="another environment"):
        DQN(
            "MlpPolicy", gym.make("CartPole-v1"), replay_buffer_class=MixedReplayBuffer, device="cpu",
            buffer_size=50, replay_buffer_kwargs={"store": Path("demos.db")},
        )  # fmt: skip
