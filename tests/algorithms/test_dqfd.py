"""DQfD: what becomes a demonstration, what is learned from it, and that the rest is DQN."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from cogment_lab.algorithms import DQfD
from cogment_lab.integrations.sb3 import TakeoverReplayBuffer, TrialCallback, make_trial_vec_env
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

import cogment_lab
from cogment_lab.errors import ConfigurationError, WrongBufferError
from cogment_lab.humans import SimulatedHuman


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def balance(observation):
    return int(observation[2] + 0.4 * observation[3] > 0.0)


def every_third(policy=lambda observation: 0):
    ticks = iter(range(10**9))
    return SimulatedHuman(policy, gate=lambda observation, proposed: next(ticks) % 3 == 2)


def make_model(env=None, **kwargs):
    if env is None:
        env = cogment_lab.make("CartPole-v1", store=None)
    dictionary = isinstance(env.observation_space, gym.spaces.Dict)
    kwargs = {
        "learning_starts": 10,
        "buffer_size": 1000,
        "batch_size": 8,
        "train_freq": 1,
        "policy_kwargs": {"net_arch": [16]},
        "seed": 1,
        "device": "cpu",
        **kwargs,
    }
    return DQfD("MultiInputPolicy" if dictionary else "MlpPolicy", env, **kwargs)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with three demonstrations of balancing."""
    with cogment_lab.TrialStore(tmp_path_factory.mktemp("demos") / "demos.db") as demos:
        cogment_lab.run("CartPole-v1", balance, trials=3, seed=1, store=demos, max_episode_steps=150)
        yield demos


@pytest.mark.parametrize("callback", [None, TrialCallback()])
def test_takeovers_go_into_both_buffers(callback):
    model = make_model(cogment_lab.make("CartPole-v1", teacher=every_third(), store=None))
    model.learn(30, callback=callback)
    own, demos = model.replay_buffer, model.demo_buffer
    flagged = np.flatnonzero(own.is_intervention[:30, 0])
    assert demos.size() == len(flagged) == 10
    for name in ("observations", "next_observations", "actions", "rewards", "dones", "proposed_actions"):
        np.testing.assert_array_equal(getattr(demos, name)[:10], getattr(own, name)[flagged])


def test_takeovers_in_one_of_several_environments():
    envs = make_trial_vec_env("CartPole-v1", 3, human_index=1, teacher=every_third(), store=None)
    model = make_model(envs)
    model.learn(30)
    flagged = model.replay_buffer.is_intervention[:10]
    assert flagged.sum(0).tolist() == [0, 3, 0]
    np.testing.assert_array_equal(
        model.demo_buffer.observations[:3, 0], model.replay_buffer.observations[:10][flagged]
    )


def test_dict_observations():
    env = cogment_lab.make(lambda: BitFlippingEnv(4), teacher=every_third(), store=None)
    model = make_model(env)
    model.learn(30)
    assert model.demo_buffer.size() == 10


def test_a_memory_optimised_replay_buffer():
    env = cogment_lab.make("CartPole-v1", teacher=every_third(), store=None)
    options = {"replay_buffer_kwargs": {"handle_timeout_termination": False}, "optimize_memory_usage": True}
    model = make_model(env, **options)
    model.learn(30)
    demos = model.demo_buffer
    moved = np.abs(demos.next_observations[:10] - demos.observations[:10]).sum((1, 2))
    assert demos.size() == 10 and (moved > 0).all() and (moved < 2).all()


def test_steps_without_a_hand_on_the_controls_show_nothing():
    model = make_model(cogment_lab.make("CartPole-v1", teacher=lambda observation: None, store=None))
    model.learn(20)
    assert model.replay_buffer.is_intervention[:20].all()
    assert model.demo_buffer.size() == 0


def test_demonstrations_come_from_a_store(store):
    model = make_model()
    assert model.add_demonstrations(store, env_id="CartPole-v1") == model.demo_buffer.size() == 450
    assert model.replay_buffer.size() == 0
    assert make_model().add_demonstrations(store.path) == 450
    with pytest.raises(ConfigurationError, match="does not exist"):
        make_model().add_demonstrations("nothing.db")
    with pytest.raises(ConfigurationError, match="source=5 holds no demonstrations"):
        make_model().add_demonstrations(5)


def test_demonstrations_come_from_batches_of_transitions(store):
    batches = list(store.transitions(batch_size=100))
    assert make_model().add_demonstrations(batches) == 450
    assert make_model().add_demonstrations(batches[0]) == 100


def test_demonstrations_come_from_a_query_that_chooses_them_itself(store):
    query = store.query(trial_ids=[next(store.trials()).trial_id])
    assert make_model().add_demonstrations(query) == query.infos[0].n_ticks
    with pytest.raises(ConfigurationError, match="a query chooses trials itself"):
        make_model().add_demonstrations(query, env_id="Acrobot-v1")


def test_a_store_without_them_is_an_error(store):
    with pytest.raises(ConfigurationError, match="Acrobot"):
        make_model().add_demonstrations(store, env_id="Acrobot-v1")


def test_demonstrations_of_another_environment_are_an_error(store):
    with pytest.raises(WrongBufferError, match="observations"):
        make_model(cogment_lab.make("Acrobot-v1", store=None)).add_demonstrations(store)


@pytest.mark.parametrize(("ratio", "expected"), [(0.5, 4), (0.25, 2), (0.0, 0), (1.0, 8)])
def test_a_share_of_each_batch_is_demonstrations(ratio, expected, store, monkeypatch):
    model = make_model(demo_ratio=ratio)
    model.add_demonstrations(store)
    drawn = {"demo": 0, "own": 0}

    def counting(name, buffer):
        sample = buffer.sample

        def count(batch_size, env=None):
            drawn[name] = batch_size
            return sample(batch_size, env)

        monkeypatch.setattr(buffer, "sample", count)

    counting("demo", model.demo_buffer)
    counting("own", model.replay_buffer)
    model.learn(12)
    assert drawn == {"demo": expected, "own": 8 - expected}


def test_without_demonstrations_it_is_double_dqn():
    model = make_model()
    model.learn(20)
    assert model.logger.name_to_value["train/margin_loss"] == 0.0
    assert model.logger.name_to_value["train/demo_size"] == 0


def constant_values(network, values):
    """Make a Q-network say the same of every observation."""
    last = [layer for layer in network.q_net if isinstance(layer, torch.nn.Linear)][-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor(values))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.0], 0.8),  # every other action is less than the margin worse
        ([2.0, 0.0], 0.0),  # the demonstrated action is better by more than the margin
        ([0.0, 2.0], 2.8),
        ([0.5, 0.0], 0.3),
    ],
)
def test_the_margin_loss_is_that_of_the_paper(values, expected):
    model = make_model(cogment_lab.make("CartPole-v1", teacher=lambda observation: 0, store=None))
    model.learn(10)
    constant_values(model.q_net, values)
    model.train(1, 8)
    assert model.logger.name_to_value["train/margin_loss"] == pytest.approx(expected)


@pytest.mark.parametrize(("double_q", "expected"), [(True, 1 + 0.9 * 3.0), (False, 1 + 0.9 * 7.0)])
def test_the_online_network_chooses_and_the_target_network_values(double_q, expected):
    model = make_model(double_q=double_q, gamma=0.9)
    constant_values(model.q_net, [1.0, 0.0])
    constant_values(model.q_net_target, [3.0, 7.0])
    one = torch.ones(2, 1)
    targets = model._targets(torch.zeros(2, 4), torch.tensor([[0.0], [1.0]]), one)
    torch.testing.assert_close(targets, torch.tensor([[expected], [1.0]]))


@pytest.mark.parametrize("margin_weight", [1.0, 0.0])
def test_pretraining_alone_imitates_the_demonstrations_thanks_to_the_margin(margin_weight, store):
    options = {"batch_size": 32, "learning_rate": 3e-3, "target_update_interval": 100}
    model = make_model(
        pretrain_steps=200, margin_weight=margin_weight, policy_kwargs={"net_arch": [64]}, **options
    )
    model.add_demonstrations(store)
    model.learn(1)
    assert model._n_updates == 200
    env = Monitor(gym.make("CartPole-v1"))
    env.reset(seed=3)
    score, _ = evaluate_policy(model, env, 5)
    assert score > 150 if margin_weight else score < 50
    model.learn(1, reset_num_timesteps=False)
    assert model._n_updates == 200


def test_the_same_seed_gives_the_same_model(store):
    def train():
        env = cogment_lab.make("CartPole-v1", teacher=every_third(balance), store=None)
        model = make_model(env, pretrain_steps=5)
        model.add_demonstrations(store)
        model.learn(60)
        return model.get_parameters()["policy"]

    first, again = train(), train()
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_saving_and_loading(tmp_path, store):
    model = make_model(margin=0.5, demo_ratio=0.25)
    model.add_demonstrations(store)
    model.learn(20)
    model.save(tmp_path / "model")
    model.save_demonstrations(tmp_path / "demos")
    env = cogment_lab.make("CartPole-v1", store=None)
    loaded = DQfD.load(tmp_path / "model", env=env)
    assert (loaded.margin, loaded.demo_ratio, loaded.num_timesteps) == (0.5, 0.25, 20)
    assert loaded.demo_buffer.size() == 0
    loaded.load_demonstrations(tmp_path / "demos")
    assert loaded.demo_buffer.size() == 450
    observation, _ = env.reset(seed=1)
    assert (
        loaded.predict(observation, deterministic=True)[0]
        == model.predict(observation, deterministic=True)[0]
    )
    loaded.learn(10, reset_num_timesteps=False)
    assert loaded.num_timesteps == 30


def test_it_logs_what_it_learns(store):
    model = make_model()
    model.add_demonstrations(store)
    model.learn(20)
    logged = model.logger.name_to_value
    assert logged["train/demo_size"] == 450
    assert logged["train/loss"] == pytest.approx(logged["train/td_loss"] + logged["train/margin_loss"])
    assert logged["train/n_updates"] == 10


def test_gradient_steps_can_wait_for_the_end_of_the_trial():
    env = cogment_lab.make("CartPole-v1", teacher=every_third(), store=None, max_episode_steps=8)
    model = make_model(env)
    model.learn(30, callback=TrialCallback(defer_training="while_correcting"))
    assert model._n_updates == 20


def test_the_boundary_reaches_the_replay_buffer():
    env = cogment_lab.make("CartPole-v1", teacher=every_third(), store=None)
    model = make_model(env, boundary="penalty", switch_penalty=5.0)
    model.learn(3)
    np.testing.assert_array_equal(model.replay_buffer.rewards[:3, 0], [1, 1 - 5, 1])


@pytest.mark.parametrize(
    "wrong",
    [{"demo_ratio": 1.5}, {"margin": -1.0}, {"pretrain_steps": -1}, {"demo_buffer_size": 0}, {"n_steps": 3}],
)
def test_impossible_parameters_are_refused(wrong):
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        make_model(**wrong)


def test_a_replay_buffer_that_knows_nothing_of_takeovers_is_refused():
    with pytest.raises(WrongBufferError, match="TakeoverReplayBuffer"):
        make_model(replay_buffer_class=ReplayBuffer)


def test_a_takeover_buffer_of_ones_own_is_accepted():
    class Own(TakeoverReplayBuffer):
        pass

    assert type(make_model(replay_buffer_class=Own).replay_buffer) is Own
