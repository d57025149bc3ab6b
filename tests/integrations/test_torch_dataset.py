"""A choice of trials, as torch's ``DataLoader`` gets it."""

from collections.abc import Iterator

import numpy as np
import pytest
from cogment_lab.integrations.torch_dataset import SequenceDataset, TransitionDataset
from torch.utils.data import DataLoader

import cogment_lab
from cogment_lab.errors import ConfigurationError
from cogment_lab.humans.scripted import scripted_policy
from cogment_lab.store import TrialStore


@pytest.fixture
def store() -> Iterator[TrialStore]:
    """Four trials of 12 steps."""
    with TrialStore("some.db") as records:
        policy = scripted_policy("CartPole-v1")
        cogment_lab.run("CartPole-v1", policy, 4, seed=1, store=records, max_episode_steps=12)
        yield records


@pytest.mark.parametrize("workers", [0, 2])
def test_a_query_gives_its_own_trials(store: TrialStore, workers: int) -> None:
    train, validation = store.query().split(0.5, seed=0)
    for query in (train, validation):
        loader = DataLoader(
            TransitionDataset(query, batch_size=8),
            batch_size=None,
            num_workers=workers,
            multiprocessing_context="spawn" if workers else None,
        )
        found = np.concatenate([batch["observations"].numpy() for batch in loader])
        np.testing.assert_array_equal(np.sort(found, 0), np.sort(query.load().observations, 0))


def test_sequences_of_a_query(store: TrialStore) -> None:
    (batch,) = DataLoader(SequenceDataset(store.query().split(0.25, seed=0)[1], 8), batch_size=10)
    assert int(batch["mask"].sum()) == 12


def test_trials_are_chosen_once(store: TrialStore) -> None:
    with pytest.raises(ConfigurationError, match="chooses trials itself: pass min_return to it"):
        TransitionDataset(store.query(), min_return=3)
    with pytest.raises(ConfigurationError, match="no trials match"):
        TransitionDataset(store.query(env="Other-v0"))
