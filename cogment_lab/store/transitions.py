"""Transitions of many trials at once, for replay buffers and offline learning."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cogment_lab.errors import CorruptStoreError
from cogment_lab.store.catalog import StoredStream, TrialCatalog, as_names, number_of
from cogment_lab.store.chunk import AgentRows, join
from cogment_lab.store.chunk_source import ChunkSource
from cogment_lab.store.columns import Column, assign, take_rows
from cogment_lab.store.database import Database
from cogment_lab.store.ledger import TRIAL_BITS
from cogment_lab.store.pending import split_last_observations
from cogment_lab.store.rows import CONTEXT
from cogment_lab.store.trial_data import keep_continuing
from cogment_lab.trial.takeover import DECIDED_BY

__all__ = ["Transitions", "read_transitions"]

_DECIDED_BY = np.array(DECIDED_BY)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Transitions:
    """Steps of one agent, of one trial after the other.

    Attributes:
        observations: ``(n, *shape)``.
        actions: ``(n, *shape)``, what the environment received.
        next_observations: ``(n, *shape)``; after the last step of a trial, its last observation.
        rewards: ``(n,) float64``.
        terminated: ``(n,) bool``.
        truncated: ``(n,) bool``; also true for the last step of a trial that was reset or closed.
        proposed_actions: ``(n, *shape)``, what the player wanted.
        is_intervention: ``(n,) bool``, whether a teacher was in control.
        decided_by: ``(n,) str``: ``player``, ``teacher``, or ``fallback`` where the teacher gave no action.
        ticks: ``(n,) int64``, the tick in its trial; a new trial begins where it does not grow.
        continues: ``(n,) bool``, whether the next row is the next step of the same trial; never in the last
            row, whose trial may go on in the next batch.
    """

    observations: Column
    actions: Column
    next_observations: Column
    rewards: npt.NDArray[np.float64]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    proposed_actions: Column
    is_intervention: npt.NDArray[np.bool_]
    decided_by: npt.NDArray[np.str_]
    ticks: npt.NDArray[np.int64]
    continues: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.rewards)


@dataclass(frozen=True, slots=True)
class _Trials:
    """The selected trials of a stream: their numbers, ascending; whether each is over, and how it ends.

    ``left_out`` are stretches of ticks: number of the trial, start, and stop.
    """

    numbers: npt.NDArray[np.int64]
    is_over: npt.NDArray[np.bool_]
    last_observations: list[bytes | None]
    left_out: list[tuple[int, int, int]]


def read_transitions(
    catalog: TrialCatalog,
    chunks: ChunkSource,
    database: Database,
    *,
    env_id: str | None,
    agent: str,
    trial_ids: Collection[str] | None,
    without: Collection[str],
    discarded_ticks: Mapping[str, Sequence[tuple[int, int]]],
    batch_size: int,
) -> Iterator[Transitions]:
    """Yield the transitions of an agent; see ``TrialStore.transitions``."""
    selected = None
    if trial_ids is not None:
        names = as_names(trial_ids)
        found = catalog.row_ids(names)
        if len(found) < len(set(names)):
            for name in names:
                catalog.row_id(name)
        selected = np.array(sorted(found), np.int64)
    left_out = set(catalog.row_ids(without)) if without else set()
    for stream in catalog.streams(env_id):
        if agent not in stream.layouts or (selected is not None and stream.id not in selected >> TRIAL_BITS):
            continue
        position = tuple(stream.layouts).index(agent)
        layout = stream.layouts[agent]
        trials = _select(catalog, database, stream, position, selected, left_out, discarded_ticks)
        if not len(trials.numbers):
            continue
        pieces: list[AgentRows] = []
        for piece in chunks.of_trials(stream, position, layout, trials.numbers):
            pieces.append(piece)
            if sum(map(len, pieces)) >= batch_size:
                rows = join(layout, pieces)
                # The last row's successor is in the next chunk, unless its trial ended here.
                pieces = [rows.between(len(rows) - 1, len(rows))]
                yield from _batches(rows, trials, batch_size, is_last=False)
        if pieces:
            yield from _batches(join(layout, pieces), trials, batch_size, is_last=True)


def _select(
    catalog: TrialCatalog,
    database: Database,
    stream: StoredStream,
    agent: int,
    selected: npt.NDArray[np.int64] | None,
    left_out: set[int],
    discarded_ticks: Mapping[str, Sequence[tuple[int, int]]],
) -> _Trials:
    first = stream.id << TRIAL_BITS
    columns, bounds = "id, state, last_observations, trial_id", (first, first + (1 << TRIAL_BITS) - 1)
    if selected is None:
        sql = f"SELECT {columns} FROM trials WHERE id BETWEEN ? AND ? ORDER BY id"
        found = database.query(sql, bounds)
    else:
        low, high = np.searchsorted(selected, bounds)
        sql = f"SELECT {columns} FROM trials WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id"
        found = database.query(sql, (json.dumps(selected[low:high].tolist()),))
    if left_out:
        found = [row for row in found if row[0] not in left_out]
    over = {state: catalog.is_over(stream, state) for state in {row[1] for row in found}}
    last: list[bytes | None] = []
    for _, _, packed, trial_id in found:
        try:
            last.append(split_last_observations(packed)[agent] if packed else None)
        except (ValueError, IndexError) as error:
            raise CorruptStoreError(
                f"the last observation of trial {trial_id!r} cannot be decoded: {error}; leave it out "
                "with trial_ids, or delete it"
            ) from error
    return _Trials(
        np.array([number_of(row[0]) for row in found], np.int64),
        np.array([over[row[1]] for row in found], np.bool_),
        last,
        [
            (number_of(row_id), start, stop)
            for row_id, _, _, trial_id in found
            for start, stop in discarded_ticks.get(trial_id, ())
        ],
    )


def _batches(rows: AgentRows, trials: _Trials, batch_size: int, *, is_last: bool) -> Iterator[Transitions]:
    """Yield the transitions of these rows, without that of the last row unless ``is_last``."""
    table = rows.table
    number = table["trial"].astype(np.int64)
    trial = np.minimum(np.searchsorted(trials.numbers, number), len(trials.numbers) - 1)
    ends = np.append(number[1:] != number[:-1], True)
    # Where each row's observation, and its successor's, is in the column of observations; -1 for nowhere.
    observed = np.full(len(rows), -1)
    observed_rows = rows.observed()
    observed[observed_rows] = np.arange(len(observed_rows))
    following = np.where(ends, -1, np.append(observed[1:], -1))

    kept = (trials.numbers[trial] == number) & (table["decided_by"] != CONTEXT) & (observed >= 0)
    kept[-1] &= is_last
    for of_trial, start, stop in trials.left_out:
        low, high = np.searchsorted(number, (of_trial, of_trial + 1))
        ticks = table["tick"][low:high]
        kept[low:high] &= (ticks < start) | (ticks >= stop)
    final = np.flatnonzero(kept & ends)
    last = [trials.last_observations[index] for index in trial[final].tolist()]
    is_known = np.array([value is not None for value in last], np.bool_)
    terminated = table["terminated"].copy()
    truncated = table["truncated"].copy()
    truncated[final] |= trials.is_over[trial[final]] & ~terminated[final]
    # After a terminal step nothing is bootstrapped: its successor may be unknown.
    kept &= (following >= 0) | terminated
    kept[final[is_known]] = True
    following = np.where(following >= 0, following, observed)
    known_rows, known = final[is_known], [value for value in last if value is not None]

    observations, actions, proposed = rows.observations(), rows.actions(), rows.proposed_actions()
    for indices in np.split(np.flatnonzero(kept), range(batch_size, int(kept.sum()), batch_size)):
        if not len(indices):
            continue
        next_observations = take_rows(observations, following[indices])
        low, high = np.searchsorted(known_rows, (indices[0], indices[-1] + 1))
        if high > low:
            values = rows.layout.observation.unpack_each(known[low:high])
            assign(next_observations, np.searchsorted(indices, known_rows[low:high]), values)
        yield Transitions(
            observations=take_rows(observations, observed[indices]),
            actions=take_rows(actions, indices),
            next_observations=next_observations,
            rewards=table["reward"][indices],
            terminated=terminated[indices],
            truncated=truncated[indices],
            proposed_actions=take_rows(proposed, indices),
            is_intervention=table["decided_by"][indices] != 0,
            decided_by=_DECIDED_BY[table["decided_by"][indices]],
            ticks=table["tick"][indices].astype(np.int64),
            continues=keep_continuing(~ends, indices),
        )
