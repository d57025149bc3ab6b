"""A study's data as tables for statistics: participants, responses, trials, events, ticks, and a codebook."""

from __future__ import annotations

import csv
import importlib.util
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from cogment_lab.integrations.exchange import new_path
from cogment_lab.store import TrialInfo, TrialStore
from cogment_lab.store.columns import value_at
from cogment_lab.studies.codebook import TABLES, Column, write_codebook
from cogment_lab.studies.ledger import Participant, StudyLedger

__all__ = ["export_study"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_ARROW = {"text": "string", "json": "string", "integer": "int64", "number": "float64", "boolean": "bool_"}


def export_study(ledger: StudyLedger, store: TrialStore, folder: Path) -> dict[str, int]:
    """Write everything that a study holds into a new folder, with a codebook.

    Ticks are one Parquet file, or CSV where pyarrow is missing. Observations are not among them:
    ``cogmentlab export`` writes those.

    Args:
        ledger: The study's participants.
        store: Their trials.
        folder: It must not be there yet, and is there completely or not at all.

    Returns:
        How many rows each table has, by the name of its file.

    Raises:
        ConfigurationError: the folder exists, or cannot be written.
        StoreFullError: the disk is full; nothing is left.
        CorruptStoreError: a trial cannot be read.
    """
    people = {person.pseudonym: person for person in ledger.people()}
    trials = _Trials(ledger, store, people)
    kinds = {question.key: question.kind for question in ledger.study.questionnaire}
    ticks = "ticks.csv" if importlib.util.find_spec("pyarrow") is None else "ticks.parquet"
    files = {name: f"{name}.csv" for name in TABLES} | {"ticks": ticks}
    with new_path(folder) as unfinished:
        unfinished.mkdir(parents=True)
        counts = {
            "participants": _write_csv(unfinished, "participants", _participants(ledger, people)),
            "responses": _write_csv(unfinished, "responses", _responses(ledger, people, kinds)),
            "trials": _write_csv(unfinished, "trials", trials.rows()),
            "events": _write_csv(unfinished, "events", [*_events(ledger), *trials.events()]),
        }
        write = _write_csv if ticks.endswith("csv") else _write_parquet
        counts["ticks"] = write(unfinished, "ticks", trials.ticks())
        write_codebook(ledger.study, unfinished, files)
    return {files[name]: count for name, count in counts.items()}


class _Trials:
    """The trials of a study's participants, in the order they were played."""

    def __init__(self, ledger: StudyLedger, store: TrialStore, people: Mapping[str, Participant]) -> None:
        self._store = store
        self._people = people
        self._counted = ledger.counted_trials()
        found = store.trials(properties={"study": ledger.study.name})
        self._infos = [info for info in found if info.properties.get("participant") in people]

    def rows(self) -> Iterator[list[Any]]:
        """Yield the rows of table ``trials``."""
        order: Counter[tuple[str, str]] = Counter()
        for info in self._infos:
            who, condition, phase = self._key(info)
            order[who, phase] += 1
            counted = (who, info.trial_id) in self._counted
            duration = None if info.ended is None else info.ended - info.started
            yield [
                who, condition, phase, order[who, phase], counted, info.trial_id, info.env_id, info.seed,
                info.n_ticks, info.total_reward, info.n_takeovers, info.n_interventions, info.terminated,
                info.truncated, info.end_reason, info.started, duration,
            ]  # fmt: skip

    def events(self) -> Iterator[list[Any]]:
        """Yield the rows of table ``events`` that trials recorded."""
        for info in self._infos:
            who = info.properties["participant"]
            for event in self._store.events(info.trial_id):
                yield [who, "trial", info.trial_id, event.tick, event.kind, _json(event.data), event.time]

    def ticks(self) -> Iterator[list[Any]]:
        """Yield the rows of table ``ticks``."""
        for info in self._infos:
            head = [*self._key(info), info.trial_id]
            for agent, data in self._store.load(info.trial_id).items():
                said: dict[int, list[list[Any]]] = {}
                for opinion in data.feedback:
                    said.setdefault(opinion.tick, []).append([opinion.source, opinion.value, opinion.time])
                for row, tick in enumerate(data.ticks.tolist()):
                    yield [
                        *head, agent, tick,
                        _json(value_at(data.proposed_actions, row)), _json(value_at(data.actions, row)),
                        str(data.decided_by[row]), str(data.phase[row]), float(data.rewards[row]),
                        bool(data.terminated[row]), bool(data.truncated[row]), int(data.t_shown[row]),
                        int(data.t_acted[row]), int(data.reaction_ns[row]),
                        _json(said[tick]) if tick in said else "",
                    ]  # fmt: skip

    def _key(self, info: TrialInfo) -> tuple[str, str, str]:
        who = info.properties["participant"]
        return who, self._people[who].condition, info.properties.get("phase", "")


def _participants(ledger: StudyLedger, people: Mapping[str, Participant]) -> Iterator[list[Any]]:
    hashes = ledger.external_hashes()
    for person in people.values():
        yield [
            person.pseudonym, hashes.get(person.pseudonym), person.condition, person.status, person.step,
            person.done_practice, person.done_trials, person.joined, person.last_seen, person.completion_code,
            person.left,
        ]  # fmt: skip


def _responses(
    ledger: StudyLedger, people: Mapping[str, Participant], kinds: Mapping[str, str]
) -> Iterator[list[Any]]:
    for who, question, value, time in ledger.responses():
        if who in people:  # not who joined and answered since the export began
            yield [who, people[who].condition, question, kinds.get(question, ""), value, time]


def _events(ledger: StudyLedger) -> Iterator[list[Any]]:
    for who, kind, data, time in ledger.events():
        yield [who, "study", None, None, kind, _json(data), time]


def _write_csv(folder: Path, table: str, rows: Iterable[Sequence[Any]]) -> int:
    columns = TABLES[table]
    count = 0
    with (folder / f"{table}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([column.name for column in columns])
        for row in rows:
            cells = [_cell(column, value) for column, value in zip(columns, row, strict=True)]
            writer.writerow(cells)
            count += 1
    return count


def _write_parquet(folder: Path, table: str, rows: Iterator[Sequence[Any]]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = TABLES[table]
    schema = pa.schema([(column.name, getattr(pa, _ARROW[column.type])()) for column in columns])
    count = 0
    with ExitStack() as stack:
        writer = stack.enter_context(pq.ParquetWriter(folder / f"{table}.parquet", schema))
        for batch in _batches(rows):
            writer.write_table(pa.table([pa.array(values) for values in zip(*batch, strict=True)], schema))
            count += len(batch)
    return count


def _batches(rows: Iterator[Sequence[Any]], size: int = 10_000) -> Iterator[list[Sequence[Any]]]:
    batch: list[Sequence[Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _cell(column: Column, value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if column.free and isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


def _json(value: Any) -> str:
    text = json.dumps(value, default=_plain, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()  # a page may have sent half a character


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
