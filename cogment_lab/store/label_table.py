"""The rows of labels in a store's file; the table comes with the first label.

It is only added to: a change is a further version, and so is a withdrawal. Versions of this library that know
no labels read a file with this table, and do not see it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Any

from cogment_lab.errors import AnnotationError
from cogment_lab.store.database import Database, Rows

__all__ = [
    "MOST_LABELS",
    "add_version",
    "count_labels",
    "has_table",
    "insert_label",
    "remove_labels",
    "select_discards",
    "select_labels",
]

MOST_LABELS = 10_000
"""Of one trial, all versions counted: nobody sets more by hand, and a script gone wild stops here."""

_TABLE = (
    """
CREATE TABLE IF NOT EXISTS labels (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    label INTEGER,               -- id of its first version, NULL in that one
    version INTEGER NOT NULL,    -- from 1
    trial INTEGER NOT NULL, agent TEXT NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL,
    kind TEXT NOT NULL, value TEXT NOT NULL, annotator TEXT NOT NULL, time REAL NOT NULL,
    withdrawn INTEGER NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS labels_by_trial ON labels (trial)",
    "CREATE UNIQUE INDEX IF NOT EXISTS labels_by_version ON labels (label, version)",
)
_COLUMNS = (
    "coalesce(l.label, l.id), l.version, t.trial_id, l.agent, l.start, l.stop, l.kind, l.value, l.annotator,"
    " l.time, l.withdrawn"
)
_STANDING = (
    "NOT l.withdrawn AND NOT EXISTS (SELECT 1 FROM labels n"
    " WHERE n.label = coalesce(l.label, l.id) AND n.version > l.version)"
)
"""True of the version of a label that holds now."""


def has_table(database: Database, name: str) -> bool:
    """Return whether the store has got that table by now."""
    return bool(database.query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)))


def select_labels(
    database: Database, conditions: Sequence[tuple[str, Any]], *, history: bool = False
) -> Rows:
    """Return labels in the order of their making.

    Args:
        database: The store's.
        conditions: SQL about ``l`` with one mark, and its value.
        history: Earlier and withdrawn versions too.
    """
    if not has_table(database, "labels"):
        return []
    wheres = ["1", *(sql for sql, _ in conditions)]
    if not history:
        wheres.append(_STANDING)
    return database.query(
        f"SELECT {_COLUMNS} FROM labels l JOIN trials t ON t.id = l.trial"
        f" WHERE {' AND '.join(wheres)} ORDER BY l.id",
        tuple(value for _, value in conditions),
    )


def count_labels(database: Database) -> dict[str, int]:
    """Return how many labels each trial has that has any."""
    if not has_table(database, "labels"):
        return {}
    rows = database.query(
        f"SELECT t.trial_id, count(*) FROM labels l JOIN trials t ON t.id = l.trial WHERE {_STANDING}"
        " GROUP BY t.id"
    )
    return dict(rows)


def select_discards(database: Database) -> Rows:
    """Return what labels discard: trial id, agent, start, stop, and whether that is the whole trial."""
    if not has_table(database, "labels"):
        return []
    return database.query(
        "SELECT t.trial_id, l.agent, l.start, l.stop, l.start = 0 AND l.stop >= t.n_ticks"
        " FROM labels l JOIN trials t ON t.id = l.trial"
        f" WHERE l.kind = 'discard' AND l.value = 'true' AND {_STANDING} ORDER BY l.id"
    )


def insert_label(
    database: Database,
    trial: int,
    place: tuple[str, int, int],
    kind: str,
    value: str,
    annotator: str,
    moment: float | None,
) -> int:
    """Write a first version and return its id; ``place`` is agent, start, and stop."""
    made: list[int] = []

    def work(connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            _create(connection)
            _check_room(connection, trial)
            cursor = connection.execute(
                "INSERT INTO labels VALUES (NULL, NULL, 1, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
                (trial, *place, kind, value, annotator, time.time() if moment is None else moment),
            )
            made.append(int(cursor.lastrowid or 0))

    database.change(work)
    return made[0]


def add_version(
    database: Database, label: int, version: int, value: str | None, annotator: str, *, withdrawn: bool
) -> None:
    """Write the version after ``version``; ``value=None`` keeps the value.

    Raises:
        AnnotationError: somebody else did so before, or the label was withdrawn, or does not exist.
    """

    def work(connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            _create(connection)
            newest = connection.execute(
                "SELECT version, withdrawn, trial FROM labels WHERE id = ? OR label = ?"
                " ORDER BY version DESC LIMIT 1",
                (label, label),
            ).fetchone()
            if newest is None:
                raise AnnotationError(f"there is no label {label}; `store.labels()` lists them")
            if newest[1]:
                raise AnnotationError(f"label {label} was withdrawn; set a new one")
            if newest[0] != version:
                raise AnnotationError(
                    f"label {label} has version {newest[0]} by now, and this changes version {version}: "
                    "read it again, then change it"
                )
            _check_room(connection, newest[2])
            connection.execute(
                "INSERT INTO labels SELECT NULL, coalesce(label, id), version + 1, trial, agent, start, stop,"
                " kind, coalesce(?, value), ?, ?, ? FROM labels WHERE version = ? AND (id = ? OR label = ?)",
                (value, annotator, time.time(), withdrawn, version, label, label),
            )

    database.change(work)


def remove_labels(connection: sqlite3.Connection, trials: Sequence[int]) -> None:
    """Remove the labels of trials that are deleted; inside the caller's transaction."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'labels'").fetchone():
        marks = ", ".join("?" * len(trials))
        connection.execute(f"DELETE FROM labels WHERE trial IN ({marks})", trials)


def _create(connection: sqlite3.Connection) -> None:
    for statement in _TABLE:
        connection.execute(statement)


def _check_room(connection: sqlite3.Connection, trial: int) -> None:
    (count,) = connection.execute("SELECT count(*) FROM labels WHERE trial = ?", (trial,)).fetchone()
    if count >= MOST_LABELS:
        raise AnnotationError(f"the trial has {MOST_LABELS} labels, and takes no more: delete what is wrong")
