"""What every offline algorithm does: learn, save, load, predict, report, and complain clearly."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from cogment_lab.algorithms import AWAC, BC, CQL, IQL, TD3BC, CalQL, DiscreteCQL
from cogment_lab.algorithms.offline_batches import OfflineBuffer
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

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


@pytest.fixture
def data_for(bandit, box_spaces, discrete_spaces):
    """Arrays and their spaces, that an algorithm can learn from."""

    def choose(algorithm):
        is_discrete = algorithm is DiscreteCQL
        return bandit(discrete=is_discrete), discrete_spaces if is_discrete else box_spaces

    return choose


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


@pytest.mark.parametrize("algorithm", [*CONTINUOUS, DiscreteCQL])
def test_the_same_seed_learns_the_same(algorithm, data_for):
    runs = [learner(algorithm, *data_for(algorithm)).learn(10).policy.state_dict() for _ in range(2)]
    for name, value in runs[0].items():
        assert torch.equal(value, runs[1][name]), name
    other = learner(algorithm, *data_for(algorithm), seed=2).learn(10).policy.state_dict()
    assert any(not torch.equal(value, other[name]) for name, value in runs[0].items())


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [*((algorithm, {}) for algorithm in [*CONTINUOUS, DiscreteCQL]), (CQL, {"target_gap": 1.0})],
)
def test_a_saved_model_predicts_and_goes_on_the_same(algorithm, options, data_for, tmp_path):
    data, env = data_for(algorithm)
    model = learner(algorithm, data, env, **options).learn(10)
    model.save(tmp_path / "model.zip")
    loaded = algorithm.load(tmp_path / "model.zip")
    np.testing.assert_array_equal(actions_of(loaded), actions_of(model))
    with pytest.raises(ConfigurationError, match="set_data"):
        loaded.learn(1)
    loaded.set_data(data)
    for each in (model, loaded):
        each.buffer = OfflineBuffer(each.data, each.observation_space, each.scaled_by, 0.99, each.device, 5)
        torch.manual_seed(5)
        each.learn(5)
    for name, value in model.policy.state_dict().items():
        assert torch.equal(value, loaded.policy.state_dict()[name]), name


def test_units_of_the_critics_stay_when_the_data_change(bandit, box_spaces):
    model = learner(IQL, bandit(), box_spaces).learn(1)
    scaled_by = model.scaled_by
    data = bandit(seed=1)
    model.set_data({**data, "rewards": 100.0 * data["rewards"]})
    assert model.scaled_by == scaled_by
    torch.testing.assert_close(
        model.buffer.rewards[:, 0], torch.tensor(100.0 * scaled_by * data["rewards"], dtype=torch.float32)
    )


def test_predicting_in_a_callback_leaves_the_networks_in_training_mode(bandit, box_spaces):
    class Predict(BaseCallback):
        def _on_step(self):
            seen.append(self.model.policy.training)
            self.model.predict(np.zeros(2, np.float32))
            return True

    seen = []
    model = learner(IQL, bandit(), box_spaces).learn(3, callback=Predict())
    assert seen == [True, True, True] and not model.policy.training


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
    logged = EventAccumulator(str(next(tmp_path.glob("IQL_1/events*")))).Reload()
    losses = ("actor_loss", "critic_loss", "value_loss", "learning_rate")
    assert {"time/fps", *(f"train/{name}" for name in losses)} <= set(logged.Tags()["scalars"])
    assert [event.step for event in logged.Scalars("train/actor_loss")] == [5, 10]
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


def test_state_dependent_exploration_is_refused(bandit, box_spaces):
    with pytest.raises(ConfigurationError, match="use_sde"):
        AWAC("MlpPolicy", bandit(10), env=box_spaces, policy_kwargs={"use_sde": True})


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
        (CQL, {"target_gap": 1.0, "conservatism": 0.0}),
        (BC, {"batch_size": 0}),
        (BC, {"actor_of": int}),
        (CalQL, {"reward_scale": -1.0}),
    ],
)
def test_parameters_that_cannot_work_are_errors(algorithm, arguments, bandit, box_spaces):
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        learner(algorithm, bandit(10), box_spaces, **arguments)
