"""A stream: the trials of one environment, as the thread that steps it records them."""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from cogment_lab.errors import ConfigurationError, TrialStateError
from cogment_lab.store.info import encode_info
from cogment_lab.store.pending import StreamQueue, join_last_observations
from cogment_lab.store.stream_spec import OnFull, StreamSpec
from cogment_lab.trial.recorder import TickRecorder

__all__ = ["TrialStream"]

_TRIALS_REMEMBERED = 16


class TrialStream:
    """Records the trials of one environment; see :class:`cogment_lab.trial.recorder.Recorder`.

    Made by ``TrialStore.open_stream``. All calls come from one thread.

    Args:
        spec: What the trials have in common.
        on_full: What to do when recording has to stop.
        attach: Gives a queue to its writer; called again in a forked child.
        release: Lets go of a queue when everything in it is committed.

    Raises:
        ConfigurationError: an unknown record mode.
    """

    def __init__(
        self,
        spec: StreamSpec,
        on_full: OnFull,
        attach: Callable[[StreamQueue], None],
        release: Callable[[StreamQueue], None],
    ) -> None:
        if spec.record not in ("full", "actions", "interventions"):
            raise ConfigurationError(
                f"record={spec.record!r} is unknown; choose 'full', 'actions' or 'interventions'"
            )
        self.spec = spec
        self._attach = attach
        self._release = release
        self._queue = StreamQueue(spec, on_full)
        self._recorders = tuple(self._queue.recorders.values())
        self._number = 0
        self._running: int | None = None
        self._begun: deque[tuple[str, int]] = deque(maxlen=_TRIALS_REMEMBERED)
        self._known_details: tuple[Mapping[str, str], str | None, str] = ({}, None, "{}")
        attach(self._queue)
        self._finalizer = weakref.finalize(self, _abandon, self._queue)
        self._finalizer.atexit = False

    def recorder(self, agent: str) -> TickRecorder:
        """Return the recorder of that agent's ticks; the same object for all trials."""
        try:
            return self._queue.recorders[agent]
        except KeyError:
            names = ", ".join(repr(name) for name in self._queue.recorders)
            raise ConfigurationError(f"{self.spec.env_id} has no agent {agent!r}; it has {names}") from None

    def begin(
        self,
        trial_id: str,
        *,
        seed: int | None,
        rng_state: Mapping[str, Any] | None,
        options: Mapping[str, Any] | None,
        properties: Mapping[str, str],
        user_id: str | None = None,
        started: float | None = None,
    ) -> None:
        """Start a trial; one that still runs is ended with ``end_reason="reset"``.

        A trial without ticks and events leaves no record. ``rng_state`` and ``properties`` must not be
        changed afterwards (``bit_generator.state`` gives a new dict each time). ``started`` is when it
        began, Unix time, now by default.

        Raises:
            StoreError: recording has stopped, and the store was opened with ``on_full="stop"``.
            TrialStateError: the stream is closed.
        """
        queue = self._queue
        if self._running is not None:
            self.end(state="ENDED", end_reason="reset", last_observations={})
        if queue.closed:
            raise TrialStateError(f"the stream of {self.spec.env_id} is closed: open another one")
        if queue.writer is None:
            self._attach(queue)
        self._number = self._running = number = self._number + 1
        self._begun.append((trial_id, number))
        if queue.is_stopped():
            queue.complain()
        else:
            details = self._details(options, properties, user_id)
            began = time.time() if started is None else started
            queue.begun.append((number, trial_id, seed, rng_state, details, began))
        for recorder in self._recorders:
            recorder.begin(number)

    @property
    def failure(self) -> str | None:
        """Why recording has stopped, ``None`` while it goes on."""
        writer = self._queue.writer
        return None if writer is None or writer.failure is None else f"recording stopped: {writer.failure}"

    def event(
        self, tick_number: int, kind: str, data: Mapping[str, Any], trial_id: str | None = None
    ) -> None:
        """Keep something that happened between ticks.

        Args:
            tick_number: The tick that came next.
            kind: ``phase``, ``pace``, ``note``...
            data: What belongs to it.
            trial_id: The trial that it is about, also one of the last 16 that ended; without it, or with an
                id from elsewhere, the one that runs, and nothing between trials.
        """
        number = self._running
        if trial_id is not None:
            number = next((known for name, known in self._begun if name == trial_id), number)
        if number is not None and not self._queue.is_stopped():
            self._queue.events.append((number, int(tick_number), kind, encode_info(data), time.time()))

    def end(
        self,
        *,
        state: str,
        end_reason: str,
        last_observations: Mapping[str, Any],
        ended: float | None = None,
    ) -> None:
        """End the trial; without effect between trials.

        Args:
            state: Usually ``"ENDED"``.
            end_reason: ``terminated``, ``truncated``, ``reset``, ``closed``...
            last_observations: For each agent the observation after its last tick, where it is known.
            ended: When, Unix time, now by default.

        Raises:
            SpecError: one of them does not fit its space; the trial goes on.
        """
        number = self._running
        if number is None:
            return
        packed: list[bytes | None] = []
        for recorder in self._recorders:
            observation = last_observations.get(recorder.name)
            packed.append(None if observation is None else recorder.layout.observation.pack(observation))
        last = join_last_observations(packed)
        self._running = None
        for recorder in self._recorders:
            recorder.trial = None
        queue = self._queue
        if not queue.is_stopped():
            when = time.time() if ended is None else ended
            queue.ended.append((number, state, end_reason, last, when, queue.progress(number)))

    def _details(
        self, options: Mapping[str, Any] | None, properties: Mapping[str, str], user_id: str | None
    ) -> str:
        """Return them as JSON, encoded anew only if they differ from the previous trial's."""
        known_properties, known_user, coded = self._known_details
        if options is None and properties == known_properties and user_id == known_user:
            return coded
        details = {"options": options, "properties": dict(properties), "user_id": user_id}
        coded = encode_info({key: value for key, value in details.items() if value})
        if options is None:
            self._known_details = dict(properties), user_id, coded
        return coded

    def close(self) -> None:
        """Commit what is pending and let go of the store; a running trial ends as ``"closed"``."""
        self.end(state="ENDED", end_reason="closed", last_observations={})
        if self._finalizer.detach():
            self._queue.closed = True
            self._release(self._queue)


def _abandon(queue: StreamQueue) -> None:
    """Let the writer end the trial of a stream that was dropped without being closed."""
    queue.closed = True
