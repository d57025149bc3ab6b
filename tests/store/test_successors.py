"""What followed each step where that is not the next row: chosen ticks, joined trials, turns."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cogment_lab.integrations.d3rlpy import mdp_arrays
from cogment_lab.integrations.minari import from_minari, to_minari
from cogment_lab.integrations.npz import from_npz, to_npz
from cogment_lab.integrations.sb3 import fill_replay_buffer
from cogment_lab.integrations.sb3.fill import write_transitions
from cogment_lab.integrations.torch_dataset import TransitionDataset
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from store_helpers import ACTION_SPACE, OBSERVATION_SPACE, begin, make_spec, make_tick, record_trial

from cogment_lab.store import AgentSpec, TrialData, TrialStore, concatenate
from cogment_lab.store.views import discounted_returns, n_steps, read_sequences


@pytest.fixture
def helped() -> Iterator[TrialStore]:
    """Three trials with takeovers: two in the first, one at its end in the second, one in a cut-off trial."""
    with TrialStore(Path("helped.db")) as store:
        stream = store.open_stream(make_spec())
        record_trial(stream, "two", 9, helped=(1, 2, 5, 6), terminated=True)
        record_trial(stream, "end", 5, start=20, helped=(3, 4))
        stream.close()
        stream = store.open_stream(make_spec())
        record_trial(stream, "cut", 4, start=40, helped=(2, 3), end=False)
        stream.end(state="ENDED", end_reason="interrupted", last_observations={})
        stream.close()
        yield store


@pytest.fixture
def turns() -> Iterator[TrialStore]:
    """Two agents that act in turn."""
    with TrialStore(":memory:") as store:
        spec = AgentSpec(OBSERVATION_SPACE, ACTION_SPACE)
        stream = store.open_stream(make_spec(black=spec, white=spec))
        begin(stream, "game")
        for number in range(8):
            name = ("black", "white")[number % 2]
            stream.recorder(name).append(make_tick(number, terminated=number >= 6))
        last = np.full(4, 8, np.float32)
        stream.end(state="ENDED", end_reason="terminated", last_observations={"black": last, "white": last})
        stream.close()
        yield store


def firsts(data: TrialData) -> list[tuple[float, float]]:
    return list(zip(data.observations[:, 0].tolist(), data.next_observations[:, 0].tolist(), strict=True))


def test_stretches_of_chosen_ticks_end_where_ticks_are_missing(helped: TrialStore) -> None:
    two, end, cut = helped.query(only="interventions")
    assert two.continues.tolist() == [True, False, True, False]
    assert end.continues.tolist() == [True, False] and end.has_successor.all()
    assert cut.has_successor.tolist() == [True, False], "nobody knows what followed the last step"
    joined = concatenate([two, end, cut])
    assert joined.continues.tolist() == [True, False, True, False, True, False, True, False]
    assert joined.has_successor.tolist() == [True] * 7 + [False]
    assert discounted_returns(joined).tolist() == [2, 1, 2, 1, 2, 1, 2, 1]


@pytest.mark.parametrize("kind", ["npz", "minari"])
def test_chosen_ticks_come_back_with_their_successors(
    helped: TrialStore, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(Path("minari").absolute()))
    query = helped.query(only="interventions", trial_ids=["two", "end"])
    with TrialStore(":memory:") as again:
        if kind == "npz":
            to_npz(query, Path("chosen.npz"))
            from_npz(Path("chosen.npz"), again)
        else:
            dataset = to_minari(helped, "chosen-v0", only="interventions", trial_ids=["two", "end"])
            assert [episode.observations[:, 0].tolist() for episode in dataset.iterate_episodes()] == [
                [1, 2, 3], [5, 6, 7], [23, 24, 25],
            ]  # fmt: skip
            assert [bool(each.truncations[-1]) for each in dataset.iterate_episodes()] == [True] * 3
            metadata = dataset.storage.get_episode_metadata(range(3))
            assert not any("seed" in each for each in metadata), "no reset leads to the middle of a trial"
            from_minari(dataset, again)
        for found, wanted in zip(again.query(), query, strict=True):
            assert firsts(found) == firsts(wanted)
            for name in ("ticks", "continues", "has_successor", "terminated", "is_intervention", "rewards"):
                np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
        (batch,) = again.transitions()
        assert batch.next_observations[:, 0].tolist() == [2, 3, 6, 7, 24, 25]
        assert batch.continues.tolist() == [True, False, True, False, True, False]
        assert [info.n_interventions for info in again.trials()] == [4, 2]
        assert [info.n_takeovers for info in again.trials()] == [2, 1]


def test_takeovers_alone_come_back_with_what_followed_the_last() -> None:
    with TrialStore(Path("takeovers.db")) as store, TrialStore(":memory:") as again:
        stream = store.open_stream(make_spec(record="interventions"))
        record_trial(stream, "middle", 9, helped=(1, 2, 5))
        record_trial(stream, "end", 5, start=20, helped=(3, 4))
        stream.close()
        to_npz(store.query(), Path("takeovers.npz"))
        from_npz(Path("takeovers.npz"), again)
        for found, wanted in zip(again.query(), store.query(), strict=True):
            assert firsts(found) == firsts(wanted)
            np.testing.assert_array_equal(found.last_observation, wanted.last_observation)
            np.testing.assert_array_equal(found.truncated, wanted.truncated)
        (batch,) = again.transitions()
        assert batch.next_observations[:, 0].tolist() == [2, 3, 6, 24, 25]
        assert [info.n_ticks for info in again.trials()] == [6, 5]


def test_a_part_of_a_dataset_keeps_its_trials_apart(
    helped: TrialStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(Path("minari").absolute()))
    stream = helped.open_stream(make_spec())
    record_trial(stream, "more", 9, start=60, helped=(1, 2, 5, 6))
    stream.close()
    dataset = to_minari(helped, "chosen-v0", only="interventions", trial_ids=["two", "more"])
    firsts_and_others = dataset.filter_episodes(lambda episode: episode.id in (0, 3))
    with TrialStore(":memory:") as again:
        from_minari(firsts_and_others, again)
        assert [(data.trial_id, data.ticks.tolist()) for data in again.query()] == [
            ("two", [1, 2]), ("more", [5, 6]),
        ]  # fmt: skip


def test_learners_get_no_step_whose_successor_is_unknown(helped: TrialStore) -> None:
    query = helped.query(only="interventions")
    buffer = ReplayBuffer(20, OBSERVATION_SPACE, ACTION_SPACE, device="cpu")
    write_transitions(buffer, (data for data in query if data.trial_id != "cut"))
    assert buffer.size() == 6
    steps = list(TransitionDataset(helped.path, seed=None, only="interventions"))
    assert [int(step["next_observations"][0]) for step in steps] == [2, 3, 6, 7, 24, 25, 43]


def test_agents_that_take_turns_have_whole_trials(turns: TrialStore) -> None:
    (data,) = turns.query(agent="white")
    assert data.ticks.tolist() == [1, 3, 5, 7]
    assert data.continues.tolist() == [True, True, True, False]
    assert discounted_returns(data, 0.5).tolist() == [1.875, 1.75, 1.5, 1]
    assert n_steps(data, 3, 1.0).rewards.tolist() == [3, 3, 2, 1]
    (sequences,) = read_sequences(turns.query(agent="white"), 4)
    assert sequences.mask.all() and sequences.returns.tolist() == [[4, 3, 2, 1]]
    (batch,) = turns.transitions(agent="white")
    assert batch.continues.tolist() == data.continues.tolist()
    arrays = mdp_arrays(turns.query(agent="white"))
    assert arrays["timeouts"].sum() == 0 and arrays["terminals"].tolist() == [0, 0, 0, 1]
    buffer = NStepReplayBuffer(10, OBSERVATION_SPACE, ACTION_SPACE, device="cpu", n_steps=3, gamma=1.0)
    assert fill_replay_buffer(buffer, turns, agent="white") == 4
    assert buffer.dones[:4, 0].tolist() == [0, 0, 0, 1], "windows of n steps go on from turn to turn"
