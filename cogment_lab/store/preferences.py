"""Comparisons: a training asks which of two clips is better, people answer over days."""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from cogment_lab.errors import ConfigurationError
from cogment_lab.store.agreement import cohen_kappa, krippendorff_alpha
from cogment_lab.store.clips import Segment, describe_segment, pictures_of
from cogment_lab.store.film import encode_picture, pack_film, unpack_film
from cogment_lab.store.labels import Agreement, checked_name
from cogment_lab.store.preference_table import PreferenceTable, is_first_left

if TYPE_CHECKING:
    from cogment_lab.store.store import TrialStore

__all__ = ["Answer", "Choice", "PreferenceQueue", "Progress", "Query", "Verdict"]

Choice: TypeAlias = Literal["left", "right", "equal", "unsure"]
"""What a person says of what is on the page."""
Verdict: TypeAlias = Literal["first", "second", "equal", "unsure"]
"""The same about the segments as they were asked."""

_MOST_FRAMES = 600
_WIDTH = 480
_SMALLER = ((_WIDTH, 80), (_WIDTH, 60), (360, 50), (240, 40))
_MOST_OPEN = 1000
_MOST_CLIP_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Two segments to compare.

    Attributes:
        query_id: Its number, unique in the store.
        queue: The queue's name.
        segments: The two, as they were asked; without frames (see :meth:`PreferenceQueue.clip`).
        policy: Version of the policy they show.
        asked: When, unix seconds.
        expires: When nobody needs the answer any more, unix seconds; ``None`` for never.
        n_answers: How many answers there are.
        first_is_left: Where the first one stands for the person who asked for it.
    """

    query_id: int
    queue: str
    segments: tuple[Segment, Segment]
    policy: str
    asked: float
    expires: float | None
    n_answers: int
    first_is_left: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one person said about one query.

    Attributes:
        answer_id: Ascending; give the last one seen to :meth:`PreferenceQueue.answers`.
        query_id: The query.
        segments: The two, as they were asked; without frames.
        policy: Version of the policy they show.
        verdict: Which is better: ``first``, ``second``, ``equal``, ``unsure``; or ``withdrawn``.
        annotator: Who said so.
        time: When, unix seconds.
        seconds: How long it took; nan if nobody measured it.
        first_is_left: Whether the first one was shown on the left.
        withdraws: ``answer_id`` of the answer that was taken back, for ``withdrawn``; ``None`` otherwise.
    """

    answer_id: int
    query_id: int
    segments: tuple[Segment, Segment]
    policy: str
    verdict: Verdict | Literal["withdrawn"]
    annotator: str
    time: float
    seconds: float
    first_is_left: bool
    withdraws: int | None = None

    @property
    def preference(self) -> float | None:
        """How much the first is preferred: 1, 0.5 or 0; ``None`` where the person could not tell."""
        return {"first": 1.0, "equal": 0.5, "second": 0.0}.get(self.verdict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a queue, and one person in it, has come.

    Attributes:
        answered: Queries of the queue with all the answers that are wanted.
        open: Queries that wait for an answer.
        expired: Queries that nobody answered in time.
        mine: Queries that this person has answered.
        left: Open ones that this person has not answered.
    """

    answered: int
    open: int
    expired: int
    mine: int
    left: int


class PreferenceQueue:
    """Queries in a store's file: filled by a training run, answered by any number of people, in any order.

    A handle as the store is: several processes may ask and answer at once.

    Args:
        store: The store, or its path.
        name: The queue's name.
        answers_wanted: Different people that should answer each query asked through this handle.
        max_open: Queries that may wait at once: more than people can answer only fill the disk.

    Raises:
        ConfigurationError: a name or a number that cannot work.

    Example:
        >>> from cogment_lab import PreferenceQueue, TrialStore
        >>> queue = PreferenceQueue(TrialStore(":memory:"), "walking")
        >>> queue.answers()
        []
    """

    def __init__(
        self,
        store: TrialStore | str | os.PathLike[str],
        name: str = "default",
        *,
        answers_wanted: int = 1,
        max_open: int = _MOST_OPEN,
    ) -> None:
        from cogment_lab.store.store import TrialStore

        if answers_wanted < 1 or max_open < 1:
            raise ConfigurationError("answers_wanted and max_open must be at least 1")
        self.store = store if isinstance(store, TrialStore) else TrialStore(store)
        self.name = checked_name(name, "name")
        if not self.name:
            raise ConfigurationError("a queue needs a name")
        self.answers_wanted = answers_wanted
        self.max_open = max_open
        self._table = PreferenceTable(self.store._database)

    def ask(
        self,
        segments: Iterable[tuple[Segment, Segment]],
        *,
        policy: str | int = "",
        expires_in: float | None = None,
    ) -> list[int]:
        """Put pairs of segments up for comparison and return their queries' ids; frames are kept as they are.

        Args:
            segments: Pairs; all are asked, or none.
            policy: Version of the policy they show, say the number of steps trained.
            expires_in: Seconds after which the answer is of no use; ``None`` for never.

        Raises:
            ConfigurationError: no pictures, too many of them, or ranges outside the trial.
            AnnotationError: so many queries wait already that ``max_open`` would be exceeded.
            TrialNotFoundError: a segment without frames is of no trial in the store.
        """
        if expires_in is not None and not expires_in > 0:
            raise ConfigurationError(f"expires_in={expires_in!r} must be more than 0 seconds, or None")
        pairs = []
        for pair in segments:
            if not (isinstance(pair, Sequence) and len(pair) == 2):
                raise ConfigurationError("ask() takes pairs of segments: [(first, second), ...]")
            pairs.append([(describe_segment(segment), self._film(segment)) for segment in pair])
        now = time.time()
        return self._table.insert(
            self.name,
            pairs,
            policy=str(policy),
            asked=now,
            expires=None if expires_in is None else now + expires_in,
            wanted=self.answers_wanted,
            max_open=self.max_open,
        )

    def answers(self, since: int = 0) -> list[Answer]:
        """Return answers in the order in which they were given.

        One that its annotator took back is left out. Who may have read it before, asking with ``since``,
        gets an answer whose verdict is ``withdrawn`` and whose ``withdraws`` is the id of the one to drop.

        Args:
            since: Only those after the answer of this id.
        """
        return [
            Answer(
                answer_id=answer,
                query_id=query,
                segments=_segments(described),
                policy=policy,
                verdict=verdict,
                annotator=annotator,
                time=moment,
                seconds=float("nan") if seconds is None else seconds,
                first_is_left=bool(first_is_left),
                withdraws=withdraws,
            )
            for (
                answer,
                query,
                described,
                policy,
                verdict,
                annotator,
                moment,
                seconds,
                first_is_left,
                withdraws,
            ) in self._table.answers(self.name, since)
        ]

    def next(self, annotator: str) -> Query | None:
        """Return an open query that this person has not answered, ``None`` if there is none.

        Two people who ask at once get different ones as long as there are enough.
        """
        row = self._table.take(self.name, checked_name(annotator, "annotator"), time.time())
        return None if row is None else _query(row, annotator)

    def query(self, query_id: int, annotator: str = "") -> Query:
        """Return one query, open or not.

        Raises:
            AnnotationError: there is none of that id in this queue.
        """
        return _query(self._table.find(self.name, query_id), annotator)

    def clip(self, query_id: int, position: int) -> list[bytes]:
        """Return the frames of a query's segment (0 for the first, 1 for the second) as JPEG files.

        Raises:
            AnnotationError: there is no such query.
            CorruptStoreError: the clip is damaged.
        """
        return unpack_film(self.film(query_id, position))

    def film(self, query_id: int, position: int) -> bytes:
        """Return the same in one piece, as pages fetch it."""
        self._table.find(self.name, query_id)
        return self._table.clip(query_id, position)

    def answer(self, query_id: int, choice: Choice, *, annotator: str, seconds: float | None = None) -> int:
        """Record what a person says and return the answer's id.

        Args:
            query_id: The query, as :meth:`next` gave it to this person.
            choice: ``left``, ``right``, ``equal`` or ``unsure``: which of what was shown is better.
            annotator: Who.
            seconds: How long it took.

        Raises:
            ConfigurationError: another choice.
            AnnotationError: the query has expired, is not there, or this person has answered it.
        """
        if choice not in ("left", "right", "equal", "unsure"):
            raise ConfigurationError(f"choice={choice!r} is unknown; choose left, right, equal or unsure")
        name = checked_name(annotator, "annotator")
        query = self.query(query_id, name)
        verdict: str = choice
        if choice in ("left", "right"):
            verdict = "first" if (choice == "left") == query.first_is_left else "second"
        return self._table.answer(
            self.name, query_id, verdict, name, time.time(), seconds, query.first_is_left
        )

    def undo(self, annotator: str) -> int:
        """Take back this person's last answer and return its query's id.

        Raises:
            AnnotationError: there is none, or its query has expired.
        """
        return self._table.undo(self.name, checked_name(annotator, "annotator"), time.time())

    def agreement(self) -> Agreement:
        """Return how much people agree who answered the same queries (``answers_wanted`` of more than 1).

        ``equal`` lies between the two sides; who could not tell said nothing.
        """
        said = [answer for answer in self.answers() if answer.preference is not None]
        annotators = tuple(sorted({answer.annotator for answer in said}))
        queries = sorted({answer.query_id for answer in said})
        ratings = np.full((len(annotators), len(queries)), np.nan)
        for answer in said:
            row, column = annotators.index(answer.annotator), bisect_left(queries, answer.query_id)
            ratings[row, column] = answer.preference
        is_shared = np.sum(~np.isnan(ratings), axis=0) >= 2
        pair = ratings[:, is_shared] if len(annotators) == 2 else None
        return Agreement(
            kind="preference",
            annotators=annotators,
            n_units=int(is_shared.sum()),
            alpha=krippendorff_alpha(ratings, "ordinal"),
            kappa=None if pair is None else cohen_kappa(pair[0], pair[1]),
        )

    def progress(self, annotator: str = "") -> Progress:
        """Return how far the queue has come, and this person in it."""
        answered, waiting, expired, mine, left = self._table.progress(self.name, annotator, time.time())
        return Progress(answered=answered, open=waiting, expired=expired, mine=mine, left=left)

    @staticmethod
    def names(store: TrialStore) -> list[str]:
        """Return the names of a store's queues."""
        return PreferenceTable(store._database).names()

    def __repr__(self) -> str:
        return f"PreferenceQueue({self.store!r}, {self.name!r})"

    def _film(self, segment: Segment) -> bytes:
        frames = segment.frames if segment.frames is not None else pictures_of(self.store, segment)
        if not 1 <= len(frames) <= _MOST_FRAMES:
            raise ConfigurationError(f"a clip has 1 to {_MOST_FRAMES} frames; this one has {len(frames)}")
        for max_width, quality in _SMALLER:
            film = pack_film([encode_picture(frame, max_width, quality) for frame in frames])
            if len(film) <= _MOST_CLIP_BYTES:
                return film
        raise ConfigurationError(
            f"the clip of trial {segment.trial_id!r} takes {len(film) / 2**20:.1f} MB even when it is small; "
            f"at most {_MOST_CLIP_BYTES / 2**20:g} MB are kept: give fewer frames"
        )


def _segments(described: Sequence[Mapping[str, Any]]) -> tuple[Segment, Segment]:
    first, second = (Segment(**each) for each in described)
    return first, second


def _query(row: tuple[Any, ...], annotator: str) -> Query:
    query_id, queue, described, policy, asked, expires, n_answers, salt = row
    return Query(
        query_id=query_id,
        queue=queue,
        segments=_segments(described),
        policy=policy,
        asked=asked,
        expires=expires,
        n_answers=n_answers,
        first_is_left=is_first_left(salt, checked_name(annotator, "annotator")),
    )
