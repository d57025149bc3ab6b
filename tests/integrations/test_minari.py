"""Trials become Minari datasets and trials again, exactly."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import minari
import numpy as np
import pytest
from cogment_lab.integrations.minari import from_minari, to_minari_by_agent
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from minari.dataset.minari_storage import MinariStorage
from minari.namespace import list_local_namespaces
from round_trip import assert_same_trials, record_random

import cogment_lab
from cogment_lab.errors import ConfigurationError, StoreFullError
from cogment_lab.humans import SimulatedHuman
from cogment_lab.humans.scripted import scripted_gate, scripted_policy
from cogment_lab.humans.simulated import SimulatedEvaluator
from cogment_lab.store import AgentSpec, StreamSpec, TrialStore
from cogment_lab.trial.sample import Tick

BOX = spaces.Box(-1, 1, (3,), np.float32)
SPACES = [
    AgentSpec(BOX, spaces.Discrete(4)),
    AgentSpec(spaces.Box(0, 255, (8, 8, 3), np.uint8), spaces.MultiDiscrete([3, 2])),
    AgentSpec(spaces.Dict({"a": BOX, "b": spaces.Dict({"c": spaces.Discrete(3)})}), spaces.Tuple((BOX, BOX))),
    AgentSpec(spaces.Tuple((spaces.Discrete(2), BOX)), spaces.Box(-2, 2, (2, 2), np.float64)),
]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(
    st.sampled_from(range(len(SPACES))),
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
    st.integers(0, 2**20),
)
def test_a_round_trip_changes_nothing(space: int, lengths: list[int], seed: int) -> None:
    name = f"round/trip{space}-{'-'.join(map(str, lengths))}-{seed}-v0"
    with TrialStore(":memory:") as store, TrialStore(":memory:") as again:
        record_random(store, SPACES[space], lengths, seed)
        if (Path.cwd() / "minari" / name).exists():
            minari.delete_dataset(name)
        dataset = store.to_minari(name)
        assert dataset.total_episodes == len(lengths) and dataset.total_steps == sum(lengths)
        from_minari(dataset, again)
        assert_same_trials(again, store)


def test_minari_reads_what_was_written() -> None:
    actors = {
        "gym": lambda observation: 0,
        "teacher": SimulatedHuman(scripted_policy("CartPole-v1"), scripted_gate("CartPole-v1")),
        "evaluator": SimulatedEvaluator(lambda tick: 1.0),
    }
    with TrialStore("human.db") as store:
        cogment_lab.run("CartPole-v1", actors, 3, seed=5, store=store, max_episode_steps=50)
        dataset = store.to_minari(
            "cart/human-v0", author="Ann", algorithm_name="people", ref_min_score=9.0, ref_max_score=500.0
        )
        trials = list(store.query())
    loaded = minari.load_dataset("cart/human-v0")
    assert loaded.env_spec is not None and loaded.env_spec.id == "CartPole-v1"
    assert loaded.recover_environment().observation_space == dataset.observation_space
    metadata = loaded.storage.metadata
    assert metadata["author"] == {"Ann"} and metadata["ref_max_score"] == 500.0
    for episode, data in zip(loaded.iterate_episodes(), trials, strict=True):
        np.testing.assert_array_equal(episode.observations[:-1], data.observations)
        np.testing.assert_array_equal(episode.observations[1:], data.next_observations)
        np.testing.assert_array_equal(episode.actions, data.actions)
        np.testing.assert_array_equal(episode.infos["proposed_action"], data.proposed_actions)
        np.testing.assert_array_equal(episode.infos["is_intervention"], data.is_intervention)
        assert data.is_intervention.any()
    assert next(loaded.storage.get_episode_metadata([0]))["seed"] == 5


def test_infos_come_back_whatever_their_keys_are() -> None:
    class Env(gym.Env[Any, Any]):
        observation_space, action_space = BOX, spaces.Discrete(2)

        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            return np.zeros(3, np.float32), {}

        def step(self, action: Any) -> Any:
            info = {1: 2.0, "1": 3.0, "a/b": 1, "a\0b": 1, "\ud800": 1, (1, 2): 5}
            return np.zeros(3, np.float32), 0.0, True, False, info

    with TrialStore("from.db") as store, TrialStore(":memory:") as again:
        env = cogment_lab.make(Env, store=store)
        env.reset(seed=1)
        env.step(0)
        env.close()
        dataset = store.to_minari("keys-v0")
        from_minari(dataset, again)
        assert_same_trials(again, store)
    assert [key for key in dataset[0].infos if key.startswith("env_")] == ["env_1"]


def test_a_taken_name_and_an_empty_choice_are_errors(datasets: Path) -> None:
    with TrialStore(":memory:") as store:
        record_random(store, SPACES[0], [2], 1)
        store.to_minari("one-v0")
        with pytest.raises(ConfigurationError, match=r"exists already.*another version"):
            store.to_minari("one-v0")
        with pytest.raises(ConfigurationError, match="no trials match"):
            store.to_minari("none-v0", env="Other-v0")
        with pytest.raises(ConfigurationError, match="no name for Minari"):
            store.to_minari("../up v0")
        with pytest.raises(ConfigurationError, match="no Minari dataset"):
            from_minari("absent-v0", store)
    assert [path.name for path in datasets.iterdir() if path.is_dir()] == ["one-v0"]


def test_a_full_disk_leaves_no_half_dataset(datasets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with TrialStore(":memory:") as store:
        record_random(store, SPACES[0], [2, 3], 1)
        monkeypatch.setattr(MinariStorage, "update_metadata", full)
        with pytest.raises(StoreFullError, match="disk is full"):
            store.to_minari("big-v0")
    assert [path for path in datasets.rglob("*") if path.is_dir()] == []


BAD_IDS = [
    "a/b-v0",
    "-/b-v0",
    "one",
    "-v0",
    "ab//c-v0",
    "data/x-v0",
    "a b-v0",
    "ab/c",
    "",
    "long" * 99 + "-v0",
]


@pytest.mark.parametrize("dataset_id", BAD_IDS)
def test_an_id_that_minari_does_not_find_again_leaves_nothing(datasets: Path, dataset_id: str) -> None:
    with TrialStore(":memory:") as store:
        record_random(store, SPACES[0], [2], 1)
        with pytest.raises(ConfigurationError, match=r"human-v0|too long"):
            store.to_minari(dataset_id)
    assert not datasets.exists() or list(datasets.iterdir()) == []


@pytest.mark.parametrize("dataset_id", ["x-v0", "ab/c-v0", "a/bc/d-v12", "v0/x-v0-v1", "data-v0"])
def test_an_id_that_is_accepted_is_listed(dataset_id: str) -> None:
    with TrialStore(":memory:") as store:
        record_random(store, SPACES[0], [2], 1)
        store.to_minari(dataset_id)
        with pytest.raises(ConfigurationError, match="is a Minari dataset, no namespace"):
            store.to_minari(f"{dataset_id}/inner-v0")
    assert list(minari.list_local_datasets()) == [dataset_id]
    for namespace in list_local_namespaces():
        assert dataset_id.startswith(f"{namespace}/")


_LIMITED = """
import resource
from cogment_lab.errors import StoreFullError
from cogment_lab.store import TrialStore
with TrialStore("long.db") as store:
    list(store.query())
    for limit in range(50_000, 500_000, 50_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            store.to_minari("full/human-v0")
        except StoreFullError as error:
            print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="limits are POSIX")
def test_a_disk_that_is_full_at_any_moment_ends_no_process(datasets: Path) -> None:
    with TrialStore("long.db") as store:
        record_random(store, SPACES[0], [2100, 2100, 2100], 1)
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", _LIMITED], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the disk is full") == 9
    assert list(datasets.iterdir()) == []


def test_each_agent_gets_a_dataset() -> None:
    agents = {"red": AgentSpec(BOX, spaces.Discrete(2)), "blue": AgentSpec(BOX, spaces.Discrete(3))}
    with TrialStore(":memory:") as store:
        stream = store.open_stream(StreamSpec(env_id="Two-v0", agents=agents))
        stream.begin("t", seed=1, rng_state=None, options=None, properties={})
        for index in range(3):
            for number, name in enumerate(agents):
                tick = Tick()
                tick.number, tick.info, tick.feedback = index, {}, None
                tick.observation = np.full(3, number, np.float32)
                tick.executed_action = tick.proposed_action = number
                tick.reward, tick.terminated, tick.truncated = 1.0, False, index == 2
                stream.recorder(name).append(tick)
        last = {name: np.zeros(3, np.float32) for name in agents}
        stream.end(state="ENDED", end_reason="truncated", last_observations=last)
        stream.close()
        found = to_minari_by_agent(store, "two/agents-v0")
    assert {name: dataset.id for name, dataset in found.items()} == {
        "red": "two/agents-red-v0",
        "blue": "two/agents-blue-v0",
    }
    assert found["blue"][0].actions.tolist() == [1, 1, 1] and found[
        "blue"
    ].action_space == gym.spaces.Discrete(3)


def test_a_store_to_record_in_may_be_given_by_its_path() -> None:
    with TrialStore("from.db") as store:
        cogment_lab.run("CartPole-v1", lambda observation: 0, seed=1, store=store, max_episode_steps=5)
        dataset = store.to_minari("path/cart-v0")
        (trial_id,) = from_minari(dataset, "again.db")
        with TrialStore("again.db") as again:
            assert again.info(trial_id).n_ticks == 5
            assert_same_trials(again, store)
    with pytest.raises(ConfigurationError, match="neither a TrialStore nor the path"):
        from_minari("path/cart-v0", None)  # type: ignore[arg-type]
