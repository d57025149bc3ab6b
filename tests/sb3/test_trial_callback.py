"""What TrialCallback checks, logs, obeys and postpones."""

import importlib
import time
import timeit

import gymnasium as gym
import numpy as np
import pytest
import yaml
from cogment_lab.integrations.sb3 import TakeoverReplayBuffer, TrialCallback, make_trial_vec_env
from gymnasium.wrappers import RescaleAction, TransformAction
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from cogment_lab.errors import ActionWrapperOutside, ConfigurationError, UnacknowledgedTakeoverError
from cogment_lab.humans import SimulatedHuman
from cogment_lab.trial.takeover import Request

LOW, HIGH = np.float32(-1.0), np.float32(1.0)


def make_dqn(env, **kwargs):
    kwargs = {"learning_starts": 10, "buffer_size": 1000, "train_freq": 1, **kwargs}
    return DQN("MlpPolicy", env, seed=1, policy_kwargs={"net_arch": [8]}, **kwargs)


def make_sac(env):
    return SAC("MlpPolicy", env, buffer_size=1000, policy_kwargs={"net_arch": [8]}, seed=1)


class Asks(SimulatedHuman):
    """Asks for something at one tick, and never takes over."""

    def __init__(self, request, at):
        super().__init__(lambda observation: 0, gate=lambda observation, proposed: False)
        self.request, self.at, self.ticks = request, at, 0

    def poll(self, observation, proposed_action):
        self.ticks += 1
        wanted = self.request if isinstance(self.request, tuple) else (self.request,)
        return wanted if self.ticks == self.at else None


# --- takeovers that nobody would learn from ---


def test_a_takeover_that_nobody_learns_from_is_an_error(make, always_zero):
    with pytest.raises(UnacknowledgedTakeoverError, match=r"TrialCallback\(\)"):
        make_dqn(make("CartPole-v1", always_zero)).learn(10)


def test_it_can_be_a_warning(make, always_zero, caplog):
    make_dqn(make("CartPole-v1", always_zero, on_unacknowledged="warn")).learn(10)
    assert "TrialCallback()" in caplog.text


def test_it_can_be_ignored(make, always_zero, caplog):
    make_dqn(make("CartPole-v1", always_zero, on_unacknowledged="ignore")).learn(10)
    assert not caplog.text


def test_environments_that_are_no_trials_are_tolerated(make, always_zero):
    env = DummyVecEnv([lambda: gym.make("CartPole-v1"), lambda: make("CartPole-v1", always_zero)])
    model = make_dqn(env, learning_starts=1000)
    model.learn(60, callback=TrialCallback())
    assert model.replay_buffer.actions[:30, 0].any() and not model.replay_buffer.actions[:30, 1].any()


def test_a_model_without_trials_is_tolerated():
    callback = TrialCallback()
    model = make_dqn(gym.make("CartPole-v1"))
    model.learn(60, callback=callback)
    assert not any(key.startswith("human/") for key in model.logger.name_to_value)


# --- action wrappers ---


def test_a_wrapper_that_rescales_actions_outside_the_trial_is_refused(make, always_one_newton_metre):
    model = make_sac(RescaleAction(make("Pendulum-v1", always_one_newton_metre), LOW, HIGH))
    with pytest.raises(ActionWrapperOutside, match="inside the trial"):
        model.learn(10, callback=TrialCallback())


def test_a_wrapper_that_changes_actions_within_the_same_space_is_refused(make, always_zero):
    env = make("CartPole-v1", always_zero)
    model = make_dqn(TransformAction(env, lambda action: 1 - action, env.action_space))
    with pytest.raises(ActionWrapperOutside, match="the trial received"):
        model.learn(10, callback=TrialCallback())


def test_a_wrapper_that_changes_nothing_is_fine(make, always_one_newton_metre):
    class Inert(gym.Wrapper):
        pass

    make_sac(Inert(make("Pendulum-v1", always_one_newton_metre))).learn(10, callback=TrialCallback())


def test_inside_the_trial_it_is_fine(make):
    teacher = SimulatedHuman(lambda observation: np.array([0.25], np.float32))
    model = make_sac(make(lambda: RescaleAction(gym.make("Pendulum-v1"), LOW, HIGH), teacher))
    model.learn(10, callback=TrialCallback())
    np.testing.assert_array_equal(model.replay_buffer.actions[:10], 0.25)


# --- the log ---


def scalars(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (run,) = folder.iterdir()
    events = EventAccumulator(str(run))
    events.Reload()
    return {key: events.Scalars(key)[-1].value for key in events.Tags()["scalars"]}


def test_the_event_file_says_how_much_help_was_needed(make, every_third_tick, tmp_path):
    env = make("CartPole-v1", every_third_tick, max_episode_steps=9, evaluator=lambda tick: 1.0)
    make_dqn(env, tensorboard_log=str(tmp_path)).learn(27, callback=TrialCallback(), log_interval=1)
    logged = scalars(tmp_path)
    assert logged["human/intervention_rate"] == pytest.approx(1 / 3)
    assert logged["human/takeovers"] == 9
    assert logged["human/takeover_length"] == 1.0
    assert logged["human/switches"] == 9 + 6  # the last one of each trial ends with it
    assert logged["human/labelled_steps"] == 9
    assert logged["human/fallback_rate"] == 0.0
    assert logged["human/feedback_count"] == 27
    assert "rollout/ep_rew_mean" in logged


def test_a_short_run_without_any_dump_is_logged_all_the_same(make, always_zero, tmp_path):
    env = make("Pendulum-v1", SimulatedHuman(lambda observation: np.zeros(1, np.float32)))
    model = SAC("MlpPolicy", env, learning_starts=100, tensorboard_log=str(tmp_path), buffer_size=100)
    model.learn(20, callback=TrialCallback())
    assert scalars(tmp_path)["human/intervention_rate"] == 1.0


def test_fallbacks_are_told_from_labels(make, tmp_path):
    teacher = SimulatedHuman(lambda observation: None)  # in control, with the hands off
    model = make_dqn(make("CartPole-v1", teacher), tensorboard_log=str(tmp_path))
    model.learn(20, callback=TrialCallback())
    logged = scalars(tmp_path)
    assert logged["human/fallback_rate"] == 1.0
    assert logged["human/labelled_steps"] == 0


def test_ppo_logs_it_too(make, always_zero, tmp_path):
    env = make("CartPole-v1", always_zero)
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=32, n_epochs=1, tensorboard_log=str(tmp_path))
    model.learn(64, callback=TrialCallback(on_policy="relabel"))
    assert scalars(tmp_path)["human/intervention_rate"] == 1.0


# --- requests of those who watch ---


in_both_modes = pytest.mark.parametrize("info_keys", ["all", "fixed"])


@in_both_modes
def test_a_stop_request_ends_training_after_the_trial(make, info_keys):
    env = make("CartPole-v1", Asks(Request.STOP, at=3), max_episode_steps=8, info_keys=info_keys)
    model = make_dqn(env)
    model.learn(1000, callback=TrialCallback())
    assert model.num_timesteps == model.replay_buffer.pos == 8
    assert model.replay_buffer.dones[7, 0] == 1
    model.learn(10, callback=TrialCallback(), reset_num_timesteps=False)
    assert model.replay_buffer.pos == 18


@in_both_modes
def test_a_stop_request_ends_ppo_too(make, info_keys):
    env = make("CartPole-v1", Asks(Request.STOP, at=3), max_episode_steps=8, info_keys=info_keys)
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=32)
    model.learn(1000, callback=TrialCallback(on_policy="relabel"))
    assert model.num_timesteps == 8


@in_both_modes
@pytest.mark.parametrize("vec_env_cls", [DummyVecEnv, SubprocVecEnv])
def test_requests_are_heard_from_one_environment_among_others(vec_env_cls, info_keys, tmp_path):
    path = tmp_path / "model.zip"
    envs = make_trial_vec_env(
        "CartPole-v1",
        2,
        human_index=1,
        teacher=Asks((Request.SAVE, Request.STOP), at=3),
        store=None,
        vec_env_cls=vec_env_cls,
        max_episode_steps=5,
        info_keys=info_keys,
    )
    try:
        model = make_dqn(envs)
        model.learn(1000, callback=TrialCallback(save_path=str(path)))
        assert model.num_timesteps == DQN.load(path).num_timesteps == 10
    finally:
        envs.close()


def test_what_was_asked_before_training_is_over(make):
    env = make("CartPole-v1", Asks(Request.STOP, at=3), max_episode_steps=8, info_keys="fixed")
    model = make_dqn(env)
    model.learn(20, callback=[])
    model.learn(20, callback=TrialCallback())
    assert model.num_timesteps == 20


@in_both_modes
def test_a_save_request_saves_the_model_after_the_trial(make, tmp_path, info_keys):
    env = make("CartPole-v1", Asks(Request.SAVE, at=3), max_episode_steps=8, info_keys=info_keys)
    path = tmp_path / "deep" / "model.zip"
    make_dqn(env).learn(20, callback=TrialCallback(save_path=str(path)))
    assert DQN.load(path).num_timesteps == 8


def test_a_save_request_is_never_lost_for_want_of_a_path(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_dqn(make("CartPole-v1", Asks(Request.SAVE, at=3), max_episode_steps=8)).learn(
        20, callback=TrialCallback()
    )
    assert (tmp_path / "runs" / "dqn_8_steps.zip").exists()


def test_seats_are_told_how_far_training_is(make, always_zero, monkeypatch):
    told = []
    monkeypatch.setattr(
        SimulatedHuman, "set_learner", lambda self, learner: told.append(learner), raising=False
    )
    monkeypatch.setattr("cogment_lab.integrations.sb3.callback._REPORT_SECONDS", 0.0)
    make_dqn(make("CartPole-v1", always_zero)).learn(20, callback=TrialCallback())
    assert told[-1]["steps"] == 20 and told[-1]["total_steps"] == 20
    assert told[-1]["steps_per_s"] > 0 and told[-1]["labelled_steps"] == 20


# --- deferred training ---


class CountGradientSteps(BaseCallback):
    """Notes, before each step, how many gradient steps were made so far."""

    def _on_training_start(self):
        self.updates = []

    def _on_step(self):
        self.updates.append(self.model._n_updates)
        return True


def gradient_steps(make, gate, defer, **kwargs):
    count = CountGradientSteps()
    env = make("CartPole-v1", SimulatedHuman(lambda observation: 1, gate=gate), max_episode_steps=8)
    model = make_dqn(env, train_freq=2, learning_starts=4, **kwargs)
    model.learn(30, callback=[TrialCallback(defer_training=defer), count])
    return model, count.updates


@pytest.mark.parametrize("per_rollout", [1, 3, -1])
def test_deferred_gradient_steps_are_all_made(make, per_rollout):
    for gate in (None, lambda observation, proposed: False):
        usual, _ = gradient_steps(make, gate, None, gradient_steps=per_rollout)
        deferred, _ = gradient_steps(make, gate, "while_correcting", gradient_steps=per_rollout)
        assert deferred._n_updates == usual._n_updates
        assert deferred.gradient_steps == per_rollout


def test_no_gradient_step_falls_into_a_trial_with_a_takeover(make):
    _, updates = gradient_steps(make, None, "while_correcting")
    assert updates[:7] == [0] * 7
    assert updates[8] == updates[9] == updates[14] > 0


def test_without_a_takeover_nothing_is_deferred(make):
    _, updates = gradient_steps(make, lambda observation, proposed: False, "while_correcting")
    assert updates == gradient_steps(make, lambda observation, proposed: False, None)[1]


def test_on_policy_updates_cannot_be_deferred(make):
    model = PPO("MlpPolicy", make("CartPole-v1"), n_steps=32, batch_size=32)
    with pytest.raises(ConfigurationError, match="off-policy"):
        model.learn(32, callback=TrialCallback(defer_training="while_correcting"))


# --- configuration, cost ---


@pytest.mark.parametrize("wrong", [{"on_policy": "guess"}, {"defer_training": "always"}])
def test_unknown_modes_are_refused(wrong):
    with pytest.raises(ConfigurationError, match="unknown"):
        TrialCallback(**wrong)


def test_a_zoo_style_configuration_names_our_classes(make, always_zero):
    config = yaml.safe_load(
        """
        callback:
          - cogment_lab.integrations.sb3.TrialCallback:
              defer_training: while_correcting
              save_path: runs/model.zip
        replay_buffer_class: cogment_lab.integrations.sb3.TakeoverReplayBuffer
        replay_buffer_kwargs: {boundary: penalty, switch_penalty: 0.5}
        """
    )

    def find(path):
        module, name = path.rsplit(".", 1)
        return getattr(importlib.import_module(module), name)

    ((callback_path, callback_kwargs),) = config["callback"][0].items()
    model = make_dqn(
        make("CartPole-v1", always_zero),
        replay_buffer_class=find(config["replay_buffer_class"]),
        replay_buffer_kwargs=config["replay_buffer_kwargs"],
    )
    model.learn(20, callback=[find(callback_path)(**callback_kwargs)])
    assert isinstance(model.replay_buffer, TakeoverReplayBuffer)
    assert model.replay_buffer.boundary == "penalty"


def test_a_step_in_which_nothing_happens_costs_next_to_nothing(make):
    class Bare(BaseCallback):
        def _on_step(self):
            return True

    env = make("Pendulum-v1", SimulatedHuman(lambda observation: 0, gate=lambda observation, proposed: False))
    model = make_sac(env)
    seconds = {}
    for callback in (Bare(), TrialCallback()):
        model.learn(5, callback=callback)
        callback._next_report = time.monotonic() + 100.0
        callback._needs_attention = False
        seconds[type(callback)] = min(timeit.repeat(callback.on_step, number=2000, repeat=20)) / 2000
    assert seconds[TrialCallback] - seconds[Bare] < 2e-6  # 0.4 us when nothing else runs
