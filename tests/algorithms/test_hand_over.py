"""What was learned offline goes on in SAC, TD3, PPO and DQN, and survives it."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from cogment_lab.algorithms import AWAC, BC, CQL, IQL, TD3BC, CalQL, DiscreteCQL
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import cogment_lab
from cogment_lab.errors import ConfigurationError

SMALL = {"net_arch": [32, 32]}


class Hold(gym.Env):
    """Push a cart back to the middle; the reward is minus the squared distance; 30 steps."""

    observation_space = gym.spaces.Box(-2.0, 2.0, (2,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state, self.left = self.np_random.uniform(-1.0, 1.0, 2), 30
        return self.state.astype(np.float32), {}

    def step(self, action):
        position, velocity = self.state
        velocity = 0.8 * velocity + 0.3 * float(np.clip(action[0], -1.0, 1.0))
        self.state = np.clip([position + 0.3 * velocity, velocity], -2.0, 2.0)
        self.left -= 1
        return self.state.astype(np.float32), -float(self.state[0] ** 2), False, self.left == 0, {}


class Discretely(Hold):
    action_space = gym.spaces.Discrete(2)

    def step(self, action):
        return super().step([2.0 * action - 1.0])


def hold(observation):
    return np.array([np.clip(-2.0 * observation[0] - 1.5 * observation[1], -1.0, 1.0)], np.float32)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with cogment_lab.TrialStore(tmp_path_factory.mktemp("hold") / "hold.db") as records:
        cogment_lab.run(Hold, hold, trials=30, seed=1, store=records)
        yield records


@pytest.fixture(scope="module")
def discrete_store(tmp_path_factory):
    with cogment_lab.TrialStore(tmp_path_factory.mktemp("hold") / "discretely.db") as records:
        cogment_lab.run(Discretely, lambda o: int(hold(o)[0] > 0.0), trials=20, seed=1, store=records)
        yield records


def offline(algorithm, store, steps=20, **kwargs):
    kwargs = {"policy_kwargs": dict(SMALL), "seed": 1, "device": "cpu", "batch_size": 64, **kwargs}
    return algorithm("MlpPolicy", store, **kwargs).learn(steps)


def online(algorithm, env=None, **kwargs):
    kwargs = {"policy_kwargs": dict(SMALL), "seed": 1, "device": "cpu", **kwargs}
    if algorithm in (SAC, TD3, DQN):
        kwargs = {"buffer_size": 5000, "batch_size": 64, **kwargs}
    return algorithm("MlpPolicy", env or Hold(), **kwargs)


def actions_of(model):
    grid = np.random.default_rng(0).uniform(-1.0, 1.0, (40, 2)).astype(np.float32)
    return model.predict(grid, deterministic=True)[0]


def score(model):
    return evaluate_policy(model, Hold(), n_eval_episodes=10, warn=False)[0]


@pytest.mark.parametrize(
    ("source", "options", "target"),
    [
        (BC, {}, SAC),
        (BC, {}, TD3),
        (BC, {"actor_of": TD3}, TD3),
        (BC, {"actor_of": TD3}, SAC),
        (BC, {"actor_of": PPO}, PPO),
        (BC, {"actor_of": A2C}, A2C),
        (IQL, {}, SAC),
        (AWAC, {}, SAC),
        (CQL, {}, SAC),
        (CalQL, {}, SAC),
        (TD3BC, {}, TD3),
        (TD3BC, {}, SAC),
    ],
)
def test_the_model_acts_as_was_learned(source, options, target, store):
    learned = offline(source, store, **options)
    model = online(target)
    learned.into(model, warm_up=2)
    np.testing.assert_allclose(actions_of(model), actions_of(learned), atol=1e-5)
    model.learn(40)


def test_values_are_copied_in_the_rewards_own_units(store):
    learned = offline(IQL, store, 200)
    model = online(SAC)
    learned.into(model, warm_up=0)
    observations, actions = torch.zeros(1, 2), torch.zeros(1, 1)
    theirs = torch.cat(learned.critic(observations, actions), 1) / learned.scaled_by
    assert learned.scaled_by != 1.0
    torch.testing.assert_close(torch.cat(model.critic(observations, actions), 1), theirs)
    torch.testing.assert_close(torch.cat(model.critic_target(observations, actions), 1), theirs)


def test_the_data_fill_the_replay_buffer_and_nothing_starts_at_random(store):
    model = online(SAC)
    offline(BC, store).into(model, warm_up=1)
    assert model.replay_buffer.size() == 900 and model.learning_starts == 0
    assert float(model.log_ent_coef.detach().exp()) == pytest.approx(0.01)
    assert model.replay_buffer.timeouts[:900].sum() == 30
    empty = online(SAC)
    offline(BC, store).into(empty, warm_up=1, fill_buffer=False)
    assert empty.replay_buffer.size() == 0


def test_a_warm_critic_keeps_what_was_cloned(store):
    cloned = offline(BC, store, 600)
    assert score(cloned) > -2.0
    cold, warm = (online(SAC, learning_rate=1e-3) for _ in range(2))
    cloned.into(cold, warm_up=0)
    cloned.into(warm, warm_up=300)
    assert score(cold.learn(300)) < -10.0
    assert score(warm.learn(300)) > -5.0


def test_cal_ql_goes_on_holding_values_back_on_line(store):
    def gap_after(hold):
        model = online(SAC, learning_rate=1e-3)
        torch.manual_seed(0)
        offline(CalQL, store, 100).into(model, hold=hold)
        model.learn(100)
        observations = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (200, 2)).astype(np.float32))
        with torch.no_grad():
            tried = torch.cat(model.critic(observations, model.actor(observations)), 1)
            extreme = torch.cat(model.critic(observations, torch.ones(200, 1)), 1)
        return float((extreme - tried).mean())

    assert gap_after(None) < gap_after(0)


def test_the_regulariser_fades_and_leaves(store):
    model = online(SAC)
    offline(IQL, store).into(model, warm_up=0, hold=7)
    hooks = model.critic.optimizer._optimizer_step_pre_hooks
    assert len(hooks) == 1
    model.learn(8)
    assert not hooks


def test_only_critics_of_actions_can_be_held(store, tmp_path):
    with pytest.raises(ConfigurationError, match="hold=5"):
        offline(BC, store, 1, actor_of=PPO).into(online(PPO), warm_up=1, hold=5)
    offline(CalQL, store, 1).save(tmp_path / "cal_ql.zip")
    loaded = CalQL.load(tmp_path / "cal_ql.zip")
    with pytest.raises(ConfigurationError, match="set_data"):
        loaded.into(online(SAC), hold=5)
    loaded.into(online(SAC))


def test_values_of_ppo_are_fitted_to_the_returns(store):
    model = online(PPO)
    offline(BC, store, actor_of=PPO).into(model, warm_up=400)
    values = [
        float(model.policy.predict_values(torch.tensor([[position, 0.0]])).detach())
        for position in (0.0, 1.0)
    ]
    assert values[0] > values[1] + 0.5


def test_a_narrow_clone_is_wide_enough_for_ppo(store):
    cloned = offline(BC, store, actor_of=PPO)
    cloned.policy.log_std.data.fill_(-8.0)
    model = online(PPO)
    cloned.into(model, warm_up=0)
    assert float(model.policy.log_std.detach()) == -3.0  # a bound of Hold's actions is 1
    np.testing.assert_array_equal(actions_of(model), actions_of(cloned))


def test_discrete_values_go_on_in_dqn(discrete_store, tmp_path):
    learned = offline(DiscreteCQL, discrete_store, 200)
    model = online(DQN, Discretely())
    learned.into(model)
    assert (actions_of(model) == actions_of(learned)).all()
    model.learn(20)
    assert model.exploration_rate == model.exploration_final_eps
    model.save(tmp_path / "dqn.zip")
    assert (actions_of(DQN.load(tmp_path / "dqn.zip")) == actions_of(model)).all()


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (IQL, PPO, r"actor_of=PPO"),
        (IQL, TD3, None),
    ],
)
def test_only_what_fits_goes_over(source, target, message, store):
    learned = offline(source, store, 1)
    if message is None:
        learned.into(online(target), warm_up=0)
    else:
        with pytest.raises(ConfigurationError, match=message):
            learned.into(online(target))


def test_other_layers_and_other_spaces_are_errors(store, discrete_store):
    learned = offline(BC, store, 1)
    with pytest.raises(ConfigurationError, match="policy_kwargs"):
        learned.into(online(SAC, policy_kwargs={"net_arch": [8]}))
    with pytest.raises(ConfigurationError, match="spaces"):
        learned.into(SAC("MlpPolicy", "Pendulum-v1", buffer_size=10))
    with pytest.raises(ConfigurationError, match="DiscreteCQL"):
        offline(BC, discrete_store, 1).into(online(DQN, Discretely()))


def test_normalised_observations_are_refused(store):
    with pytest.raises(ConfigurationError, match="leave VecNormalize out"):
        offline(BC, store, 1).into(online(SAC, VecNormalize(DummyVecEnv([Hold]))))


def test_a_model_of_several_environments_takes_over_all_data(store):
    model = online(SAC, DummyVecEnv([Hold, Hold, Hold]))
    offline(BC, store, 1).into(model, warm_up=1)
    assert model.replay_buffer.size() * 3 == 900
    model.learn(12)


def test_a_model_without_data_can_be_handed_over_but_not_warmed_up(store, tmp_path):
    offline(BC, store, 1).save(tmp_path / "bc.zip")
    loaded = BC.load(tmp_path / "bc.zip")
    with pytest.raises(ConfigurationError, match="set_data"):
        loaded.into(online(SAC))
    loaded.into(online(SAC), warm_up=0)
