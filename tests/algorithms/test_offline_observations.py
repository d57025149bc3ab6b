"""Every algorithm learns from dicts, images and numbers, and hands over what it learned from them."""

import gymnasium as gym
import numpy as np
import pytest
from cogment_lab.algorithms import AWAC, BC, CQL, IQL, TD3BC, CalQL, DiscreteCQL
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3

import cogment_lab

PICTURE = gym.spaces.Box(0, 255, (36, 36, 3), np.uint8)
OBSERVATIONS = {
    "MultiInputPolicy": gym.spaces.Dict(
        near=gym.spaces.Box(-1.0, 1.0, (2,), np.float32), far=gym.spaces.Discrete(3), seen=PICTURE
    ),
    "CnnPolicy": PICTURE,
    "MlpPolicy": gym.spaces.Discrete(4),
}
UNEVEN = gym.spaces.Box(np.float32([-1.0, 0.0]), np.float32([3.0, 1.0]))
BUTTONS = gym.spaces.Discrete(3)
ROUTES = [
    (BC, SAC, UNEVEN),
    (BC, TD3, UNEVEN),
    (BC, PPO, UNEVEN),
    (BC, A2C, BUTTONS),
    (IQL, SAC, UNEVEN),
    (AWAC, SAC, UNEVEN),
    (TD3BC, TD3, UNEVEN),
    (CQL, SAC, UNEVEN),
    (CalQL, SAC, UNEVEN),
    (DiscreteCQL, DQN, BUTTONS),
]


class Noise(gym.Env):
    """Four steps of random observations."""

    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 4
        return self.observation_space.sample(), {}

    def step(self, action):
        self.left -= 1
        return self.observation_space.sample(), 1.0, False, self.left == 0, {}


@pytest.mark.parametrize("policy", OBSERVATIONS)
@pytest.mark.parametrize(("source", "target", "actions"), ROUTES)
def test_what_is_learned_goes_on(source, target, actions, policy, tmp_path):
    env = Noise(OBSERVATIONS[policy], actions)
    with cogment_lab.TrialStore(":memory:") as store:
        cogment_lab.run(env, lambda _: actions.sample(), 2, seed=1, store=store, record="full")
        layers = {"policy_kwargs": {"net_arch": [8]}, "seed": 1, "device": "cpu"}
        chosen = {"actor_of": target} if source is BC else {}
        source(policy, store, batch_size=4, **chosen, **layers).learn(2).save(tmp_path / "model.zip")
        offline = source.load(tmp_path / "model.zip")
        offline.set_data(store)
    small = {"n_steps": 8} if target in (PPO, A2C) else {"buffer_size": 20}
    if target is not A2C:
        small["batch_size"] = 4
    online = target(policy, env, **small, **layers)
    offline.into(online, warm_up=1)
    seen = env.observation_space.sample()
    np.testing.assert_allclose(
        online.predict(seen, deterministic=True)[0], offline.predict(seen, deterministic=True)[0], atol=1e-4
    )
    online.learn(8)
