"""An off-policy buffer holds what was executed, whichever route put it there."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from cogment_lab.integrations.sb3 import (
    TakeoverDictReplayBuffer,
    TakeoverHerReplayBuffer,
    TakeoverNStepReplayBuffer,
    TakeoverReplayBuffer,
    TrialCallback,
    make_trial_vec_env,
)
from sb3_contrib import QRDQN, TQC, CrossQ
from stable_baselines3 import DDPG, DQN, SAC, TD3
from stable_baselines3.common.buffers import NStepReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from cogment_lab.errors import StoredActionMismatchError
from cogment_lab.humans import SimulatedHuman

ROUTES = ["callback", "buffer", "both"]
STEPS = 60
NET = {"net_arch": [8]}


def route(name, buffer_class, plain_class=None):
    """Return the callback and the replay buffer class of a route."""
    return (
        None if name == "buffer" else TrialCallback(),
        plain_class if name == "callback" else buffer_class,
    )


def make_dqn(env, **kwargs):
    kwargs = {
        "learning_starts": STEPS - 20,
        "buffer_size": 1000,
        "policy_kwargs": dict(NET),
        "seed": 1,
        **kwargs,
    }
    policy = "MultiInputPolicy" if isinstance(env.observation_space, gym.spaces.Dict) else "MlpPolicy"
    return DQN(policy, env, **kwargs)


def stored(model, n_rows=STEPS):
    return model.replay_buffer.actions[:n_rows]


@pytest.mark.parametrize("name", ROUTES)
def test_dqn_stores_only_the_teachers_action(name, make, always_zero):
    callback, buffer_class = route(name, TakeoverReplayBuffer)
    model = make_dqn(make("CartPole-v1", always_zero), replay_buffer_class=buffer_class)
    model.learn(STEPS, callback=callback)
    assert model.replay_buffer.pos == STEPS
    assert not stored(model).any()


@pytest.mark.parametrize("name", ROUTES)
@pytest.mark.parametrize("algorithm", [SAC, TD3, DDPG, TQC, CrossQ])
def test_continuous_actions_are_stored_scaled(name, algorithm, make, always_one_newton_metre):
    callback, buffer_class = route(name, TakeoverReplayBuffer)
    model = algorithm(
        "MlpPolicy",
        make("Pendulum-v1", always_one_newton_metre),
        learning_starts=STEPS - 2,
        buffer_size=1000,
        policy_kwargs=dict(NET),
        replay_buffer_class=buffer_class,
        seed=1,
    )
    model.learn(STEPS, callback=callback)
    np.testing.assert_array_equal(stored(model), 0.5)


@pytest.mark.parametrize("name", ROUTES)
def test_qrdqn_stores_only_the_teachers_action(name, make, always_zero):
    callback, buffer_class = route(name, TakeoverReplayBuffer)
    model = QRDQN(
        "MlpPolicy",
        make("CartPole-v1", always_zero),
        learning_starts=1000,
        buffer_size=1000,
        policy_kwargs=dict(NET),
        replay_buffer_class=buffer_class,
    )
    model.learn(STEPS, callback=callback)
    assert not stored(model).any()


@pytest.mark.parametrize("name", ROUTES)
def test_only_the_humans_environment_is_changed_in_a_dummy_vec_env(name, always_zero):
    callback, buffer_class = route(name, TakeoverReplayBuffer)
    envs = make_trial_vec_env("CartPole-v1", 3, human_index=1, teacher=always_zero, store=None, seed=1)
    model = make_dqn(envs, replay_buffer_class=buffer_class, learning_starts=1000)
    model.learn(3 * STEPS, callback=callback)
    assert not stored(model)[:, 1].any()
    assert stored(model)[:, 0].any() and stored(model)[:, 2].any()


@pytest.mark.parametrize("name", ROUTES)
def test_trials_in_other_processes(name):
    callback, buffer_class = route(name, TakeoverReplayBuffer)
    envs = make_trial_vec_env(
        "CartPole-v1",
        2,
        human_index=1,
        teacher=SimulatedHuman(lambda observation: 0),
        store=None,
        vec_env_cls=SubprocVecEnv,
    )
    try:
        model = make_dqn(envs, replay_buffer_class=buffer_class, learning_starts=1000)
        model.learn(2 * STEPS, callback=callback)
    finally:
        envs.close()
    assert not stored(model)[:, 1].any()
    assert stored(model)[:, 0].any()


@pytest.mark.parametrize("name", ROUTES)
def test_under_vec_normalize(name, make, always_one_newton_metre):
    callback, buffer_class = route(name, TakeoverReplayBuffer)
    env = VecNormalize(DummyVecEnv([lambda: make("Pendulum-v1", always_one_newton_metre)]))
    model = SAC(
        "MlpPolicy", env, learning_starts=STEPS - 2, policy_kwargs=dict(NET), replay_buffer_class=buffer_class
    )
    model.learn(STEPS, callback=callback)
    np.testing.assert_array_equal(stored(model), 0.5)


@pytest.mark.parametrize("name", ROUTES)
def test_dict_observations(name, make, bits, always_zero):
    callback, buffer_class = route(name, TakeoverDictReplayBuffer)
    model = make_dqn(make(bits, always_zero), replay_buffer_class=buffer_class)
    model.learn(STEPS, callback=callback)
    assert not stored(model).any()


@pytest.mark.parametrize("name", ROUTES)
def test_hindsight_experience_replay(name, make, bits, always_zero):
    callback, buffer_class = route(name, TakeoverHerReplayBuffer, HerReplayBuffer)
    model = make_dqn(make(bits, always_zero), replay_buffer_class=buffer_class)
    model.learn(STEPS, callback=callback)
    assert not stored(model).any()
    assert model.replay_buffer.sample(8).actions.sum() == 0


@pytest.mark.parametrize("name", ROUTES)
def test_n_step_returns(name, make, always_zero):
    callback, buffer_class = route(name, TakeoverNStepReplayBuffer)
    given = {"n_steps": 3}
    if buffer_class is not None:
        given = {"replay_buffer_kwargs": {"n_steps": 3, "gamma": 0.99}, "replay_buffer_class": buffer_class}
    model = make_dqn(make("CartPole-v1", always_zero), **given)
    model.learn(STEPS, callback=callback)
    assert isinstance(model.replay_buffer, NStepReplayBuffer) and model.replay_buffer.n_steps == 3
    assert not stored(model).any()


@pytest.mark.parametrize("name", ROUTES)
def test_memory_optimised_buffer(name, make, always_zero):
    callback, buffer_class = route(name, TakeoverReplayBuffer)
    model = make_dqn(
        make("CartPole-v1", always_zero),
        replay_buffer_class=buffer_class,
        optimize_memory_usage=True,
        replay_buffer_kwargs={"handle_timeout_termination": False},
    )
    model.learn(STEPS, callback=callback)
    assert not stored(model).any()


def test_own_steps_are_left_alone(make, every_third_tick):
    class Sent(BaseCallback):
        """Note what the model sent, before TrialCallback comes."""

        def _on_step(self):
            sent.append(self.locals["actions"].copy())
            return True

    sent = []
    model = make_dqn(make("CartPole-v1", every_third_tick), learning_starts=1000)
    model.learn(STEPS, callback=[Sent(), TrialCallback()])
    expected = np.array(sent)
    expected[2::3] = 0
    np.testing.assert_array_equal(stored(model)[:, 0, 0], expected[:, 0])


def test_a_wrapper_of_others_that_reports_intervene_action_is_understood():
    class Zero(gym.Wrapper):
        def step(self, action):
            *result, info = self.env.step(0)
            return *result, {**info, "intervene_action": 0}

    model = make_dqn(Zero(gym.make("CartPole-v1")))
    model.learn(STEPS, callback=TrialCallback())
    assert not stored(model).any()


def test_info_keys_fixed_is_understood(make, always_zero):
    model = make_dqn(make("CartPole-v1", always_zero, info_keys="fixed"))
    model.learn(STEPS, callback=TrialCallback())
    assert not stored(model).any()


def test_a_callback_that_changes_the_action_afterwards_is_found_out(make, always_zero):
    class Meddler(BaseCallback):
        def _on_step(self):
            self.locals["buffer_actions"][:] = 1
            return True

    model = make_dqn(make("CartPole-v1", always_zero))
    with pytest.raises(StoredActionMismatchError, match="another callback"):
        model.learn(STEPS, callback=[TrialCallback(), Meddler()])


def test_time_limit_truncation_bootstraps(make, always_zero):
    model = make_dqn(
        make("CartPole-v1", always_zero, max_episode_steps=5), replay_buffer_class=TakeoverReplayBuffer
    )
    model.learn(STEPS)
    buffer = model.replay_buffer
    ends = buffer.dones[:STEPS, 0] == 1
    assert ends.sum() == STEPS // 5
    np.testing.assert_array_equal(buffer.timeouts[:STEPS, 0][ends], 1)
    assert buffer.samples_at(np.flatnonzero(ends), np.zeros(ends.sum(), int)).dones.sum() == 0


def test_no_warning_is_given(make, always_zero):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_dqn(make("CartPole-v1", always_zero)).learn(STEPS, callback=TrialCallback())
