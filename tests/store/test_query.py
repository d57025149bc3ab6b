"""Choosing stored trials, and the arrays that learners take of them."""

from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_helpers import ACTION_SPACE, begin, make_spec, make_tick, record_trial

from cogment_lab.errors import ConfigurationError, CorruptStoreError, TrialNotFoundError
from cogment_lab.store import AgentSpec, TrialStore, concatenate
from cogment_lab.store.views import discounted_returns, n_steps, read_sequences


@pytest.fixture
def filled() -> Iterator[TrialStore]:
    with TrialStore(":memory:") as store:
        stream = store.open_stream(make_spec())
        record_trial(stream, "plain", 4, terminated=True)
        record_trial(stream, "helped", 6, start=10, helped=(1, 2), properties={"study": "pilot"})
        record_trial(stream, "demo", 3, start=20, properties={"purpose": "demonstration"}, user_id="ann")
        record_trial(stream, "long", 9, start=30)
        begin(stream, "running")
        stream.recorder("gym").append(make_tick(0))
        store.flush()
        yield store
        stream.close()


def test_trials_are_chosen_by_what_is_known_of_them(filled: TrialStore) -> None:
    assert filled.query().trial_ids == ["plain", "helped", "demo", "long"]
    assert filled.query(properties={"study": "pilot"}).trial_ids == ["helped"]
    assert filled.query(min_return=5).trial_ids == ["helped", "long"]
    assert filled.query(actor="ann").trial_ids == ["demo"]
    assert filled.query(only="demonstrations").trial_ids == ["demo"]
    assert filled.query(trial_ids=["long", "plain"]).trial_ids == ["plain", "long"]
    assert filled.query(trial_ids="long").trial_ids == ["long"]
    assert filled.query(without={"plain", "demo"}).trial_ids == ["helped", "long"]
    assert filled.query(without="plain").trial_ids == ["helped", "demo", "long"]
    assert [info.trial_id for info in filled.trials(without="a plain demo")][:1] == ["plain"]
    assert len(filled.query(env="other")) == 0


def test_labels_choose_trials(filled: TrialStore) -> None:
    filled.label("plain", "rating", 0.5, annotator="bob")
    filled.label("long", "note", "slow", annotator="bob")
    assert filled.query(labelled=True).trial_ids == ["plain", "long"]
    assert filled.query(labelled="note").trial_ids == ["long"]
    assert filled.query(labelled=False).trial_ids == ["helped", "demo"]
    with pytest.raises(ConfigurationError, match="labelled='raiting' is no kind of label"):
        filled.query(labelled="raiting")


def test_nobody_learns_from_what_people_discarded(filled: TrialStore) -> None:
    stream = filled.open_stream(make_spec())
    record_trial(stream, "thrown", 7, start=60)
    stream.event(7, "discard", {}, "thrown")
    stream.close()
    label = filled.label("plain", "discard", True, annotator="bob")
    filled.label("demo", "discard", False, annotator="bob")
    filled.label("long", "discard", True, start=2, stop=5, annotator="bob")
    assert filled.discarded() == {"plain", "thrown"}
    assert filled.query().trial_ids == ["helped", "demo", "long"]
    assert filled.query(discarded=True).trial_ids == ["plain", "helped", "demo", "long", "thrown"]
    assert filled.query(trial_ids=["plain", "long"]).trial_ids == ["plain", "long"], "named is wanted"
    assert filled.query(labelled="discard").trial_ids == ["plain", "demo", "long"]
    assert len(filled.query(min_return=6.5).load()) == 9 - 3
    ticks = {"left out": filled.transitions(), "in": filled.transitions(discarded=True)}
    lengths = {name: sum(map(len, batches)) for name, batches in ticks.items()}
    assert lengths == {"left out": 15, "in": 15 + 3 + 4 + 7}
    filled.labels.withdraw(label)
    assert filled.discarded() == {"thrown"}
    with pytest.raises(ConfigurationError, match="1 still run, 1 are discarded"):
        filled.query(env="other").load()


def test_nobody_learns_from_ticks_that_people_discarded(filled: TrialStore) -> None:
    label = filled.label("long", "discard", True, start=2, stop=5, annotator="bob")
    filled.label("long", "discard", True, start=8, stop=9, annotator="eve")
    (long,) = filled.query(trial_ids="long")
    assert long.ticks.tolist() == [0, 1, 5, 6, 7]
    assert long.continues.tolist() == [True, False, True, True, False]
    assert long.next_observations[:, 0].tolist() == [31, 32, 36, 37, 38]
    for batch_size in (2, 100):
        batches = list(filled.transitions(trial_ids=["long"], batch_size=batch_size))
        assert np.concatenate([batch.ticks for batch in batches]).tolist() == long.ticks.tolist()
    assert batches[0].continues.tolist() == long.continues.tolist()
    assert batches[0].next_observations[:, 0].tolist() == [31, 32, 36, 37, 38]
    assert len(filled.query(trial_ids="long", discarded=True).load()) == 9
    assert len(filled.query(labelled="discard").load()) == 9, "who asks for them gets them"
    filled.labels.change(label, False)
    assert len(filled.query(trial_ids="long").load()) == 8


def test_only_the_steps_asked_for_are_read_with_their_own_successors(filled: TrialStore) -> None:
    (taken,) = filled.query(only="interventions")
    assert taken.trial_id == "helped" and taken.ticks.tolist() == [1, 2]
    assert taken.next_observations[:, 0].tolist() == [12, 13]
    own = filled.query(only="autonomous", trial_ids=["helped"]).load()
    assert own.ticks.tolist() == [0, 3, 4, 5] and own.next_observations[:, 0].tolist() == [11, 14, 15, 16]


def test_unknown_choices_and_empty_answers_say_so(filled: TrialStore) -> None:
    with pytest.raises(ConfigurationError, match="only='nobody'"):
        filled.query(only="nobody")  # type: ignore[arg-type]
    with pytest.raises(TrialNotFoundError):
        filled.query(trial_ids=["gone"])
    with pytest.raises(ConfigurationError, match="no steps match"):
        filled.query(env="other").load()


def test_trials_of_several_spaces_are_not_mixed(filled: TrialStore) -> None:
    other = AgentSpec(gym.spaces.Box(-1, 1, (2,), np.float32), ACTION_SPACE)
    stream = filled.open_stream(make_spec(env_id="Other-v0", gym=other))
    begin(stream, "other")
    stream.recorder("gym").append(make_tick(0, np.zeros(2, np.float32)))
    stream.close()
    with pytest.raises(ConfigurationError, match="several spaces"):
        filled.query()
    assert filled.query(env="Other-v0").trial_ids == ["other"]


def test_a_split_keeps_trials_whole_and_repeats(filled: TrialStore) -> None:
    query = filled.query()
    train, test = query.split(0.3, seed=4)
    assert len(train) == 3 and len(test) == 1
    assert sorted(train.trial_ids + test.trial_ids) == sorted(query.trial_ids)
    assert query.split(0.3, seed=4)[1].trial_ids == test.trial_ids
    assert {query.split(0.3, seed=seed)[1].trial_ids[0] for seed in range(20)} == set(query.trial_ids)
    with pytest.raises(ConfigurationError, match="needs two"):
        test.split(seed=1)
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        query.split(1.0, seed=1)


def test_a_damaged_trial_is_reported_and_the_others_are_read(tmp_path: Path) -> None:
    with TrialStore(tmp_path / "some.db") as store:
        stream = store.open_stream(make_spec())
        for name in ("good", "bad", "fine"):
            record_trial(stream, name, 3)
            store.flush()
        stream.close()
        store._database.change(
            lambda connection: connection.execute(
                "UPDATE chunks SET ticks = substr(ticks, 1, 100) WHERE id = 2"
            )
        )
        with pytest.raises(CorruptStoreError, match="'bad'"):
            list(store.query())
        query = store.query(damaged="skip")
        assert [data.trial_id for data in query] == ["good", "fine"]
        assert list(query.skipped) == ["bad"] and "cannot be read" in query.skipped["bad"]


# --- arrays ---


def test_returns_stop_at_the_end_of_each_trial(filled: TrialStore) -> None:
    data = concatenate(list(filled.query(trial_ids=["plain", "demo"])))
    assert discounted_returns(data, 0.5).tolist() == [1.875, 1.75, 1.5, 1.0, 1.75, 1.5, 1.0]
    with pytest.raises(ConfigurationError, match="gamma"):
        discounted_returns(data, 1.5)


def test_n_steps_never_leave_a_trial(filled: TrialStore) -> None:
    data = concatenate(list(filled.query(trial_ids=["plain", "demo"])))
    found = n_steps(data, 3, 0.5)
    assert found.rewards.tolist() == [1.75, 1.75, 1.5, 1.0, 1.75, 1.5, 1.0]
    assert found.next_observations[:, 0].tolist() == [3, 4, 4, 4, 23, 23, 23]
    assert found.terminated.tolist() == [False, True, True, True, False, False, False]
    assert found.discounts.tolist() == [0.125, 0.125, 0.25, 0.5, 0.125, 0.25, 0.5]


@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(1, 4),
)
def test_sequences_hold_every_step_and_pad_the_rest(
    lengths: list[int], length: int, stride: int, batch_size: int
) -> None:
    with TrialStore(":memory:") as store:
        stream = store.open_stream(make_spec())
        for number, count in enumerate(lengths):
            record_trial(stream, f"t{number}", count, start=100 * number)
        stream.close()
        batches = list(read_sequences(store.query(), length, stride=stride, batch_size=batch_size))
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    seen = []
    for batch in batches:
        assert batch.observations.shape == (len(batch), length, 4)
        assert (batch.observations[~batch.mask] == 0).all() and (batch.ticks[~batch.mask] == -1).all()
        for row in range(len(batch)):
            steps = batch.observations[row, batch.mask[row], 0]
            assert (np.diff(steps) == 1).all() and batch.mask[row, : len(steps)].all()
            seen += steps.tolist()
    wanted = [
        100 * number + tick
        for number, count in enumerate(lengths)
        for first in range(0, count, stride)
        for tick in range(first, min(first + length, count))
    ]
    assert seen == wanted


def test_the_environment_goes_by_both_names(filled: TrialStore) -> None:
    stream = filled.open_stream(make_spec(env_id="Other-v0"))
    record_trial(stream, "other", 2, start=40)
    stream.close()
    assert filled.query(env_id="Other-v0").trial_ids == filled.query(env="Other-v0").trial_ids == ["other"]
    assert filled.query(env_id="Nothing-v0").trial_ids == []
    with pytest.raises(ConfigurationError, match="the same argument"):
        filled.query(env="Other-v0", env_id="Other-v0")
