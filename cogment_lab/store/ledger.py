"""The writer's account of one stream: what was taken from its queue becomes rows of the store's tables."""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import numpy.typing as npt

from cogment_lab.specs import space_to_bytes
from cogment_lab.store.generator_state import encode_start
from cogment_lab.store.info import encode_info
from cogment_lab.store.pending import Begun, Ended, Event, StreamQueue, take
from cogment_lab.store.process import this_process
from cogment_lab.store.rows import BLOB_COLUMNS, CONTEXT, Row, checksum, join_rows
from cogment_lab.trial.sample import VERDICT, VERDICTS
from cogment_lab.trial.takeover import Phase

__all__ = ["TRIAL_BITS", "Batch", "StreamLedger"]

TRIAL_BITS = 32
"""A trial's row id is its stream's id, shifted by so many bits, plus its number in the stream."""

_INSERT_STREAM = (
    "INSERT INTO streams (env_id, record, env_spec, parameters, versions, host, namespace, pid,"
    " process_started, opened) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_AGENT = "INSERT INTO agents VALUES (?, ?, ?, ?, ?, ?)"
_INSERT_CHUNK = (
    "INSERT INTO chunks (stream, agent, first_trial, last_trial, n_rows, checksum,"
    f" {', '.join(BLOB_COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_WRITE_TRIAL = (
    "INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (id) DO UPDATE SET state = excluded.state, end_reason = excluded.end_reason,"
    " n_ticks = excluded.n_ticks, total_reward = excluded.total_reward,"
    " n_interventions = excluded.n_interventions,"
    " n_takeovers = excluded.n_takeovers, terminated = excluded.terminated, truncated = excluded.truncated,"
    " ended = excluded.ended, last_observations = excluded.last_observations"
)
_INSERT_EVENT = (  # a trial without ticks may have left no record for what is said of it afterwards
    "WITH event (trial, tick, kind, data, time) AS (VALUES (?, ?, ?, ?, ?))"
    " INSERT INTO events (trial, tick, kind, data, time)"
    " SELECT * FROM event WHERE EXISTS (SELECT 1 FROM trials WHERE id = event.trial)"
)
_JUDGE = "UPDATE trials SET details = json_patch(details, ?) WHERE id = ?"


class _OpenTrial:
    """What is known of a trial that has not ended."""

    # Of the class: most trials begin and end within one commit, and few of these ever change.
    n_ticks = 0
    total_reward = 0.0
    n_interventions = 0
    n_takeovers = 0
    terminated = False
    truncated = False
    changed = False
    written = False

    def __init__(self, begun: Begun) -> None:
        self.begun = begun
        self._rewards: dict[str, float] = {}

    def add_rewards(self, agent: str, rewards: list[float]) -> None:
        """Add an agent's next rewards one by one: the sum must not depend on where a chunk ended."""
        self._rewards[agent] = reduce(add, rewards, self._rewards.get(agent, 0.0))
        self.total_reward = sum(self._rewards[name] for name in sorted(self._rewards))


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that go into one commit."""

    chunks: list[tuple[Any, ...]]
    trials: list[tuple[Any, ...]]
    events: list[tuple[Any, ...]]

    def size(self) -> int:
        """Return about how many bytes these rows take."""
        blobs = sum(len(blob) for chunk in self.chunks for blob in chunk[6:] if blob is not None)
        return blobs + 256 * len(self.trials) + 128 * len(self.events)

    def write(self, connection: sqlite3.Connection) -> None:
        """Execute one statement for each table (inside the caller's transaction)."""
        if self.chunks:
            connection.executemany(_INSERT_CHUNK, self.chunks)
        if self.trials:
            connection.executemany(_WRITE_TRIAL, self.trials)
        if self.events:
            connection.executemany(_INSERT_EVENT, self.events)
            verdicts = [
                (json.dumps({"properties": {VERDICT: kind}}), trial)
                for trial, _, kind, *_ in self.events
                if kind in VERDICTS
            ]
            connection.executemany(_JUDGE, verdicts)


class StreamLedger:
    """Knows which trials of a stream run, and what of them is already written.

    Args:
        queue: What waits to be written.

    Raises:
        SpecError: a space that ``cogment_lab.specs`` cannot describe.
    """

    def __init__(self, queue: StreamQueue) -> None:
        self.queue = queue
        self._stream = 0
        self._open: dict[int, _OpenTrial] = {}
        self._last_helped = dict.fromkeys(queue.recorders, (0, False))
        spec = queue.spec
        self._spec_row = (
            spec.env_id,
            spec.record,
            spec.env_spec,
            encode_info(spec.parameters),
            json.dumps(dict(spec.versions)),
        )
        self._agent_rows = [
            (
                position,
                name,
                space_to_bytes(agent.observation_space),
                space_to_bytes(agent.action_space),
                queue.recorders[name].layout.inline,
            )
            for position, (name, agent) in enumerate(spec.agents.items())
        ]

    def needs_stream(self) -> bool:
        """Return whether there is something to write, and no stream in the store to which it belongs."""
        return not self._stream and not self.queue.is_empty()

    def insert_stream(self, connection: sqlite3.Connection) -> None:
        """Insert the stream (inside the caller's transaction)."""
        process = this_process()
        of_process = (process.host, process.namespace, process.pid, process.started, time.time())
        stream = connection.execute(_INSERT_STREAM, (*self._spec_row, *of_process)).lastrowid
        assert stream is not None
        connection.executemany(_INSERT_AGENT, [(stream, *row) for row in self._agent_rows])
        self._stream = stream

    def collect(self) -> Batch | None:
        """Take what waits and return it as rows, ``None`` if there is nothing."""
        if not self._stream:
            return None
        queue = self.queue
        closed = queue.closed
        now = time.monotonic_ns()
        ended = take(queue.ended)
        events = take(queue.events)
        taken = []
        for recorder in queue.recorders.values():
            taken.append(take(recorder.rows))
            recorder.renew(now)
        for begun in take(queue.begun):
            self._open[begun[0]] = _OpenTrial(begun)
        self._follow_progress()
        anything = ended or events or any(taken) or (closed and self._open)
        if not anything and not any(trial.changed for trial in self._open.values()):
            return None
        chunks = [self._chunk(agent, rows) for agent, rows in enumerate(taken) if rows]
        noted = self._events(events)
        trials = [row for end in ended if (row := self._end(end)) is not None]
        if closed:
            unfinished = tuple(self._open)
            trials += [row for number in unfinished if (row := self._end(self._closed(number))) is not None]
        trials += [self._running_row(trial) for trial in self._open.values() if trial.changed]
        return Batch(chunks, trials, noted)

    def _closed(self, number: int) -> Ended:
        return number, "ENDED", "closed", bytearray(), time.time(), self.queue.progress(number)

    def _follow_progress(self) -> None:
        """Enter the ticks that are counted and not kept."""
        for number, trial in self._open.items():
            progress = self.queue.progress(number)
            if progress is not None and progress[0] > trial.n_ticks:
                trial.n_ticks, trial.total_reward, trial.terminated, trial.truncated = progress
                trial.changed = True

    def _chunk(self, agent: int, rows: list[Row]) -> tuple[Any, ...]:
        """Return the row of table ``chunks``, and enter its ticks into the accounts of their trials."""
        name = tuple(self.queue.recorders)[agent]
        recorder = self.queue.recorders[name]
        heads, parts, memory = join_rows(rows)
        recorder.bytes_taken += memory
        table = np.frombuffer(heads, recorder.layout.dtype)
        self._account(name, table)
        parts["ticks"] = heads
        blobs = [parts.get(column) for column in BLOB_COLUMNS]
        span = (int(table["trial"][0]), int(table["trial"][-1]))
        return (self._stream, agent, *span, len(table), checksum(blobs), *blobs)

    def _account(self, agent: str, table: npt.NDArray[np.void]) -> None:
        counts_all = self.queue.spec.record != "interventions"  # otherwise the recorder counts
        trials = table["trial"]
        starts = np.concatenate(([0], np.flatnonzero(trials[1:] != trials[:-1]) + 1))
        ends = np.append(starts[1:], len(table)) - 1
        numbers = trials[starts].tolist()
        ticks = (table["tick"][ends] + (table["decided_by"][ends] != CONTEXT)).tolist()
        rewards = table["reward"].tolist()
        terminated = np.logical_or.reduceat(table["terminated"], starts).tolist()
        truncated = np.logical_or.reduceat(table["truncated"], starts).tolist()
        for number, n_ticks, start, end, is_terminated, is_truncated in zip(
            numbers, ticks, starts.tolist(), ends.tolist(), terminated, truncated, strict=True
        ):
            trial = self._open.get(number)
            if trial is None:
                continue
            trial.changed = True
            if counts_all:
                if n_ticks > trial.n_ticks:
                    trial.n_ticks = n_ticks
                trial.add_rewards(agent, rewards[start : end + 1])
            if is_terminated:
                trial.terminated = True
            if is_truncated:
                trial.truncated = True
        self._account_takeovers(agent, table, starts, numbers)

    def _account_takeovers(
        self, agent: str, table: npt.NDArray[np.void], starts: npt.NDArray[np.intp], numbers: list[int]
    ) -> None:
        decided_by = table["decided_by"]
        helped = (decided_by != 0) | (table["phase"] == Phase.CORRECTING)
        before = self._last_helped[agent] == (numbers[0], True)
        self._last_helped[agent] = (numbers[-1], bool(helped[-1]) and decided_by[-1] != CONTEXT)
        if not helped.any():
            return
        helped &= decided_by != CONTEXT
        previous = np.concatenate(([before], helped[:-1]))
        previous[starts[1:]] = False
        intervened = (decided_by != 0) & helped
        for number, interventions, takeovers in zip(
            numbers,
            np.add.reduceat(intervened, starts, dtype=np.int64).tolist(),
            np.add.reduceat(helped & ~previous, starts, dtype=np.int64).tolist(),
            strict=True,
        ):
            if (trial := self._open.get(number)) is not None:
                trial.n_interventions += interventions
                trial.n_takeovers += takeovers

    def _events(self, events: list[Event]) -> list[tuple[Any, ...]]:
        for number, *_ in events:
            if (trial := self._open.get(number)) is not None:
                trial.changed = True
        return [(self._stream << TRIAL_BITS | number, *event) for number, *event in events]

    def _end(self, end: Ended) -> tuple[Any, ...] | None:
        """Return the row of a trial that ended; ``None`` if nothing happened in it, or it is not ours."""
        number, state, end_reason, last_observations, at, progress = end
        trial = self._open.pop(number, None)
        if trial is None:
            return None
        if progress is not None:
            trial.n_ticks, trial.total_reward, trial.terminated, trial.truncated = progress
        if not (trial.n_ticks or trial.changed or trial.written):
            return None
        if not trial.terminated:
            trial.truncated = True
        return self._row(trial, state, end_reason, at, last_observations)

    def _running_row(self, trial: _OpenTrial) -> tuple[Any, ...]:
        trial.changed = False
        trial.written = True
        return self._row(trial, "RUNNING", None, None, None)

    def _row(
        self,
        trial: _OpenTrial,
        state: str,
        end_reason: str | None,
        ended: float | None,
        last_observations: bytearray | None,
    ) -> tuple[Any, ...]:
        number, trial_id, seed, rng_state, details, started = trial.begun
        # Of exact types int, float, str and bytearray: sqlite3 looks for an adapter for values of any other,
        # which doubles the cost of a row.
        return (
            self._stream << TRIAL_BITS | number,
            trial_id,
            state,
            end_reason,
            trial.n_ticks,
            trial.total_reward,
            trial.n_interventions,
            trial.n_takeovers,
            int(trial.terminated),
            int(trial.truncated),
            encode_start(seed, rng_state),
            details,
            started,
            ended,
            last_observations,
        )
