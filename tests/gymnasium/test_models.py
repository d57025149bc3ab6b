"""Models and actors of services as players and teachers."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pettingzoo
import pytest
from sb3_contrib import RecurrentPPO
from stable_baselines3 import DQN, PPO

import cogment_lab
from cogment_lab.actors import ConstantActor, RandomActor, SB3Actor
from cogment_lab.core import CogmentActor
from cogment_lab.errors import ConfigurationError


@pytest.fixture(scope="module")
def dqn() -> DQN:
    return DQN("MlpPolicy", "CartPole-v1", buffer_size=10, seed=2, device="cpu")


def played(env: Any, actors: Any, trials: int = 1, **options: Any) -> list[Any]:
    """Return each trial's ticks."""
    with cogment_lab.TrialStore(":memory:") as store:
        return [store.load(name) for name in cogment_lab.run(env, actors, trials, store=store, **options)]


@pytest.mark.parametrize("how", ["model", "policy", "actor"])
def test_a_model_does_what_it_finds_best(how: str, dqn: DQN, tmp_path: Path) -> None:
    dqn.save(tmp_path / "dqn.zip")
    player = {
        "model": lambda: dqn,
        "policy": lambda: dqn.policy,
        "actor": lambda: SB3Actor(tmp_path / "dqn.zip"),
    }
    (trial,) = played("CartPole-v1", {"gym": player[how]()}, seed=1)
    expected, _ = dqn.predict(trial["gym"].observations, deterministic=True)
    np.testing.assert_array_equal(trial["gym"].actions, expected)


def test_a_model_with_a_memory_forgets_between_trials() -> None:
    model = RecurrentPPO("MlpLstmPolicy", "CartPole-v1", n_steps=8, batch_size=8, seed=3, device="cpu")
    for trial in played("CartPole-v1", model, 2, seed=1):
        state = None
        for row, observation in enumerate(trial["gym"].observations):
            action, state = model.predict(observation, state, np.array([row == 0]), deterministic=True)
            assert trial["gym"].actions[row] == action


def test_a_discrete_action_is_a_number_for_the_environment() -> None:
    model = PPO("MlpPolicy", "FrozenLake-v1", n_steps=8, batch_size=8, device="cpu")
    assert len(played("FrozenLake-v1", model, seed=1)) == 1, "it looks actions up in a dict"


def test_actors_of_services_play() -> None:
    (trial,) = played("CartPole-v1", ConstantActor(1), seed=1)
    assert set(trial["gym"].actions.tolist()) == {1}
    (first, second), again = (
        played("CartPole-v1", RandomActor(), 2, seed=1),
        played("CartPole-v1", RandomActor(), 2, seed=1),
    )
    assert set(first["gym"].actions.tolist()) == {0, 1}
    for one, other in zip((first, second), again, strict=True):
        np.testing.assert_array_equal(one["gym"].actions, other["gym"].actions)
    actors = {"gym": ConstantActor(0), "teacher": ConstantActor(1)}
    (trial,) = played("CartPole-v1", actors, seed=1, on_unacknowledged="ignore")
    assert trial["gym"].is_intervention.all() and set(trial["gym"].actions.tolist()) == {1}


def test_they_play_inside_an_event_loop() -> None:
    async def main() -> list[Any]:
        return played("CartPole-v1", RandomActor(), seed=1)

    assert len(asyncio.run(main())) == 1


@pytest.mark.parametrize("kind", ["aec", "parallel"])
def test_they_play_games_of_several_agents(kind: str) -> None:
    env = pettingzoo.make(kind, "classic/rps-v2", max_cycles=40)
    (trial,) = played(env, {"player_0": RandomActor(), "player_1": ConstantActor(2)}, seed=1)
    assert set(trial["player_0"].actions.tolist()) == {0, 1, 2}
    assert set(trial["player_1"].actions.tolist()) == {2}
    (trial,) = played(env, dict.fromkeys(("player_0", "player_1"), RandomActor()), seed=1)
    assert trial["player_0"].actions.tolist() != trial["player_1"].actions.tolist()


def test_anything_with_such_a_predict_plays() -> None:
    class Left:
        def predict(self, observation: Any) -> tuple[Any, None]:
            return np.array(0), None

    (trial,) = played("CartPole-v1", Left(), seed=1)
    assert set(trial["gym"].actions.tolist()) == {0}


def test_who_cannot_play_is_told(dqn: DQN) -> None:
    class Prepares(RandomActor):
        async def initialize(self, actor_session: Any) -> None:
            pass

    for wrong, words in (
        (RandomActor, r"RandomActor\(\.\.\.\)"),
        (Prepares(), "serve it"),
        ("ppo.zip", "SB3Actor"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            cogment_lab.make("CartPole-v1", player=wrong, store=None)
    with pytest.raises(ConfigurationError, match="made for the actions"):
        cogment_lab.run("Pendulum-v1", dqn, store=None)
    with pytest.raises(ConfigurationError, match="evaluator="):
        cogment_lab.make("CartPole-v1", evaluator=dqn, store=None)


def test_an_actor_that_is_no_policy_may_see_frames() -> None:
    shapes = []

    class Looks(CogmentActor[Any, Any]):
        async def act(self, observation: Any, rendered_frame: Any = None) -> int:
            shapes.append(None if rendered_frame is None else rendered_frame.shape)
            return 0

    played("CartPole-v1", Looks(), max_episode_steps=1)
    played("CartPole-v1", Looks(), max_episode_steps=1, render_mode="rgb_array")
    assert shapes == [None, (400, 600, 3)]
