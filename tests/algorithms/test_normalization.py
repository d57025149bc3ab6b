"""TD3+BC normalises observations as its paper does, wherever its networks go."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from cogment_lab.algorithms import TD3BC
from cogment_lab.algorithms.normalization import NormalizingExtractor
from stable_baselines3 import SAC, TD3

LAYERS = {"net_arch": [16, 16]}


class Uneven:
    """Observations of very different scales; the last is always 3."""

    observation_space = gym.spaces.Box(-2000.0, 2000.0, (3,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)


class Still(gym.Env):
    observation_space, action_space = Uneven.observation_space, Uneven.action_space


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    observations = np.stack(
        [rng.normal(1000.0, 100.0, 500), rng.normal(0.0, 0.01, 500), np.full(500, 3.0)], axis=1
    ).astype(np.float32)
    actions = np.clip(observations[:, 1:2] * 50.0, -1.0, 1.0)
    return {
        "observations": observations,
        "actions": actions,
        "next_observations": observations,
        "rewards": -np.square(actions[:, 0]),
        "terminated": np.ones(500, np.bool_),
    }


def learner(data, **kwargs):
    kwargs = {"policy_kwargs": dict(LAYERS), "seed": 1, "device": "cpu", "batch_size": 64, **kwargs}
    return TD3BC("MlpPolicy", data, env=Uneven(), **kwargs)


def extractors(model):
    return [module for module in model.policy.modules() if isinstance(module, NormalizingExtractor)]


def test_every_network_sees_observations_of_mean_zero_and_deviation_one(data):
    found = extractors(learner(data))
    assert len(found) == 4  # actor, critics, and their targets
    for extractor in found:
        seen = extractor(torch.from_numpy(data["observations"])).numpy()
        np.testing.assert_allclose(seen.mean(0), 0.0, atol=1e-2)
        np.testing.assert_allclose(seen[:, 0].std(), 1.0, atol=1e-2)
        np.testing.assert_array_equal(seen[:, 2], 0.0)


def test_it_finds_what_small_numbers_say_beside_large_ones(data):
    def error(normalize):
        model = learner(data, alpha=0.0, learning_rate=1e-3, normalize=normalize).learn(400)
        return np.abs(model.predict(data["observations"])[0] - data["actions"]).mean()

    assert error(True) < 0.5 * error(False)


def test_a_saved_model_keeps_it(data, tmp_path):
    model = learner(data).learn(5)
    model.save(tmp_path / "model.zip")
    loaded = TD3BC.load(tmp_path / "model.zip")
    assert len(extractors(loaded)) == 4
    np.testing.assert_array_equal(
        loaded.predict(data["observations"])[0], model.predict(data["observations"])[0]
    )
    shifted = {**data, "observations": data["observations"] + 5.0}
    loaded.set_data(shifted)  # what the networks learned from stays theirs
    assert torch.equal(extractors(loaded)[0].mean, extractors(model)[0].mean)


@pytest.mark.parametrize("target", [TD3, SAC])
def test_what_goes_on_acts_and_values_the_same_behind_plain_observations(target, data):
    model = learner(data, learning_rate=1e-3).learn(50)
    online = target("MlpPolicy", Still(), policy_kwargs=dict(LAYERS), buffer_size=1000, device="cpu")
    model.into(online, warm_up=0)
    np.testing.assert_allclose(
        online.predict(data["observations"], deterministic=True)[0],
        model.predict(data["observations"])[0],
        atol=1e-3,
    )
    observations, actions = (torch.from_numpy(data[name]) for name in ("observations", "actions"))
    with torch.no_grad():
        theirs = torch.cat(model.critic(observations, actions), 1) / model.scaled_by
        mine = torch.cat(online.critic(observations, actions), 1)
    torch.testing.assert_close(mine, theirs, atol=1e-3, rtol=1e-3)


def test_it_can_be_left_out(data):
    assert not extractors(learner(data, normalize=False))
