"""Removing what a store holds of one person, so that the bytes are gone from its file."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cogment_lab.errors import ConfigurationError, StoreError, TrialStateError
from cogment_lab.store.catalog import StoredStream, TrialCatalog, number_of
from cogment_lab.store.chunk import CHUNK_COLUMNS, AgentRows, decode_chunk
from cogment_lab.store.database import Database
from cogment_lab.store.deletion import delete_trials
from cogment_lab.store.external_ids import external_id_hash, store_key
from cogment_lab.store.info import encode_info
from cogment_lab.store.labels import tidy_name
from cogment_lab.store.ledger import TRIAL_BITS
from cogment_lab.store.rows import BLOB_COLUMNS, PARTS, RowLayout, SparsePart, checksum, pack_part

__all__ = ["Forgotten", "forget_person", "scrub_file"]

_OF_PERSON = ("study_tokens", "study_trials", "study_responses", "study_events")


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was removed of a person.

    Attributes:
        trials: Ids of their trials.
        responses: How many answers to questions.
        events: How many events of studies.
        labels: How many labels that they set on trials of others.
        answers: How many comparisons that they answered.
    """

    trials: tuple[str, ...]
    responses: int
    events: int
    labels: int
    answers: int


def forget_person(database: Database, catalog: TrialCatalog, name: str) -> Forgotten:
    """Remove a person; see ``TrialStore.forget``."""
    if not name:
        raise ConfigurationError("forget('') names nobody: pass a pseudonym, or the name that they came with")
    planned: dict[int, str] = {}
    found: list[Forgotten] = []

    def plan(connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            planned.update(_trials(connection, name, _people(connection, name)))

    def work(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            people = _people(connection, name)
            if _trials(connection, name, people) != planned:
                raise TrialStateError(f"{name!r} is at a trial just now: end it, then forget them")
            found.append(_forget(connection, streams, name, people, planned))

    database.change(plan)
    for trial_id in planned.values():
        if catalog.info(trial_id).state == "RUNNING":
            raise TrialStateError(f"trial {trial_id!r} of {name!r} still runs: end it, then forget them")
    streams = {stream: catalog.stream(stream) for stream in {trial >> TRIAL_BITS for trial in planned}}
    database.change(work)
    return found[0]


def _forget(
    connection: sqlite3.Connection,
    streams: Mapping[int, StoredStream],
    name: str,
    people: Mapping[int, str],
    trials: Mapping[int, str],
) -> Forgotten:
    names = _names(name, people)
    labels = _delete(connection, "labels", "annotator", names)
    answers = _forget_comparisons(connection, names, tuple(trials.values()))
    for stream in streams.values():
        _cut_out(connection, stream, [trial for trial in trials if trial >> TRIAL_BITS == stream.id])
    delete_trials(connection, list(trials))
    counts = {table: _delete(connection, table, "person", tuple(people)) for table in _OF_PERSON}
    _delete(connection, "study_people", "id", tuple(people))
    ids = tuple(trials.values())
    return Forgotten(ids, counts["study_responses"], counts["study_events"], labels, answers)


def _people(connection: sqlite3.Connection, name: str) -> dict[int, str]:
    """Return the study participants of that name, theirs or from elsewhere: row ids and pseudonyms."""
    if not _has_table(connection, "study_people"):
        return {}
    key = store_key(connection)
    rows = connection.execute("SELECT id, pseudonym, study, external FROM study_people").fetchall()
    return {
        person: pseudonym
        for person, pseudonym, study, external in rows
        if name == pseudonym or external == external_id_hash(key, study, name)
    }


def _names(name: str, people: Mapping[int, str]) -> tuple[str, ...]:
    """Return what a person may be called here: labels and comparisons keep names tidied."""
    return tuple(dict.fromkeys(each for each in (name, tidy_name(name), *people.values()) if each))


def _trials(connection: sqlite3.Connection, name: str, people: Mapping[int, str]) -> dict[int, str]:
    """Return the trials of a person by row id: by property, by user, and by what studies counted."""
    names = _names(name, people)
    marks = _marks(names)
    found = dict(
        connection.execute(
            "SELECT id, trial_id FROM trials WHERE json_extract(details, '$.user_id') IN"
            f" ({marks}) OR json_extract(details, '$.properties.participant') IN ({marks})",
            (*names, *names),
        ).fetchall()
    )
    if people:
        found |= dict(
            connection.execute(
                "SELECT t.id, t.trial_id FROM trials t JOIN study_trials s ON s.trial_id = t.trial_id"
                f" WHERE s.person IN ({_marks(tuple(people))})",
                tuple(people),
            ).fetchall()
        )
    return found


def _forget_comparisons(
    connection: sqlite3.Connection, names: Sequence[str], trial_ids: Sequence[str]
) -> int:
    """Remove a person's answers, and the comparisons that show their trials; return how many answers."""
    if not _has_table(connection, "queries"):
        return 0
    answers = _delete(connection, "answers", "annotator", names)
    shown = [
        row[0]
        for row in connection.execute(
            "SELECT DISTINCT q.id FROM queries q, json_tree(q.segments) part WHERE part.value IN"
            f" ({_marks(trial_ids)})",
            tuple(trial_ids),
        )
    ]
    for table, column in (("clips", "query"), ("answers", "query"), ("queries", "id")):
        _delete(connection, table, column, shown)
    connection.execute(f"UPDATE queries SET shown_to = '' WHERE shown_to IN ({_marks(names)})", tuple(names))
    return answers


def _cut_out(connection: sqlite3.Connection, stream: StoredStream, trials: Sequence[int]) -> None:
    """Take the ticks of trials out of the chunks that they share with others."""
    gone = np.array([number_of(trial) for trial in trials], np.uint32)
    chunks = connection.execute(
        "SELECT id, agent FROM chunks WHERE stream = ? AND last_trial >= ? AND first_trial <= ?",
        (stream.id, int(gone.min()), int(gone.max())),
    ).fetchall()
    for chunk, agent in chunks:
        _rewrite(connection, tuple(stream.layouts.values())[agent], chunk, gone)


def _rewrite(
    connection: sqlite3.Connection, layout: RowLayout, chunk: int, gone: npt.NDArray[np.uint32]
) -> None:
    row = connection.execute(f"SELECT {CHUNK_COLUMNS} FROM chunks WHERE id = ?", (chunk,)).fetchone()
    try:
        rows = decode_chunk(layout, row)
    except ValueError:  # nobody can tell whose ticks are in it, and nobody can read them
        connection.execute("DELETE FROM chunks WHERE id = ?", (chunk,))
        return
    kept = ~np.isin(rows.table["trial"], gone)
    if kept.all():
        return
    if not kept.any():
        connection.execute("DELETE FROM chunks WHERE id = ?", (chunk,))
        return
    table = rows.table[kept]
    stored = _kept_parts(rows, kept)
    stored["ticks"] = table.tobytes()
    blobs = [stored.get(column) for column in BLOB_COLUMNS]
    columns = ", ".join(f"{column} = ?" for column in BLOB_COLUMNS)
    span = (int(table["trial"][0]), int(table["trial"][-1]))
    connection.execute(
        f"UPDATE chunks SET first_trial = ?, last_trial = ?, n_rows = ?, checksum = ?, {columns}"
        " WHERE id = ?",
        (*span, len(table), checksum(blobs), *blobs, chunk),
    )


def _kept_parts(rows: AgentRows, kept: npt.NDArray[np.bool_]) -> dict[str, bytes]:
    """Return the parts of the rows that stay, renumbered; infos all as JSON."""
    position = np.cumsum(kept) - 1
    parts: dict[str, SparsePart] = {name: rows.part(name) for name in PARTS if name != "infos"}
    infos = [(index, encode_info(info).encode()) for index, info in enumerate(rows.infos()) if info]
    parts["infos"] = (np.array([index for index, _ in infos], np.uint32), [text for _, text in infos])
    packed = {}
    for name, (indices, values) in parts.items():
        entries = [
            (int(position[index]), value)
            for index, value in zip(indices.tolist(), values, strict=True)
            if kept[index]
        ]
        if entries:
            packed[name] = pack_part(entries)
    return packed


def scrub_file(connection: sqlite3.Connection) -> None:
    """Write the file anew, without what was deleted, and empty its write-ahead log."""
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("VACUUM")
    (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise StoreError(
            "they are forgotten, but another process reads the store, so that old bytes stay in its -wal "
            "file: end that process (a page, a training) and call scrub()"
        )


def _delete(connection: sqlite3.Connection, table: str, column: str, values: Sequence[Any]) -> int:
    if not values or not _has_table(connection, table):
        return 0
    cursor = connection.execute(f"DELETE FROM {table} WHERE {column} IN ({_marks(values)})", tuple(values))
    return cursor.rowcount


def _has_table(connection: sqlite3.Connection, name: str) -> bool:
    return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone())


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
