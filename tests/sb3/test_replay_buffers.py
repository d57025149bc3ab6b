"""What our replay buffers keep, and what they refuse."""

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
from gymnasium.wrappers import RescaleAction
from stable_baselines3 import DQN, SAC
from stable_baselines3.common.save_util import load_from_pkl, save_to_pkl

from cogment_lab.errors import ActionWrapperOutside, ConfigurationError, WrongBufferError
from cogment_lab.humans import SimulatedHuman

OBSERVATIONS = gym.spaces.Box(-1, 1, (1,))
ACTIONS = gym.spaces.Box(-2, 2, (1,))


def fill(buffer, flags, done_at=()):
    """Add steps t = 0, 1, ... with observation t, reward 1, proposal -2, and 2 executed where flagged."""
    for tick, flag in enumerate(flags):
        info = {"tick": tick, "proposed_action": np.array([-2.0]), "executed_action": np.array([2.0])}
        if flag:
            info["intervene_action"] = np.array([2.0])
        buffer.add(
            np.array([[tick]], np.float32),
            np.array([[tick + 1]], np.float32),
            np.array([[-1.0]], np.float32),
            np.array([1.0]),
            np.array([tick in done_at]),
            [info],
        )
    return buffer


def make_dqn(env, **kwargs):
    policy = "MultiInputPolicy" if isinstance(env.observation_space, gym.spaces.Dict) else "MlpPolicy"
    kwargs = {"buffer_size": 1000, "learning_starts": 1000, "train_freq": 1, **kwargs}
    return DQN(policy, env, policy_kwargs={"net_arch": [8]}, **kwargs)


def test_flags_proposed_and_executed_actions_are_kept():
    buffer = fill(TakeoverReplayBuffer(8, OBSERVATIONS, ACTIONS), [0, 1, 1, 0])
    np.testing.assert_array_equal(buffer.actions[:4, 0, 0], [-1, 1, 1, -1])
    np.testing.assert_array_equal(buffer.proposed_actions[:4, 0, 0], -1)
    np.testing.assert_array_equal(buffer.is_intervention[:4, 0], [False, True, True, False])


def test_an_overwritten_row_loses_its_flag():
    buffer = fill(TakeoverReplayBuffer(2, OBSERVATIONS, ACTIONS), [1, 1, 0])
    np.testing.assert_array_equal(buffer.is_intervention[:, 0], [False, True])


def test_the_callers_array_is_not_changed():
    buffer = TakeoverReplayBuffer(4, OBSERVATIONS, ACTIONS)
    sent = np.array([[-1.0]], np.float32)
    zeros = np.zeros((1, 1), np.float32)
    buffer.add(zeros, zeros, sent, np.zeros(1), np.zeros(1), [{"intervene_action": np.array([2.0])}])
    assert sent[0, 0] == -1.0


def test_actions_without_bounds_are_stored_as_they_are():
    buffer = TakeoverReplayBuffer(4, OBSERVATIONS, gym.spaces.Box(-np.inf, np.inf, (1,)))
    assert fill(buffer, [1]).actions[0, 0, 0] == 2.0


@pytest.mark.parametrize("optimize", [False, True])
def test_interventions_are_sampled_alone(optimize):
    buffer = TakeoverReplayBuffer(
        4, OBSERVATIONS, ACTIONS, optimize_memory_usage=optimize, handle_timeout_termination=not optimize
    )
    # Six steps in four rows; with one array for both observations, the oldest row left has no successor.
    fill(buffer, [0, 0, 1, 1, 0, 1])
    samples = buffer.sample_interventions(64)
    expected = {3, 5} if optimize else {2, 3, 5}
    assert set(samples.observations.flatten().tolist()) == expected
    np.testing.assert_array_equal(samples.next_observations, samples.observations + 1)
    np.testing.assert_array_equal(samples.actions, 1)


def test_what_was_executed_for_want_of_a_teachers_action_is_not_sampled(make):
    actions = iter([0, None, None, 0, 0])
    teacher = SimulatedHuman(lambda observation: next(actions))
    model = make_dqn(make("CartPole-v1", teacher), replay_buffer_class=TakeoverReplayBuffer)
    model.learn(5)
    buffer = model.replay_buffer
    np.testing.assert_array_equal(buffer.is_intervention[:5, 0], True)
    np.testing.assert_array_equal(buffer.is_fallback[:5, 0], [False, True, True, False, False])
    sampled = buffer.sample_interventions(100).observations.numpy()
    shown = buffer.observations[[0, 3, 4], 0]
    assert {tuple(row) for row in sampled} == {tuple(row) for row in shown}


def test_an_overwritten_row_loses_its_fallback():
    buffer = TakeoverReplayBuffer(1, OBSERVATIONS, ACTIONS)
    zeros = np.zeros((1, 1), np.float32)
    for told in ({"intervene_action": zeros, "is_fallback": True}, {}):
        buffer.add(zeros, zeros, zeros, np.zeros(1), np.zeros(1), [told])
        assert buffer.is_fallback[0, 0] == bool(told)


def test_interventions_cannot_be_sampled_where_there_are_none():
    with pytest.raises(ConfigurationError, match="no takeover"):
        fill(TakeoverReplayBuffer(8, OBSERVATIONS, ACTIONS), [0, 0]).sample_interventions(2)


def test_boundary_penalty_charges_the_step_before_each_takeover():
    buffer = TakeoverReplayBuffer(16, OBSERVATIONS, ACTIONS, boundary="penalty", switch_penalty=0.25)
    fill(buffer, [0, 0, 1, 1, 0, 1, 0, 1], done_at=[6])
    np.testing.assert_array_equal(buffer.rewards[:8, 0], [1, 0.75, 1, 1, 0.75, 1, 1, 1])


def test_boundary_cut_ends_n_step_windows_before_a_takeover():
    buffer = TakeoverNStepReplayBuffer(16, OBSERVATIONS, ACTIONS, n_steps=3, gamma=0.5, boundary="cut")
    fill(buffer, [0, 0, 1, 1, 1, 1, 0, 0, 0, 0])
    samples = buffer._get_samples(np.array([0, 1, 2, 5]))
    np.testing.assert_allclose(samples.rewards.flatten(), [1.5, 1.0, 1.75, 1.75])
    np.testing.assert_array_equal(samples.next_observations.flatten(), [2, 2, 5, 8])
    np.testing.assert_array_equal(samples.dones, 0)
    np.testing.assert_allclose(samples.discounts.flatten(), [0.25, 0.5, 0.125, 0.125])


def test_boundary_through_does_not():
    buffer = TakeoverNStepReplayBuffer(16, OBSERVATIONS, ACTIONS, n_steps=3, gamma=0.5)
    fill(buffer, [0, 0, 1, 1, 1, 1, 0, 0, 0, 0])
    np.testing.assert_allclose(buffer._get_samples(np.array([0, 1])).rewards.flatten(), [1.75, 1.75])


@pytest.mark.parametrize("wrong", [{"boundary": "over"}, {"boundary": "penalty", "switch_penalty": -1.0}])
def test_boundary_is_checked(wrong):
    with pytest.raises(ConfigurationError):
        TakeoverReplayBuffer(4, OBSERVATIONS, ACTIONS, **wrong)


def test_saving_and_loading(tmp_path, make, every_third_tick):
    model = make_dqn(make("CartPole-v1", every_third_tick), replay_buffer_class=TakeoverReplayBuffer)
    model.learn(30)
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "buffer")
    loaded = DQN.load(tmp_path / "model", env=make("CartPole-v1"))
    assert isinstance(loaded.replay_buffer, TakeoverReplayBuffer)
    loaded.load_replay_buffer(tmp_path / "buffer")
    assert loaded.replay_buffer.is_intervention.sum() == 10
    loaded.learn(10, reset_num_timesteps=False)
    assert loaded.replay_buffer.pos == 40


@pytest.mark.parametrize("buffer_class", [TakeoverNStepReplayBuffer, TakeoverReplayBuffer])
def test_pickling(tmp_path, buffer_class):
    save_to_pkl(tmp_path / "buffer.pkl", fill(buffer_class(8, OBSERVATIONS, ACTIONS), [0, 1]))
    buffer = load_from_pkl(tmp_path / "buffer.pkl")
    assert fill(buffer, [1]).is_intervention[:3, 0].tolist() == [False, True, True]


def test_pickling_for_hindsight(tmp_path, make, bits, always_zero):
    model = make_dqn(make(bits, always_zero), replay_buffer_class=TakeoverHerReplayBuffer)
    model.learn(8)
    model.save_replay_buffer(tmp_path / "buffer")
    model.load_replay_buffer(tmp_path / "buffer", truncate_last_traj=False)
    assert model.replay_buffer.is_intervention.sum() == 8


def test_dict_observations_need_the_dict_class(make, bits):
    with pytest.raises(WrongBufferError, match="TakeoverDictReplayBuffer"):
        make_dqn(make(bits), replay_buffer_class=TakeoverReplayBuffer)


def test_other_observations_need_the_flat_class(make):
    with pytest.raises(WrongBufferError, match="replay_buffer_class=TakeoverReplayBuffer"):
        make_dqn(make("CartPole-v1"), replay_buffer_class=TakeoverDictReplayBuffer)


@pytest.mark.filterwarnings("ignore:`n_steps=3` is ignored")  # Stable-Baselines3's own hint, before ours
def test_n_steps_with_a_buffer_that_ignores_them_is_refused(make):
    with pytest.raises(WrongBufferError, match="TakeoverNStepReplayBuffer"):
        make_dqn(make("CartPole-v1"), replay_buffer_class=TakeoverReplayBuffer, n_steps=3)


@pytest.mark.filterwarnings("ignore:`n_steps=3` is ignored")
def test_the_callback_refuses_them_with_any_class(make):
    from stable_baselines3.common.buffers import ReplayBuffer

    model = make_dqn(make("CartPole-v1"), replay_buffer_class=ReplayBuffer, n_steps=3)
    with pytest.raises(WrongBufferError, match="TakeoverNStepReplayBuffer"):
        model.learn(8, callback=TrialCallback())


def test_n_step_returns_discounted_otherwise_than_the_model_are_refused(make):
    with pytest.raises(WrongBufferError, match=r'"gamma": 0.9\b'):
        make_dqn(make("CartPole-v1"), replay_buffer_class=TakeoverNStepReplayBuffer, gamma=0.9)


def test_a_buffer_made_outside_of_a_model_needs_no_environment():
    assert TakeoverReplayBuffer(4, OBSERVATIONS, ACTIONS).handles_takeovers


def test_the_buffer_tells_the_models_trials_that_it_learns_from_takeovers():
    envs = make_trial_vec_env("CartPole-v1", 2, teacher=SimulatedHuman(lambda observation: 0), store=None)
    make_dqn(envs, replay_buffer_class=TakeoverReplayBuffer)
    trials = envs.get_attr("trial")
    assert [trial.acknowledged_by for trial in trials] == ["TakeoverReplayBuffer"] * 2


def test_the_buffer_alone_refuses_a_wrapper_that_rescales_actions_outside_the_trial(make):
    env = RescaleAction(make("Pendulum-v1"), np.float32(-1.0), np.float32(1.0))
    with pytest.raises(ActionWrapperOutside, match="inside the trial"):
        SAC("MlpPolicy", env, replay_buffer_class=TakeoverReplayBuffer, device="cpu")
