"""Stored trials as d3rlpy's arrays, and through torch's DataLoader."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from cogment_lab.integrations.d3rlpy import mdp_arrays, to_mdp_dataset
from cogment_lab.integrations.torch_dataset import SequenceDataset, TransitionDataset
from gymnasium import spaces
from round_trip import record_random
from torch.utils.data import DataLoader

import cogment_lab
from cogment_lab.errors import ConfigurationError, MissingExtraError
from cogment_lab.humans.scripted import scripted_policy
from cogment_lab.store import AgentSpec, TrialStore


def record(env_id: str, trials: int = 3, **options: Any) -> TrialStore:
    store = TrialStore("some.db")
    policy = scripted_policy(env_id)
    cogment_lab.run(env_id, policy, trials, seed=1, store=store, max_episode_steps=12, **options)
    return store


def test_each_trial_has_one_end() -> None:
    with record("Pendulum-v1") as store:
        arrays = mdp_arrays(store.query(), continuous=True)
        assert arrays["observations"].shape == (36, 3) and arrays["actions"].shape == (36, 1)
        assert np.flatnonzero(arrays["timeouts"]).tolist() == [11, 23, 35] and not arrays["terminals"].any()
        with pytest.raises(ConfigurationError, match="discrete algorithm needs"):
            mdp_arrays(store.query(), continuous=False)
        with pytest.raises(MissingExtraError, match="environment of its own"):
            to_mdp_dataset(store.query())


def test_discrete_actions_are_no_food_for_sac() -> None:
    with record("CartPole-v1") as store:
        assert mdp_arrays(store.query())["actions"].dtype == np.int32
        with pytest.raises(ConfigurationError, match="DQN"):
            mdp_arrays(store.query(), continuous=True)
        with pytest.raises(ConfigurationError, match="no trials match"):
            mdp_arrays(store.query(env="Other-v0"))


class Broken(gym.Wrapper[Any, Any, Any, Any]):
    def step(self, action: Any) -> Any:
        _, *rest = super().step(action)
        return np.full(3, np.nan, np.float32), *rest


def test_nan_is_named_with_its_place() -> None:
    with TrialStore(":memory:") as store:
        env = cogment_lab.make(Broken(gym.make("Pendulum-v1")), store=store)
        env.reset(seed=1)
        for _ in range(3):
            env.step(np.zeros(1, np.float32))
        env.close()
        with pytest.raises(ConfigurationError, match="2 of 3 observations hold NaN, the first in row 1"):
            mdp_arrays(store.query())


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_share_the_trials(workers: int) -> None:
    with record("CartPole-v1", trials=4) as store:
        expected = store.query().load()
        dataset = TransitionDataset(store)
    loader = DataLoader(
        dataset, batch_size=8, num_workers=workers, multiprocessing_context="spawn" if workers else None
    )
    batches = list(loader)
    found = np.concatenate([batch["observations"].numpy() for batch in batches])
    assert found.shape == expected.observations.shape
    np.testing.assert_array_equal(np.sort(found, 0), np.sort(expected.observations, 0))
    assert sum(len(batch["rewards"]) for batch in batches) == 48


def test_the_order_is_drawn_anew_each_time() -> None:
    with record("CartPole-v1", trials=6) as store:
        dataset, fixed = TransitionDataset(store, seed=3), TransitionDataset(store, seed=None)
        first, second = ([float(step["observations"][0]) for step in dataset] for _ in range(2))
        assert first != second and sorted(first) == sorted(second)
        assert [float(step["observations"][0]) for step in fixed] == store.query().load().observations[
            :, 0
        ].tolist()


def test_sequences_are_padded() -> None:
    with record("CartPole-v1") as store:
        (batch,) = DataLoader(SequenceDataset(store, 8), batch_size=10)
        assert batch["observations"].shape == (6, 8, 4) and int(batch["mask"].sum()) == 36
        with pytest.raises(ConfigurationError, match="nothing to load"):
            TransitionDataset(store, env="Other-v0")


def test_batches_hold_steps_of_many_trials() -> None:
    with record("CartPole-v1", trials=40) as store:
        expected = store.query().load()
        dataset = TransitionDataset(store, batch_size=32, shuffle=200)
        batches = list(DataLoader(dataset, batch_size=None))
        assert [len(batch["rewards"]) for batch in batches[:-1]] == [32] * (len(batches) - 1)
        found = np.concatenate([batch["observations"].numpy() for batch in batches])
        np.testing.assert_array_equal(np.sort(found, 0), np.sort(expected.observations, 0))
        whose = {
            row.tobytes(): number for number, data in enumerate(store.query()) for row in data.observations
        }
        trials = [len({whose[row.tobytes()] for row in batch["observations"].numpy()}) for batch in batches]
        assert np.mean(trials) > 10, "a batch of one trial's steps teaches little"
        assert batches[0]["rewards"].dtype == torch.float32
        in_turn = TransitionDataset(store, batch_size=1000, seed=None)
        (whole,) = DataLoader(in_turn, batch_size=None)
        np.testing.assert_array_equal(whole["next_observations"].numpy(), expected.next_observations)
        with pytest.raises(ConfigurationError, match="batch_size=0 at least 1"):
            TransitionDataset(store, batch_size=0)


def test_the_order_is_drawn_anew_with_workers() -> None:
    with record("CartPole-v1", trials=6) as store:
        loader = DataLoader(
            TransitionDataset(store), batch_size=None, num_workers=1, multiprocessing_context="spawn"
        )
        first, second = ([float(step["observations"][0]) for step in loader] for _ in range(2))
    assert first != second and sorted(first) == sorted(second)


def test_nested_observations_stay_nested() -> None:
    space = spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Discrete(3)})
    with TrialStore("nested.db") as store:
        record_random(store, AgentSpec(space, spaces.Discrete(2)), [5, 4], 3)
        (batch,) = DataLoader(TransitionDataset(store, batch_size=20), batch_size=None)
        assert batch["observations"]["a"].shape == (9, 2) and batch["next_observations"]["b"].shape == (9,)
        steps = list(DataLoader(TransitionDataset(store), batch_size=3))
        assert [len(step["observations"]["a"]) for step in steps] == [3, 3, 3]
        (stretches,) = DataLoader(SequenceDataset(store, 4, batch_size=9), batch_size=None)
        assert stretches["observations"]["a"].shape == (3, 4, 2)
