"""The log of a trial: the ticks that are still open, and the samples they become (protocol section 8.2)."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable, Sequence

from cogment_lab.trial.states import TrialState
from cogment_lab.wire.generated.common_pb2 import Action, Message, Reward
from cogment_lab.wire.generated.datalog_pb2 import DatalogSample, RunTrialDatalogInput
from cogment_lab.wire.generated.environment_pb2 import ObservationSet

__all__ = ["SampleLog"]

_LOG = logging.getLogger(__name__)
_FIELDS = ("info", "observations", "actions", "rewards", "messages", "default_actors", "unavailable_actors")
_NO_ACTION = -2


class SampleLog:
    """The samples of one trial, the newest ``buffered_ticks - 1`` of them open for late rewards.

    Args:
        buffered_ticks: See ``TrialParameters``.
        excluded: Names of the fields to leave out.
        sink: Receives every finished frame.
    """

    def __init__(
        self,
        buffered_ticks: int,
        excluded: Iterable[str],
        sink: deque[RunTrialDatalogInput],
    ) -> None:
        self._open: deque[RunTrialDatalogInput] = deque()
        self._kept = buffered_ticks - 1
        self._excluded = [name.lower() for name in excluded]
        for name in set(self._excluded) - set(_FIELDS):
            _LOG.warning("exclude_fields names %r, which is no field of a sample: one of %s", name, _FIELDS)
        self._excluded = [name for name in self._excluded if name in _FIELDS]
        self._sink = sink
        self._actions_done = False
        self._start(0, time.time_ns())

    @property
    def current(self) -> DatalogSample:
        """The sample of the current tick."""
        return self._open[-1].sample

    def begin(
        self, tick: int, state: TrialState, observations: ObservationSet, partial: Sequence[Action | None]
    ) -> None:
        """Start the sample of ``tick`` (0 was started with the trial).

        Args:
            tick: The tick that begins.
            state: State of the trial, with which the sample before is closed.
            observations: As they came from the environment.
            partial: What was received of the actions of the tick before, for a tick that was not completed.
        """
        if tick > 0:
            self._close(state, partial)
            self._start(tick, observations.timestamp or time.time_ns())
            while len(self._open) > self._kept:
                self._send(self._open.popleft())
        else:
            self.current.info.timestamp = observations.timestamp or time.time_ns()
        self.current.observations.CopyFrom(observations)

    def complete(
        self, actions: Sequence[Action | None], defaulted: Sequence[int], unavailable: Sequence[int]
    ) -> None:
        """Note the actions of the current tick, one per actor."""
        sample = self.current
        self._add_actions(actions)
        sample.default_actors.extend(defaulted)
        sample.unavailable_actors.extend(unavailable)

    def event(self, text: str) -> None:
        """Note a special event in the current sample."""
        self.current.info.special_events.append(text)

    def reward(self, reward: Reward, tick: int) -> None:
        """Log a reward for ``tick``: in its sample while that is open, else out of sync."""
        for frame in reversed(self._open):
            if frame.sample.info.tick_id == tick:
                frame.sample.rewards.append(reward)
                return
        late = RunTrialDatalogInput()
        info = late.sample.info
        info.out_of_sync = True
        info.tick_id = tick
        info.timestamp = time.time_ns()
        info.special_events.append("Out of sync reward")
        late.sample.rewards.append(reward)
        self._send(late)

    def message(self, message: Message) -> None:
        """Log a message in the current sample."""
        self.current.messages.append(message)

    def finish(self, partial: Sequence[Action | None]) -> None:
        """Close the last sample as ENDED and send what is open.

        Args:
            partial: What was received of the last tick's actions, one per actor.
        """
        self._close(TrialState.ENDED, partial)
        while self._open:
            self._send(self._open.popleft())

    def _start(self, tick: int, timestamp: int) -> None:
        frame = RunTrialDatalogInput()
        frame.sample.info.tick_id = tick
        frame.sample.info.timestamp = timestamp
        self._open.append(frame)
        self._actions_done = False

    def _close(self, state: TrialState, partial: Sequence[Action | None]) -> None:
        self.current.info.state = int(state)  # type: ignore[assignment]
        if not self._actions_done:
            self._add_actions(partial)

    def _add_actions(self, actions: Sequence[Action | None]) -> None:
        self._actions_done = True
        logged = self.current.actions
        for action in actions:
            if action is None:
                logged.add(tick_id=_NO_ACTION)
            else:
                logged.append(action)

    def _send(self, frame: RunTrialDatalogInput) -> None:
        for name in self._excluded:
            frame.sample.ClearField(name)
        self._sink.append(frame)
