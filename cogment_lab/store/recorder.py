"""The hot path: a tick becomes one packed row in a list, and rows are handed to the writer in time."""

from __future__ import annotations

import struct
import time
from typing import Any, Protocol

import numpy as np

from cogment_lab.errors import SpecError, StoreError, TrialStateError
from cogment_lab.store.info import encode_info
from cogment_lab.store.info_table import flatten_info
from cogment_lab.store.rows import CONTEXT, Row, RowLayout, encode_feedback
from cogment_lab.trial.sample import Tick
from cogment_lab.trial.takeover import DecidedBy, Phase

__all__ = ["OLDEST_NS", "AgentRecorder", "InterventionRecorder", "PartialRecorder", "Sink"]

OLDEST_NS = 500_000_000
"""A tick is handed over at the latest when it is so old."""

_CHUNK_BYTES = 4_000_000
_CHUNK_ROWS = 8192
_BACKLOG_CHUNKS = 16
_WAIT_SECONDS = 0.012
_RETRY_NS = 100_000_000
_PATIENCE_SECONDS = 5.0
_BROKEN = (struct.error, TypeError, ValueError)


class Sink(Protocol):
    """Where rows go: what recorders and streams need of the writer."""

    def hand_over(self, seconds: float) -> bool:
        """Have everything that waits committed; return whether it was within ``seconds``."""

    def fail(self, failure: StoreError) -> None:
        """Stop recording."""

    def is_stopped(self) -> bool:
        """Return whether recording has stopped."""

    def complain(self) -> None:
        """Let the trial stop because recording has, if whoever opened the store wants that.

        Raises:
            StoreError: why recording has stopped.
        """


class AgentRecorder:
    """Records the ticks of one agent, each with its observation in the row.

    The stepping thread only appends to ``rows``, the writer's thread only takes from its front; both are
    atomic, so that neither needs a lock and no row is lost between them.

    Args:
        name: The agent.
        env_id: For messages.
        layout: Of its rows.
        sink: The writer.

    Attributes:
        rows: The rows that wait.
        due: When a tick's ``t_acted`` (ns) passes this, the rows are handed over.
        limit: When there are so many rows, they are handed over.
        trial: Number of the running trial in its stream, ``None`` between trials.
        bytes_put: Bytes of parts appended since the beginning, and ``bytes_taken``, those taken by the
            writer.
    """

    __slots__ = (
        "_action_dtype",
        "_action_size",
        "_chunk_rows",
        "_dtype",
        "_env_id",
        "_pack",
        "_pack_action",
        "_sink",
        "_size",
        "bytes_put",
        "bytes_taken",
        "due",
        "layout",
        "limit",
        "name",
        "rows",
        "trial",
    )

    def __init__(self, name: str, env_id: str, layout: RowLayout, sink: Sink) -> None:
        self.name = name
        self.layout = layout
        self.rows: list[Row] = []
        self._chunk_rows = self.limit = max(1, min(_CHUNK_ROWS, _CHUNK_BYTES // layout.dtype.itemsize))
        self.due = time.monotonic_ns() + OLDEST_NS
        self.trial: int | None = None
        self.bytes_put = 0
        self.bytes_taken = 0
        self._env_id = env_id
        self._sink = sink
        self._pack = layout.pack
        self._dtype = layout.observation.dtype
        self._size = layout.observation.size
        self._pack_action = None if layout.action.is_integer else layout.action.pack
        self._action_dtype = layout.action.dtype
        self._action_size = layout.action.size

    def begin(self, trial: int) -> None:
        """Record what follows for this trial."""
        self.trial = trial

    def append(self, tick: Tick) -> None:
        """Keep a copy of the tick.

        Raises:
            SpecError: observation or action does not fit its space.
            StoreError: recording has stopped, and the store was opened with ``on_full="stop"``.
            TrialStateError: no trial has begun.
        """
        observation = tick.observation
        if type(observation) is np.ndarray and observation.dtype is self._dtype:
            observation = observation.tobytes()
        else:
            observation = self.layout.observation.pack(observation)
        if len(observation) != self._size:
            raise self._misfit(tick)
        action = tick.executed_action
        exact = None
        if self._pack_action is not None:
            if (
                type(action) is np.ndarray
                and action.dtype is self._action_dtype
                and action.nbytes == self._action_size
            ):
                action = action.tobytes()
            else:
                exact = self.layout.action.pack_exactly(action)
                action = self._pack_action(action)
        t_acted = tick.t_acted
        try:
            row: Row = self._pack(
                self.trial,
                tick.number,
                tick.t_shown,
                t_acted,
                tick.reaction_ns,
                tick.reward,
                tick.decided_by,
                tick.phase,
                tick.terminated,
                tick.truncated,
                observation,
                action,
            )
        except _BROKEN:
            row = self._pack_carefully(tick, tick.decided_by, observation, action)
        if tick.info or tick.feedback or exact or tick.proposed_action is not tick.executed_action:
            row = self._with_parts(row, tick, exact, None)
        self.rows.append(row)
        if t_acted >= self.due or len(self.rows) >= self.limit:
            self._hand_over(t_acted)

    def is_waiting(self) -> bool:
        """Return whether there is something to take."""
        return bool(self.rows)

    def renew(self, now: int) -> None:
        """Start a new chunk; the writer calls this after it took the rows."""
        self.due = now + OLDEST_NS
        self.limit = self._chunk_rows

    def expire(self) -> None:
        """Let the next tick find out that recording has stopped."""
        self.due = self.limit = 0

    def _hand_over(self, t_acted: int) -> None:
        """Let the writer commit what waits, and wait a moment: it needs the interpreter that we hold."""
        sink = self._sink
        if sink.is_stopped():
            self.rows.clear()
            sink.complain()
            self.renew(t_acted)
            return
        if sink.hand_over(_WAIT_SECONDS):
            self.due = max(self.due, t_acted + OLDEST_NS)
            return
        if self._is_beyond_bounds() and not sink.hand_over(_PATIENCE_SECONDS):
            sink.fail(
                StoreError(
                    f"the disk has taken nothing for {_PATIENCE_SECONDS:.0f} s while {len(self.rows)} ticks "
                    f"of {self._env_id} wait; use a faster or less busy disk"
                )
            )
        self.limit = len(self.rows) + self._chunk_rows
        self.due = t_acted + _RETRY_NS

    def _is_beyond_bounds(self) -> bool:
        parts = self.bytes_put - self.bytes_taken
        return len(self.rows) >= _BACKLOG_CHUNKS * self._chunk_rows or parts >= _BACKLOG_CHUNKS * _CHUNK_BYTES

    def _with_parts(self, row: Row, tick: Tick, action: bytes | None, observation: bytes | None) -> Row:
        """Return the row with what few ticks have; the bare row when there is nothing."""
        proposed = feedback = info = flat_info = None
        size = 0
        if tick.proposed_action is not tick.executed_action and tick.proposed_action is not None:
            pack = self.layout.action.pack
            proposed = pack(tick.proposed_action)
            if proposed == pack(tick.executed_action):
                proposed = None
        if tick.feedback:
            feedback = encode_feedback(tick.feedback)
        if tick.info:
            flat_info = flatten_info(tick.info)
            if flat_info is None:
                info = encode_info(tick.info).encode()
            else:
                size = 200 + 50 * len(flat_info[0]) + flat_info[3]
        for part in (proposed, feedback, info, action, observation):
            if part is not None:
                size += 64 + len(part)
        if not size:
            return row
        self.bytes_put += size
        if self.bytes_put - self.bytes_taken >= _CHUNK_BYTES:
            self.limit = min(self.limit, len(self.rows) + 1)
        return (row, proposed, feedback, info, action, observation, flat_info, size)

    def _pack_carefully(self, tick: Tick, decided_by: int, *fixed: Any) -> bytes:
        """Pack a tick whose numbers may be arrays of one element, or say what is wrong with it."""
        if self.trial is None:
            raise TrialStateError(
                f"agent {self.name!r} of {self._env_id} was given a tick outside a trial: call begin() first "
                "(reset the environment, if its store was closed or this process forked)"
            )
        try:
            if self.layout.action.is_integer:
                fixed = (*fixed[:-1], int(np.asarray(fixed[-1]).item()))
            return self._pack(
                self.trial,
                int(tick.number),
                int(tick.t_shown),
                int(tick.t_acted),
                int(tick.reaction_ns),
                float(np.asarray(tick.reward).item()),
                int(decided_by),
                int(tick.phase),
                bool(tick.terminated),
                bool(tick.truncated),
                *fixed,
            )
        except _BROKEN as error:
            raise SpecError(
                f"tick {tick.number} of {self._env_id} cannot be recorded ({error}): reward {tick.reward!r}, "
                f"executed action {tick.executed_action!r}, action space {self.layout.action.space}"
            ) from error

    def _misfit(self, tick: Tick) -> SpecError:
        return SpecError(
            f"the observation of tick {tick.number} has shape {np.shape(tick.observation)}, and the "
            f"observation space of agent {self.name!r} of {self._env_id} is {self.layout.observation.space}"
        )


class PartialRecorder(AgentRecorder):
    """Records ticks whose observation is large, of no fixed size, or kept for takeovers only.

    Args:
        everything: Keep all observations; otherwise those of takeovers, and the one that follows each.
    """

    __slots__ = ("_everything", "_was_helped")

    def __init__(
        self, name: str, env_id: str, layout: RowLayout, sink: Sink, *, everything: bool = False
    ) -> None:
        super().__init__(name, env_id, layout, sink)
        self._everything = everything
        self._was_helped = False

    def begin(self, trial: int) -> None:
        """Record what follows for this trial."""
        self.trial = trial
        self._was_helped = False

    def append(self, tick: Tick) -> None:
        """Keep a copy of the tick; raises as :meth:`AgentRecorder.append`."""
        helped = is_takeover(tick)
        self._keep(tick, tick.decided_by, self._everything or helped or self._was_helped)
        self._was_helped = helped

    def _keep(self, tick: Tick, decided_by: int, observed: bool) -> None:
        layout = self.layout
        observation = layout.observation.pack(tick.observation) if observed else None
        action = (
            tick.executed_action if layout.action.is_integer else layout.action.pack(tick.executed_action)
        )
        fixed = (action,) if layout.action.is_fixed else ()
        part = layout.action.pack_exactly(tick.executed_action) if fixed else action
        try:
            row: Row = self._pack(
                self.trial,
                tick.number,
                tick.t_shown,
                tick.t_acted,
                tick.reaction_ns,
                tick.reward,
                decided_by,
                tick.phase,
                tick.terminated,
                tick.truncated,
                *fixed,
            )
        except _BROKEN:
            row = self._pack_carefully(tick, decided_by, *fixed)
        if (
            observed
            or tick.info
            or tick.feedback
            or part
            or not fixed
            or tick.proposed_action is not tick.executed_action
        ):
            row = self._with_parts(row, tick, part, observation)
        self.rows.append(row)
        if tick.t_acted >= self.due or len(self.rows) >= self.limit:
            self._hand_over(tick.t_acted)


class InterventionRecorder(PartialRecorder):
    """Records the ticks of takeovers only, and counts the others.

    Attributes:
        progress: ``(trial, n_ticks, total_reward, terminated, truncated)``; replaced as a whole.
    """

    __slots__ = ("progress",)

    def __init__(self, name: str, env_id: str, layout: RowLayout, sink: Sink) -> None:
        super().__init__(name, env_id, layout, sink)
        self.progress = (0, 0, 0.0, False, False)

    def begin(self, trial: int) -> None:
        """Record what follows for this trial."""
        super().begin(trial)
        self.progress = (trial, 0, 0.0, False, False)

    def is_waiting(self) -> bool:
        """Return whether there is something to take; while a trial runs, its progress."""
        return self.trial is not None or bool(self.rows)

    def append(self, tick: Tick) -> None:
        """Keep a copy of the tick if it belongs to a takeover; raises as :meth:`AgentRecorder.append`."""
        trial, _, total_reward, _, _ = self.progress
        total_reward += float(tick.reward)
        terminated, truncated = bool(tick.terminated), bool(tick.truncated)
        self.progress = (trial, tick.number + 1, total_reward, terminated, truncated)
        helped = is_takeover(tick)
        if helped or self._was_helped:
            self._keep(tick, tick.decided_by if helped else CONTEXT, True)
            self._was_helped = helped
        elif tick.t_acted >= self.due:
            self._hand_over(tick.t_acted)


def is_takeover(tick: Tick) -> bool:
    """Return whether a teacher is in control during the tick."""
    return tick.decided_by != DecidedBy.PLAYER or tick.phase == Phase.CORRECTING
