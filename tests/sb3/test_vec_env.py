"""Vector environments of trials, and the import without Stable-Baselines3."""

import importlib
import sys

import cogment_lab.integrations.sb3 as sb3
import gymnasium as gym
import pytest
from cogment_lab.integrations.sb3 import make_trial_vec_env
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.monitor import Monitor

import cogment_lab
from cogment_lab.errors import ConfigurationError, MissingExtraError


def test_people_sit_in_one_environment(always_zero):
    envs = make_trial_vec_env("CartPole-v1", 3, human_index=2, teacher=always_zero, store=None)
    assert envs.get_attr("has_teacher") == [False, False, True]
    assert all(is_wrapped(env, Monitor) for env in envs.envs)


def test_seeds_count_up():
    first = make_trial_vec_env("CartPole-v1", 2, seed=7, store=None).reset()
    again = make_trial_vec_env("CartPole-v1", 2, seed=7, store=None).reset()
    shifted = make_trial_vec_env("CartPole-v1", 1, seed=8, store=None).reset()
    assert (first == again).all()
    assert (first[1] == shifted[0]).all()


def test_all_trials_are_recorded_in_one_store(tmp_path):
    envs = make_trial_vec_env("CartPole-v1", 2, store=tmp_path / "trials.db", max_episode_steps=5)
    DQN("MlpPolicy", envs, learning_starts=1000, buffer_size=100, train_freq=1).learn(20)
    envs.close()
    with cogment_lab.TrialStore(tmp_path / "trials.db") as store:
        assert sum(info.n_ticks for info in store.trials()) == 20


def test_wrappers_and_monitor_files(tmp_path):
    class Outermost(gym.Wrapper):
        def __init__(self, env, word):
            super().__init__(env)
            self.word = word

    envs = make_trial_vec_env(
        "CartPole-v1",
        2,
        store=None,
        wrapper_class=Outermost,
        wrapper_kwargs={"word": "hello"},
        monitor_dir=str(tmp_path / "monitor"),
    )
    assert envs.get_attr("word") == ["hello", "hello"]
    assert (tmp_path / "monitor" / "1.monitor.csv").exists()
    envs.close()


@pytest.mark.parametrize("wrong", [{"n_envs": 0}, {"n_envs": 2, "human_index": 2}])
def test_impossible_numbers_are_refused(wrong):
    with pytest.raises(ConfigurationError):
        make_trial_vec_env("CartPole-v1", **wrong)


def test_one_environment_cannot_be_many():
    with pytest.raises(ConfigurationError, match="anew"):
        make_trial_vec_env(gym.make("CartPole-v1"), 2)


def test_all_that_is_exported_exists():
    assert sorted(dir(sb3)) == sorted(sb3.__all__)
    assert all(getattr(sb3, name) is not None for name in sb3.__all__)
    with pytest.raises(AttributeError):
        sb3.TrialCallbak  # noqa: B018


def test_without_the_extra_the_import_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    monkeypatch.delitem(sys.modules, "cogment_lab.integrations.sb3")
    with pytest.raises(MissingExtraError, match=r'pip install "cogment_lab\[sb3\]"'):
        importlib.import_module("cogment_lab.integrations.sb3")
