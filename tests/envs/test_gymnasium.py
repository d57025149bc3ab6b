"""Gymnasium environments as environments of trials, and their instances."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from cogment_lab.actors import ConstantActor, RandomActor
from cogment_lab.envs import AECEnvironment, GymEnvironment
from cogment_lab.errors import ConfigurationError, UnknownEnvironmentError


class Numbered(gym.Env[Any, Any]):
    """Observes which instance it is; ends after three steps."""

    observation_space = gym.spaces.Box(-1, 1e6, (1,), np.float64)
    action_space = gym.spaces.Discrete(2)
    made = 0
    closed = 0

    def __init__(self) -> None:
        Numbered.made += 1
        self.number = Numbered.made

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.count = 0
        return np.array([self.number], np.float64), {}

    def step(self, action: Any) -> Any:
        self.count += 1
        return np.array([self.number], np.float64), 1.0, self.count == 3, False, {}

    def close(self) -> None:
        Numbered.closed += 1


@pytest.fixture(autouse=True)
def from_one() -> None:
    Numbered.made = Numbered.closed = 0


def test_a_trial_is_the_bare_environment(play) -> None:
    data = play(GymEnvironment("CartPole-v1"), {"gym": RandomActor()}, seed=3)["gym"]
    bare = gym.make("CartPole-v1")
    first, _ = bare.reset(seed=3)
    np.testing.assert_array_equal(data.observations[0], first)
    for row, action in enumerate(data.actions):
        seen, reward, terminated, truncated, _ = bare.step(action)
        np.testing.assert_array_equal(data.next_observations[row], seen)
        assert (reward, terminated, truncated) == (
            data.rewards[row],
            data.terminated[row],
            data.truncated[row],
        )
    assert terminated or truncated


def test_an_instance_serves_one_trial_after_the_other(play) -> None:
    env = GymEnvironment(Numbered)
    numbers = [play(env, {"gym": ConstantActor(0)})["gym"].observations[0, 0] for _ in range(2)]
    assert numbers == [1, 1]
    assert (Numbered.made, Numbered.closed) == (1, 0)


def test_each_trial_gets_a_new_instance_where_that_is_wanted(play) -> None:
    env = GymEnvironment(Numbered, reinitialize=True, dry=True)
    env.learn_specs()
    numbers = [play(env, {"gym": ConstantActor(0)})["gym"].observations[0, 0] for _ in range(2)]
    assert numbers == [2, 3]
    assert Numbered.closed == 3


@pytest.mark.parametrize("kind", [GymEnvironment, AECEnvironment])
def test_it_is_made_again_elsewhere_from_its_arguments(kind) -> None:
    name = "CartPole-v1" if kind is GymEnvironment else "classic/connect_four-v3"
    again = kind(name, reset_options={"a": 1}, render=True, dry=True).get_constructor()()
    assert type(again) is kind
    assert (again.reset_options, again.render, again.dry) == ({"a": 1}, True, True)
    assert again.make_kwargs["render_mode"] == "rgb_array"
    assert not again.agent_specs


def test_what_cannot_be_made_says_why() -> None:
    with pytest.raises(ConfigurationError, match="pass render=True"):
        GymEnvironment("CartPole-v1", make_kwargs={"render_mode": "human"})
    with pytest.raises(ConfigurationError, match="neither an id nor a function"):
        GymEnvironment(3)  # type: ignore[arg-type]
    with pytest.raises(UnknownEnvironmentError):
        GymEnvironment("CartPole-v77")
