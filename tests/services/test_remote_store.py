"""``TrialStore("grpc://host:port")`` is a store to read: to list, to learn from, to export."""

import asyncio
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from cogment_lab.algorithms import BC
from cogment_lab.integrations.npz import to_npz
from cogment_lab.integrations.sb3 import MixedReplayBuffer, fill_replay_buffer
from stable_baselines3 import DQN

import cogment_lab
from cogment_lab import Cogment, TrialStore
from cogment_lab.actors import RandomActor
from cogment_lab.envs import GymEnvironment
from cogment_lab.errors import ConfigurationError, ServiceError
from cogment_lab.store import PreferenceQueue
from cogment_lab.wire.channel import open_channel
from cogment_lab.wire.generated.common_pb2 import ENDED, ActorParams, TrialParams
from cogment_lab.wire.generated.datalog_pb2 import DatalogSample, RunTrialDatalogInput
from cogment_lab.wire.generated.trial_datastore_pb2 import DeleteTrialsRequest
from cogment_lab.wire.rpc import Stub
from cogment_lab.wire.stream import EOF

N_TRIALS = 3


@pytest.fixture(scope="module")
def lab() -> Iterator[Any]:
    with Cogment.sync(orchestrator_port=0, datastore_port=0) as cog:
        cog.run_env(GymEnvironment("CartPole-v1"), "CartPole-v1")
        cog.run_actor(RandomActor(), "random")
        for seed in range(N_TRIALS):
            play(cog, seed)
        yield cog


def play(cog: Any, seed: int, **properties: str) -> Any:
    trial_id = cog.start_trial("CartPole-v1", "random", {"seed": seed}, properties=properties)
    return trial_id, cog.get_trial_data(trial_id)["gym"]


@pytest.fixture
def store(lab: Any) -> Iterator[TrialStore]:
    with TrialStore(lab.datastore_endpoint) as found:
        yield found


def test_it_is_a_store_that_reads_as_one(lab: Any, store: TrialStore) -> None:
    with pickle.loads(pickle.dumps(store)) as again:
        assert isinstance(again, TrialStore) and again.path == store.path
    before = len(store)
    trial_id, data = play(lab, 7, study="pilot")
    assert len(store) == before + 1 and trial_id in store
    query = store.query(env="CartPole-v1", properties={"study": "pilot"})
    assert query.trial_ids == [trial_id]
    np.testing.assert_array_equal(query.load().observations, data.observations)
    np.testing.assert_array_equal(store.load(trial_id)["gym"].actions, data.actions)
    info = store.info(trial_id)
    assert (info.seed, info.n_ticks, info.end_reason) == (7, len(data), "terminated")
    assert [each.trial_id for each in store.trials(seed=7)] == [trial_id]
    assert next(store.trials(newest_first=True, limit=1)).trial_id == trial_id
    assert trial_id not in {each.trial_id for each in store.trials(without={trial_id})}
    (spec,) = store.agent_specs(env_id="CartPole-v1")
    assert spec.action_space == gym.spaces.Discrete(2)
    rows = sum(len(batch) for batch in store.transitions(env_id="CartPole-v1"))
    assert rows == sum(each.n_ticks for each in store.trials())
    assert not store.events(trial_id) and not store.discarded() and not list(store.labels)


def test_learners_take_it(store: TrialStore) -> None:
    rows = sum(info.n_ticks for info in store.trials())
    model = DQN("MlpPolicy", "CartPole-v1", device="cpu", buffer_size=10_000)
    assert fill_replay_buffer(model.replay_buffer, store, env_id="CartPole-v1") == rows
    assert fill_replay_buffer(model.replay_buffer, store.path) == rows
    assert BC("MlpPolicy", store, device="cpu").learn(2).predict(np.zeros(4, np.float32))[0] in (0, 1)
    mixed = DQN(
        "MlpPolicy",
        "CartPole-v1",
        device="cpu",
        learning_starts=10,
        replay_buffer_class=MixedReplayBuffer,
        replay_buffer_kwargs={"store": store, "ratio": 0.5},
    )
    mixed.learn(40)


def test_it_is_exported(store: TrialStore, tmp_path: Path) -> None:
    assert to_npz(store.query(), tmp_path / "trials.npz") == len(store)


def test_a_running_trial_is_listed_and_its_end_is_awaited(lab: Any, store: TrialStore) -> None:
    with ThreadPoolExecutor(1) as pool:
        trial_ids = [lab.start_trial("CartPole-v1", "random", {"seed": seed}) for seed in range(20, 24)]
        loads = [pool.submit(store.load, trial_id) for trial_id in trial_ids if trial_id in store]
        assert len(store.query()) <= len(store)
        assert all(len(load.result(60)["gym"]) for load in loads)
    for trial_id in trial_ids:
        lab.get_trial_data(trial_id)
    assert {*trial_ids} <= {*store.query().trial_ids}


@pytest.mark.parametrize(
    "write",
    [
        lambda store: cogment_lab.make("CartPole-v1", store=store).reset(),
        lambda store: cogment_lab.make("CartPole-v1", store=store.path).reset(),
        lambda store: store.delete(["x"]),
        lambda store: store.forget("ann"),
        lambda store: store.scrub(),
        lambda store: store.label("x", "rating", 1.0),
        lambda store: store.labels.add("x", "rating", 1.0),
        lambda store: PreferenceQueue(store, "q"),
        lambda store: TrialStore(store.path, max_gb=1.0),
    ],
)
def test_writing_is_refused(store: TrialStore, write: Any) -> None:
    with pytest.raises(ConfigurationError, match="only read"):
        write(store)
    assert store.status == "not recording"
    store.flush()


def test_its_copy_ends_with_it(lab: Any) -> None:
    store = TrialStore(lab.datastore_endpoint)
    copy = Path(store.query().store.path)
    assert copy.exists()
    store.close()
    store.close()
    assert not copy.parent.exists()


def test_trials_that_are_deleted_there_are_gone_here(lab: Any, store: TrialStore) -> None:
    trial_id, _ = play(lab, 9)
    assert trial_id in store.query().trial_ids
    asyncio.run(_delete(lab.datastore_endpoint, trial_id))
    assert trial_id not in store.query().trial_ids and trial_id not in store


def test_trials_of_another_application_are_listed_and_keep_nobody_from_the_others(
    lab: Any, store: TrialStore
) -> None:
    params = TrialParams(actors=[ActorParams(name="gym", actor_class="player")])
    params.environment.name = "theirs"
    params.environment.config.content = params.actors[0].config.content = b"\xff\xff"
    asyncio.run(_log(lab.datastore_endpoint, params))
    (info,) = store.trials(env_id="theirs")
    assert (info.trial_id, info.state, info.agents) == ("theirs-1", "ENDED", ())
    assert store.info("theirs-1") == info
    assert "theirs-1" not in store.query().trial_ids and len(store.query())
    with pytest.raises(ServiceError, match="no specs"):
        store.load("theirs-1")


async def _log(endpoint: str, params: TrialParams) -> None:
    channel = open_channel(endpoint.removeprefix("grpc://"))
    call = Stub(channel, "cogmentAPI.DatalogSP").RunTrialDatalog(metadata=(("trial-id", "theirs-1"),))
    await call.write(RunTrialDatalogInput(trial_params=params).SerializeToString())
    sample = DatalogSample(info={"tick_id": 0, "state": ENDED})
    await call.write(RunTrialDatalogInput(sample=sample).SerializeToString())
    await call.done_writing()
    while await call.read() is not EOF:
        continue
    await channel.close(None)


async def _delete(endpoint: str, trial_id: str) -> None:
    channel = open_channel(endpoint.removeprefix("grpc://"))
    await Stub(channel, "cogmentAPI.TrialDatastoreSP").DeleteTrials(DeleteTrialsRequest(trial_ids=[trial_id]))
    await channel.close(None)
