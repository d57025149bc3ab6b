"""The rows of comparisons in a store's file; the tables come with the first query."""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from cogment_lab.errors import AnnotationError, CorruptStoreError
from cogment_lab.store.database import Database, Rows
from cogment_lab.store.label_table import has_table

__all__ = ["WITHDRAWN", "PreferenceTable", "is_first_left"]

_T = TypeVar("_T")
_LARGEST_ID = 2**63 - 1  # SQLite's; ids are positive
_SHOWN_SECONDS = 60.0
"""How long a query that one person looks at is given to others only if nothing else is left."""

_TABLES = (
    """
CREATE TABLE IF NOT EXISTS queries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, segments TEXT NOT NULL, policy TEXT NOT NULL,
    asked REAL NOT NULL, expires REAL, wanted INTEGER NOT NULL, salt TEXT NOT NULL,
    shown_to TEXT NOT NULL, shown REAL NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS queries_by_queue ON queries (queue)",
    """
CREATE TABLE IF NOT EXISTS clips (
    query INTEGER NOT NULL, position INTEGER NOT NULL, film BLOB NOT NULL, PRIMARY KEY (query, position))""",
    """
CREATE TABLE IF NOT EXISTS answers (
    id INTEGER PRIMARY KEY AUTOINCREMENT, query INTEGER NOT NULL, verdict TEXT NOT NULL,
    annotator TEXT NOT NULL, time REAL NOT NULL, seconds REAL, first_is_left INTEGER NOT NULL,
    withdrawn REAL)                   -- when it was taken back""",
    "CREATE UNIQUE INDEX IF NOT EXISTS answers_by_query ON answers (query, annotator)"
    " WHERE withdrawn IS NULL",
    # a row of answers that says that another one, which may have been read, was taken back
    "CREATE TABLE IF NOT EXISTS withdrawals (notice INTEGER PRIMARY KEY, answer INTEGER NOT NULL)",
)
WITHDRAWN = "withdrawn"
"""Verdict of the notice that an answer was taken back."""

_COUNT = "(SELECT count(*) FROM answers a WHERE a.query = q.id AND a.withdrawn IS NULL)"
_QUERY = f"SELECT q.id, q.queue, q.segments, q.policy, q.asked, q.expires, {_COUNT}, q.salt FROM queries q"
_IS_MINE = "EXISTS (SELECT 1 FROM answers a WHERE a.query = q.id AND a.annotator = ? AND a.withdrawn IS NULL)"
_IS_OPEN = f"(q.expires IS NULL OR q.expires > ?) AND {_COUNT} < q.wanted"


def is_first_left(salt: str, annotator: str) -> bool:
    """Return a coin's side, tossed once for each query and person."""
    return hashlib.sha256(f"{salt}:{annotator}".encode()).digest()[0] % 2 == 0


class PreferenceTable:
    """Queries, clips and answers.

    Args:
        database: The store's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(
        self,
        queue: str,
        pairs: Sequence[Sequence[tuple[Mapping[str, Any], bytes]]],
        *,
        policy: str,
        asked: float,
        expires: float | None,
        wanted: int,
        max_open: int,
    ) -> list[int]:
        """Write queries with their clips, all or none, and return their ids."""

        def work(connection: sqlite3.Connection) -> list[int]:
            (waiting,) = connection.execute(
                f"SELECT count(*) FROM queries q WHERE q.queue = ? AND {_IS_OPEN}", (queue, asked)
            ).fetchone()
            if waiting + len(pairs) > max_open:
                raise AnnotationError(
                    f"{waiting} queries of {queue!r} wait for an answer, and {len(pairs)} more would exceed "
                    f"max_open={max_open}: wait for answers, or let queries expire (expires_in=)"
                )
            made = []
            for pair in pairs:
                segments = json.dumps([described for described, _ in pair])
                cursor = connection.execute(
                    "INSERT INTO queries VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, '', 0)",
                    (queue, segments, policy, asked, expires, wanted, secrets.token_hex(8)),
                )
                made.append(int(cursor.lastrowid or 0))
                for position, (_, film) in enumerate(pair):
                    connection.execute("INSERT INTO clips VALUES (?, ?, ?)", (made[-1], position, film))
            return made

        return self._change(work)

    def take(self, queue: str, annotator: str, now: float) -> tuple[Any, ...] | None:
        """Return a query for this person, and note that it is being looked at."""
        if not has_table(self._database, "queries"):
            return None

        def work(connection: sqlite3.Connection) -> tuple[Any, ...] | None:
            row: tuple[Any, ...] | None = connection.execute(
                f"{_QUERY} WHERE q.queue = ? AND {_IS_OPEN} AND NOT {_IS_MINE}"
                " ORDER BY q.shown_to NOT IN ('', ?) AND q.shown > ?, q.id LIMIT 1",
                (queue, now, annotator, annotator, now - _SHOWN_SECONDS),
            ).fetchone()
            if row is not None:
                connection.execute(
                    "UPDATE queries SET shown_to = ?, shown = ? WHERE id = ?", (annotator, now, row[0])
                )
            return row

        row = self._change(work)
        return None if row is None else _decoded(row)

    def find(self, queue: str, query: int) -> tuple[Any, ...]:
        """Return one query.

        Raises:
            AnnotationError: there is none of that id.
        """
        found: Rows = []
        if has_table(self._database, "queries"):
            found = self._database.query(f"{_QUERY} WHERE q.queue = ? AND q.id = ?", (queue, _id(query)))
        if not found:
            raise AnnotationError(f"the queue {queue!r} has no query {query}")
        return _decoded(found[0])

    def clip(self, query: int, position: int) -> bytes:
        """Return a clip.

        Raises:
            AnnotationError: there is none.
        """
        found = self._database.query(
            "SELECT film FROM clips WHERE query = ? AND position = ?", (query, position)
        )
        if not found:
            raise AnnotationError(f"query {query} has no clip {position}; it has 0 and 1")
        return bytes(found[0][0])

    def answer(
        self,
        queue: str,
        query: int,
        verdict: str,
        annotator: str,
        now: float,
        seconds: float | None,
        first_is_left: bool,
    ) -> int:
        """Write an answer and return its id.

        Raises:
            AnnotationError: the query has expired, or this person has answered it.
        """

        def work(connection: sqlite3.Connection) -> int:
            expires, is_mine = connection.execute(
                f"SELECT q.expires, {_IS_MINE} FROM queries q WHERE q.queue = ? AND q.id = ?",
                (annotator, queue, query),
            ).fetchone()
            if expires is not None and expires <= now:
                raise AnnotationError(f"query {query} has expired: its answer is of no use any more")
            if is_mine:
                raise AnnotationError(f"{annotator!r} has answered query {query} already; undo it first")
            cursor = connection.execute(
                "INSERT INTO answers VALUES (NULL, ?, ?, ?, ?, ?, ?, NULL)",
                (query, verdict, annotator, now, seconds, first_is_left),
            )
            return int(cursor.lastrowid or 0)

        return self._change(work)

    def undo(self, queue: str, annotator: str, now: float) -> int:
        """Take back a person's last answer and return its query.

        Raises:
            AnnotationError: there is none, or its query has expired.
        """

        def work(connection: sqlite3.Connection) -> int:
            row = connection.execute(
                "SELECT a.id, a.query, q.expires, a.first_is_left FROM answers a"
                " JOIN queries q ON q.id = a.query WHERE q.queue = ? AND a.annotator = ?"
                " AND a.withdrawn IS NULL ORDER BY a.id DESC LIMIT 1",
                (queue, annotator),
            ).fetchone()
            if row is None:
                raise AnnotationError(f"{annotator!r} has no answer in {queue!r} to take back")
            answer, query, expires, first_is_left = row
            if expires is not None and expires <= now:
                raise AnnotationError(f"query {query} has expired, and its answer stays as it is")
            connection.execute("UPDATE answers SET withdrawn = ? WHERE id = ?", (now, answer))
            notice = connection.execute(
                "INSERT INTO answers VALUES (NULL, ?, ?, ?, ?, NULL, ?, ?)",
                (query, WITHDRAWN, annotator, now, first_is_left, now),
            ).lastrowid
            connection.execute("INSERT INTO withdrawals VALUES (?, ?)", (notice, answer))
            return int(query)

        return self._change(work)

    def answers(self, queue: str, since: int) -> Rows:
        """Return answers that stand, and notices of earlier ones that do not any more, after that id.

        The queries' segments are decoded; the last column is the answer that a notice takes back.
        """
        if not has_table(self._database, "answers"):
            return []
        noticed = "SELECT answer FROM withdrawals w WHERE w.notice = a.id"
        if not has_table(self._database, "withdrawals"):  # nobody has taken anything back
            noticed = "NULL"
        after = _id(since)
        found = self._database.query(
            "SELECT a.id, q.id, q.segments, q.policy, a.verdict, a.annotator, a.time, a.seconds,"
            f" a.first_is_left, ({noticed}) AS withdraws FROM answers a JOIN queries q ON q.id = a.query"
            " WHERE q.queue = ? AND a.id > ? AND (a.withdrawn IS NULL OR withdraws <= ?) ORDER BY a.id",
            (queue, after, after),
        )
        return [_decoded(row) for row in found]

    def progress(self, queue: str, annotator: str, now: float) -> tuple[int, int, int, int, int]:
        """Return how many are answered, open, expired, answered by this person, and left to them."""
        if not has_table(self._database, "queries"):
            return 0, 0, 0, 0, 0
        ((total, answered, waiting, mine, left),) = self._database.query(
            f"SELECT count(*), coalesce(sum({_COUNT} >= q.wanted), 0), coalesce(sum({_IS_OPEN}), 0),"
            f" coalesce(sum({_IS_MINE}), 0), coalesce(sum({_IS_OPEN} AND NOT {_IS_MINE}), 0)"
            " FROM queries q WHERE q.queue = ?",
            (now, annotator, now, annotator, queue),
        )
        return answered, waiting, total - answered - waiting, mine, left

    def names(self) -> list[str]:
        """Return the names of queues."""
        if not has_table(self._database, "queries"):
            return []
        return [row[0] for row in self._database.query("SELECT DISTINCT queue FROM queries ORDER BY queue")]

    def _change(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        results: list[_T] = []

        def inside(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                for statement in _TABLES:
                    connection.execute(statement)
                results.append(work(connection))

        self._database.change(inside)
        return results[0]


def _decoded(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row with its segments, the third column, decoded."""
    try:
        segments = json.loads(row[2])
        if len(segments) != 2:
            raise ValueError("it has not two segments")
    except (ValueError, TypeError) as error:
        raise CorruptStoreError(f"a query is damaged: {error}; other queries can be answered") from error
    return (*row[:2], segments, *row[3:])


def _id(number: int) -> int:
    """Return a number that SQLite can compare with ids: those that are none are less, or more, than all."""
    return max(0, min(number, _LARGEST_ID))
