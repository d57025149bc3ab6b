"""Loading the ticks of one trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cogment_lab.errors import CorruptStoreError
from cogment_lab.store.catalog import StoredStream, TrialCatalog, TrialHead, number_of
from cogment_lab.store.chunk import AgentRows, join
from cogment_lab.store.chunk_source import ChunkSource
from cogment_lab.store.columns import Column, set_last, take_rows
from cogment_lab.store.info import decode_info
from cogment_lab.store.ledger import TRIAL_BITS
from cogment_lab.store.pending import split_last_observations
from cogment_lab.store.rows import CONTEXT, decode_feedback
from cogment_lab.store.trial_data import Successors, TrialData
from cogment_lab.trial.sample import Feedback
from cogment_lab.trial.takeover import DECIDED_BY, Phase

__all__ = ["load_trial"]

_DECIDED_BY = np.array(DECIDED_BY)
_PHASES = np.array([phase.name for phase in Phase])


def load_trial(
    catalog: TrialCatalog, chunks: ChunkSource, trial_id: str, head: TrialHead | None = None
) -> dict[str, TrialData]:
    """Return the ticks of a trial, by agent; see ``TrialStore.load``.

    Args:
        catalog: Of the store.
        chunks: Of the store.
        trial_id: Which.
        head: Of the trial, if it was read together with those of others.
    """
    # Before the chunks: a trial that runs may get more ticks, and must not lose its last ones.
    if head is None:
        head = catalog.heads([trial_id])[trial_id]
    trial, state, packed, said_later = head
    stream = catalog.stream(trial >> TRIAL_BITS)
    try:
        late = [decode_info(text) for text in said_later]
        last = split_last_observations(packed or b"") or [None] * len(stream.layouts)
        data = {}
        for agent, (name, layout) in enumerate(stream.layouts.items()):
            rows = join(layout, chunks.of_trial(stream, agent, layout, number_of(trial)))
            packed = last[agent]
            final = None if packed is None else layout.observation.unpack_one(packed)
            data[name] = _trial_data(trial_id, name, stream, rows, final, catalog.is_over(stream, state))
            said = [each for each in late if each["agent"] == name]
            data[name].feedback.extend(_opinion(each, data[name].ticks) for each in said)
        return data
    except (ValueError, LookupError, TypeError) as error:
        raise CorruptStoreError(f"trial {trial_id!r} cannot be decoded: {error}; other trials can") from error


def _opinion(said: Mapping[str, Any], ticks: npt.NDArray[np.int64]) -> Feedback:
    """Return what was said of a trial after its last tick; said of its end, it is about that tick."""
    tick = min(int(said["tick"]), int(ticks[-1]) if len(ticks) else -1)
    return Feedback(str(said["seat"]), float(said["value"]), 1.0, int(said["t"]), tick)


def _trial_data(
    trial_id: str, agent: str, stream: StoredStream, rows: AgentRows, last_observation: Any, is_over: bool
) -> TrialData:
    table = rows.table
    kept = np.flatnonzero(table["decided_by"] != CONTEXT)
    actions = rows.actions()
    proposed = rows.proposed_actions()
    observed, observed_rows = rows.observations(), rows.observed()
    observations = successors = None
    if stream.record != "actions":
        if len(kept) < len(table) or stream.record == "interventions":
            successors = _successors(rows, observed, kept, last_observation)
        observations = observed if len(kept) == len(table) else take_rows(observed, kept)
    terminated = table["terminated"][kept]
    truncated = table["truncated"][kept]
    if is_over and len(kept) and kept[-1] == len(table) - 1 and not terminated[-1]:
        truncated[-1] = True
    decided_by = table["decided_by"][kept]
    if len(kept) < len(table):
        actions, proposed = take_rows(actions, kept), take_rows(proposed, kept)
    infos = rows.infos()
    return TrialData(
        trial_id=trial_id,
        agent=agent,
        ticks=table["tick"][kept].astype(np.int64),
        observations=observations,
        actions=actions,
        rewards=table["reward"][kept],
        terminated=terminated,
        truncated=truncated,
        proposed_actions=proposed,
        is_intervention=decided_by != 0,
        decided_by=_DECIDED_BY[decided_by],
        phase=_PHASES[table["phase"][kept]],
        t_shown=table["t_shown"][kept],
        t_acted=table["t_acted"][kept],
        reaction_ns=table["reaction_ns"][kept],
        feedback=[opinion for part in rows.part("feedback")[1] for opinion in decode_feedback(part)],
        infos=infos if len(kept) == len(table) else [infos[index] for index in kept.tolist()],
        last_observation=last_observation,
        observed_ticks=table["tick"][observed_rows].astype(np.int64),
        observed_observations=observed,
        successors=successors,
        exact_actions={
            int(table["tick"][row]): action
            for row, action in rows.exact_actions().items()
            if table["decided_by"][row] != CONTEXT
        },
    )


def _successors(
    rows: AgentRows, observed: Column, kept: npt.NDArray[np.intp], last_observation: Any
) -> Successors:
    """Return what followed each kept row: the next row's observation, or the trial's last."""
    following = take_rows(observed, np.minimum(kept + 1, len(rows) - 1))
    is_known = kept + 1 < len(rows)
    if len(kept) and not is_known[-1] and last_observation is not None:
        set_last(following, last_observation)
        is_known[-1] = True
    return Successors(
        observations=following,
        continues=np.append(np.diff(kept) == 1, False)[: len(kept)],
        is_known=is_known,
    )
