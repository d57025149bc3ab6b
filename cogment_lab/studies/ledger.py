"""Who takes part in a study, where they are in it, and what they answered: kept in the store's file."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import sqlite3
import time
from base64 import b32encode
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cogment_lab.errors import UnknownParticipantError, WrongStepError
from cogment_lab.store.external_ids import external_id_hash, store_key
from cogment_lab.store.location import parse_location
from cogment_lab.studies import progress
from cogment_lab.studies.definition import ALL_STEPS, PER_PERSON, Study
from cogment_lab.studies.progress import PLAYED
from cogment_lab.studies.tables import StudyTables

__all__ = ["Participant", "StudyLedger"]

_SEEN_SECONDS = 5.0
_PEOPLE = (
    "SELECT p.pseudonym, p.condition, p.status, p.step,"
    " (SELECT count(*) FROM study_trials t WHERE t.person = p.id AND t.phase = 'practice'),"
    " (SELECT count(*) FROM study_trials t WHERE t.person = p.id AND t.phase = 'trials'),"
    " p.joined, p.last_seen,"
    " (SELECT max(e.time) FROM study_events e WHERE e.person = p.id AND e.kind IN ('abandoned', 'withdrawn'))"
    f" FROM study_people p WHERE p.study = ? AND p.status != '{progress.DOOMED}'"
)


@dataclass(frozen=True, slots=True)
class Participant:
    """Somebody who takes part.

    Attributes:
        pseudonym: Their name in the data; it tells nothing about who they are.
        condition: What they were assigned to.
        status: ``"active"``, ``"complete"``, ``"declined"`` (did not agree), ``"abandoned"`` (stopped taking
            part) or ``"withdrawn"`` (stopped, and had everything deleted).
        step: The page they are at, one of :attr:`Study.steps`.
        done_practice: Practice trials that they finished.
        done_trials: Trials that they finished.
        joined: When they came first, Unix time.
        last_seen: When they were heard of last, Unix time, to some seconds.
        completion_code: What they are given at the end, ``None`` before it.
        left: When they stopped taking part, Unix time; ``None`` for who did not.
    """

    pseudonym: str
    condition: str
    status: str
    step: str
    done_practice: int
    done_trials: int
    joined: float
    last_seen: float
    completion_code: str | None
    left: float | None = None


class StudyLedger:
    """The participants of one study.

    What a call returns from is on disk: a server that is killed, or loses power, goes on where it was.
    Several processes may use the same file; one object belongs to one thread at a time. When the
    study's file was changed since (fewer trials, a step less), who waits at what is no more is taken on.

    Args:
        store_path: The store's file; it is made where there is none.
        study: What they take part in.

    Raises:
        StoreError: the file cannot be used.
    """

    def __init__(self, store_path: str | os.PathLike[str], study: Study) -> None:
        self.study = study
        Path(store_path).parent.mkdir(parents=True, exist_ok=True)
        self._tables = StudyTables(parse_location(store_path))
        self._key = self._tables.change(store_key)

    # --- who ---

    def join(self, external_id: str | None = None) -> tuple[Participant, str]:
        """Return somebody who comes by the join link, and a fresh token for them; older tokens end.

        Args:
            external_id: A name that the person (or a recruiting service) gave them: whoever comes with it
                again goes on where they were. Only a keyed hash of it is kept. Without it everybody is new.
        """

        def work(connection: sqlite3.Connection) -> tuple[str, str]:
            now = time.time()
            external = None
            if external_id is not None:
                external = external_id_hash(self._key, self.study.name, external_id)
            found = connection.execute(
                "SELECT id, pseudonym FROM study_people WHERE study = ? AND external = ?",
                (self.study.name, external),
            ).fetchone()
            person, pseudonym = (
                found if found is not None else progress.add(connection, self.study, external, now)
            )
            token = secrets.token_urlsafe(24)
            connection.execute("DELETE FROM study_tokens WHERE person = ?", (person,))
            connection.execute("INSERT INTO study_tokens VALUES (?, ?, ?)", (_hashed(token), person, now))
            connection.execute("UPDATE study_people SET last_seen = ? WHERE id = ?", (now, person))
            progress.note(connection, person, "joined", {"again": found is not None})
            progress.settle(connection, self.study, person)
            return pseudonym, token

        pseudonym, token = self._tables.change(work)
        return self.participant(pseudonym), token

    def by_token(self, token: str) -> Participant:
        """Return whose token that is, and note that they were heard of.

        Raises:
            UnknownParticipantError: nobody's, or it ended when they joined anew.
        """
        found = self._tables.query(
            "SELECT p.id, p.pseudonym, p.last_seen FROM study_tokens t JOIN study_people p ON p.id = t.person"
            " WHERE t.hash = ? AND p.study = ?",
            (_hashed(token), self.study.name),
        )
        if not found:
            raise UnknownParticipantError("nobody has this token (any more)")
        person, pseudonym, seen = found[0]
        now = time.time()

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE study_people SET last_seen = ? WHERE id = ?", (now, person))
            progress.settle(connection, self.study, person)

        if now - seen > _SEEN_SECONDS:
            self._tables.change(work)
        return self.participant(pseudonym)

    def participant(self, pseudonym: str) -> Participant:
        """Return somebody by their name in the data.

        Raises:
            UnknownParticipantError: there is nobody of that name.
        """
        found = self._tables.query(f"{_PEOPLE} AND p.pseudonym = ?", (self.study.name, pseudonym))
        if not found:
            raise UnknownParticipantError(f"study {self.study.name!r} has no participant {pseudonym!r}")
        return self._participant(found[0])

    def people(self) -> list[Participant]:
        """Return everybody, in the order in which they came."""
        rows = self._tables.query(f"{_PEOPLE} ORDER BY p.id", (self.study.name,))
        return [self._participant(row) for row in rows]

    def overview(self) -> dict[str, dict[str, int]]:
        """Return how many people have each status, by condition."""
        counts: dict[str, Counter[str]] = {condition: Counter() for condition in self.study.conditions}
        for person in self.people():
            counts.setdefault(person.condition, Counter())[person.status] += 1
        return {condition: dict(statuses) for condition, statuses in counts.items()}

    # --- all of them, for an export ---

    def external_hashes(self) -> dict[str, str]:
        """Return the keyed hash of the name that people came with, by pseudonym, where they had one."""
        rows = self._tables.query(
            "SELECT pseudonym, external FROM study_people WHERE study = ? AND external IS NOT NULL",
            (self.study.name,),
        )
        return dict(rows)

    def counted_trials(self) -> set[tuple[str, str]]:
        """Return pseudonym and id of each trial that was counted."""
        return set(self._all("p.pseudonym, t.trial_id", "study_trials t", "t.trial_id"))

    def responses(self) -> list[tuple[str, str, int | str | None, float]]:
        """Return pseudonym, question, answer and Unix time of each answer."""
        rows = self._all("p.pseudonym, t.question, t.value, t.time", "study_responses t", "t.time, t.rowid")
        return [(who, question, json.loads(value), at) for who, question, value, at in rows]

    def events(self) -> list[tuple[str, str, Any, float]]:
        """Return pseudonym, kind, data and Unix time of each event."""
        rows = self._all("p.pseudonym, t.kind, t.data, t.time", "study_events t", "t.id")
        return [(who, kind, json.loads(data), at) for who, kind, data, at in rows]

    def _all(self, columns: str, table: str, order: str) -> list[tuple[Any, ...]]:
        return self._tables.query(
            f"SELECT {columns} FROM {table} JOIN study_people p ON p.id = t.person WHERE p.study = ?"
            f" AND p.status != ? ORDER BY p.id, {order}",
            (self.study.name, progress.DOOMED),
        )

    # --- where ---

    def advance(
        self, participant: Participant, step: str, answers: Mapping[str, Any] | None = None
    ) -> Participant:
        """Move somebody on from a step; submitting a step again that they have passed changes nothing.

        Args:
            participant: Who.
            step: What they submit: ``consent`` needs ``{"agreed": True}`` (``False`` declines the study),
                ``questionnaire`` the answers by key.
            answers: Their answers.

        Raises:
            WrongStepError: they are not there yet, or it is a step that trials pass and not words.
            AnswerErrors: answers that do not do; nothing is kept of the others.
            UnknownParticipantError: they were forgotten.
        """
        steps = self.study.steps
        if step not in steps:
            raise WrongStepError(f"study {self.study.name!r} has no step {step!r}; it has {', '.join(steps)}")

        def work(connection: sqlite3.Connection) -> None:
            person, status, current = self._tables.person(connection, participant.pseudonym)
            if status != "active" or ALL_STEPS.index(step) < ALL_STEPS.index(current):
                return
            if step != current:
                raise WrongStepError(f"{participant.pseudonym} is at step {current!r}, not at {step!r}")
            if step in PLAYED:
                raise WrongStepError(f"step {step!r} is passed by its trials")
            given = dict(answers or {})
            if step == "consent" and not progress.agree(connection, person, given):
                return
            if step == "questionnaire":
                progress.keep_answers(connection, self.study, person, given)
            progress.note(
                connection, person, "step", {"step": step, **({} if step != "preflight" else given)}
            )
            progress.move_on(connection, self.study, person, step)

        self._tables.change(work)
        return self.participant(participant.pseudonym)

    def note_trial(self, participant: Participant, trial_id: str, phase: str) -> Participant:
        """Count a trial that somebody finished, once; the last one of a phase moves them on.

        Args:
            participant: Who.
            trial_id: The trial's.
            phase: ``"practice"`` or ``"trials"``.

        Raises:
            ValueError: another phase.
            UnknownParticipantError: they were forgotten.
        """
        if phase not in PLAYED:
            raise ValueError(f"phase={phase!r} is unknown: 'practice' or 'trials'")

        def work(connection: sqlite3.Connection) -> None:
            person, status, current = self._tables.person(connection, participant.pseudonym)
            connection.execute(
                "INSERT OR IGNORE INTO study_trials VALUES (?, ?, ?, ?)",
                (person, trial_id, phase, time.time()),
            )
            if (
                status == "active"
                and current == phase
                and progress.is_played(connection, self.study, person, phase)
            ):
                progress.move_on(connection, self.study, person, phase)

        self._tables.change(work)
        return self.participant(participant.pseudonym)

    def record(self, participant: Participant, kind: str, payload: Mapping[str, Any]) -> None:
        """Keep something else that happened to somebody.

        Raises:
            UnknownParticipantError: they were forgotten.
        """
        self._tables.change(
            lambda connection: progress.note(
                connection, self._tables.person(connection, participant.pseudonym)[0], kind, payload
            )
        )

    def finish(self, participant: Participant) -> Participant:
        """Note that somebody is through; done by itself when they come to the last page."""
        return self._set_status(participant, "complete")

    def abandon(self, participant: Participant) -> Participant:
        """Note that somebody gave up: their condition is free for another."""
        return self._set_status(participant, "abandoned")

    def withdraw(self, participant: Participant) -> Participant:
        """Note that somebody gave up and wants all deleted that they gave; return who stands for them now.

        That is a row with another pseudonym, which their tokens and name lead to, and which says no more than
        that somebody of this condition left at this step. Under the former one nobody finds them any more;
        what they gave waits for :func:`cogment_lab.studies.withdrawal.erase`.

        Raises:
            UnknownParticipantError: they were forgotten.
        """

        def work(connection: sqlite3.Connection) -> str:
            person, status, _ = self._tables.person(connection, participant.pseudonym)
            if status in ("withdrawn", progress.DOOMED):
                return participant.pseudonym
            return progress.stand_in(connection, person, time.time())

        return self.participant(self._tables.change(work))

    def doomed(self) -> list[str]:
        """Return the pseudonyms of those who withdrew and whose data are still there."""
        rows = self._tables.query(
            "SELECT pseudonym FROM study_people WHERE study = ? AND status = ?",
            (self.study.name, progress.DOOMED),
        )
        return [pseudonym for (pseudonym,) in rows]

    def has_traces(self) -> bool:
        """Return whether the file may still hold bytes of somebody who withdrew."""
        return bool(self._tables.query(progress.TRACES, (self.study.name,)))

    def note_erased(self) -> None:
        """Note that the file holds no byte any more of those who have withdrawn so far."""

        def work(connection: sqlite3.Connection) -> None:
            for (person,) in connection.execute(progress.TRACES, (self.study.name,)).fetchall():
                progress.note(connection, person, "erased", {})

        self._tables.change(work)

    def close(self) -> None:
        """Let go of the file."""
        self._tables.close()

    def _set_status(self, participant: Participant, status: str) -> Participant:
        def work(connection: sqlite3.Connection) -> None:
            person, before, _ = self._tables.person(connection, participant.pseudonym)
            if before != status:
                connection.execute("UPDATE study_people SET status = ? WHERE id = ?", (status, person))
                progress.note(connection, person, status, {})

        self._tables.change(work)
        return self.participant(participant.pseudonym)

    def _participant(self, row: tuple[Any, ...]) -> Participant:
        pseudonym, condition, status, step, done_practice, done_trials, joined, last_seen, left = row
        code = None
        if status == "complete":
            code = self.study.completion_code
            if code == PER_PERSON:
                code = self._own_code(pseudonym)
        return Participant(
            pseudonym, condition, status, step, done_practice, done_trials, joined, last_seen, code, left
        )

    def _own_code(self, pseudonym: str) -> str:
        digest = hmac.new(self._key, f"code\n{pseudonym}".encode(), hashlib.sha256).digest()
        return b32encode(digest[:5]).decode()


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
