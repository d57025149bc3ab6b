"""Which trials a store holds, and what they have in common."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cogment_lab.errors import CogmentLabError, CorruptStoreError, TrialNotFoundError
from cogment_lab.specs import space_from_bytes
from cogment_lab.store.codec import ValueCodec
from cogment_lab.store.database import Database
from cogment_lab.store.generator_state import decode_start
from cogment_lab.store.info import decode_info
from cogment_lab.store.ledger import TRIAL_BITS
from cogment_lab.store.process import ProcessId, is_gone
from cogment_lab.store.rows import RowLayout
from cogment_lab.store.stream_spec import RecordMode
from cogment_lab.store.trial_info import StoreStats, TrialEvent, TrialInfo
from cogment_lab.trial.sample import LATE_FEEDBACK, VERDICT

__all__ = ["StoredStream", "TrialCatalog", "TrialHead", "as_names", "number_of"]

_PAGE = 400
_TRIAL_COLUMNS = (
    "id, trial_id, state, end_reason, n_ticks, total_reward, n_interventions, n_takeovers, terminated,"
    " truncated, seed, details, started, ended"
)


class TrialHead(NamedTuple):
    """Row id, stored state, packed last observations, and (JSON) what was said after the last tick."""

    id: int
    state: str
    last_observations: bytes | None
    late_feedback: list[str]


@dataclass(frozen=True, slots=True)
class StoredStream:
    """What the trials of a stream have in common; ``layouts`` has the rows of each agent, in their order."""

    id: int
    env_id: str
    record: RecordMode
    env_spec: str | None
    parameters: Mapping[str, Any]
    versions: Mapping[str, str]
    process: ProcessId
    layouts: Mapping[str, RowLayout]


def as_names(trial_ids: Collection[str]) -> Collection[str]:
    """Return the ids of trials: text is one of them, and not its letters."""
    return [trial_ids] if isinstance(trial_ids, str) else trial_ids


def number_of(trial: int) -> int:
    """Return the number in its stream of the trial with this row id."""
    return trial & (1 << TRIAL_BITS) - 1


class TrialCatalog:
    """Answers from the small tables of a store.

    Args:
        database: Where to ask.
        name: The store's path, for messages.
    """

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name
        self._streams: dict[tuple[int, int], StoredStream] = {}
        self._gone: set[ProcessId] = set()

    def heads(self, trial_ids: Sequence[str]) -> dict[str, TrialHead]:
        """Return what is read of trials before their ticks (of the latest, should several have one name).

        Raises:
            TrialNotFoundError: there is none of one of the ids.
        """
        names = json.dumps(list(trial_ids))
        rows = self._database.query(
            "SELECT trial_id, id, state, last_observations FROM trials"
            " WHERE trial_id IN (SELECT value FROM json_each(?)) ORDER BY started, id",
            (names,),
        )
        found = {name: TrialHead(trial, state, last, []) for name, trial, state, last in rows}
        for trial_id in trial_ids:
            if trial_id not in found:
                self.row_id(trial_id)
        said = self._database.query(
            "SELECT trial_id, e.data FROM events e JOIN trials t ON t.id = e.trial"
            " WHERE e.kind = ? AND trial_id IN (SELECT value FROM json_each(?)) ORDER BY e.id",
            (LATE_FEEDBACK, names),
        )
        for name, data in said:
            found[name].late_feedback.append(data)
        return found

    def trials(
        self,
        *,
        env_id: str | None = None,
        state: str | None = None,
        properties: Mapping[str, str] | None = None,
        seed: int | None = None,
        min_return: float | None = None,
        since: float | None = None,
        record: RecordMode | None = None,
        limit: int | None = None,
        newest_first: bool = False,
        trial_ids: Collection[str] | None = None,
        without: Collection[str] = (),
    ) -> Iterator[TrialInfo]:
        """Yield the trials that match, in the order in which they started; see ``TrialStore.trials``.

        Of those ``trial_ids`` only, if they are given, and without the others, of which only names are read.
        """
        conditions: list[str] = ["1"]
        parameters: list[Any] = []

        def demand(condition: str, *values: Any) -> None:
            conditions.append(condition)
            parameters.extend(values)

        if env_id is not None:
            demand(f"id >> {TRIAL_BITS} IN (SELECT id FROM streams WHERE env_id = ?)", env_id)
        if record is not None:
            demand(f"id >> {TRIAL_BITS} IN (SELECT id FROM streams WHERE record = ?)", record)
        if state is not None:
            demand("state = ?", "RUNNING" if state == "INTERRUPTED" else state)
        for key, value in (properties or {}).items():
            demand(
                "EXISTS (SELECT 1 FROM json_each(details, '$.properties') p WHERE p.key = ? AND p.value = ?)",
                key,
                value,
            )
        if seed is not None:
            demand("seed = ?", seed if -(2**63) <= seed < 2**63 else str(seed))
        if min_return is not None:
            demand("total_reward >= ?", min_return)
        if since is not None:
            demand("started >= ?", since)
        if trial_ids is not None:
            demand("id IN (SELECT value FROM json_each(?))", json.dumps(self.row_ids(trial_ids)))
        left_out = as_names(without)
        direction = "DESC" if newest_first else "ASC"
        found = self._database.query(
            f"SELECT id, trial_id FROM trials WHERE {' AND '.join(conditions)}"
            f" ORDER BY started {direction}, id {direction}",
            tuple(parameters),
        )
        ids = array("q", [row[0] for row in found if row[1] not in left_out])
        left = len(ids) if limit is None else limit
        for start in range(0, len(ids), _PAGE):
            for info in self._infos(ids[start : start + _PAGE]):
                if left <= 0:
                    return
                if state is None or info.state == state:
                    left -= 1
                    yield info

    def info(self, trial_id: str) -> TrialInfo:
        """Return one trial.

        Raises:
            TrialNotFoundError: there is none of that id.
        """
        (info,) = self._infos([self.row_id(trial_id)])
        return info

    def row_id(self, trial_id: str) -> int:
        """Return the row id of a trial (of the latest, should several have that name).

        Raises:
            TrialNotFoundError: there is none of that id.
        """
        found = self.row_ids([trial_id])
        if not found:
            raise TrialNotFoundError(
                f"there is no trial {trial_id!r} in {self._name}; `for info in store.trials()` lists them"
            )
        return found[-1]

    def row_ids(self, trial_ids: Collection[str]) -> list[int]:
        """Return the row ids of those trials that are there."""
        found: list[int] = []
        names = list(as_names(trial_ids))
        for start in range(0, len(names), _PAGE):
            page = names[start : start + _PAGE]
            sql = f"SELECT id FROM trials WHERE trial_id IN ({_marks(page)}) ORDER BY started, id"
            found += [row[0] for row in self._database.query(sql, tuple(page))]
        return found

    def judged(self, verdict: str) -> set[str]:
        """Return the ids of the trials with this verdict (``cogment_lab.trial.sample.VERDICT``)."""
        found = self._database.query(
            "SELECT trial_id FROM trials WHERE details LIKE ?"  # spares most rows the search of their JSON
            " AND json_extract(details, '$.properties.' || ?) = ?",
            (f"%{verdict}%", VERDICT, verdict),
        )
        return {row[0] for row in found}

    def count(self) -> int:
        """Return the number of trials."""
        found = self._database.query("SELECT count(*) FROM trials")
        return int(found[0][0]) if found else 0

    def events(self, trial_id: str, *, kind: str | None = None) -> list[TrialEvent]:
        """Return what happened between the ticks of a trial, in order; only what is of a kind, if given.

        Raises:
            TrialNotFoundError: there is no such trial.
            CorruptStoreError: the stored data cannot be decoded.
        """
        sql = (
            "SELECT tick, kind, data, time FROM events WHERE trial = ? AND kind = coalesce(?, kind)"
            " ORDER BY id"
        )
        found = self._database.query(sql, (self.row_id(trial_id), kind))
        try:
            return [TrialEvent(tick, kind, decode_info(data), time) for tick, kind, data, time in found]
        except ValueError as error:
            raise CorruptStoreError(
                f"an event of trial {trial_id!r} in {self._name} is damaged: {error}"
            ) from error

    def stats(self) -> StoreStats:
        """Return how much the store holds."""
        totals = self._database.query(
            "SELECT count(*), coalesce(sum(n_ticks), 0), coalesce(sum(n_interventions), 0),"
            " coalesce(sum(n_takeovers), 0), (SELECT count(*) FROM chunks) FROM trials"
        ) or [(0, 0, 0, 0, 0)]
        free = self._database.query("PRAGMA freelist_count") or [(0,)]
        page_size = self._database.query("PRAGMA page_size") or [(0,)]
        trials, ticks, interventions, takeovers, chunks = totals[0]
        return StoreStats(
            trials=trials,
            ticks=ticks,
            interventions=interventions,
            takeovers=takeovers,
            chunks=chunks,
            bytes=self._database.size(),
            free_bytes=free[0][0] * page_size[0][0],
        )

    def streams(self, env_id: str | None) -> list[StoredStream]:
        """Return the streams of an environment (``None``: of all), in the order of their opening."""
        found = self._database.query(
            "SELECT id FROM streams WHERE env_id = coalesce(?, env_id) ORDER BY id", (env_id,)
        )
        return [self.stream(row[0]) for row in found]

    def stream_of(self, trial_id: str) -> StoredStream:
        """Return the stream of a trial.

        Raises:
            TrialNotFoundError: there is no such trial.
        """
        return self.stream(self.row_id(trial_id) >> TRIAL_BITS)

    def stream(self, stream: int) -> StoredStream:
        """Return a stream, from memory if it was read before.

        Raises:
            CorruptStoreError: the stored description cannot be decoded.
        """
        key = (self._database.generation, stream)
        known = self._streams.get(key)
        if known is None:
            known = self._streams[key] = self._read_stream(stream)
        return known

    def is_over(self, stream: StoredStream, state: str) -> bool:
        """Return whether a trial of the stream in this stored state gets no more ticks."""
        return state != "RUNNING" or self._is_gone(stream)

    def _is_gone(self, stream: StoredStream) -> bool:
        """Return whether the process that recorded the stream has ended: once it has, it stays so."""
        if stream.process not in self._gone and is_gone(stream.process):
            self._gone.add(stream.process)
        return stream.process in self._gone

    def _infos(self, ids: Sequence[int]) -> Iterator[TrialInfo]:
        sql = f"SELECT {_TRIAL_COLUMNS} FROM trials WHERE id IN ({_marks(ids)})"
        rows = {row[0]: row for row in self._database.query(sql, tuple(ids))}
        # A trial may have been deleted since its id was listed.
        return (self._info(rows[trial]) for trial in ids if trial in rows)

    def _info(self, row: tuple[Any, ...]) -> TrialInfo:
        (trial, trial_id, state, end_reason, n_ticks, total_reward, n_interventions, n_takeovers, terminated,
         truncated, start, coded, started, ended) = row  # fmt: skip
        stream = self.stream(trial >> TRIAL_BITS)
        interrupted = state == "RUNNING" and self._is_gone(stream)
        try:
            seed, rng_state = decode_start(start)
            details = decode_info(coded)
            return TrialInfo(
                trial_id=trial_id,
                env_id=stream.env_id,
                state="INTERRUPTED" if interrupted else state,
                end_reason="interrupted" if interrupted else end_reason,
                n_ticks=n_ticks,
                total_reward=math.nan if total_reward is None else total_reward,
                n_interventions=n_interventions,
                n_takeovers=n_takeovers,
                seed=seed,
                rng_state=rng_state,
                options=details.get("options"),
                properties=details.get("properties", {}),
                user_id=details.get("user_id"),
                started=started,
                ended=ended,
                terminated=bool(terminated),
                truncated=bool(truncated) or (interrupted and not terminated),
                record=stream.record,
                agents=tuple(stream.layouts),
                parameters=stream.parameters,
                versions=stream.versions,
                env_spec=stream.env_spec,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptStoreError(f"trial {trial_id!r} of {self._name} is damaged: {error}") from error

    def _read_stream(self, stream: int) -> StoredStream:
        found = self._database.query(
            "SELECT env_id, record, env_spec, parameters, versions, host, namespace, pid, process_started"
            " FROM streams WHERE id = ?",
            (stream,),
        )
        agents = self._database.query(
            "SELECT name, observation_space, action_space, inline FROM agents WHERE stream = ?"
            " ORDER BY position",
            (stream,),
        )
        try:
            ((env_id, record, env_spec, parameters, versions, *process),) = found
            layouts = {
                name: RowLayout.of(
                    ValueCodec(space_from_bytes(observation)),
                    ValueCodec(space_from_bytes(action)),
                    bool(inline),
                )
                for name, observation, action, inline in agents
            }
            return StoredStream(
                id=stream,
                env_id=env_id,
                record=record,
                env_spec=env_spec,
                parameters=decode_info(parameters),
                versions=json.loads(versions),
                process=ProcessId(*process),
                layouts=layouts,
            )
        except (ValueError, TypeError, CogmentLabError) as error:
            raise CorruptStoreError(f"stream {stream} of {self._name} cannot be decoded: {error}") from error


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
