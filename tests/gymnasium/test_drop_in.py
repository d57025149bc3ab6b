"""To its user, a trial environment is the environment it was made from."""

import copy
import pickle
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from cogment_lab.integrations.gymnasium.registration import check_registered
from gymnasium.utils.env_checker import check_env, data_equivalence

import cogment_lab
from cogment_lab.errors import ConfigurationError, TrialStateError, UnknownEnvironmentError

TEN = [
    "CartPole-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Pendulum-v1",
    "Acrobot-v1",
    "LunarLander-v3",
    "BipedalWalker-v3",
    "FrozenLake-v1",
    "Taxi-v4",
    "Blackjack-v1",
]


def complaints_of(env: gym.Env[Any, Any], check: Any) -> set[str]:
    failures = set()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check(env)
        except Exception as error:  # what fails on the bare environment may fail on ours
            failures.add(repr(error))
    return failures | {str(warning.message) for warning in caught}


@pytest.mark.parametrize("env_id", TEN)
def test_gymnasiums_checker_says_nothing_new(env_id: str) -> None:
    bare = complaints_of(gym.make(env_id).unwrapped, check_env)
    ours = complaints_of(gym.make(f"cogment_lab/{env_id}", store=None), check_env)
    assert ours - bare == set()


@pytest.mark.parametrize("env_id", TEN)
def test_sb3s_checker_says_nothing_new(env_id: str) -> None:
    from stable_baselines3.common.env_checker import check_env as sb3_check

    bare = complaints_of(gym.make(env_id), sb3_check)
    ours = complaints_of(gym.make(f"cogment_lab/{env_id}", store=None), sb3_check)
    assert ours - bare == set()


@pytest.mark.parametrize("env_id", TEN)
def test_same_seed_and_actions_give_the_same_transitions(env_id: str) -> None:
    bare, ours = gym.make(env_id), cogment_lab.make(env_id, store=None)
    bare.action_space.seed(3)
    for seed in (7, None, None, 8):
        expected, expected_info = bare.reset(seed=seed)
        observation, info = ours.reset(seed=seed)
        assert data_equivalence(observation, expected, exact=True)
        assert info.pop("trial_id") == ours.trial_id
        assert data_equivalence(info, expected_info, exact=True)
        for _ in range(60):
            action = bare.action_space.sample()
            theirs, mine = bare.step(action), ours.step(action)
            assert data_equivalence(mine[:4], theirs[:4], exact=True)
            assert data_equivalence({key: mine[4][key] for key in theirs[4]}, theirs[4], exact=True)
            if theirs[2] or theirs[3]:
                break
    ours.close()


def test_it_looks_like_the_environment_inside() -> None:
    env = cogment_lab.make("CartPole-v1", store=None, render_mode="rgb_array")
    bare = gym.make("CartPole-v1", render_mode="rgb_array")
    assert env.unwrapped is env
    assert env.observation_space == bare.observation_space
    assert env.action_space == bare.action_space
    assert env.metadata == bare.metadata
    assert env.render_mode == "rgb_array"
    env.reset(seed=5)
    assert env.np_random_seed == 5
    assert env.np_random is env.env.unwrapped.np_random
    assert env.force_mag == 10.0
    assert env.render().shape == (400, 600, 3)
    with pytest.raises(AttributeError):
        env.no_such_attribute  # noqa: B018


def test_attributes_are_set_where_they_live() -> None:
    env = cogment_lab.make("CartPole-v1", store=None)
    env.set_wrapper_attr("gravity", 1.0)
    assert env.env.unwrapped.gravity == 1.0
    env.set_wrapper_attr("render_mode", None)
    assert "render_mode" in vars(env)


def test_its_spec_makes_it_again() -> None:
    for env in (
        cogment_lab.make("CartPole-v1", store=None, info_keys="fixed", max_episode_steps=9),
        gym.make("cogment_lab/CartPole-v1", store=None, info_keys="fixed"),
    ):
        again = env.spec.make()
        assert isinstance(again, cogment_lab.TrialEnv)
        assert again.config.rules == env.unwrapped.config.rules
        assert again.config.store is None
        assert str(again) == str(env)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_it_can_be_copied_and_pickled(duplicate: Any) -> None:
    env = cogment_lab.make("LunarLander-v3", store=None, fps=12)
    env.reset(seed=1)
    other = duplicate(env)
    observation, _ = other.reset(seed=1)
    np.testing.assert_array_equal(observation, env.reset(seed=1)[0])
    assert other.trial.fps == 12
    assert other.trial_id != env.trial_id


def test_time_limits_apply_inside_the_trial() -> None:
    env = cogment_lab.make("CartPole-v1", store=None, max_episode_steps=3)
    env.reset(seed=1)
    flags = [env.step(action)[2:4] for action in (0, 1, 0)]
    assert flags == [(False, False), (False, False), (False, True)]


@pytest.mark.parametrize(("asked", "length"), [(None, 200), (5, 5), (300, 300)])
def test_the_time_limit_of_gymnasium_make_applies_inside_the_trial(asked: int | None, length: int) -> None:
    with cogment_lab.TrialStore(":memory:") as store:
        env = gym.make("cogment_lab/MountainCar-v0", max_episode_steps=asked, store=store)
        for again in (env, gym.make(env.spec)):
            again.reset(seed=1)
            steps = 1
            while not any(again.step(1)[2:4]):
                steps += 1
            assert steps == length
            again.close()
        store.flush()
        assert [(info.n_ticks, info.end_reason) for info in store.trials()] == [(length, "truncated")] * 2


def test_gymnasium_make_may_take_the_time_limit_away() -> None:
    env = gym.make("cogment_lab/MountainCar-v0", max_episode_steps=-1, store=None)
    env.reset(seed=1)
    assert not any(env.step(1)[3] for _ in range(201))


def test_a_callable_or_an_environment_will_do() -> None:
    class Corridor(gym.Env[int, int]):
        observation_space = gym.spaces.Discrete(3)
        action_space = gym.spaces.Discrete(2)

        def __init__(self, start: int = 0) -> None:
            self.start = start

        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            super().reset(seed=seed)
            return self.start, {}

        def step(self, action: int) -> Any:
            return self.start, 0.0, False, False, {}

    assert cogment_lab.make(Corridor, start=2, store=None).reset()[0] == 2
    env = cogment_lab.make(Corridor(1), store=None)
    assert env.reset()[0] == 1
    assert env.spec is None


def test_step_needs_a_running_trial() -> None:
    env = cogment_lab.make("CartPole-v1", store=None, max_episode_steps=1)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(0)
    env.reset()
    env.step(0)
    with pytest.raises(TrialStateError, match="reset"):
        env.step(0)
    env.close()
    env.close()
    with pytest.raises(TrialStateError, match="reset"):
        env.step(0)
    env.reset()
    env.step(0)


def test_unknown_ids_suggest_near_ones() -> None:
    with pytest.raises(UnknownEnvironmentError, match="'LunarLander-v3'"):
        cogment_lab.make("LunarLandr-v3")
    with pytest.warns(DeprecationWarning), pytest.raises(UnknownEnvironmentError, match="register_envs"):
        cogment_lab.make("cogment_lab/LunarLander-v2")
    with pytest.raises(gym.error.NameNotFound):
        gym.make("cogment_lab/LunarLandr-v3")


@pytest.mark.parametrize(
    "wrong",
    [
        {"pace": "warp"},
        {"fps": 0},
        {"mix": "blend"},
        {"mix": "add"},
        {"record": "some"},
        {"teacher": "gamepad"},
        {"teacher": 3},
    ],
)
def test_wrong_parameters_are_refused_before_anything_opens(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        cogment_lab.make("CartPole-v1", store=None, **wrong)


def test_ids_of_a_module_that_registers_them_are_known() -> None:
    check_registered("CartPole-v1")
    check_registered("gymnasium.envs.classic_control:CartPole-v1")
    for unknown in (
        "CartPole-v77",
        "gymnasium.envs.classic_control:CartPole-v77",
        "no_such_module:CartPole-v1",
    ):
        with pytest.raises(UnknownEnvironmentError, match="no environment"):
            check_registered(unknown)


def test_environments_registered_later_can_be_added() -> None:
    gym.register("LateCorridor-v0", entry_point="gymnasium.envs.classic_control:CartPoleEnv")
    try:
        assert cogment_lab.register_envs() == 1
        gym.make("cogment_lab/LateCorridor-v0", store=None).reset()
    finally:
        del gym.registry["LateCorridor-v0"], gym.registry["cogment_lab/LateCorridor-v0"]


def test_the_callers_action_may_change_afterwards() -> None:
    env = cogment_lab.make("Pendulum-v1", store=None)
    env.reset(seed=1)
    action = np.array([0.5], dtype=np.float32)
    info = env.step(action)[4]
    action[:] = 9.0
    assert info["proposed_action"] == info["executed_action"] == 0.5


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_vector_environments_work(mode: str) -> None:
    for autoreset in gym.vector.AutoresetMode:
        envs = gym.make_vec(
            "cogment_lab/CartPole-v1",
            num_envs=2,
            vectorization_mode=mode,
            vector_kwargs={"autoreset_mode": autoreset},
            store=None,
            max_episode_steps=5,
        )
        envs.reset(seed=1)
        ended = np.zeros(2, dtype=bool)
        told: set[str] = set()
        for _ in range(12):
            if autoreset is gym.vector.AutoresetMode.DISABLED and ended.any():
                envs.reset(options={"reset_mask": ended})
            _, _, terminated, truncated, infos = envs.step(np.array([0, 1]))
            ended = terminated | truncated
            told |= set(infos)
        assert told >= {"tick", "is_intervention", "proposed_action"}
        envs.close()
