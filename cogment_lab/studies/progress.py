"""How people move through a study: changes of its tables, each inside the caller's transaction."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Mapping
from typing import Any

from cogment_lab.errors import AnswerError, AnswerErrors
from cogment_lab.studies.assignment import assign
from cogment_lab.studies.definition import ALL_STEPS, Study

__all__ = [
    "DOOMED",
    "PLAYED",
    "TRACES",
    "add",
    "agree",
    "is_played",
    "keep_answers",
    "move_on",
    "note",
    "settle",
    "stand_in",
]

PLAYED = ("practice", "trials")
"""The steps that are passed by trials."""

DOOMED = "doomed"
"""Status of what somebody gave who has withdrawn since; nobody is shown it, and it is deleted soon."""

TRACES = (
    "SELECT p.id FROM study_people p WHERE p.study = ? AND p.status = 'withdrawn' AND NOT EXISTS"
    " (SELECT 1 FROM study_events e WHERE e.person = p.id AND e.kind = 'erased')"
)
"""Rows of those who withdrew since the file was last scrubbed."""

_HERE_SECONDS = 3600.0
"""Who is not heard of for so long, counts for the balance of conditions again when they are complete."""

_MOST_EVENT_BYTES = 16_384


def add(connection: sqlite3.Connection, study: Study, external: str | None, now: float) -> tuple[int, str]:
    """Add somebody new, and return row id and pseudonym."""
    taken = dict(
        connection.execute(
            "SELECT condition, count(*) FROM study_people WHERE study = ? AND (status = 'complete' OR"
            " (status = 'active' AND last_seen > ?)) GROUP BY condition",
            (study.name, now - _HERE_SECONDS),
        ).fetchall()
    )
    (before,) = connection.execute(
        "SELECT count(*) FROM study_people WHERE study = ?", (study.name,)
    ).fetchone()
    condition = assign(study.conditions, taken, seed=study.seed, number=before)
    pseudonym = f"p-{secrets.token_hex(5)}"
    cursor = connection.execute(
        "INSERT INTO study_people VALUES (NULL, ?, ?, ?, ?, 'active', ?, ?, ?)",
        (study.name, pseudonym, external, condition, study.steps[0], now, now),
    )
    return int(cursor.lastrowid or 0), pseudonym


def stand_in(connection: sqlite3.Connection, person: int, now: float) -> str:
    """Put somebody in a row's place who has its condition, step, name and tokens, and gave nothing.

    Nothing leads from the one to the other: not the pseudonym, and not when they came.
    """
    pseudonym = f"p-{secrets.token_hex(5)}"
    (external,) = connection.execute("SELECT external FROM study_people WHERE id = ?", (person,)).fetchone()
    connection.execute("UPDATE study_people SET status = ?, external = NULL WHERE id = ?", (DOOMED, person))
    cursor = connection.execute(
        "INSERT INTO study_people SELECT NULL, study, ?, ?, condition, 'withdrawn', step, ?, ?"
        " FROM study_people WHERE id = ?",
        (pseudonym, external, now, now, person),
    )
    other = int(cursor.lastrowid or 0)
    connection.execute("UPDATE study_tokens SET person = ? WHERE person = ?", (other, person))
    note(connection, other, "withdrawn", {})
    return pseudonym


def agree(connection: sqlite3.Connection, person: int, given: Mapping[str, Any]) -> bool:
    """Return whether somebody agrees; who does not has declined the study.

    Raises:
        AnswerErrors: they said neither.
    """
    agreed = given.get("agreed")
    if not isinstance(agreed, bool):
        raise AnswerErrors({"agreed": "Please agree, or decline."})
    if not agreed:
        connection.execute("UPDATE study_people SET status = 'declined' WHERE id = ?", (person,))
        note(connection, person, "declined", {})
    return agreed


def keep_answers(connection: sqlite3.Connection, study: Study, person: int, given: Mapping[str, Any]) -> None:
    """Keep the answers to all questions.

    Raises:
        AnswerErrors: some do not do; none is kept.
    """
    problems: dict[str, str] = {}
    kept: list[tuple[str, int | str | None]] = []
    for question in study.questionnaire:
        try:
            kept.append((question.key, question.check(given.get(question.key))))
        except AnswerError as error:
            problems[error.key] = error.why
    known = {question.key for question in study.questionnaire}
    problems |= {key: "There is no such question." for key in sorted(set(given) - known)}
    if problems:
        raise AnswerErrors(problems)
    now = time.time()
    connection.executemany(
        "INSERT OR IGNORE INTO study_responses VALUES (?, 'questionnaire', ?, ?, ?)",
        [(person, key, json.dumps(value), now) for key, value in kept],
    )


def is_played(connection: sqlite3.Connection, study: Study, person: int, phase: str) -> bool:
    """Return whether somebody has finished all trials of a phase."""
    (done,) = connection.execute(
        "SELECT count(*) FROM study_trials WHERE person = ? AND phase = ?", (person, phase)
    ).fetchone()
    return bool(done >= (study.practice if phase == "practice" else study.trials))


def move_on(connection: sqlite3.Connection, study: Study, person: int, step: str) -> None:
    """Move somebody from a step to the next that is there, and that they have not played already."""
    later = ALL_STEPS[ALL_STEPS.index(step) + 1 :]
    following = next(
        each
        for each in later
        if each in study.steps and not (each in PLAYED and is_played(connection, study, person, each))
    )
    status = "complete" if following == ALL_STEPS[-1] else "active"
    connection.execute(
        "UPDATE study_people SET step = ?, status = ? WHERE id = ?", (following, status, person)
    )
    if status == "complete":
        note(connection, person, "complete", {})


def settle(connection: sqlite3.Connection, study: Study, person: int) -> None:
    """Move on who waits at a step that the study has no more, or for trials that it no longer wants."""
    found = connection.execute(
        "SELECT step FROM study_people WHERE id = ? AND status = 'active'", (person,)
    ).fetchone()
    if found is None:
        return
    (step,) = found
    is_over = step in PLAYED and is_played(connection, study, person, step)
    if step not in study.steps or is_over:
        move_on(connection, study, person, step)


def note(connection: sqlite3.Connection, person: int, kind: str, payload: Mapping[str, Any]) -> None:
    """Add an event; one that is too long is cut."""
    data = json.dumps(payload, default=str)
    if len(data) > _MOST_EVENT_BYTES:
        data = json.dumps({"cut": data[:_MOST_EVENT_BYTES]})
    connection.execute(
        "INSERT INTO study_events VALUES (NULL, ?, ?, ?, ?)", (person, kind[:64], data, time.time())
    )
