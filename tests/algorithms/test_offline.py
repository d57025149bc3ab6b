"""What every offline algorithm does: learn, save, load, predict, report, and complain clearly."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from cogment_lab.algorithms import AWAC, BC, CQL, IQL, TD3BC, CalQL, DiscreteCQL
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback

import cogment_lab
from cogment_lab.errors import ConfigurationError, LearningError
from cogment_lab.humans.scripted import scripted_policy

CONTINUOUS = [BC, IQL, TD3BC, AWAC, CQL, CalQL]
BETTER = [IQL, TD3BC, AWAC, CQL, CalQL]
SMALL = {"net_arch": [32]}


def learner(algorithm, data, env, **kwargs):
    kwargs = {"learning_rate": 1e-2, "batch_size": 64, "seed": 1, "device": "cpu", **kwargs}
    return algorithm("MlpPolicy", data, env=env, policy_kwargs=dict(SMALL), **kwargs)


def actions_of(model):
    grid = np.random.default_rng(1).uniform(-1.0, 1.0, (50, 2)).astype(np.float32)
    return model.predict(grid, deterministic=True)[0]


def mean_action(model):
    return float(actions_of(model).mean())


def test_cloning_returns_the_mean_of_what_was_done(bandit, box_spaces):
    assert abs(mean_action(learner(BC, bandit(), box_spaces).learn(300))) < 0.15


@pytest.mark.parametrize("algorithm", BETTER)
def test_offline_learning_finds_the_better_actions(algorithm, bandit, box_spaces):
    options = {"reward_scale": 3.0} if algorithm in (IQL, AWAC) else {}
    if algorithm in (CQL, CalQL):
        options = {"conservatism": 0.1}
    assert mean_action(learner(algorithm, bandit(), box_spaces, **options).learn(400)) > 0.25


def test_discrete_learning_finds_the_rare_better_action(bandit, discrete_spaces):
    data = bandit(discrete=True)
    cloned = learner(BC, data, discrete_spaces).learn(150)
    learned = learner(DiscreteCQL, data, discrete_spaces, conservatism=0.05).learn(300)
    assert (actions_of(cloned) == 0).mean() > 0.9
    assert (actions_of(learned) == 2).mean() > 0.9


@pytest.mark.parametrize("algorithm", CONTINUOUS)
def test_the_same_seed_learns_the_same(algorithm, bandit, box_spaces):
    runs = [actions_of(learner(algorithm, bandit(), box_spaces).learn(10)) for _ in range(2)]
    np.testing.assert_array_equal(*runs)


@pytest.mark.parametrize("algorithm", CONTINUOUS)
def test_a_saved_model_predicts_and_goes_on_the_same(algorithm, bandit, box_spaces, tmp_path):
    model = learner(algorithm, bandit(), box_spaces).learn(10)
    model.save(tmp_path / "model.zip")
    loaded = algorithm.load(tmp_path / "model.zip")
    np.testing.assert_array_equal(actions_of(loaded), actions_of(model))
    with pytest.raises(ConfigurationError, match="set_data"):
        loaded.learn(1)
    loaded.set_data(bandit())
    before = {name: value.clone() for name, value in loaded.policy.state_dict().items()}
    loaded.learn(5)
    assert any(not torch.equal(value, before[name]) for name, value in loaded.policy.state_dict().items())


@pytest.mark.parametrize("actor_of", [SAC, TD3, PPO])
def test_every_actor_clones(actor_of, bandit, box_spaces):
    data = bandit()
    data["actions"] = 0.8 * data["observations"][:, :1]
    model = learner(BC, data, box_spaces, actor_of=actor_of).learn(400)
    grid = np.random.default_rng(2).uniform(-1.0, 1.0, (50, 2)).astype(np.float32)
    np.testing.assert_allclose(model.predict(grid, deterministic=True)[0], 0.8 * grid[:, :1], atol=0.15)


def test_actions_in_the_environments_units_come_back_in_them(bandit, box_spaces):
    box_spaces.action_space = gym.spaces.Box(0.0, 10.0, (1,), np.float32)
    data = bandit()
    data["actions"] = np.full_like(data["actions"], 7.0)
    for actor_of in (SAC, PPO):
        model = learner(BC, data, box_spaces, actor_of=actor_of).learn(400)
        assert mean_action(model) == pytest.approx(7.0, abs=0.5)


def test_callbacks_loggers_and_schedules_are_stable_baselines(bandit, box_spaces, tmp_path):
    class Stop(BaseCallback):
        def _on_step(self):
            return self.n_calls < 7

    model = learner(
        IQL, bandit(), box_spaces, tensorboard_log=str(tmp_path), learning_rate=lambda left: left / 100
    )
    model.learn(10, log_interval=5)
    assert model.actor.optimizer.param_groups[0]["lr"] == pytest.approx(0.001)
    assert list(tmp_path.glob("IQL_1/events*"))
    assert model.learn(10, callback=Stop()).num_timesteps == 7


def test_an_eval_callback_evaluates_while_it_learns(tmp_path):
    store = cogment_lab.TrialStore(":memory:")
    cogment_lab.run("Pendulum-v1", scripted_policy("Pendulum-v1"), 1, seed=1, store=store)
    model = IQL("MlpPolicy", store, policy_kwargs=SMALL, seed=1)
    callback = EvalCallback(
        gym.make("Pendulum-v1"), eval_freq=5, n_eval_episodes=1, log_path=str(tmp_path), verbose=0, warn=False
    )
    model.learn(10, callback=callback)
    assert len(np.load(tmp_path / "evaluations.npz")["results"]) == 2


def test_discrete_data_offered_to_a_continuous_algorithm_names_the_right_one(bandit, discrete_spaces):
    with pytest.raises(ConfigurationError, match="use BC, or DiscreteCQL"):
        learner(IQL, bandit(discrete=True), discrete_spaces)


def test_continuous_data_offered_to_a_discrete_algorithm_names_the_right_one(bandit, box_spaces):
    with pytest.raises(ConfigurationError, match="IQL"):
        learner(DiscreteCQL, bandit(), box_spaces)


def test_losses_that_are_not_finite_stop_learning(bandit, box_spaces):
    data = bandit()
    data["rewards"] = data["rewards"] * 1e30
    with pytest.raises(LearningError, match="reward_scale"):
        learner(TD3BC, data, box_spaces, reward_scale=1.0).learn(5)


@pytest.mark.parametrize(
    ("algorithm", "arguments"),
    [
        (IQL, {"expectile": 1.0}),
        (IQL, {"gamma": 1.5}),
        (AWAC, {"temperature": 0.0}),
        (TD3BC, {"policy_delay": 0}),
        (CQL, {"n_actions": 0}),
        (BC, {"batch_size": 0}),
        (BC, {"actor_of": int}),
        (CalQL, {"reward_scale": -1.0}),
    ],
)
def test_parameters_that_cannot_work_are_errors(algorithm, arguments, bandit, box_spaces):
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        learner(algorithm, bandit(10), box_spaces, **arguments)
