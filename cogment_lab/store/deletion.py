"""Removing trials from a store."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from cogment_lab.store.label_table import remove_labels
from cogment_lab.store.ledger import TRIAL_BITS

__all__ = ["delete_at_once", "delete_trials"]

_PAGE = 400


def delete_at_once(connection: sqlite3.Connection, trials: Sequence[int]) -> None:
    """Do as :func:`delete_trials`, in a transaction of its own."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        delete_trials(connection, trials)


def delete_trials(connection: sqlite3.Connection, trials: Sequence[int]) -> None:
    """Delete trials (by row id), their events, labels, and the chunks with ticks of no other trial.

    Inside the caller's transaction.
    """
    for start in range(0, len(trials), _PAGE):
        page = trials[start : start + _PAGE]
        marks = ", ".join("?" * len(page))
        connection.execute(f"DELETE FROM trials WHERE id IN ({marks})", page)
        connection.execute(f"DELETE FROM events WHERE trial IN ({marks})", page)
        remove_labels(connection, page)
    for stream in {trial >> TRIAL_BITS for trial in trials}:
        connection.execute(
            "DELETE FROM chunks WHERE stream = ? AND NOT EXISTS (SELECT 1 FROM trials WHERE id"
            f" BETWEEN stream << {TRIAL_BITS} | first_trial AND stream << {TRIAL_BITS} | last_trial)",
            (stream,),
        )
