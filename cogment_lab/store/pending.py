"""What waits between the thread that steps an environment and the thread that writes."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from cogment_lab.errors import StoreError
from cogment_lab.store.codec import ValueCodec
from cogment_lab.store.recorder import AgentRecorder, InterventionRecorder, PartialRecorder
from cogment_lab.store.rows import RowLayout
from cogment_lab.store.stream_spec import AgentSpec, OnFull, StreamSpec

if TYPE_CHECKING:
    from cogment_lab.store.writer import StoreWriter

__all__ = [
    "Begun",
    "Ended",
    "Event",
    "StreamQueue",
    "join_last_observations",
    "split_last_observations",
    "take",
]

Begun: TypeAlias = "tuple[int, str, int | None, Mapping[str, Any] | None, str, float]"
"""Number in the stream, trial_id, seed, rng_state, details (JSON), time (unix seconds)."""
Ended: TypeAlias = "tuple[int, str, str, bytearray, float, Progress | None]"
"""Number, state, end_reason, last observations, time, progress where the rows do not tell it."""
Progress: TypeAlias = tuple[int, float, bool, bool]
"""Ticks, total reward, terminated, truncated."""
Event: TypeAlias = "tuple[int, int, str, str, float]"
"""Number of the trial, tick, kind, data (JSON), time."""

_T = TypeVar("_T")
_LENGTH = struct.Struct("<I")
_NONE = 0xFFFF_FFFF


class StreamQueue:
    """The rows, beginnings, ends and events of one stream that no commit holds yet.

    The stepping thread only appends to these lists, the writer's thread only takes from their front
    (:func:`take`); both are atomic, so that neither needs a lock and nothing is lost between them. A trial is
    put into ``begun`` before its first row and into ``ended`` after its last one; the writer takes in the
    opposite order, so that it never sees a row of an unknown trial, nor the end of a trial whose rows it has
    not.

    Attributes:
        writer: Who writes it; ``None`` in a forked child until it begins a trial of its own.
        closed: Nothing more will come.
    """

    def __init__(self, spec: StreamSpec, on_full: OnFull) -> None:
        self.spec = spec
        self.on_full = on_full
        self.writer: StoreWriter | None = None
        self.recorders = {name: self._recorder(name, agent) for name, agent in spec.agents.items()}
        self.begun: list[Begun] = []
        self.ended: list[Ended] = []
        self.events: list[Event] = []
        self.closed = False

    def hand_over(self, seconds: float) -> bool:
        """Have everything that waits committed; return whether it was within ``seconds``."""
        return self.writer is None or self.writer.hand_over(seconds)

    def fail(self, failure: StoreError) -> None:
        """Stop recording."""
        if self.writer is not None:
            self.writer.fail(failure)

    def is_stopped(self) -> bool:
        """Return whether recording has stopped."""
        return self.writer is not None and self.writer.failure is not None

    def complain(self) -> None:
        """Let the trial stop because recording has, if the store was opened so.

        Raises:
            StoreError: why recording has stopped.
        """
        if self.on_full == "stop" and self.writer is not None and self.writer.failure is not None:
            failure = self.writer.failure
            raise type(failure)(str(failure)) from failure

    def is_empty(self) -> bool:
        """Return whether nothing waits."""
        waiting = self.begun or self.ended or self.events
        return not waiting and not any(recorder.is_waiting() for recorder in self.recorders.values())

    def forget(self) -> None:
        """Drop everything and the writer: in a forked child they are copies of what the parent writes."""
        for waiting in (self.begun, self.ended, self.events):
            waiting.clear()
        for recorder in self.recorders.values():
            recorder.rows.clear()
            recorder.trial = None
        self.writer = None

    def progress(self, trial: int) -> Progress | None:
        """Return how far a trial is, over all agents, where its rows do not tell."""
        if self.spec.record != "interventions":
            return None
        known = [r.progress for r in self.recorders.values() if isinstance(r, InterventionRecorder)]
        known = [each for each in known if each[0] == trial]
        return (
            max((n_ticks for _, n_ticks, _, _, _ in known), default=0),
            sum(total_reward for _, _, total_reward, _, _ in known),
            any(terminated for _, _, _, terminated, _ in known),
            any(truncated for _, _, _, _, truncated in known),
        )

    def _recorder(self, name: str, agent: AgentSpec) -> AgentRecorder:
        env_id, record = self.spec.env_id, self.spec.record
        observation, action = ValueCodec(agent.observation_space), ValueCodec(agent.action_space)
        inline = record == "full" and RowLayout.can_be_inline(observation, action)
        layout = RowLayout.of(observation, action, inline)
        if inline:
            return AgentRecorder(name, env_id, layout, self)
        if record == "interventions":
            return InterventionRecorder(name, env_id, layout, self)
        return PartialRecorder(name, env_id, layout, self, everything=record == "full")


def take(waiting: list[_T]) -> list[_T]:
    """Take what waits at the front of a list that another thread appends to."""
    count = len(waiting)
    taken = waiting[:count]
    del waiting[:count]
    return taken


def join_last_observations(observations: list[bytes | None]) -> bytearray:
    """Return the packed last observations of all agents as one value."""
    joined = bytearray()
    for observation in observations:
        if observation is None:
            joined += _LENGTH.pack(_NONE)
        else:
            joined += _LENGTH.pack(len(observation))
            joined += observation
    return joined


def split_last_observations(data: bytes) -> list[bytes | None]:
    """Return what :func:`join_last_observations` was given.

    Raises:
        ValueError: the bytes and their lengths do not agree.
    """
    found: list[bytes | None] = []
    position = 0
    while position + 4 <= len(data):
        (length,) = _LENGTH.unpack_from(data, position)
        position += 4
        if length == _NONE:
            found.append(None)
        else:
            found.append(data[position : position + length])
            position += length
    if position != len(data):
        raise ValueError("stored last observations are shorter or longer than their lengths say")
    return found
