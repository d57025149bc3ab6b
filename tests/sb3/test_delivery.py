"""Errors of trials in other processes reach the learner as what they are."""

import multiprocessing as mp
from typing import Any

import gymnasium as gym
import pytest
from cogment_lab.integrations.sb3 import TrialCallback, make_trial_vec_env
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import SubprocVecEnv

import cogment_lab
from cogment_lab.errors import EnvironmentCrashedError, SeatTakenError, UnacknowledgedTakeoverError
from cogment_lab.humans import SimulatedHuman

METHODS = mp.get_all_start_methods()


def make_vec_env(
    env_id: Any = "CartPole-v1", n_envs: int = 3, method: str = "forkserver", **options: Any
) -> Any:
    """Return trials in processes; somebody always overrides in the second."""
    return make_trial_vec_env(
        env_id,
        n_envs,
        human_index=1,
        store=None,
        vec_env_cls=SubprocVecEnv,
        vec_env_kwargs={"start_method": method},
        **{"teacher": SimulatedHuman(lambda observation: 0), **options},
    )


def make_dqn(env: Any) -> DQN:
    return DQN("MlpPolicy", env, learning_starts=1000, buffer_size=1000, policy_kwargs={"net_arch": [8]})


class Cracks(gym.Wrapper[Any, Any, Any, Any]):
    """Raises in its third step."""

    steps = 0

    def step(self, action: Any) -> Any:
        self.steps += 1
        if self.steps == 3:
            raise ValueError("cracked")
        return super().step(action)


def cracks() -> gym.Env[Any, Any]:
    return Cracks(gym.make("CartPole-v1"))


@pytest.mark.parametrize("method", METHODS)
def test_a_takeover_that_nobody_learns_from_is_told_in_the_learners_process(method: str) -> None:
    envs = make_vec_env(method=method)
    try:
        with pytest.raises(UnacknowledgedTakeoverError, match=r"TrialCallback\(\)"):
            make_dqn(envs).learn(30)
        model = make_dqn(envs)  # the workers are alive: the advice can be followed
        model.learn(30, callback=TrialCallback())
        assert not model.replay_buffer.actions[:10, 1].any()
    finally:
        envs.close()
    assert not any(process.is_alive() for process in envs.processes)


def test_it_is_told_of_environments_that_the_user_wraps_as_well() -> None:
    def make_env() -> gym.Env[Any, Any]:
        env = cogment_lab.make("CartPole-v1", teacher=lambda observation: 0, store=None)
        return gym.wrappers.TransformReward(env, lambda reward: 2 * reward)

    envs = SubprocVecEnv([make_env, make_env])  # both complain, in one round
    try:
        with pytest.raises(UnacknowledgedTakeoverError):
            make_dqn(envs).learn(30)
    finally:
        envs.close()


def test_a_crash_is_told_as_a_crash() -> None:
    envs = make_vec_env(cracks, 2, teacher=None)
    try:
        with pytest.raises(EnvironmentCrashedError, match="ValueError: cracked"):
            make_dqn(envs).learn(30)
    finally:
        envs.close()


def test_a_seat_that_is_taken_is_told_at_the_reset() -> None:
    class Taken(SimulatedHuman):
        def attach(self, trial: Any) -> None:
            raise SeatTakenError("seat 'teacher' is held by another environment")

    envs = make_vec_env(n_envs=2, teacher=Taken(lambda observation: 0))
    try:
        with pytest.raises(SeatTakenError, match="'teacher' is held"):
            envs.reset()
    finally:
        envs.close()


def test_in_one_process_errors_are_raised_where_they_happen() -> None:
    env = cogment_lab.make(cracks, store=None)
    env.reset(seed=1)
    env.step(0)
    env.step(0)
    with pytest.raises(EnvironmentCrashedError):
        env.step(0)
