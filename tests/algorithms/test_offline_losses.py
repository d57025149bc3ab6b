"""Each loss against the paper's formula, computed by hand from what the networks return."""

import math

import numpy as np
import pytest
import torch
from cogment_lab.algorithms import AWAC, BC, CQL, IQL, TD3BC, CalQL, DiscreteCQL
from cogment_lab.algorithms.conservative import conservative_values, log_mean_exp_values
from cogment_lab.algorithms.iql import expectile_loss
from cogment_lab.algorithms.offline_batches import OfflineBatch
from cogment_lab.algorithms.offline_networks import Gaussian, policy_of
from gymnasium import spaces
from stable_baselines3 import TD3

OBSERVATIONS = np.array([[0.1, -0.3], [0.7, 0.2], [-0.5, 0.9]], np.float32)
FOLLOWING = np.array([[0.2, 0.4], [-0.1, 0.3], [0.6, -0.8]], np.float32)
ACTIONS = np.array([[0.5], [-0.25], [0.0]], np.float32)
REWARDS = np.array([1.0, -2.0, 3.0])
TERMINATED = np.array([0.0, 1.0, 0.0])
GAMMA = 0.9


def batch(actions=ACTIONS, returns=(0.0, 0.0, 0.0)):
    def column(values):
        return torch.tensor(np.asarray(values), dtype=torch.float32).reshape(-1, 1)

    return OfflineBatch(
        torch.tensor(OBSERVATIONS),
        torch.tensor(actions),
        torch.tensor(FOLLOWING),
        column(REWARDS),
        column(TERMINATED),
        column(returns),
    )


def model_of(algorithm, data, env, **kwargs):
    return algorithm(
        "MlpPolicy",
        data,
        env=env,
        policy_kwargs={"net_arch": [8]},
        seed=3,
        device="cpu",
        gamma=GAMMA,
        **kwargs,
    )


def numbers(tensor):
    return tensor.detach().numpy().astype(np.float64)


def number(tensor):
    return float(tensor.detach())


def q_values(critic, observations, actions):
    both = critic(torch.as_tensor(observations), torch.as_tensor(actions, dtype=torch.float32))
    return np.stack([numbers(values)[:, 0] for values in both])


def target(following_values):
    return REWARDS + GAMMA * (1.0 - TERMINATED) * following_values


def gaussian(model, observations):
    mean, log_std, _ = model.actor.get_action_dist_params(torch.as_tensor(observations))
    return np.tanh(numbers(mean)), np.clip(numbers(log_std), -3.0, 0.5)


def log_density(actions, mean, log_std):
    deviation = (actions - mean) / np.exp(log_std)
    return (-0.5 * deviation**2 - log_std - 0.5 * math.log(2.0 * math.pi)).sum(axis=1)


def test_the_expectile_loss_weighs_both_sides():
    differences = torch.tensor([2.0, -1.0, 0.5])
    by_hand = (0.7 * 4.0 + 0.3 * 1.0 + 0.7 * 0.25) / 3.0
    assert float(expectile_loss(differences, 0.7)) == pytest.approx(by_hand)


def test_iqls_losses(bandit, box_spaces):
    model = model_of(IQL, bandit(10), box_spaces, reward_scale=1.0, beta=2.0, expectile=0.8)
    q = q_values(model.critic_target, OBSERVATIONS, ACTIONS).min(axis=0)
    v = numbers(model.value(torch.tensor(OBSERVATIONS)))[:, 0]
    advantage = q - v
    value_loss = np.mean(np.where(advantage < 0.0, 0.2, 0.8) * advantage**2)
    actor_loss = -np.mean(np.exp(2.0 * advantage) * log_density(ACTIONS, *gaussian(model, OBSERVATIONS)))
    values = q_values(model.critic, OBSERVATIONS, ACTIONS)
    found = model.train_on(batch())
    assert number(found["value_loss"]) == pytest.approx(value_loss, rel=1e-4)
    assert number(found["actor_loss"]) == pytest.approx(actor_loss, rel=1e-4)
    # The critic learns after the value: its target is from the value network's new weights, which a step of
    # Adam moved by the learning rate at most.
    after = target(numbers(model.value(torch.tensor(FOLLOWING)))[:, 0])
    assert number(found["critic_loss"]) == pytest.approx(np.mean((values - after) ** 2), rel=1e-4)


def test_awacs_losses(bandit, box_spaces, monkeypatch):
    model = model_of(AWAC, bandit(10), box_spaces, reward_scale=1.0, temperature=0.5, learning_rate=1e-9)
    monkeypatch.setattr(Gaussian, "sample", lambda self: self.mean.detach())
    mean, log_std = gaussian(model, OBSERVATIONS)
    following = gaussian(model, FOLLOWING)[0]
    values = q_values(model.critic, OBSERVATIONS, ACTIONS)
    after = target(q_values(model.critic_target, FOLLOWING, following).min(axis=0))
    advantage = values.min(axis=0) - q_values(model.critic, OBSERVATIONS, mean).min(axis=0)
    actor_loss = -np.mean(np.exp(advantage / 0.5) * log_density(ACTIONS, mean, log_std))
    found = model.train_on(batch())
    assert number(found["critic_loss"]) == pytest.approx(np.mean((values - after) ** 2), rel=1e-4)
    assert number(found["actor_loss"]) == pytest.approx(actor_loss, rel=1e-4)


def test_td3_bcs_losses(bandit, box_spaces):
    model = model_of(TD3BC, bandit(10), box_spaces, target_noise=0.0, alpha=2.0, learning_rate=1e-9)
    following = numbers(model.actor_target(torch.tensor(FOLLOWING)))
    own = numbers(model.actor(torch.tensor(OBSERVATIONS)))
    values = q_values(model.critic, OBSERVATIONS, ACTIONS)
    after = target(q_values(model.critic_target, FOLLOWING, following).min(axis=0))
    q = q_values(model.critic, OBSERVATIONS, own)[0]
    actor_loss = -2.0 / np.mean(np.abs(q)) * np.mean(q) + np.mean((own - ACTIONS) ** 2)
    assert number(model.actor_loss(batch())) == pytest.approx(actor_loss, rel=1e-4)
    found = model.train_on(batch())
    assert number(found["critic_loss"]) == pytest.approx(np.mean((values - after) ** 2), rel=1e-4)


def test_the_soft_maximum_is_over_all_kinds_of_candidates():
    weighted = np.random.default_rng(0).normal(size=(3, 5, 2, 2))  # kind, state, action, critic
    by_hand = np.log(np.exp(weighted).transpose(1, 3, 0, 2).reshape(5, 2, 6).mean(axis=2))
    found = log_mean_exp_values(torch.tensor(weighted.reshape(-1, 2)), 2)
    np.testing.assert_allclose(found.numpy(), by_hand, rtol=1e-6)


def test_several_actions_of_one_forward_pass_are_what_sb3_draws(bandit, box_spaces):
    actor = model_of(CQL, bandit(10), box_spaces).actor
    observations = torch.tensor(OBSERVATIONS)
    torch.manual_seed(0)
    actions, log_densities = policy_of(actor, observations).draw(2)
    torch.manual_seed(0)
    theirs, their_densities = actor.action_log_prob(observations.repeat_interleave(2, dim=0))
    torch.testing.assert_close(actions, theirs)
    torch.testing.assert_close(log_densities[:, 0], their_densities)


@pytest.mark.parametrize("target_gap", [-100.0, 100.0])
def test_conservatism_is_adapted_towards_the_gap(target_gap, bandit, box_spaces):
    model = model_of(CQL, bandit(10), box_spaces, conservatism=2.0, target_gap=target_gap, learning_rate=0.01)
    weights = [float(model.train_on(batch())["conservatism"]) for _ in range(3)]
    by_hand = 2.0 * np.exp(np.sign(-target_gap) * 0.01 * np.arange(1, 4))  # Adam's step is its rate
    np.testing.assert_allclose(weights, by_hand, rtol=1e-3)
    assert model.conservatism == pytest.approx(by_hand[-1], rel=1e-3)


@pytest.mark.parametrize(("algorithm", "floor"), [(CQL, False), (CalQL, True)])
def test_cqls_regulariser(algorithm, floor, bandit, box_spaces):
    model = model_of(algorithm, bandit(10), box_spaces)
    given = batch(returns=(0.5, -3.0, 0.1))
    here, there = (policy_of(model.actor, seen) for seen in (given.observations, given.next_observations))
    torch.manual_seed(0)
    values, found = conservative_values(model.critic, given, here, there, floor=floor, n_actions=1)
    torch.manual_seed(0)
    uniform = numbers(torch.rand(3, 1)) * 2.0 - 1.0
    here, here_density = model.actor.action_log_prob(given.observations)
    there, there_density = model.actor.action_log_prob(given.next_observations)
    kinds = [
        (uniform, np.full(3, -math.log(2.0)), -np.inf),
        (numbers(here), numbers(here_density), [0.5, -3.0, 0.1]),
        (numbers(there), numbers(there_density), [0.5, -3.0, 0.1]),
    ]
    total = np.zeros((2, 3))
    for actions, density, lowest in kinds:
        q = q_values(model.critic, OBSERVATIONS, actions)
        total += np.exp((np.maximum(q, lowest) if floor else q) - density) / 3.0
    of_data = q_values(model.critic, OBSERVATIONS, ACTIONS)
    np.testing.assert_allclose(numbers(values), of_data.T, rtol=1e-5)
    by_hand = (np.log(total) - of_data).mean(axis=1).sum()
    assert number(found) == pytest.approx(by_hand, rel=1e-4)


def test_cqls_other_losses(bandit, box_spaces):
    model = model_of(CQL, bandit(10), box_spaces, conservatism=0.0, learning_rate=1e-9, first_temperature=0.5)
    torch.manual_seed(0)
    own, density = model.actor.action_log_prob(torch.tensor(OBSERVATIONS))
    following, _ = model.actor.action_log_prob(torch.tensor(FOLLOWING))
    values = q_values(model.critic, OBSERVATIONS, ACTIONS)
    after = target(q_values(model.critic_target, FOLLOWING, numbers(following)).min(axis=0))
    q = q_values(model.critic, OBSERVATIONS, numbers(own)).min(axis=0)
    torch.manual_seed(0)
    found = model.train_on(batch())
    td_loss = 0.5 * ((values - after) ** 2).mean(axis=1).sum()
    assert number(found["critic_loss"]) == pytest.approx(td_loss, rel=1e-4)
    assert number(found["actor_loss"]) == pytest.approx(np.mean(0.5 * numbers(density) - q), rel=1e-4)


def test_discrete_cqls_losses(bandit, discrete_spaces):
    model = model_of(DiscreteCQL, bandit(10, discrete=True), discrete_spaces)
    taken = np.array([[2], [0], [1]])
    q = numbers(model.policy.q_net(torch.tensor(OBSERVATIONS)))
    best = numbers(model.policy.q_net(torch.tensor(FOLLOWING))).argmax(axis=1)
    after = target(numbers(model.policy.q_net_target(torch.tensor(FOLLOWING)))[np.arange(3), best])
    difference = np.abs(np.take_along_axis(q, taken, 1)[:, 0] - after)
    huber = np.where(difference < 1.0, 0.5 * difference**2, difference - 0.5).mean()
    gap = np.mean(np.log(np.exp(q).sum(axis=1)) - np.take_along_axis(q, taken, 1)[:, 0])
    found = model.train_on(batch(taken))
    assert number(found["critic_loss"]) == pytest.approx(huber, rel=1e-4)
    assert number(found["conservative_gap"]) == pytest.approx(gap, rel=1e-4)


def test_clonings_losses(bandit, box_spaces, discrete_spaces):
    model = model_of(BC, bandit(10), box_spaces)
    model.actor = model.policy.actor
    by_hand = -log_density(ACTIONS, *gaussian(model, OBSERVATIONS)).mean()
    assert number(model.loss(batch())) == pytest.approx(by_hand, rel=1e-4)

    of_td3 = model_of(BC, bandit(10), box_spaces, actor_of=TD3)
    own = numbers(of_td3.policy.actor(torch.tensor(OBSERVATIONS)))
    assert number(of_td3.loss(batch())) == pytest.approx(np.mean((own - ACTIONS) ** 2), rel=1e-4)

    discrete = model_of(BC, bandit(10, discrete=True), discrete_spaces)
    taken = np.array([[2], [0], [1]])
    shares = numbers(discrete.policy.get_distribution(torch.tensor(OBSERVATIONS)).distribution.probs)
    by_hand = -np.log(np.take_along_axis(shares, taken, 1)).mean()
    assert number(discrete.loss(batch(taken))) == pytest.approx(by_hand, rel=1e-4)


def test_cloning_switches_maximises_the_likelihood_of_each(bandit, discrete_spaces):
    discrete_spaces.action_space = spaces.MultiBinary(3)
    pressed = np.random.default_rng(0).integers(0, 2, (10, 3), np.int8)
    model = model_of(BC, {**bandit(10), "actions": pressed}, discrete_spaces)
    given = model.buffer.sample(4)
    logits = numbers(model.policy.get_distribution(given.observations).distribution.logits)
    signs = 2.0 * numbers(given.actions) - 1.0
    by_hand = np.log1p(np.exp(-signs * logits)).sum(axis=1).mean()
    assert number(model.loss(given)) == pytest.approx(by_hand, rel=1e-5)
    assert model.learn(1).predict(OBSERVATIONS)[0].shape == (3, 3)
