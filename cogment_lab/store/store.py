"""The trial store: the handle that people and environments hold."""

from __future__ import annotations

import importlib
import os
import secrets
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self, cast

from cogment_lab.errors import ConfigurationError, StoreError, TrialStateError
from cogment_lab.store import registry
from cogment_lab.store.catalog import TrialCatalog
from cogment_lab.store.chunk_source import ChunkSource
from cogment_lab.store.database import Database, FileDatabase, MemoryDatabase
from cogment_lab.store.deletion import delete_at_once
from cogment_lab.store.forgetting import Forgotten, forget_person, scrub_file
from cogment_lab.store.labels import Label, LabelKind, Labels
from cogment_lab.store.location import MEMORY, check_file_system, parse_location, prepare_for_writing
from cogment_lab.store.pending import StreamQueue
from cogment_lab.store.query import Only, TrialQuery, one_env, query_trials
from cogment_lab.store.reader import load_trial
from cogment_lab.store.schema import check_header
from cogment_lab.store.stream import TrialStream
from cogment_lab.store.stream_spec import AgentSpec, OnFull, RecordMode, StreamSpec
from cogment_lab.store.transitions import Transitions, read_transitions
from cogment_lab.store.trial_data import TrialData
from cogment_lab.store.trial_info import StoreStats, TrialEvent, TrialInfo

__all__ = ["TrialStore"]

_PAGE = 64
_memory_stores: weakref.WeakValueDictionary[str, TrialStore] = weakref.WeakValueDictionary()


class TrialStore:
    """Trials on disk, or in memory.

    A handle: it opens the file when it is first written or read, pickles as its path and options, and may be
    used by several threads. All handles and streams of one process to one file share one connection and one
    background thread for writing; several processes may write to one file at once.

    Args:
        path: A file (its folder is made if needed), or ``":memory:"``. A store in memory belongs to this
            handle: it does not leave the process, and ends with :meth:`close`. ``"grpc://host:port"`` reads
            the trials of a datastore elsewhere, those that are over from a copy that is made here.
        max_gb: Recording stops before the file gets larger.
        on_full: What happens when the disk is full or ``max_gb`` is reached: ``"continue"`` goes on without
            recording (:attr:`status` and the log say so), ``"stop"`` raises ``StoreFullError`` in the thread
            that steps the environment.

    Attributes:
        labels: What people said about trials afterwards; ``store.labels(trial_id)`` reads it.

    Raises:
        ConfigurationError: an address that is no file, or a value that cannot work.
        NetworkFileSystemError: the path lies on a network file system.
        NotAStoreError: the path is a folder, or a file of another kind.

    Example:
        >>> with TrialStore(":memory:") as store:
        ...     len(store), list(store.trials())
        (0, [])
    """

    def __new__(cls, path: str | os.PathLike[str], **options: Any) -> Self:
        """Return a store; one elsewhere has its own class, which is loaded only then."""
        if cls is TrialStore and os.fspath(path).startswith("grpc://"):
            remote = importlib.import_module("cogment_lab.wire.remote_store")
            return cast("Self", super().__new__(remote.RemoteTrialStore))
        return super().__new__(cls)

    def __init__(
        self, path: str | os.PathLike[str], *, max_gb: float | None = None, on_full: OnFull = "continue"
    ) -> None:
        if on_full not in ("continue", "stop"):
            raise ConfigurationError(f"on_full={on_full!r} is unknown; choose 'continue' or 'stop'")
        if max_gb is not None and not max_gb > 0:
            raise ConfigurationError(f"max_gb={max_gb!r} must be greater than 0, or None for no bound")
        self.path = parse_location(path)
        self.max_gb = max_gb
        self.on_full: OnFull = on_full
        self._key = self.path
        self._database: Database
        self._streams: weakref.WeakSet[TrialStream] = weakref.WeakSet()
        if self.path == MEMORY:
            self._key = f"{MEMORY}{secrets.token_hex(8)}"
            registry.pin(self._key)
            weakref.finalize(self, registry.unpin, self._key).atexit = False
            _memory_stores[self._key] = self
            self._database = MemoryDatabase(self._key)
        else:
            check_file_system(self.path)
            check_header(self.path)
            self._database = database = FileDatabase(self.path)
            weakref.finalize(self, database.abandon)
        self._catalog = TrialCatalog(self._database, self.path)
        self._chunks = ChunkSource(self._database, self.path)
        self.labels = Labels(self._database, self._catalog)

    # --- writing ---

    def open_stream(self, spec: StreamSpec) -> TrialStream:
        """Return a stream that records the trials of one environment.

        Raises:
            ConfigurationError: an unknown record mode.
            NotAStoreError: the file is something else.
            SpecError: a space that cannot be described.
            StoreReadOnlyError: the file or its folder cannot be written.
            StoreVersionError: a newer cogment_lab wrote the file.
        """
        if self.path != MEMORY:
            prepare_for_writing(self.path)
        elif registry.find_writer(self._key) is None:
            raise StoreError("this store in memory is closed; make a new one")
        stream = TrialStream(spec, self.on_full, self._attach, registry.release)
        self._streams.add(stream)
        return stream

    def flush(self, seconds: float = 10.0) -> None:
        """Return when everything that this process appended before is acknowledged: it survives ``kill -9``.

        Args:
            seconds: Deadline.

        Raises:
            StoreError: recording has stopped (``StoreFullError`` and others), or the deadline passed.
        """
        writer = registry.find_writer(self._key)
        if writer is not None:
            writer.flush(seconds)

    def close(self) -> None:
        """Close this handle's streams, commit, and let go of file and thread.

        A store in a file opens again when it is used again; one in memory is gone.
        """
        for stream in tuple(self._streams):
            stream.close()
        registry.settle(self._key)
        self._chunks.forget()
        self._database.close()

    @property
    def status(self) -> str:
        """``"recording"``, ``"not recording"`` (no stream is open), or why recording has stopped."""
        writer = registry.find_writer(self._key)
        if writer is None or not writer.has_streams():
            return "not recording"
        return "recording" if writer.failure is None else f"recording has stopped: {writer.failure}"

    # --- reading ---

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
        """Yield the trials that match all arguments, in the order in which they started.

        Args:
            env_id: The environment's name.
            state: ``RUNNING``, ``ENDED`` or ``INTERRUPTED``.
            properties: Each must be among the trial's.
            seed: Of the reset.
            min_return: Least total reward.
            since: Earliest start, unix seconds.
            record: What was recorded: ``full``, ``actions`` or ``interventions``.
            limit: Most trials to yield.
            newest_first: The other way round.
            trial_ids: Of these only.
            without: Not these; a set of names is quickly left out.
        """
        yield from self._catalog.trials(
            env_id=env_id,
            state=state,
            properties=properties,
            seed=seed,
            min_return=min_return,
            since=since,
            record=record,
            limit=limit,
            newest_first=newest_first,
            trial_ids=trial_ids,
            without=without,
        )

    def info(self, trial_id: str) -> TrialInfo:
        """Return what is known about a trial.

        Raises:
            TrialNotFoundError: there is none of that id.
        """
        return self._catalog.info(trial_id)

    def load(self, trial_id: str) -> dict[str, TrialData]:
        """Return the recorded ticks of a trial, by agent (``"gym"`` for a Gymnasium environment).

        Raises:
            CorruptStoreError: they cannot be decoded.
            TrialNotFoundError: there is no trial of that id.
        """
        return load_trial(self._catalog, self._chunks, trial_id)

    def load_each(self, trial_ids: Sequence[str]) -> Iterator[Callable[[], dict[str, TrialData]]]:
        """Yield for each trial a function that does as :meth:`load`; faster than that for many trials.

        What a function raises is about its trial, and others can be read.

        Raises:
            TrialNotFoundError: there is no trial of one of the ids.
        """
        for start in range(0, len(trial_ids), _PAGE):
            page = trial_ids[start : start + _PAGE]
            heads = self._catalog.heads(page)
            for trial_id in page:
                yield partial(load_trial, self._catalog, self._chunks, trial_id, heads[trial_id])

    def events(self, trial_id: str) -> list[TrialEvent]:
        """Return ``(tick, kind, data, time)`` of what happened between ticks: requests, phases, failures.

        Raises:
            TrialNotFoundError: there is no trial of that id.
        """
        return self._catalog.events(trial_id)

    def transitions(
        self,
        *,
        env_id: str | None = None,
        agent: str = "gym",
        trial_ids: Collection[str] | None = None,
        discarded: bool = False,
        batch_size: int = 65536,
    ) -> Iterator[Transitions]:
        """Yield the transitions of one agent, across trials, as arrays of at most ``batch_size`` rows.

        Left out is a step whose observation or next observation is unknown: all but takeovers in trials that
        were recorded without observations, and the last step of a trial that was interrupted or still runs.

        Args:
            env_id: Of these environments only; all must have the same spaces if their batches are to fit
                together.
            agent: The agent.
            trial_ids: Of these trials only.
            discarded: Also of those that :meth:`discarded` names, and ticks that a label discards, which are
                left out otherwise.
            batch_size: Most rows of a batch.

        Raises:
            CorruptStoreError: ticks cannot be decoded; ``trial_ids`` can leave out the trials it names.
            TrialNotFoundError: one of ``trial_ids`` is not there.
        """
        if batch_size < 1:
            raise ConfigurationError(f"batch_size={batch_size} must be at least 1")
        yield from read_transitions(
            self._catalog,
            self._chunks,
            self._database,
            env_id=env_id,
            agent=agent,
            trial_ids=trial_ids,
            without=set() if discarded or trial_ids is not None else self.discarded(),
            discarded_ticks={} if discarded else self.labels.discarded_ticks(agent),
            batch_size=batch_size,
        )

    def discarded(self) -> set[str]:
        """Return the ids of trials that nobody should learn from.

        That is: a person discarded them at a seat, or labelled them so later, from the first tick to the
        last. Queries and transitions leave them out unless told otherwise, or ``trial_ids`` names them. Of
        other trials they leave out the ticks that a label discards (``labels.discarded_ticks``).
        """
        return self.labels.discarded_trials() | self._catalog.judged("discard")

    def query(
        self,
        *,
        env: str | None = None,
        env_id: str | None = None,
        properties: Mapping[str, str] | None = None,
        actor: str | None = None,
        agent: str = "gym",
        min_return: float | None = None,
        only: Only | None = None,
        labelled: bool | str | None = None,
        trial_ids: Collection[str] | None = None,
        without: Collection[str] = (),
        discarded: bool = False,
        since: float | None = None,
        damaged: Literal["raise", "skip"] = "raise",
    ) -> TrialQuery:
        """Choose trials that are over; the answer reads them one at a time when it is iterated.

        Args:
            env: The environment's name.
            env_id: The same, as it is called elsewhere.
            properties: Each must be among the trial's.
            actor: Somebody who took part: a user id, ``"web"`` (a person at a page), or the class of a seat
                or policy.
            agent: Whose ticks.
            min_return: Least total reward.
            only: ``"interventions"`` and ``"autonomous"`` are the ticks that a teacher, or the player,
                decided; ``"demonstrations"`` are the trials that were collected as such, or that a person
                played.
            labelled: With a label of that kind, with any (``True``), or without (``False``).
            trial_ids: These trials only; all must be over.
            without: Not these trials; a set of those that are known already is quickly left out.
            discarded: Also what :meth:`discarded` names, which is left out unless it is in ``trial_ids``, and
                ticks that a label discards, which are left out of all trials.
            since: Earliest start, unix seconds.
            damaged: ``"skip"`` leaves out trials that cannot be decoded; the query's ``skipped`` names them.

        Raises:
            ConfigurationError: an unknown choice, both ``env`` and ``env_id``, or trials whose spaces differ.
            TrialNotFoundError: one of ``trial_ids`` is not there.
            TrialStateError: one of ``trial_ids`` still runs.
        """
        return query_trials(
            self,
            env=one_env(env, env_id),
            properties=properties,
            actor=actor,
            agent=agent,
            min_return=min_return,
            only=only,
            labelled=labelled,
            trial_ids=trial_ids,
            without=without,
            discarded=discarded,
            since=since,
            damaged=damaged,
        )

    def to_minari(self, dataset_id: str, **options: Any) -> Any:
        """Write trials as a Minari dataset; see :func:`cogment_lab.integrations.minari.to_minari`."""
        minari = importlib.import_module("cogment_lab.integrations.minari")
        return minari.to_minari(self, dataset_id, **options)

    def replay(self, trial_id: str, **options: Any) -> Iterator[Any]:
        """Execute a trial again; see :func:`cogment_lab.integrations.gymnasium.replay.replay`."""
        replay = importlib.import_module("cogment_lab.integrations.gymnasium.replay")
        steps: Iterator[Any] = replay.replay(self, trial_id, **options)
        return steps

    def agent_specs(
        self, *, env_id: str | None = None, agent: str = "gym", trial_id: str | None = None
    ) -> list[AgentSpec]:
        """Return the spaces of an agent, as they were when trials were recorded; usually one pair.

        Args:
            env_id: In this environment only; otherwise in all, where they may differ.
            agent: The agent.
            trial_id: In this trial only.

        Raises:
            TrialNotFoundError: there is no trial of that id.
        """
        found: list[AgentSpec] = []
        streams = self._catalog.streams(env_id) if trial_id is None else [self._catalog.stream_of(trial_id)]
        for stream in streams:
            layout = stream.layouts.get(agent)
            if layout is not None:
                spec = AgentSpec(layout.observation.space, layout.action.space)
                if spec not in found:
                    found.append(spec)
        return found

    def stats(self) -> StoreStats:
        """Return how much the store holds."""
        return self._catalog.stats()

    def delete(self, trial_ids: Collection[str]) -> None:
        """Delete trials.

        Their space is used again by later trials. Ticks lie in chunks that trials share: a chunk goes with
        the last of its trials, until then the bytes of a deleted one stay in the file, where no reader finds
        them.

        Raises:
            TrialNotFoundError: one of them is not there; none is deleted then.
            TrialStateError: one of them still runs; none is deleted then.
        """
        trials = []
        for trial_id in [trial_ids] if isinstance(trial_ids, str) else trial_ids:
            if self.info(trial_id).state == "RUNNING":
                raise TrialStateError(
                    f"trial {trial_id!r} still runs: end it, or close its environment, first"
                )
            trials += self._catalog.row_ids([trial_id])
        if trials:
            self._database.change(partial(delete_at_once, trials=trials))
            self._chunks.forget()

    def forget(self, participant: str, *, scrub: bool = True) -> Forgotten:
        """Remove what the store holds of a person, and scrub its bytes from the file.

        That is: trials with the property ``participant`` or the user id of that name, or counted for them by
        a study; their answers, events and tokens in studies; labels and comparisons of theirs, and
        comparisons that show their trials. What was exported or copied before is beyond its reach.

        Args:
            participant: Their pseudonym, or the name that they came with.
            scrub: Whether the file is written anew, so that not a byte is left: nobody else can write to it
                meanwhile. Without, nothing is found of them any more, and :meth:`scrub` does the rest later.

        Raises:
            ConfigurationError: the name is empty.
            TrialStateError: one of their trials still runs; nothing is removed then.
            StoreError: they are removed, and another process that reads the store keeps old bytes alive.
        """
        forgotten = forget_person(self._database, self._catalog, participant)
        self._chunks.forget()
        if scrub:
            self.scrub()
        return forgotten

    def scrub(self) -> None:
        """Write the file anew, without a byte of what was deleted; nobody else can write to it meanwhile.

        Raises:
            StoreError: another process that reads the store keeps old bytes alive.
        """
        if self.path != MEMORY:
            self._database.change(scrub_file)

    def label(
        self,
        trial_id: str,
        kind: LabelKind,
        value: Any,
        *,
        start: int = 0,
        stop: int | None = None,
        annotator: str = "",
        agent: str | None = None,
    ) -> Label:
        """Say something about ticks of a recorded trial; see :meth:`cogment_lab.store.labels.Labels.add`."""
        return self.labels.add(
            trial_id, kind, value, start=start, stop=stop, annotator=annotator, agent=agent
        )

    def __len__(self) -> int:
        return self._catalog.count()

    def __bool__(self) -> bool:
        return True  # a handle, even to a store that is empty

    def __iter__(self) -> Iterator[TrialInfo]:
        return self.trials()

    def __contains__(self, trial_id: object) -> bool:
        return isinstance(trial_id, str) and bool(self._catalog.row_ids([trial_id]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"TrialStore({self.path!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self.path == MEMORY:
            return _find_in_memory, (self._key,)
        return _reopen, (self.path, self.max_gb, self.on_full)

    def _attach(self, queue: StreamQueue) -> None:
        max_bytes = None if self.max_gb is None else int(self.max_gb * 2**30)
        registry.attach(self._key, queue, max_bytes)


def _reopen(path: str, max_gb: float | None, on_full: OnFull) -> TrialStore:
    return TrialStore(path, max_gb=max_gb, on_full=on_full)


def _find_in_memory(key: str) -> TrialStore:
    store = _memory_stores.get(key)
    if store is None:
        raise ConfigurationError(
            "a store in memory stays in the process that made it; other processes need one in a file"
        )
    return store
