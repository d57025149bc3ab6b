"""The file of a datastore is a TrialStore: its ended trials can be read, and learned from, without it."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cogment_lab import Cogment, TrialStore
from cogment_lab.actors import ConstantActor
from cogment_lab.core import CogmentActor
from cogment_lab.envs import GymEnvironment
from cogment_lab.errors import ConfigurationError
from cogment_lab.services.trial_datastore import TrialDatastore, TrialDatastoreSettings


class Praise(CogmentActor[Any, Any]):
    """An evaluator who likes every third tick."""

    async def act(self, observation: Any, rendered_frame: Any = None) -> Any:
        if self.actor_session.get_tick_id() % 3 == 0:
            self.actor_session.add_reward(0.5, 0.8, ["gym"])
        return 0


def record(path: Path, work: Callable[[Cogment, TrialDatastore], Awaitable[Any]]) -> Any:
    """Have ``work`` run trials of CartPole that are kept in ``path``."""

    async def main() -> Any:
        datastore = TrialDatastore(TrialDatastoreSettings(port=0, file_storage=path))
        port = await datastore.start()
        try:
            async with asyncio.timeout(250), Cogment(orchestrator_port=0, datastore_port=port) as cog:
                await cog.run_env(GymEnvironment("CartPole-v1"), "CartPole-v1", port=0)
                cog.run_local_actor(ConstantActor(1), "right", port=0)
                cog.run_local_actor(Praise(), "praise", port=0)
                return await work(cog, datastore)
        finally:
            await datastore.stop()

    return asyncio.run(main())


async def play(cog: Cogment, **options: Any) -> Any:
    actors = {"gym": "right", "evaluator": "praise"}
    trial_id = await cog.start_trial("CartPole-v1", actor_impls=actors, **options)
    return trial_id, (await cog.get_trial_data(trial_id))["gym"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("file") / "trials.db"

    async def work(cog: Cogment, datastore: TrialDatastore) -> Any:
        return [await play(cog) for _ in range(3)]

    return path, record(path, work)


def test_the_store_holds_what_the_datastore_answered(recorded: Any) -> None:
    path, trials = recorded
    store = TrialStore(path)
    assert {info.trial_id for info in store.trials(env_id="CartPole-v1")} == {each for each, _ in trials}
    for trial_id, remote in trials:
        data = store.load(trial_id)
        assert list(data) == ["gym"]
        stored = data["gym"]
        for name in ("observations", "actions", "rewards", "terminated", "truncated", "t_shown", "t_acted"):
            np.testing.assert_array_equal(getattr(stored, name), getattr(remote, name))
        np.testing.assert_array_equal(stored.last_observation, remote.last_observation)
        info = store.info(trial_id)
        assert (info.state, info.end_reason, info.n_ticks) == ("ENDED", "terminated", len(remote))
        assert info.seed is not None
        assert info.started == pytest.approx(remote.t_shown[0] / 1e9)
    store.close()


def test_opinions_are_kept(recorded: Any) -> None:
    path, [(trial_id, remote), *_] = recorded
    with TrialStore(path) as store:
        stored = store.load(trial_id)["gym"]
    for data in (remote, stored):
        assert data.feedback
        assert {(said.source, said.value) for said in data.feedback} == {("evaluator", 0.5)}
        assert all(said.confidence == pytest.approx(0.8) for said in data.feedback)
        assert {said.tick % 3 for said in data.feedback} <= {0, 1}  # of the tick that runs when it arrives


def test_the_next_datastore_completes_what_is_missing(recorded: Any) -> None:
    path, trials = recorded
    with TrialStore(path) as store:
        store.delete([trials[0][0]])
        assert trials[0][0] not in store

    async def wait(cog: Cogment, datastore: TrialDatastore) -> None:
        return None

    record(path, wait)
    with TrialStore(path) as store:
        assert trials[0][0] in store


def test_a_trial_that_the_datastore_deletes_leaves_the_store(tmp_path: Path) -> None:
    async def work(cog: Cogment, datastore: TrialDatastore) -> list[str]:
        (first, _), (second, _) = await play(cog), await play(cog)
        await cog.datastore.delete_trials([first])
        return [first, second]

    _, second = record(tmp_path / "d.db", work)
    with TrialStore(tmp_path / "d.db") as store:
        assert [info.trial_id for info in store.trials()] == [second]
    connection = sqlite3.connect(tmp_path / "d.db")
    assert connection.execute("SELECT trial_id FROM wire_trials").fetchall() == [(second,)]
    connection.close()


def test_cogment_keeps_its_trials_in_a_file(tmp_path: Path) -> None:
    async def main() -> str:
        store = str(tmp_path / "runs" / "d.db")
        async with (
            asyncio.timeout(250),
            Cogment(orchestrator_port=0, datastore_port=0, store=store) as cog,
        ):
            await cog.run_env(GymEnvironment("CartPole-v1"), "CartPole-v1", port=0)
            cog.run_local_actor(ConstantActor(1), "right", port=0)
            trial_id = await cog.start_trial("CartPole-v1", actor_impls={"gym": "right"})
            await cog.get_trial_data(trial_id)
            return trial_id

    trial_id = asyncio.run(main())
    with TrialStore(tmp_path / "runs" / "d.db") as store:
        assert store.load(trial_id)["gym"].actions.all()


def test_a_datastore_that_listens_is_used_and_keeps_its_own_file(tmp_path: Path) -> None:
    async def main() -> None:
        datastore = TrialDatastore(TrialDatastoreSettings(port=0))
        port = await datastore.start()
        with pytest.raises(ConfigurationError, match="datastore_port=0"):
            Cogment(orchestrator_port=0, datastore_port=port, store=str(tmp_path / "d.db"))
        async with Cogment(orchestrator_port=0, datastore_port=port) as cog:
            assert cog.datastore_endpoint.endswith(f":{port}")
        await datastore.stop()

    asyncio.run(main())
