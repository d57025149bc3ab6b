"""The tables of studies in a store's file; they come with the first participant."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TypeVar

from cogment_lab.errors import UnknownParticipantError
from cogment_lab.store.database import FileDatabase, Rows

__all__ = ["StudyTables"]

_T = TypeVar("_T")
_TABLES = (
    """
CREATE TABLE IF NOT EXISTS study_people (
    id INTEGER PRIMARY KEY AUTOINCREMENT, study TEXT NOT NULL, pseudonym TEXT NOT NULL UNIQUE,
    external TEXT,                    -- keyed hash of the name that they came with, NULL without one
    condition TEXT NOT NULL, status TEXT NOT NULL, step TEXT NOT NULL,
    joined REAL NOT NULL, last_seen REAL NOT NULL, UNIQUE (study, external))""",
    """
CREATE TABLE IF NOT EXISTS study_tokens (
    hash TEXT PRIMARY KEY, person INTEGER NOT NULL, made REAL NOT NULL) WITHOUT ROWID""",
    """
CREATE TABLE IF NOT EXISTS study_trials (
    person INTEGER NOT NULL, trial_id TEXT NOT NULL, phase TEXT NOT NULL, time REAL NOT NULL,
    PRIMARY KEY (person, trial_id))""",
    """
CREATE TABLE IF NOT EXISTS study_responses (
    person INTEGER NOT NULL, step TEXT NOT NULL, question TEXT NOT NULL, value TEXT, time REAL NOT NULL,
    PRIMARY KEY (person, step, question))""",
    """
CREATE TABLE IF NOT EXISTS study_events (
    id INTEGER PRIMARY KEY, person INTEGER NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL,
    time REAL NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS study_events_by_person ON study_events (person)",
)


class StudyTables:
    """Queries and changes, each change in one transaction.

    Args:
        path: The store's file.
    """

    def __init__(self, path: str) -> None:
        self._database = FileDatabase(path)
        self.change(lambda connection: None)

    def query(self, sql: str, parameters: tuple[object, ...] = ()) -> Rows:
        """Return all rows."""
        return self._database.query(sql, parameters)

    def change(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Let ``work`` change the tables, all or nothing, and return what it returned."""
        results: list[_T] = []

        def inside(connection: sqlite3.Connection) -> None:
            connection.execute("PRAGMA synchronous = FULL")  # an answer is not asked for twice
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                for statement in _TABLES:
                    connection.execute(statement)
                results.append(work(connection))

        self._database.change(inside)
        return results[0]

    def person(self, connection: sqlite3.Connection, pseudonym: str) -> tuple[int, str, str]:
        """Return row id, status and step of a person, inside a change.

        Raises:
            UnknownParticipantError: they were forgotten.
        """
        found = connection.execute(
            "SELECT id, status, step FROM study_people WHERE pseudonym = ?", (pseudonym,)
        ).fetchone()
        if found is None:
            raise UnknownParticipantError(f"there is no participant {pseudonym!r} (any more)")
        return int(found[0]), str(found[1]), str(found[2])

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()
