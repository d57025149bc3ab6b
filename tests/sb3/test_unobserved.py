"""Trials recorded without observations: who learns from them is told, and can have them made again."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from cogment_lab.algorithms.dqfd import DQfD
from cogment_lab.algorithms.offline_data import read_offline_data
from cogment_lab.integrations.sb3 import (
    MixedReplayBuffer,
    TakeoverHerReplayBuffer,
    TakeoverReplayBuffer,
    fill_replay_buffer,
)
from cogment_lab.integrations.unobserved import rebuild_observations, rebuilt_batches
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.vec_env import DummyVecEnv

import cogment_lab
from cogment_lab.errors import ConfigurationError, ReplayDivergedError
from cogment_lab.humans import SimulatedHuman
from cogment_lab.store import TrialStore

IMAGE = gym.spaces.Box(0, 255, (36, 40, 3), np.uint8)
LENGTH = 7


class Camera(gym.Env[Any, Any]):
    """Pictures of dice."""

    observation_space = IMAGE
    action_space = gym.spaces.Discrete(2)
    shift = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.tick = 0
        return self._see(), {}

    def _see(self) -> Any:
        return np.full(IMAGE.shape, self.np_random.integers(200) + self.shift, np.uint8)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.tick += 1
        return self._see(), float(self.tick), self.tick == LENGTH, False, {}


class Shifted(Camera):
    shift = 1


def record(store: TrialStore, *, trials: int = 1, how: Any = "auto", env: Any = Camera) -> None:
    """Record trials of which every third step, from the second on, is a takeover."""
    ticks = iter(range(10**6))
    teacher = SimulatedHuman(lambda observation: 1, gate=lambda *_: next(ticks) % 3 == 1)
    actors = {"gym": lambda observation: 0, "teacher": teacher}
    cogment_lab.run(env, actors, trials, seed=5, store=store, record=how)


@pytest.fixture
def store() -> Iterator[TrialStore]:
    with TrialStore(":memory:") as store:
        yield store


def make_buffer(n_envs: int = 1) -> TakeoverReplayBuffer:
    return TakeoverReplayBuffer(100, IMAGE, Camera.action_space, device="cpu", n_envs=n_envs)


def assert_same_rows(found: Any, wanted: Any, rows: int) -> None:
    assert found.pos == wanted.pos == rows
    for name in ("observations", "next_observations", "actions", "rewards", "dones", "timeouts"):
        one, other = getattr(found, name)[:rows], getattr(wanted, name)[:rows]
        np.testing.assert_array_equal(one, other, err_msg=name)
    np.testing.assert_array_equal(found.is_intervention[:rows], wanted.is_intervention[:rows])


def test_steps_without_observations_are_missed_loudly(store: TrialStore) -> None:
    record(store, trials=2)
    buffer = make_buffer()
    with pytest.warns(UserWarning, match=r"9 steps are left out .trials: 2.*unobserved='replay'") as caught:
        assert fill_replay_buffer(buffer, store) == 5
    assert buffer.is_intervention[:5].all() and caught[0].filename == __file__
    assert fill_replay_buffer(buffer, store, unobserved="skip") == 5
    with pytest.raises(ConfigurationError, match="'skip' or 'replay'"):
        fill_replay_buffer(buffer, store, unobserved="rebuild")  # type: ignore[arg-type]


def test_nothing_is_said_where_nothing_is_missed(store: TrialStore) -> None:
    record(store, how="full")
    always = SimulatedHuman(lambda observation: 1)
    cogment_lab.run(Camera, {"gym": lambda observation: 0, "teacher": always}, store=store)
    record(store, env=Shifted)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fill_replay_buffer(make_buffer(), store, env_id="Camera") == 2 * LENGTH


@pytest.mark.parametrize("batch_size", [None, 3])
def test_replayed_rows_are_those_of_a_full_record(store: TrialStore, batch_size: int | None) -> None:
    """In the order of the trials, some with and some without observations."""
    for how in ("auto", "full", "auto"):
        record(store, trials=2, how=how)
    with TrialStore(":memory:") as full:
        for _ in range(3):
            record(full, trials=2, how="full")
        wanted, found = make_buffer(), make_buffer()
        assert fill_replay_buffer(wanted, full) == 6 * LENGTH
    added = fill_replay_buffer(found, store, unobserved="replay", env=Camera, batch_size=batch_size)
    assert added == 6 * LENGTH
    if batch_size is not None:  # the last row of a batch breaks off, as it does of stored ones
        found.timeouts[:], found.dones[:] = wanted.timeouts, wanted.dones
    assert_same_rows(found, wanted, 6 * LENGTH)


def test_discarded_ticks_are_left_out_however_they_are_read(store: TrialStore) -> None:
    with TrialStore(":memory:") as full:
        for records, how in ((store, "auto"), (full, "full")):
            record(records, trials=2, how=how)
            records.label(next(records.trials()).trial_id, "discard", True, start=2, stop=4)
        wanted, found = make_buffer(), make_buffer()
        assert fill_replay_buffer(wanted, full) == 2 * LENGTH - 2
        assert fill_replay_buffer(make_buffer(), full.query(discarded=True)) == 2 * LENGTH
        np.testing.assert_array_equal(np.flatnonzero(wanted.timeouts), [1])
    assert fill_replay_buffer(found, store, unobserved="replay", env=Camera) == 2 * LENGTH - 2
    assert_same_rows(found, wanted, 2 * LENGTH - 2)
    for only, steps in (("interventions", 5), ("autonomous", 7)):  # of 5 and 9, the discarded are autonomous
        query = store.query(only=only)
        assert fill_replay_buffer(make_buffer(), query, unobserved="replay", env=Camera) == steps


def test_a_rebuilt_trial_is_as_if_fully_recorded(store: TrialStore) -> None:
    record(store, trials=2)
    record(store, trials=2, how="full")
    blind, blind2, full, full2 = (info.trial_id for info in store.trials())
    assert store.load(blind)["gym"].observations is None
    for one, other in ((blind, full), (blind2, full2)):
        found, wanted = rebuild_observations(store, one, env=Camera), store.load(other)["gym"]
        for name in ("observations", "next_observations", "actions", "rewards", "terminated", "ticks"):
            np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), err_msg=name)
        assert found.observations.dtype == np.uint8
    parts = list(rebuilt_batches(store, blind, env=Camera, batch_size=3))
    assert [part.ticks.tolist() for part in parts] == [[0, 1, 2], [3, 4, 5], [6]]
    assert rebuild_observations(store, full).observations.shape == (LENGTH, *IMAGE.shape)


def test_an_environment_that_changed_is_no_source(store: TrialStore) -> None:
    record(store)
    (info,) = store.trials()
    with pytest.raises(
        ReplayDivergedError, match=rf"{info.trial_id}.*at \(0, 0, 0\) and 4319 other.*trial_ids="
    ):
        fill_replay_buffer(make_buffer(), store, unobserved="replay", env=Shifted)
    with pytest.raises(ConfigurationError, match="without a Gymnasium spec"):
        fill_replay_buffer(make_buffer(), store, unobserved="replay")


def test_goals_are_replayed_with_their_infos(store: TrialStore) -> None:
    def bits() -> BitFlippingEnv:
        return BitFlippingEnv(n_bits=4, continuous=False, max_steps=4)

    for _ in range(3):
        record(store, how="actions", env=bits)
    env = DummyVecEnv([bits])
    buffer = TakeoverHerReplayBuffer(
        100, env.observation_space, env.action_space, env=env, device="cpu", copy_info_dict=True
    )
    with pytest.warns(UserWarning, match="trials: 3"):
        assert fill_replay_buffer(buffer, store) == 0
    steps = sum(info.n_ticks for info in store.trials())
    assert fill_replay_buffer(buffer, store, unobserved="replay", env=bits) == steps


def test_mixed_batches_have_the_steps_asked_for() -> None:
    with TrialStore(Path("images.db")) as store:
        record(store, trials=2)

        def stored(only: str, **options: Any) -> Any:
            made = MixedReplayBuffer(
                50, IMAGE, Camera.action_space, "cpu", store=store, query={"only": only}, **options
            )
            return made.stored

        assert stored("interventions").size() == 5, "takeovers are recorded with what they saw"
        with pytest.warns(UserWarning, match="9 steps"):
            assert stored("autonomous").size() == 0
        with pytest.raises(ConfigurationError, match="unobserved='all'"):
            stored("autonomous", unobserved="all")


def test_other_learners_are_told_as_well(store: TrialStore) -> None:
    record(store)
    with pytest.warns(UserWarning, match=r"Learn from a list.*rebuild_observations"):
        assert len(read_offline_data(store)) == 2
    with pytest.raises(ConfigurationError, match="rebuild_observations"):
        read_offline_data(store.query())
    (info,) = store.trials()
    whole = rebuild_observations(store, info.trial_id, env=Camera)
    spaces = {"observation_space": IMAGE, "action_space": Camera.action_space}
    assert len(read_offline_data([whole], **spaces)) == LENGTH


def test_demonstrations_can_be_replayed(store: TrialStore) -> None:
    record(store, how="actions", env="CartPole-v1")
    model = DQfD("MlpPolicy", "CartPole-v1", buffer_size=50, demo_buffer_size=50, device="cpu")
    with pytest.warns(UserWarning, match="unobserved='replay'"):
        assert model.add_demonstrations(store) < 10
    assert model.add_demonstrations(store, unobserved="replay") == next(store.trials()).n_ticks
