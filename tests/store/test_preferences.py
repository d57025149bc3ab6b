"""Which of two clips is better, asked by a training and answered by people."""

import math
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from store_helpers import begin, make_spec, make_tick

from cogment_lab import PreferenceQueue
from cogment_lab.errors import AnnotationError, ConfigurationError, CorruptStoreError
from cogment_lab.store import AgentSpec, Segment, TrialStore


def clip(shade: int = 0, n: int = 3, **changes: Any) -> Segment:
    frames = [np.full((40, 60, 3), (shade + step) % 256, np.uint8) for step in range(n)]
    return Segment(**{"trial_id": f"t-{shade}", "start": 0, "stop": n, "frames": frames, **changes})


def test_a_query_is_asked_shown_and_answered(store: TrialStore) -> None:
    queue = PreferenceQueue(store, "walk")
    (asked,) = queue.ask([(clip(10), clip(200))], policy=5000)
    query = queue.next("ann")
    assert query is not None and query.query_id == asked and query.policy == "5000" and query.expires is None
    assert [segment.trial_id for segment in query.segments] == ["t-10", "t-200"]
    frames = queue.clip(asked, 1)
    assert len(frames) == 3 and frames[0].startswith(b"\xff\xd8")
    queue.answer(asked, "left" if query.first_is_left else "right", annotator="ann", seconds=2.5)
    (answer,) = queue.answers()
    assert answer.verdict == "first" and answer.preference == 1 and answer.annotator == "ann"
    assert answer.first_is_left is query.first_is_left and answer.seconds == 2.5 and answer.policy == "5000"
    assert queue.answers(since=answer.answer_id) == [] and queue.next("bob") is None


def test_sides_are_tossed_for_each_person_and_stay(store: TrialStore) -> None:
    queue = PreferenceQueue(store, answers_wanted=2)
    ids = queue.ask([(clip(shade), clip(shade + 1)) for shade in range(40)])
    sides = {name: [queue.query(each, name).first_is_left for each in ids] for name in ("ann", "bob")}
    assert sides["ann"] != sides["bob"]
    assert 8 < sum(sides["ann"]) < 32
    assert [queue.query(each, "ann").first_is_left for each in ids] == sides["ann"]


def test_answers_survive(path: Path) -> None:
    with TrialStore(path) as store:
        queue = PreferenceQueue(store, "walk")
        queue.ask([(clip(), clip(1)), (clip(2), clip(3))])
        queue.answer(1, "equal", annotator="ann")
        queue.answer(2, "unsure", annotator="ann")
    again = PreferenceQueue(path, "walk")
    assert [answer.preference for answer in again.answers()] == [0.5, None]
    assert math.isnan(again.answers()[0].seconds)
    assert PreferenceQueue(path, "other").answers() == []
    assert PreferenceQueue.names(again.store) == ["walk"]
    again.store.close()


def test_people_get_different_queries_while_there_are_enough(store: TrialStore) -> None:
    queue = PreferenceQueue(store)
    queue.ask([(clip(), clip(1)), (clip(2), clip(3))])
    ann, bob, cem = (queue.next(name) for name in ("ann", "bob", "cem"))
    assert ann and bob and cem and ann.query_id != bob.query_id
    again = queue.next("ann")
    assert again and again.query_id == ann.query_id, "a reload shows the same"


def test_two_people_who_answer_at_once_are_both_heard(path: Path) -> None:
    with TrialStore(path) as store:
        (asked,) = PreferenceQueue(store).ask([(clip(), clip(1))])
    gate = threading.Barrier(4)
    failures: list[BaseException] = []

    def person(name: str) -> None:
        try:
            with TrialStore(path) as own:
                gate.wait(10)
                PreferenceQueue(own).answer(asked, "left", annotator=name)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=person, args=(name,)) for name in ("ann", "bob", "cem", "ann")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(failures) == 1 and isinstance(failures[0], AnnotationError), "ann answered twice"
    with TrialStore(path) as store:
        assert sorted(answer.annotator for answer in PreferenceQueue(store).answers()) == [
            "ann",
            "bob",
            "cem",
        ]


def test_an_answer_can_be_taken_back(store: TrialStore) -> None:
    queue = PreferenceQueue(store)
    (asked,) = queue.ask([(clip(), clip(1))])
    with pytest.raises(AnnotationError, match="no answer"):
        queue.undo("ann")
    queue.answer(asked, "left", annotator="ann")
    with pytest.raises(AnnotationError, match="answered query"):
        queue.answer(asked, "left", annotator="ann")
    assert queue.undo("ann") == asked and queue.answers() == []
    query = queue.next("ann")
    assert query is not None and query.query_id == asked
    queue.answer(asked, "right", annotator="ann")
    assert len(queue.answers()) == 1


def test_who_has_read_an_answer_hears_that_it_was_taken_back(store: TrialStore) -> None:
    queue = PreferenceQueue(store)
    first, second = queue.ask([(clip(), clip(1)), (clip(2), clip(3))])
    queue.answer(first, "left", annotator="ann")
    (read,) = queue.answers()
    queue.answer(second, "equal", annotator="ann")
    assert queue.undo("ann") == second and queue.undo("ann") == first
    (notice,) = queue.answers(since=read.answer_id)
    assert (notice.verdict, notice.withdraws, notice.query_id) == ("withdrawn", read.answer_id, first)
    assert notice.preference is None and notice.annotator == "ann"
    queue.answer(first, "right", annotator="ann")
    assert [answer.verdict for answer in queue.answers(since=notice.answer_id)] != ["withdrawn"]
    assert [answer.withdraws for answer in queue.answers()] == [None], "who begins hears only what stands"
    assert queue.progress("ann").mine == 1


def test_numbers_that_no_answer_has_find_none(store: TrialStore) -> None:
    queue = PreferenceQueue(store)
    (asked,) = queue.ask([(clip(), clip(1))])
    queue.answer(asked, "left", annotator="ann")
    assert queue.answers(since=10**30) == [] and len(queue.answers(since=-(10**30))) == 1
    for number in (10**30, -(10**30)):
        with pytest.raises(AnnotationError):
            queue.query(number)
        with pytest.raises(AnnotationError):
            queue.clip(number, 0)


def test_agreement_is_over_queries_that_several_people_answered(store: TrialStore) -> None:
    queue = PreferenceQueue(store, answers_wanted=2)
    ids = queue.ask([(clip(shade), clip(shade + 1)) for shade in range(6)])
    assert math.isnan(queue.agreement().alpha) and queue.agreement().n_units == 0
    for who, sides in {"ann": "ffsse?", "bob": "ffsfef"}.items():
        for query, side in zip(ids, sides, strict=True):
            is_left = queue.query(query, who).first_is_left == (side == "f")
            choice = {"e": "equal", "?": "unsure"}.get(side, "left" if is_left else "right")
            queue.answer(query, choice, annotator=who)  # type: ignore[arg-type]
    found = queue.agreement()
    assert (found.kind, found.annotators, found.n_units) == ("preference", ("ann", "bob"), 5)
    assert found.kappa == pytest.approx((4 / 5 - 9 / 25) / (1 - 9 / 25)) and 0 < found.alpha < 1
    queue.undo("bob")
    queue.undo("bob")  # "equal", which both said
    assert queue.agreement().n_units == 4


def test_queries_expire(store: TrialStore) -> None:
    queue = PreferenceQueue(store)
    (asked,) = queue.ask([(clip(), clip(1))], expires_in=0.05)
    deadline = time.time() + 10
    while queue.next("ann") is not None:
        assert time.time() < deadline
    with pytest.raises(AnnotationError, match="expired"):
        queue.answer(asked, "left", annotator="ann")
    progress = queue.progress("ann")
    assert (progress.open, progress.expired, progress.left) == (0, 1, 0)
    assert queue.ask([(clip(), clip(1))]), "an expired query takes nobody's place"


def test_progress_is_the_queues_and_ones_own(store: TrialStore) -> None:
    queue = PreferenceQueue(store, answers_wanted=2)
    assert queue.progress("ann").left == 0
    first, _ = queue.ask([(clip(), clip(1)), (clip(2), clip(3))])
    queue.answer(first, "left", annotator="ann")
    mine, others = queue.progress("ann"), queue.progress("bob")
    assert (mine.open, mine.mine, mine.left, mine.answered) == (2, 1, 1, 0)
    assert (others.mine, others.left) == (0, 2)


def test_pictures_in_the_store_need_no_frames(store: TrialStore) -> None:
    space = gym.spaces.Box(0, 255, (24, 32, 3), np.uint8)
    with closing(store.open_stream(make_spec(gym=AgentSpec(space, gym.spaces.Discrete(3))))) as stream:
        begin(stream, "pictures")
        for number in range(6):
            stream.recorder("gym").append(make_tick(number, np.full(space.shape, 40 * number, np.uint8)))
        stream.end(state="ENDED", end_reason="truncated", last_observations={"gym": space.sample()})
    queue = PreferenceQueue(store)
    (asked,) = queue.ask(
        [(Segment(trial_id="pictures", start=0, stop=2), Segment(trial_id="pictures", start=2, stop=6))]
    )
    assert [len(queue.clip(asked, position)) for position in (0, 1)] == [2, 4]
    with pytest.raises(ConfigurationError, match="6 ticks"):
        queue.ask([(clip(), Segment(trial_id="pictures", start=0, stop=7))])


def test_large_clips_are_made_small(store: TrialStore) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 900, 3), np.uint8)
    queue = PreferenceQueue(store)
    (asked,) = queue.ask([(clip(), clip(1, stop=60, frames=[noise] * 60))])
    assert sum(map(len, queue.clip(asked, 1))) < 4 * 2**20


@pytest.mark.parametrize(
    "bad",
    [
        clip(n=3, stop=0),
        clip(start=-1),
        clip(fps=0),
        clip(frames=[]),
        clip(frames=[np.zeros((40, 60, 3), np.uint8)] * 601),
        clip(frames=[np.zeros((40, 60, 3), np.float32)]),
        clip(frames=[np.zeros((2, 2, 2, 2), np.uint8)]),
    ],
)
def test_bad_segments_ask_nothing(store: TrialStore, bad: Segment) -> None:
    queue = PreferenceQueue(store)
    with pytest.raises(ConfigurationError):
        queue.ask([(clip(), clip(1)), (clip(), bad)])
    assert queue.next("ann") is None


def test_what_cannot_be_is_refused(store: TrialStore) -> None:
    queue = PreferenceQueue(store, max_open=1)
    with pytest.raises(AnnotationError, match="max_open=1"):
        queue.ask([(clip(), clip(1)), (clip(), clip(1))])
    (asked,) = queue.ask([(clip(), clip(1))])
    with pytest.raises(ConfigurationError, match="left, right"):
        queue.answer(asked, "first", annotator="ann")  # type: ignore[arg-type]
    with pytest.raises(AnnotationError, match="no query 99"):
        queue.answer(99, "left", annotator="ann")
    with pytest.raises(AnnotationError, match="no query"):
        PreferenceQueue(store, "other").clip(asked, 0)
    with pytest.raises(AnnotationError, match="no clip 2"):
        queue.clip(asked, 2)
    with pytest.raises(ConfigurationError, match="pairs"):
        queue.ask([clip()])  # type: ignore[list-item]
    with pytest.raises(ConfigurationError, match="name"):
        PreferenceQueue(store, " ")
    with pytest.raises(ConfigurationError):
        queue.ask([], expires_in=-1)


def test_a_damaged_clip_is_named(path: Path) -> None:
    with TrialStore(path) as store:
        queue = PreferenceQueue(store)
        (asked,) = queue.ask([(clip(), clip(1))])
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE clips SET film = x'00ff' WHERE position = 0")
        connection.close()
        with pytest.raises(CorruptStoreError, match="film is damaged"):
            queue.clip(asked, 0)
        assert len(queue.clip(asked, 1)) == 3
