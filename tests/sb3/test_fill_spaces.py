"""What ``learn`` collected, and what its record gives: images, Dicts, goals, n-step, with takeovers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from cogment_lab.integrations.sb3 import (
    MixedDictReplayBuffer,
    MixedHerReplayBuffer,
    MixedNStepReplayBuffer,
    MixedReplayBuffer,
    TakeoverDictReplayBuffer,
    TakeoverHerReplayBuffer,
    TakeoverNStepReplayBuffer,
    TakeoverReplayBuffer,
    TrialCallback,
    fill_replay_buffer,
)
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.envs import BitFlippingEnv

import cogment_lab
from cogment_lab.humans import SimulatedHuman

STEPS = 40
IMAGE = gym.spaces.Box(0, 255, (36, 40, 3), np.uint8)


class Camera(gym.Env[Any, Any]):
    """Pictures whose every channel counts something else; terminates after 5 steps, or is cut at 7."""

    observation_space: gym.Space[Any] = IMAGE
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.tick, self.cut = 0, bool(self.np_random.integers(2))
        return self._see(), {}

    def _see(self) -> Any:
        picture = np.zeros(IMAGE.shape, np.uint8)
        picture[..., 0], picture[0, :, 1], picture[:, 0, 2] = self.tick, 7 * self.tick, 200 - self.tick
        return picture

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.tick += 1
        return self._see(), float(self.tick), self.tick == 5 and not self.cut, self.tick == 7, {"speed": 3}


class CameraAndSpeed(Camera):
    """The same beside numbers, in a Dict."""

    observation_space = gym.spaces.Dict(
        camera=IMAGE, gear=gym.spaces.Discrete(9), speed=gym.spaces.Box(-1, 9, (2,), np.float64)
    )

    def _see(self) -> Any:
        return {"camera": super()._see(), "gear": np.int64(self.tick), "speed": np.full(2, self.tick / 2)}


class Bits(BitFlippingEnv):
    """Goals whose reward needs the info of the step."""

    def __init__(self) -> None:
        super().__init__(n_bits=4, continuous=False, max_steps=4)

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, truncated, {**info, "bonus": float(action)}


class BonusBits(Bits):
    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        reward = super().compute_reward(achieved_goal, desired_goal, info)
        if info is None:  # the environment's own steps
            return reward
        return np.asarray(reward) + np.array([each["bonus"] for each in info])


def learn(make_env: Callable[[], Any], policy: str, **options: Any) -> Any:
    """Return a model that has collected trials in ``trials.db``, one step in three by a teacher."""
    ticks = iter(range(10**6))
    teacher = SimulatedHuman(lambda observation: 1, gate=lambda *_: next(ticks) % 3 == 2)
    env = cogment_lab.make(make_env, teacher=teacher, store=Path("trials.db"), record="full")
    model = DQN(
        policy, env, seed=1, learning_starts=1000, buffer_size=100, device="cpu",
        policy_kwargs={"net_arch": [4]}, **options,
    )  # fmt: skip
    model.learn(STEPS, callback=TrialCallback())
    env.close()
    return model


def fill(model: Any, buffer_class: Any, n_envs: int = 1, **options: Any) -> Any:
    buffer = buffer_class(
        100, model.observation_space, model.action_space, device="cpu", n_envs=n_envs, **options
    )
    with cogment_lab.TrialStore("trials.db") as store:
        assert fill_replay_buffer(buffer, store) == STEPS
    return buffer


def parts(observations: Any) -> dict[str, Any]:
    return observations if isinstance(observations, dict) else {"": observations}


def assert_same_rows(found: Any, wanted: Any) -> None:
    names = ["actions", "rewards", "dones", "timeouts"]
    if hasattr(wanted, "is_intervention"):
        names += ["is_intervention", "proposed_actions"]
    # The learner's last trial went on when it stopped; its record was closed, which bootstraps as well.
    wanted.timeouts[STEPS - 1] = wanted.dones[STEPS - 1] = found.dones[STEPS - 1]
    for name in names:
        np.testing.assert_array_equal(
            getattr(found, name)[:STEPS], getattr(wanted, name)[:STEPS], err_msg=name
        )
    for name in ("observations", "next_observations"):
        for key, part in parts(getattr(wanted, name)).items():
            one = parts(getattr(found, name))[key]
            assert one.dtype == part.dtype
            np.testing.assert_array_equal(one[:STEPS], part[:STEPS], err_msg=f"{name} {key}")


@pytest.mark.parametrize(
    ("env", "policy", "buffer_class"),
    [
        (Camera, "CnnPolicy", TakeoverReplayBuffer),
        (CameraAndSpeed, "MultiInputPolicy", TakeoverDictReplayBuffer),
        (Bits, "MultiInputPolicy", TakeoverHerReplayBuffer),
    ],
)
def test_rows_are_those_that_learn_stored(env: Any, policy: str, buffer_class: Any) -> None:
    model = learn(env, policy, replay_buffer_class=buffer_class)
    options = {"env": model.env} if buffer_class is TakeoverHerReplayBuffer else {}
    found = fill(model, buffer_class, **options)
    assert_same_rows(found, model.replay_buffer)
    helped = found.is_intervention[:STEPS, 0]
    assert helped.any() and (found.actions[:STEPS, 0, 0][helped] == 1).all()
    assert (found.proposed_actions[:STEPS, 0, 0][helped] == 0).any(), "what was not executed is beside it"
    if env is Camera:
        assert found.observations.shape == (100, 1, 3, 36, 40)
        ends = found.dones[:STEPS, 0] == 1
        cut = found.timeouts[:STEPS, 0] == 1
        assert (ends & cut).any() and (ends & ~cut).any(), "cut trials bootstrap, terminal ones do not"


@pytest.mark.parametrize("handle", [True, False])
def test_a_time_limit_counts_as_the_buffer_was_told(handle: bool) -> None:
    model = learn(Camera, "CnnPolicy")
    found = fill(model, ReplayBuffer, handle_timeout_termination=handle)
    cut = found.rewards[:STEPS, 0] == 7
    assert cut.any() and (found.dones[:STEPS, 0][cut] == 1).all()
    assert (found.timeouts[:STEPS, 0][cut] == handle).all()
    np.random.seed(2)
    samples = found._get_samples(np.flatnonzero(cut))
    assert (samples.dones.numpy() == (0 if handle else 1)).all()


@pytest.mark.parametrize("strategy", ["future", "final", "episode"])
def test_goals_are_given_anew_as_in_a_buffer_that_was_filled_on_line(strategy: str) -> None:
    model = learn(
        Bits, "MultiInputPolicy", replay_buffer_class=TakeoverHerReplayBuffer,
        replay_buffer_kwargs={"goal_selection_strategy": strategy},
    )  # fmt: skip
    found = fill(model, TakeoverHerReplayBuffer, env=model.env, goal_selection_strategy=strategy)
    learned = model.replay_buffer
    whole = learned.ep_length[:, 0] > 0
    assert whole.sum() >= STEPS - 4
    np.testing.assert_array_equal(found.ep_length[whole], learned.ep_length[whole])
    found.ep_length[~whole] = 0  # the trial that the learner had not finished
    batches = []
    for buffer in (found, learned):
        np.random.seed(5)
        batches.append(buffer.sample(64))
    for name, one, other in zip(batches[0]._fields, *batches, strict=True):
        for key, part in parts(other).items() if other is not None else ():
            np.testing.assert_array_equal(parts(one)[key].numpy(), part.numpy(), err_msg=f"{name} {key}")
    goals = batches[0].observations["desired_goal"].numpy()
    assert len(np.unique(goals, axis=0)) > 1, "the environment's own goal is always the same"


def test_rewards_of_new_goals_know_the_info_of_the_step() -> None:
    model = learn(
        BonusBits, "MultiInputPolicy", replay_buffer_class=TakeoverHerReplayBuffer,
        replay_buffer_kwargs={"copy_info_dict": True},
    )  # fmt: skip
    found = fill(model, TakeoverHerReplayBuffer, env=model.env, copy_info_dict=True)
    assert [info["bonus"] for info in found.infos[:STEPS, 0]] == found.actions[:STEPS, 0, 0].tolist()
    samples = found.sample(64)
    virtual = slice(64 - int(found.her_ratio * 64), None)
    hit = (samples.next_observations["achieved_goal"] == samples.observations["desired_goal"]).all(1).numpy()
    wanted = np.where(hit, 0.0, -1.0) + samples.actions[:, 0].numpy()
    np.testing.assert_array_equal(samples.rewards[virtual, 0].numpy(), wanted[virtual])


def test_goals_never_come_from_another_environments_column() -> None:
    model = learn(Bits, "MultiInputPolicy", replay_buffer_class=TakeoverHerReplayBuffer)
    found = fill(model, TakeoverHerReplayBuffer, n_envs=3, env=model.env)
    assert found.pos == 14 and (found.ep_length[:14] > 0).all()
    assert found.sample(64).rewards.shape == (64, 1)


@pytest.mark.parametrize("env", ["CartPole-v1", Camera])
def test_n_step_returns_are_those_of_the_trials(env: Any) -> None:
    options = {"n_steps": 3, "gamma": 0.9}
    maker = (lambda: gym.make(env)) if isinstance(env, str) else env
    policy = "MlpPolicy" if isinstance(env, str) else "CnnPolicy"
    model = learn(
        maker, policy, replay_buffer_class=TakeoverNStepReplayBuffer, replay_buffer_kwargs=options, gamma=0.9
    )
    found = fill(model, TakeoverNStepReplayBuffer, **options)
    rows = np.arange(STEPS)
    one, other = found._get_samples(rows), model.replay_buffer._get_samples(rows)
    for name in ("rewards", "dones", "next_observations", "actions"):
        np.testing.assert_array_equal(getattr(one, name).numpy(), getattr(other, name).numpy(), err_msg=name)
    with cogment_lab.TrialStore("trials.db") as store:
        first = next(iter(store.query()))
    assert float(one.rewards[0]) == pytest.approx(
        sum(0.9**k * first.rewards[k] for k in range(min(3, len(first))))
    )


@pytest.mark.parametrize(
    ("env", "policy", "buffer_class", "options"),
    [
        (Camera, "CnnPolicy", MixedReplayBuffer, {}),
        (CameraAndSpeed, "MultiInputPolicy", MixedDictReplayBuffer, {}),
        (Bits, "MultiInputPolicy", MixedHerReplayBuffer, {}),
        (Camera, "CnnPolicy", MixedNStepReplayBuffer, {"n_steps": 3, "gamma": 0.99}),
    ],
)
def test_half_of_each_batch_is_stored_steps(
    env: Any, policy: str, buffer_class: Any, options: dict[str, Any]
) -> None:
    learn(env, policy)
    model = DQN(
        policy, cogment_lab.make(env, store=None), learning_starts=10, train_freq=5, batch_size=8,
        device="cpu", buffer_size=100, policy_kwargs={"net_arch": [4]}, replay_buffer_class=buffer_class,
        replay_buffer_kwargs={"store": "trials.db", **options},
    )  # fmt: skip
    model.learn(20)
    buffer: Any = model.replay_buffer
    assert (buffer.stored.size(), buffer.size()) == (STEPS, 20)
    buffer.stored.rewards[:] = 50.0
    if not options and env is not Bits:
        assert int((buffer.sample(16).rewards == 50.0).sum()) == 8
    assert len(buffer.sample(16).rewards) == 16
    model.save_replay_buffer("buffer.pkl")
    model.load_replay_buffer("buffer.pkl", truncate_last_traj=False)
    again: Any = model.replay_buffer
    assert again.stored.size() == STEPS and len(again.sample(16).rewards) == 16
    model.learn(10, reset_num_timesteps=False)
