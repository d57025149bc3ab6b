"""Recorded trials are executed again, compared, rendered, and branched off."""

import importlib
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from cogment_lab.integrations.gymnasium.replay import Divergence, branch, check_replay, replay
from cogment_lab.integrations.replayed import is_same
from gymnasium.envs.registration import EnvSpec

import cogment_lab
from cogment_lab.errors import ConfigurationError, ReplayDivergedError, TrialNotFoundError, TrialStateError
from cogment_lab.store import TrialStore


def play(store: TrialStore, env_id: Any, trials: int = 2, most: int = 60, **options: Any) -> list[str]:
    env = cogment_lab.make(env_id, store=store, **options)
    env.action_space.seed(3)
    for trial in range(trials):
        env.reset(seed=7 if trial == 0 else None)  # later trials hold the generator's state
        for _ in range(most):
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            if terminated or truncated:
                break
    env.close()
    return [info.trial_id for info in store.trials()]


@pytest.mark.parametrize(
    "action", [np.array([0.3]), [0.3], np.array([0.5]), np.array([1]), np.float32([0.3])]
)
@pytest.mark.parametrize("record", ["full", "actions"])
def test_actions_of_another_dtype_than_the_space_are_executed_again_as_they_were(
    action: Any, record: Any
) -> None:
    with TrialStore(":memory:") as store:
        env = cogment_lab.make("Pendulum-v1", store=store, record=record)
        bare = gym.make("Pendulum-v1")
        env.reset(seed=7)
        bare.reset(seed=7)
        for _ in range(20):
            assert env.step(action)[1] == bare.step(action)[1]
        env.close()
        data = store.load(env.trial_id)["gym"]
        assert (data.actions.dtype, data.actions.shape) == (np.float32, (20, 1))
        executed = data.executed_action(19)
        assert executed.dtype == np.asarray(action).dtype and executed == action
        assert len(data.exact_actions) == (0 if executed.dtype == np.float32 else 20)
        assert check_replay(store, env.trial_id) is None
        again = branch(store, env.trial_id, 10)
        again.reset()
        again.close()


class Drifting(gym.Env[Any, Any]):
    """Returns something else each time that it is made."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)
    made = 0

    def __init__(self) -> None:
        Drifting.made += 1
        self.number, self.tick = Drifting.made, 0

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.tick = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.tick += 1
        return np.full(1, self.tick if self.tick < 3 else self.number, np.float32), 0.0, False, False, {}


@pytest.mark.parametrize(
    "env_id", ["CartPole-v1", "Pendulum-v1", "LunarLander-v3", "Taxi-v4", "Blackjack-v1"]
)
def test_trials_are_the_same_again(env_id: str) -> None:
    with TrialStore(":memory:") as store:
        names = play(store, env_id)
        assert len(names) == 2
        assert store.info(names[1]).seed is None and store.info(names[1]).rng_state is not None
        for name in names:
            steps = list(replay(store, name))
            data = store.load(name)["gym"]
            assert [step.divergence for step in steps] == [None] * (len(data) + 1)
            assert [step.reward for step in steps[1:]] == data.rewards.tolist()


def test_the_first_divergent_tick_is_named() -> None:
    with TrialStore(":memory:") as store:
        (name,) = play(store, Drifting, trials=1, most=5)
        found = check_replay(store, name, env=Drifting)
        assert found is not None and (found.tick, found.what) == (2, "observation")
        assert "tick 2" in str(found)
        with pytest.raises(ReplayDivergedError, match="tick 2"):
            branch(store, name, 4, env=Drifting).reset()


def test_frames_are_rendered_again_for_trials_without_observations() -> None:
    with TrialStore(":memory:") as store:
        (name,) = play(store, "CartPole-v1", trials=1, most=5, record="actions")
        steps = list(replay(store, name, render=True))
        assert len(steps) == 6 and all(step.frame.shape == (400, 600, 3) for step in steps)
        assert all(step.divergence is None for step in steps)
        some = list(replay(store, name, render=range(1, 4)))
        assert [step.tick + 1 for step in some if step.frame is not None] == [1, 2, 3]
        np.testing.assert_array_equal(some[2].frame, steps[2].frame)
        with pytest.raises(ConfigurationError, match="rgb_array"):
            list(replay(store, name, render=True, env=gym.make("CartPole-v1")))


def test_a_branch_goes_on_where_its_parent_was_and_can_be_replayed() -> None:
    with TrialStore(":memory:") as store:
        (parent,) = play(store, "Pendulum-v1", trials=1, most=20)
        recorded = store.load(parent)["gym"]
        env = branch(store, parent, 8, properties={"why": "rewind"})
        observation, _ = env.reset()
        np.testing.assert_array_equal(observation, recorded.observations[8])
        for tick in range(8, 12):
            observation, *_ = env.step(recorded.actions[tick])
            np.testing.assert_array_equal(observation, recorded.observations[tick + 1])
        env.step(-recorded.actions[12])
        env.close()
        child = list(store.trials())[-1]
        assert child.n_ticks == 5
        assert child.properties == {"why": "rewind", "branch_of": parent, "branch_tick": "8"}
        assert check_replay(store, child.trial_id) is None
        grandchild = branch(store, child.trial_id, 3)
        np.testing.assert_array_equal(grandchild.reset()[0], recorded.observations[11])
        grandchild.close()


def test_what_cannot_be_replayed_says_why() -> None:
    with TrialStore(":memory:") as store:
        with pytest.raises(TrialNotFoundError):
            list(replay(store, "nobody"))
        (name,) = play(store, "CartPole-v1", trials=1, most=5)
        with pytest.raises(ConfigurationError, match="choose 0 to 5"):
            branch(store, name, 6)
        (own,) = play(store, Drifting, trials=1, most=2)[1:]
        with pytest.raises(ConfigurationError, match="without a Gymnasium spec"):
            list(replay(store, own))
        running = cogment_lab.make("CartPole-v1", store=store)
        running.reset(seed=1)
        running.step(0)
        store.flush()
        with pytest.raises(TrialStateError, match="still runs"):
            list(replay(store, running.trial_id))
        running.close()


@pytest.mark.parametrize(("env_id", "options"), [("Acrobot-v1", {}), ("CartPole-v1", {"teacher": "nobody"})])
def test_an_environment_that_was_made_for_nothing_is_closed(
    env_id: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    with TrialStore("t.db") as store:
        (trial_id,) = cogment_lab.run("CartPole-v1", lambda _: 0, seed=1, store=store)
        made = gym.make(env_id)
        monkeypatch.setattr(made, "close", lambda: closed.append(env_id))
        with pytest.raises(ConfigurationError):
            branch(store, trial_id, 1, env=lambda: made, **options)
    assert closed == [env_id]


def test_a_missing_environment_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from gymnasium.envs.classic_control.cartpole import CartPoleEnv as Cart"
    Path("lost_package.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.setitem(gym.registry, "Lost-v0", EnvSpec("Lost-v0", entry_point="lost_package:Cart"))
    with TrialStore(":memory:") as store:
        (name,) = play(store, "Lost-v0", trials=1, most=2)
        assert check_replay(store, name) is None
        Path("lost_package.py").unlink()
        monkeypatch.delitem(sys.modules, "lost_package")
        importlib.invalidate_caches()
        with pytest.raises(ConfigurationError, match=r"lost_package.*install and import"):
            list(replay(store, name))


def test_a_difference_is_shown_where_it_is() -> None:
    recorded = {"camera": np.zeros((2, 3), np.uint8), "speed": np.zeros(2, np.float32)}
    replayed = {"camera": np.zeros((2, 3), np.uint8), "speed": np.array([0, 0.5], np.float32)}
    assert str(Divergence(3, "observation", recorded, replayed)) == (
        "observation['speed'] of tick 3: recorded [0.0, 0.0], replayed [0.0, 0.5]"
    )
    replayed["camera"][1, 2] = 7
    assert str(Divergence(3, "observation", recorded, replayed)) == (
        "observation['camera'] of tick 3 at (1, 2): recorded 0, replayed 7"
    )
    many, nan = np.zeros(6), np.array([np.nan, 0, 0, 0, 0, 1])
    assert str(Divergence(-1, "observation", many, nan)) == (
        "observation of the reset at 0 and 1 other places: recorded 0.0, replayed nan"
    )
    assert not is_same(recorded, 3) and not is_same((1, 2), 3) and not is_same(np.zeros(2), {"a": 1})
