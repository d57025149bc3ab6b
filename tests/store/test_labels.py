"""What people say about trials afterwards."""

import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from store_helpers import OBSERVATION_SPACE, begin, make_spec, make_tick, record_trial

from cogment_lab.errors import AnnotationError, ConfigurationError, CorruptStoreError, TrialNotFoundError
from cogment_lab.store import AgentSpec, TrialStore, TrialStream
from cogment_lab.store.agreement import cohen_kappa, krippendorff_alpha
from cogment_lab.store.label_table import MOST_LABELS

NAN = math.nan
# Krippendorff (2011), section C: four observers, twelve units.
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
]


@pytest.fixture
def trial(stream: TrialStream) -> str:
    record_trial(stream, "t-1", 10, terminated=True)
    return "t-1"


def test_a_label_says_who_said_what_of_which_ticks(store: TrialStore, trial: str) -> None:
    label = store.label(trial, "rating", 0.5, start=2, stop=4, annotator=" Ann\n Lee ")
    assert (label.start, label.stop, label.value, label.annotator) == (2, 4, 0.5, "Ann Lee")
    assert store.labels(trial) == [label] == list(store.labels)
    assert label.version == 1 and label.time > 1e9 and label.agent == "gym"
    whole = store.label(trial, "success", True)
    assert (whole.start, whole.stop) == (0, 10)
    assert store.labels(trial, kind="success") == [whole]
    assert store.labels(annotator="Ann Lee") == [label]


def test_an_episode_is_never_rewritten(store: TrialStore, trial: str) -> None:
    before = store.load(trial)["gym"]
    store.label(trial, "correction", 2, start=0, stop=1)
    store.label(trial, "discard", True)
    after = store.load(trial)["gym"]
    assert np.array_equal(before.actions, after.actions) and store.info(trial).state == "ENDED"


def test_changes_are_versions(store: TrialStore, trial: str) -> None:
    first = store.label(trial, "note", "drifts", annotator="ann")
    second = store.labels.change(first, "drifts left", annotator="bob")
    assert (second.label_id, second.version, second.value) == (first.label_id, 2, "drifts left")
    assert store.labels(trial) == [second]
    with pytest.raises(AnnotationError, match="version 2 by now"):
        store.labels.change(first, "no")
    store.labels.withdraw(second)
    assert store.labels(trial) == []
    history = store.labels(trial, history=True)
    assert [(each.version, each.is_withdrawn) for each in history] == [(1, False), (2, False), (3, True)]
    with pytest.raises(AnnotationError, match="withdrawn"):
        store.labels.withdraw(second)
    with pytest.raises(AnnotationError, match="no label 77"):
        store.labels.get(77)


@pytest.mark.parametrize(
    ("kind", "value", "place"),
    [
        ("rating", "good", {}),
        ("rating", True, {}),
        ("rating", NAN, {}),
        ("rating", 10**400, {}),
        ("note", "", {}),
        ("note", "x" * 5000, {}),
        ("success", 1, {}),
        ("correction", 3, {}),
        ("correction", [1, [2]], {}),
        ("correction", True, {}),
        ("opinion", 1, {}),
        ("rating", 1, {"start": -1}),
        ("rating", 1, {"start": 5, "stop": 5}),
        ("rating", 1, {"stop": 11}),
        ("rating", 1, {"stop": 10**30}),
        ("rating", 1, {"agent": "nobody"}),
        ("rating", 1, {"annotator": "x" * 81}),
    ],
)
def test_what_cannot_be_is_refused(store: TrialStore, trial: str, kind: Any, value: Any, place: Any) -> None:
    with pytest.raises(ConfigurationError):
        store.label(trial, kind, value, **place)
    assert store.labels(trial) == []


def test_unknown_trials_have_no_labels(store: TrialStore, trial: str) -> None:
    with pytest.raises(TrialNotFoundError):
        store.label("t-2", "rating", 1)
    with pytest.raises(TrialNotFoundError):
        store.labels("t-2")


def test_labels_go_with_their_trial(store: TrialStore, stream: TrialStream, trial: str) -> None:
    record_trial(stream, "t-2", 3)
    store.label(trial, "rating", 1)
    kept = store.label("t-2", "rating", 2)
    store.delete([trial])
    assert list(store.labels) == [kept]


def test_a_trial_takes_so_many_labels(file_store: TrialStore, path: Path) -> None:
    with closing(file_store.open_stream(make_spec())) as stream:
        record_trial(stream, "t-1", 3)
    file_store.label("t-1", "rating", 1)
    with sqlite3.connect(path) as connection:
        connection.executemany(
            "INSERT INTO labels SELECT NULL, NULL, 1, trial, agent, start, stop, kind, value, annotator,"
            " time, 0 FROM labels WHERE id = 1 AND ? > 0",
            [(1,)] * (MOST_LABELS - 1),
        )
    connection.close()
    with pytest.raises(AnnotationError, match="takes no more"):
        file_store.label("t-1", "rating", 1)


def test_a_damaged_label_is_named(file_store: TrialStore, path: Path) -> None:
    with closing(file_store.open_stream(make_spec())) as stream:
        record_trial(stream, "t-1", 3)
        record_trial(stream, "t-2", 3)
    file_store.label("t-1", "note", "fine")
    file_store.label("t-2", "note", "fine too")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE labels SET value = '{' WHERE id = 1")
    connection.close()
    with pytest.raises(CorruptStoreError, match="t-1"):
        file_store.labels("t-1")
    assert file_store.labels("t-2")[0].value == "fine too"


def test_half_a_character_can_be_read(file_store: TrialStore, path: Path) -> None:
    with closing(file_store.open_stream(make_spec())) as stream:
        record_trial(stream, "t-1", 3)
    label = file_store.label("t-1", "note", "so\ud800 \U0001f600")
    assert label.value == "so? \U0001f600"
    with sqlite3.connect(path) as connection:
        connection.execute(
            r"""UPDATE labels SET value = '{"\ud800": ["\udfff", {"$tuple": ["\ud83d\ude00"]}]}'"""
        )
    connection.close()
    assert file_store.labels("t-1")[0].value == {"?": ["?", ("\U0001f600",)]}


def test_two_stores_see_each_others_labels(file_store: TrialStore, path: Path) -> None:
    with closing(file_store.open_stream(make_spec())) as stream:
        record_trial(stream, "t-1", 3)
    with TrialStore(path) as other:
        other.label("t-1", "rating", -1, annotator="bob")
    assert [label.annotator for label in file_store.labels("t-1")] == ["bob"]


@pytest.mark.parametrize(("level", "expected"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_is_krippendorffs(level: Any, expected: float) -> None:
    assert krippendorff_alpha(OBSERVERS, level) == pytest.approx(expected, abs=6e-4)


def test_kappa_is_cohens() -> None:
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)
    assert math.isnan(cohen_kappa([], [])) and math.isnan(cohen_kappa([1, 1], [1, 1]))
    with pytest.raises(ConfigurationError):
        cohen_kappa([1], [1, 2])


NESTED = gym.spaces.Dict(
    b=gym.spaces.Box(-1, 1, (2,), np.float32),
    m=gym.spaces.Discrete(3),
    t=gym.spaces.Tuple((gym.spaces.MultiBinary(2), gym.spaces.Text(3))),
)
ACTION = {"b": np.zeros(2, np.float32), "m": np.int64(1), "t": (np.array([0, 1], np.int8), "abc")}


@pytest.fixture
def nested(store: TrialStore) -> str:
    """A trial whose actions are made of parts."""
    with closing(store.open_stream(make_spec(gym=AgentSpec(OBSERVATION_SPACE, NESTED)))) as stream:
        begin(stream, "t-1")
        for number in range(2):
            stream.recorder("gym").append(make_tick(number, action=ACTION, truncated=number == 1))
        last = {"gym": np.zeros(4, np.float32)}
        stream.end(state="ENDED", end_reason="truncated", last_observations=last)
    return "t-1"


@pytest.mark.parametrize(
    "same",
    [
        ACTION,
        {**ACTION, "m": 1, "b": np.zeros(2)},
        dict(reversed(ACTION.items())),
        {"t": [[0, 1], "abc"], "m": 1, "b": [0, 0]},
    ],
)
def test_corrections_are_values_of_the_space(store: TrialStore, nested: str, same: Any) -> None:
    for who in ("ann", "bob"):
        store.label(nested, "correction", {**ACTION, "m": 2}, start=1, annotator=who)
    store.label(nested, "correction", ACTION, stop=1, annotator="ann")
    value = store.label(nested, "correction", same, stop=1, annotator="bob").value
    assert NESTED.contains(value) and list(value) == list(NESTED.spaces)
    assert value["b"].dtype == np.float32 and value["t"][0].dtype == np.int8
    assert type(value["m"]) is np.int64 and type(value["t"]) is tuple
    found = store.labels.agreement("correction")
    assert (found.alpha, found.kappa, found.n_units) == (1, 1, 2)


@pytest.mark.parametrize(
    "other",
    [
        {**ACTION, "m": 3},
        {**ACTION, "m": 1.5},
        {**ACTION, "b": [0, 2]},
        {**ACTION, "t": [[0, 2], "abc"]},
        {**ACTION, "t": [[0, 1], "\ud800"]},
        {**ACTION, "x": 1},
        [[0, 0], 1, [[0, 1], "abc"]],
        None,
    ],
)
def test_corrections_outside_the_space_are_refused(store: TrialStore, nested: str, other: Any) -> None:
    with pytest.raises(ConfigurationError, match="no action of Dict"):
        store.label(nested, "correction", other)


def test_corrections_that_were_stored_otherwise_agree(
    store: TrialStore, nested: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cogment_lab.store.labels._checked_action", lambda space, value: value)
    store.label(nested, "correction", ACTION, stop=1, annotator="ann")
    store.label(nested, "correction", {"t": [[0, 1], "abc"], "m": 1, "b": [0, 0]}, stop=1, annotator="bob")
    for who in ("ann", "bob"):
        store.label(nested, "correction", "left", start=1, annotator=who)
    assert store.labels.agreement("correction").alpha == 1


def test_agreement_is_by_tick(store: TrialStore, trial: str) -> None:
    store.label(trial, "rating", 1, start=0, stop=5, annotator="ann")
    store.label(trial, "rating", 1, start=0, stop=5, annotator="bob")
    store.label(trial, "rating", -1, start=5, stop=8, annotator="ann")
    store.label(trial, "rating", -1, start=5, stop=9, annotator="bob")
    agreement = store.labels.agreement("rating")
    assert agreement.alpha == 1 and agreement.n_units == 8 and agreement.annotators == ("ann", "bob")
    assert agreement.kappa is None
    store.label(trial, "correction", 2, start=0, stop=4, annotator="ann")
    store.label(trial, "correction", 2, start=0, stop=2, annotator="bob")
    store.label(trial, "correction", 0, start=2, stop=4, annotator="bob")
    assert store.labels.agreement("correction", trial_id=trial).kappa == 0
    with pytest.raises(ConfigurationError, match="note"):
        store.labels.agreement("note")
