import gc
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from store_helpers import begin, make_spec, make_tick, record_trial

from cogment_lab.errors import ConfigurationError, TrialNotFoundError, TrialStateError
from cogment_lab.store import Transitions, TrialStore, TrialStream, concatenate
from cogment_lab.store.chunk import AgentRows


def ids(infos: Any) -> list[str]:
    return [info.trial_id for info in infos]


@pytest.fixture
def three(store: TrialStore) -> Iterator[TrialStore]:
    """Trials of two environments: a1 (3 ticks), b1 (2 ticks) and a2 (5 ticks, still running)."""
    a, b = store.open_stream(make_spec(env_id="A")), store.open_stream(make_spec(env_id="B"))
    record_trial(a, "a1", 3, properties={"study": "pilot", "group": "1"}, terminated=True)
    record_trial(b, "b1", 2, start=50, properties={"study": "pilot"}, seed=9)
    record_trial(a, "a2", 5, start=100, end=False)
    yield store
    a.close()
    b.close()


def test_trials_come_in_the_order_in_which_they_started(three: TrialStore) -> None:
    assert ids(three.trials()) == ids(three) == ["a1", "b1", "a2"]
    assert ids(three.trials(newest_first=True)) == ["a2", "b1", "a1"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"env_id": "A"}, ["a1", "a2"]),
        ({"env_id": "C"}, []),
        ({"state": "ENDED"}, ["a1", "b1"]),
        ({"state": "RUNNING"}, ["a2"]),
        ({"state": "INTERRUPTED"}, []),
        ({"properties": {"study": "pilot"}}, ["a1", "b1"]),
        ({"properties": {"study": "pilot", "group": "1"}}, ["a1"]),
        ({"properties": {"study": "x' OR '1'='1"}}, []),
        ({"seed": 9}, ["b1"]),
        ({"min_return": 3.0}, ["a1", "a2"]),
        ({"limit": 2}, ["a1", "b1"]),
        ({"limit": 0}, []),
        ({"limit": 1, "newest_first": True, "state": "ENDED"}, ["b1"]),
        ({"env_id": "A", "min_return": 4.0}, ["a2"]),
    ],
)
def test_filters_must_all_match(three: TrialStore, filters: dict[str, Any], expected: list[str]) -> None:
    assert ids(three.trials(**filters)) == expected


def test_since_is_the_earliest_start(three: TrialStore) -> None:
    assert ids(three.trials(since=three.info("b1").started)) == ["b1", "a2"]


def test_a_store_is_a_collection_of_trials(three: TrialStore) -> None:
    assert len(three) == 3 and "a1" in three and "x" not in three and 5 not in three
    assert repr(three.path) in repr(three)


def test_a_store_without_file_is_empty_and_makes_none(path: Any) -> None:
    with TrialStore(path) as store:
        assert len(store) == 0 and list(store) == [] and list(store.transitions()) == [] and store
        assert store.stats().trials == 0
        assert store.status == "not recording"
        with pytest.raises(TrialNotFoundError):
            store.info("a")
    assert not path.exists()


def test_stats_count_everything(three: TrialStore) -> None:
    stats = three.stats()
    assert (stats.trials, stats.ticks, stats.chunks, stats.interventions) == (3, 10, 2, 0)
    assert stats.bytes > 10_000


def test_deleted_trials_are_gone_and_the_others_stay(three: TrialStore) -> None:
    before = three.load("a2")["gym"]
    three.delete(["a1", "b1"])
    assert ids(three) == ["a2"] and "a1" not in three
    assert three.stats().chunks == 1
    np.testing.assert_array_equal(three.load("a2")["gym"].observations, before.observations)
    assert sum(map(len, three.transitions())) == 4
    with pytest.raises(TrialNotFoundError):
        three.load("a1")


@pytest.mark.parametrize("gone", ["x", "y", "z"])
def test_trials_that_share_a_chunk_survive_each_other(
    store: TrialStore, stream: TrialStream, gone: str
) -> None:
    for start, name in enumerate("xyz"):
        record_trial(stream, name, 3, start=start)
    assert store.stats().chunks == 1
    store.delete([gone])
    for start, name in enumerate("xyz"):
        if name != gone:
            assert store.load(name)["gym"].observations[:, 0].tolist() == [start, start + 1, start + 2]
    store.delete([name for name in "xyz" if name != gone])
    assert store.stats().chunks == 0


def test_a_running_trial_is_not_deleted(three: TrialStore) -> None:
    with pytest.raises(TrialStateError, match="still runs"):
        three.delete(["a1", "a2"])
    with pytest.raises(TrialNotFoundError):
        three.delete(["a1", "nobody"])
    assert ids(three) == ["a1", "b1", "a2"]


def test_space_of_deleted_trials_is_used_again(file_store: TrialStore) -> None:
    stream = file_store.open_stream(make_spec())
    sizes = []
    for turn in range(4):
        record_trial(stream, f"t{turn}", 3000)
        file_store.delete([f"t{turn}"])
        stats = file_store.stats()
        assert stats.chunks == 0 and stats.free_bytes > 100_000
        sizes.append(stats.bytes - stats.free_bytes)
    assert file_store.stats().free_bytes < 2 * 3000 * 100
    stream.close()


def test_recording_goes_on_after_a_deletion(three: TrialStore) -> None:
    three.delete(["b1"])
    with TrialStore(":memory:") as other:
        record_trial(other.open_stream(make_spec()), "x", 2)
    stream = three.open_stream(make_spec())
    record_trial(stream, "later", 2)
    assert ids(three) == ["a1", "a2", "later"]


# --- transitions ---


def joined(batches: Any) -> tuple[Any, ...]:
    found: list[Transitions] = list(batches)
    names = ("observations", "next_observations", "actions", "terminated", "truncated", "ticks")
    return tuple(np.concatenate([getattr(batch, name) for batch in found]) for name in names)


def test_transitions_run_across_trials_and_streams(three: TrialStore) -> None:
    observations, following, actions, terminated, truncated, ticks = joined(three.transitions())
    assert observations[:, 0].tolist() == [0, 1, 2, 100, 101, 102, 103, 50, 51]
    assert following[:, 0].tolist() == [1, 2, 3, 101, 102, 103, 104, 51, 52]
    assert terminated.tolist() == [False, False, True] + [False] * 6
    assert truncated.tolist() == [False] * 8 + [True]
    assert ticks.tolist() == [0, 1, 2, 0, 1, 2, 3, 0, 1] and (actions == 1).all()


def test_transitions_can_be_chosen(three: TrialStore) -> None:
    assert sum(map(len, three.transitions(env_id="B"))) == 2
    assert sum(map(len, three.transitions(trial_ids=["b1", "a1"]))) == 5
    assert sum(map(len, three.transitions(env_id="A", trial_ids=["b1", "a1"]))) == 3
    assert list(three.transitions(agent="nobody")) == []
    with pytest.raises(ConfigurationError, match="batch_size=0"):
        list(three.transitions(batch_size=0))


@pytest.mark.parametrize("batch_size", [1, 2, 7, 100])
def test_batches_do_not_change_what_is_read(file_store: TrialStore, batch_size: int) -> None:
    stream = file_store.open_stream(make_spec())
    for trial, length in enumerate((1, 4, 1, 2, 7, 3)):
        record_trial(stream, f"t{trial}", length, start=100 * trial, helped=(1,), terminated=trial % 2 == 0)
        if trial % 2:
            file_store.flush()  # so that trials and chunks begin at different places
        if trial == 4:
            begin(stream, "t-split")
            for number in range(6):
                observation = np.full(4, 1000 + number, np.float32)
                stream.recorder("gym").append(make_tick(number, observation))
                file_store.flush()
    batches = list(file_store.transitions(batch_size=batch_size))
    assert all(len(batch) <= batch_size for batch in batches)
    expected = [file_store.load(info.trial_id)["gym"] for info in file_store.trials()]
    observations, following, actions, terminated, truncated, ticks = joined(batches)
    lengths = [len(data) - (data.last_observation is None) for data in expected]

    def all_of(name: str) -> Any:
        return np.concatenate(
            [getattr(data, name)[:length] for data, length in zip(expected, lengths, strict=True)]
        )

    np.testing.assert_array_equal(observations, all_of("observations"))
    np.testing.assert_array_equal(following, all_of("next_observations"))
    np.testing.assert_array_equal(actions, all_of("actions"))
    np.testing.assert_array_equal(terminated, all_of("terminated"))
    np.testing.assert_array_equal(truncated, all_of("truncated"))
    np.testing.assert_array_equal(ticks, all_of("ticks"))
    stream.close()


def test_a_trial_in_many_chunks_is_one_array(file_store: TrialStore) -> None:
    stream = file_store.open_stream(make_spec())
    record_trial(stream, "before", 2)
    begin(stream, "long")
    for number in range(50):
        tick = make_tick(number, np.full(4, number, np.float32), info={"n": number}, helped=number % 20 > 10)
        stream.recorder("gym").append(tick)
        if number % 10 == 4:
            file_store.flush()
    record_trial(stream, "after", 2)
    data = file_store.load("long")["gym"]
    assert data.observations[:, 0].tolist() == list(range(50))
    assert data.infos == [{"n": number} for number in range(50)]
    info = file_store.info("long")
    assert (info.n_ticks, info.n_interventions, info.n_takeovers) == (50, 18, 2)
    assert len(file_store.load("before")["gym"]) == len(file_store.load("after")["gym"]) == 2
    stream.close()


# --- data of several trials ---


def test_concatenated_trials_keep_their_own_next_observations(three: TrialStore) -> None:
    parts = [three.load(name)["gym"] for name in ("a1", "b1")]
    data = concatenate(parts)
    assert len(data) == 5 and data.trial_id == "" and data.agent == "gym"
    assert data.next_observations[:, 0].tolist() == [1, 2, 3, 51, 52]
    assert data.done.tolist() == [False, False, True, False, True]
    assert data.last_observation[0] == 52
    assert len(concatenate([data, data])) == 10


def test_trials_with_and_without_observations_do_not_mix(store: TrialStore) -> None:
    with_them, without = store.open_stream(make_spec()), store.open_stream(make_spec("actions"))
    record_trial(with_them, "a", 2)
    record_trial(without, "b", 2)
    record_trial(without, "c", 2)
    parts = [store.load(name)["gym"] for name in "abc"]
    assert concatenate(parts[1:]).observations is None and len(concatenate(parts[1:])) == 4
    with pytest.raises(ConfigurationError, match="separately"):
        concatenate(parts)
    with pytest.raises(ConfigurationError, match="at least one"):
        concatenate([])


def test_other_threads_read_while_one_records(store: TrialStore, stream: TrialStream) -> None:
    problems: list[BaseException] = []
    stop = threading.Event()

    def read() -> None:
        try:
            while not stop.is_set():
                for info in store.trials():
                    data = store.load(info.trial_id)["gym"]
                    assert data.observations[:, 0].tolist() == list(range(len(data)))
                    assert len(data) >= info.n_ticks
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for trial in range(20):
        record_trial(stream, f"t{trial}", 30)
    stop.set()
    for thread in threads:
        thread.join(20)
    assert not problems
    assert len(store) == 20


def test_trials_in_a_row_are_read_with_few_questions(
    file_store: TrialStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = file_store.open_stream(make_spec())
    for number in range(150):
        record_trial(stream, f"t{number}", 1 + number % 5, start=number * 10)
        if number % 20 == 7:
            file_store.flush()  # a chunk ends with this trial
        if number % 20 == 13:  # and one in the midst of this one
            begin(stream, f"split{number}")
            for tick in range(4):
                stream.recorder("gym").append(make_tick(tick))
                file_store.flush()
            stream.end(state="ENDED", end_reason="truncated", last_observations={})
    stream.close()
    one_by_one = [file_store.load(info.trial_id)["gym"] for info in file_store.trials()]
    asked: list[str] = []
    query = type(file_store._database).query

    def remember(database: Any, sql: str, parameters: Any = ()) -> Any:
        asked.append(sql)
        return query(database, sql, parameters)

    monkeypatch.setattr(type(file_store._database), "query", remember)
    together = list(file_store.query())
    assert [data.trial_id for data in together] == [data.trial_id for data in one_by_one]
    for found, wanted in zip(together, one_by_one, strict=True):
        np.testing.assert_array_equal(found.observations, wanted.observations)
        np.testing.assert_array_equal(found.next_observations, wanted.next_observations)
    assert len(asked) < 110, f"{len(asked)} for 157 trials"


def test_few_chunks_stay_in_memory_of_however_many_trainings(file_store: TrialStore) -> None:
    for training in range(40):
        stream = file_store.open_stream(make_spec())
        for trial in range(3):
            record_trial(stream, f"t{training}-{trial}", 2)
        stream.close()

    def count() -> int:
        return sum(type(each) is AgentRows for each in gc.get_objects())

    before = count()
    assert len(file_store.query().load()) == 40 * 3 * 2
    assert count() - before < 25
