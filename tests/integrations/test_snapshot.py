"""Branches restore a snapshot where the environment can, and execute the way again where it cannot."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from cogment_lab.integrations.gymnasium.replay import branch, check_replay
from cogment_lab.integrations.gymnasium.snapshot import Snapshot

import cogment_lab
from cogment_lab.store import TrialStore


def play(store: TrialStore, env_id: Any, most: int = 12, **options: Any) -> str:
    env = cogment_lab.make(env_id, store=store, **options)
    env.action_space.seed(3)
    env.reset(seed=7)
    for _ in range(most):
        if any(env.step(env.action_space.sample())[2:4]):
            break
    env.close()
    return list(store.trials())[-1].trial_id


class Counted(gym.Wrapper[Any, Any, Any, Any]):
    """Counts its steps, wherever its state goes."""

    steps = 0

    def step(self, action: Any) -> Any:
        Counted.steps += 1
        return super().step(action)


@pytest.mark.parametrize(
    "env_id", ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "Taxi-v4", "LunarLander-v3"]
)
def test_every_branch_begins_alike(env_id: str) -> None:
    with TrialStore(":memory:") as store:
        parent = play(store, env_id)
        recorded = store.load(parent)["gym"]
        tick = min(4, len(recorded) - 1)
        Counted.steps = 0
        env = branch(store, parent, tick, env=lambda: Counted(gym.make(env_id)))
        after = []
        for _ in range(3):
            observation, _ = env.reset()
            np.testing.assert_array_equal(observation, recorded.observations[tick])
            after.append(env.step(recorded.actions[tick])[:2])
            np.testing.assert_array_equal(after[-1][0], recorded.next_observations[tick])
            assert after[-1][1] == recorded.rewards[tick]
        if env_id == "LunarLander-v3":
            assert Counted.steps == 3 * (tick + 1), "Box2D's worlds cannot be copied: executed again"
        else:
            assert Counted.steps == tick + 2 + 3, "executed once, tried twice, restored twice"
        env.close()
        child = list(store.trials())[-1].trial_id
        assert check_replay(store, child, env=lambda: gym.make(env_id)) is None


def test_without_restore_the_way_is_executed_each_time() -> None:
    with TrialStore(":memory:") as store:
        parent = play(store, "CartPole-v1")
        Counted.steps = 0
        env = branch(store, parent, 3, env=lambda: Counted(gym.make("CartPole-v1")), restore=False)
        env.reset()
        env.reset()
        assert Counted.steps == 6


class Declared(gym.Env[Any, Any]):
    """A simulator behind a handle that says how to restore its state."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gym.spaces.Discrete(2)

    def __init__(self) -> None:
        self.handle = iter(())  # what cannot be copied
        self.restored = 0

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.at = 0.0
        return np.array([self.at, self.np_random.uniform()]), {}

    def step(self, action: Any) -> Any:
        self.at += 1 + action
        return np.array([self.at, self.np_random.uniform()]), self.at, False, False, {}

    def get_state(self) -> float:
        return self.at

    def set_state(self, state: float) -> None:
        self.restored += 1
        self.at = state


class LikeAle(Declared):
    """The same by the names of the Arcade Learning Environment."""

    get_state = set_state = property()  # type: ignore[assignment]

    def clone_state(self, include_rng: bool = False) -> float:
        assert include_rng
        return self.at

    def restore_state(self, state: float) -> None:
        self.restored += 1
        self.at = state


class Neither(Declared):
    get_state = set_state = property()  # type: ignore[assignment]

    def __deepcopy__(self, memo: Any) -> Any:
        raise RuntimeError("a handle cannot be copied")

    def __init__(self) -> None:
        super().__init__()
        self.lock = __import__("threading").Lock()


@pytest.mark.parametrize(("make_env", "times"), [(Declared, 2), (LikeAle, 2), (Neither, 0)])
def test_an_environment_may_declare_that_it_restores(make_env: Any, times: int) -> None:
    with TrialStore(":memory:") as store:
        parent = play(store, make_env)
        recorded = store.load(parent)["gym"]
        env = branch(store, parent, 5, env=make_env)
        for _ in range(3):
            np.testing.assert_array_equal(env.reset()[0], recorded.observations[5])
            for tick in range(5, 8):
                np.testing.assert_array_equal(
                    env.step(recorded.actions[tick])[0], recorded.next_observations[tick]
                )
        assert env.unwrapped.restored == times


def test_time_limits_are_restored_with_the_rest() -> None:
    env = gym.make("CartPole-v1", max_episode_steps=8)
    env.reset(seed=1)
    for _ in range(3):
        env.step(0)
    snapshot = Snapshot.take(env)
    assert snapshot is not None
    lengths = []
    for _ in range(2):
        count = 0
        ended = False
        while not ended:
            *_, terminated, truncated, _ = env.step(count % 2)
            count, ended = count + 1, terminated or truncated
        lengths.append(count)
        snapshot.restore()
    assert lengths == [5, 5] and env.get_wrapper_attr("_elapsed_steps") == 3


def test_a_state_that_does_not_hold_is_noticed() -> None:
    outside = {"ticks": 0}

    class Leaky(Declared):
        """Keeps part of its state where no copy reaches."""

        get_state = set_state = property()  # type: ignore[assignment]

        def __init__(self) -> None:
            self.restored = 0

        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            outside["ticks"] = 0
            return super().reset(seed=seed)

        def step(self, action: Any) -> Any:
            outside["ticks"] += 1
            observation, *rest = super().step(action)
            return observation + outside["ticks"], *rest

    with TrialStore(":memory:") as store:
        parent = play(store, Leaky)
        recorded = store.load(parent)["gym"]
        env = branch(store, parent, 5, env=Leaky)
        for _ in range(2):
            np.testing.assert_array_equal(env.reset()[0], recorded.observations[5])
            np.testing.assert_array_equal(env.step(recorded.actions[5])[0], recorded.observations[6])


def test_a_branch_is_filmed(cogmentlab_in: Any) -> None:
    with TrialStore("some.db") as store:
        parent = play(store, "CartPole-v1")
        env = branch(store, parent, 4)
        for _ in range(2):
            env.reset()
            for _ in range(3):
                env.step(1)
        env.close()
        first, second = (info.trial_id for info in store.trials(properties={"branch_of": parent}))
    cogmentlab_in("replay", "some.db", second, "--video", "branch.mp4")
    assert Path("branch.mp4").read_bytes()[4:8] == b"ftyp"
    with TrialStore("some.db") as store:
        one, other = store.load(first)["gym"], store.load(second)["gym"]
        np.testing.assert_array_equal(one.observations, other.observations)
