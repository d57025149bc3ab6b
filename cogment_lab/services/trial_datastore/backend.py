"""What the datastore knows: every trial, its samples in memory or on disk, and who waits for more."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection, Mapping

from cogment_lab.errors import TrialNotFoundError
from cogment_lab.services.trial_datastore.columns import Columns
from cogment_lab.services.trial_datastore.convert import Converter
from cogment_lab.services.trial_datastore.database import Database, StoredTrial
from cogment_lab.trial.states import TrialState
from cogment_lab.wire.generated.bundle_pb2 import SampleReplies
from cogment_lab.wire.generated.common_pb2 import TrialParams
from cogment_lab.wire.generated.datalog_pb2 import DatalogSample
from cogment_lab.wire.generated.trial_datastore_pb2 import StoredTrialSample
from cogment_lab.wire.stream import bundle

__all__ = ["Backend", "Trial"]

_LOG = logging.getLogger(__name__)
_COMMIT_SECONDS = 0.05
_CHUNK = 512


class Trial:
    """One trial: its parameters, its counters, and the samples that are in memory.

    Attributes:
        trial_id: The trial.
        user_id: Whose.
        params: Its parameters.
        last_state: State of its newest sample.
        count: How many samples it has, wherever they are.
        ended: Whether no more will come.
        deleted: Whether it is to be forgotten.
        copied: Whether it has columns in the file, or cannot have them.
        first: Index of the first sample in memory; those before are on disk, or dropped.
        recent: Encoded ``StoredTrialSample`` from ``first`` on.
        committed: How many samples are on disk.
        changed: Set at each change, then replaced.
    """

    def __init__(self, trial_id: str, user_id: str, params: TrialParams) -> None:
        self.trial_id = trial_id
        self.user_id = user_id
        self.params = params
        self.converter = Converter(trial_id, params, user_id)
        self.last_state = int(TrialState.UNKNOWN)
        self.count = 0
        self.ended = self.deleted = self.copied = False
        self.first = 0
        self.recent: list[bytes] = []
        self.committed = 0
        self.size = 0
        self.changed = asyncio.Event()

    def notify(self) -> None:
        """Wake whoever waits for this trial."""
        self.changed.set()
        self.changed = asyncio.Event()

    def row(self) -> StoredTrial:
        """Return what the database keeps of it."""
        return StoredTrial(
            self.trial_id,
            self.user_id,
            self.params.SerializeToString(),
            self.last_state,
            self.count,
            self.ended,
        )


class Backend:
    """The trials, in order of arrival.

    Args:
        max_size: Bytes of samples in memory, see ``TrialDatastoreSettings``.
        database: Where everything is kept; ``None`` for memory alone.
        columns: Where trials go once they have ended, for those who read the file as a store.
    """

    def __init__(
        self, max_size: int, database: Database | None = None, columns: Columns | None = None
    ) -> None:
        self.trials: dict[str, Trial] = {}
        self.arrived = asyncio.Event()
        self._max_size = max_size
        self._size = 0
        self._database = database
        self._dirty: dict[str, Trial] = {}
        self._committing: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._columns = columns
        self._uncopied: dict[str, Trial] = {}
        self._copying: asyncio.Task[None] | None = None
        copied = columns.known() if columns is not None else set()
        if database is not None:
            for row in database.trials():
                self._restore(row)
                if row.trial_id not in copied:
                    self._copy_soon(self.trials[row.trial_id])

    def _restore(self, row: StoredTrial) -> None:
        trial = Trial(row.trial_id, row.user_id, TrialParams.FromString(row.params))
        trial.last_state, trial.count = row.last_state, row.samples
        trial.first = trial.committed = row.samples
        trial.ended = True  # whoever wrote it is gone
        self.trials[row.trial_id] = trial

    def add(self, trial_id: str, user_id: str, params: TrialParams) -> Trial:
        """Return the trial of that id, made or updated."""
        trial = self.trials.get(trial_id)
        if trial is None:
            trial = self.trials[trial_id] = Trial(trial_id, user_id, params)
            self.arrived.set()
            self.arrived = asyncio.Event()
        else:
            trial.user_id, trial.params = user_id, params
            trial.converter = Converter(trial_id, params, user_id)
        self._touch(trial)
        return trial

    def log(self, trial: Trial, samples: Collection[DatalogSample]) -> None:
        """Keep what an orchestrator logged."""
        for sample in samples:
            if sample.info.out_of_sync:
                self._merge(trial, sample)
            else:
                self._append(trial, trial.converter.convert(sample))
        self._touch(trial)

    def append(self, trial: Trial, samples: Collection[StoredTrialSample]) -> None:
        """Keep samples that are in their stored form already."""
        for sample in samples:
            self._append(trial, sample)
        self._touch(trial)

    def end(self, trial: Trial) -> None:
        """Note that no more samples will come, whether or not the last one said so."""
        if not trial.ended:
            trial.ended = True
            self._touch(trial)

    async def delete(self, trial_ids: Collection[str]) -> None:
        """Forget trials; unknown ids do not matter, followers are released."""
        known = [self.trials.pop(trial_id) for trial_id in trial_ids if trial_id in self.trials]
        for trial in known:
            trial.ended = trial.deleted = True
            self._size -= trial.size
            self._dirty.pop(trial.trial_id, None)
            trial.notify()
        if self._database is not None and known:
            await self.flush()
            await asyncio.to_thread(self._database.delete, [trial.trial_id for trial in known])
        if self._columns is not None and known:
            await self._columns.delete([trial.trial_id for trial in known])

    async def read(self, trial: Trial, index: int) -> tuple[int, list[bytes] | bytes]:
        """Return samples from ``index`` on, some of those that exist.

        Returns:
            How many, and either the encoded samples or an encoded bundle of replies that begins with one
            at ``index``.

        Raises:
            TrialNotFoundError: they were dropped from memory.
        """
        if index >= trial.first:
            found = trial.recent[index - trial.first : index - trial.first + _CHUNK]
            return len(found), found
        chunk = None
        if self._database is not None:
            chunk = await asyncio.to_thread(self._database.chunk, trial.trial_id, index)
        if chunk is None:
            raise TrialNotFoundError(
                f"the samples of trial {trial.trial_id!r} were dropped to make room; keep them with a file"
            )
        first, valid, count, data = chunk
        if first == index and valid == count:
            return count, data
        frames = SampleReplies.FromString(data).frames[index - first : valid]
        return len(frames), [frame.trial_sample.SerializeToString() for frame in frames]

    async def flush(self) -> None:
        """Wait until everything is on disk, where there is one; raise what went wrong there."""
        while self._database is not None and (self._dirty or self._committing is not None):
            self._commit_soon()
            if self._committing is not None:
                await asyncio.shield(self._committing)
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure

    async def close(self) -> None:
        """Flush and close the database."""
        for trial in self.trials.values():
            trial.ended = True
            trial.notify()
            self._copy_soon(trial)
        if self._database is not None:
            await self.flush()
        if self._columns is not None:
            if self._copying is not None:
                await self._copying
            await self._columns.close()
        if self._database is not None:
            self._database.close()

    async def wait_for_trials(self, deadline: float) -> bool:
        """Wait for another trial; return whether one came before ``deadline`` (loop time)."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self.arrived.wait()
                return True
        return False

    async def follow(self, trial_ids: Collection[str]) -> AsyncIterator[tuple[Trial, list[bytes] | bytes]]:
        """Yield the samples of several trials, each in order, until all of them have ended."""
        cursors = {trial_id: (self.trials[trial_id], 0) for trial_id in trial_ids}
        while cursors:
            idle = []
            for trial_id, (trial, index) in list(cursors.items()):
                changed = trial.changed
                if trial.deleted or (trial.ended and index >= trial.count):
                    del cursors[trial_id]
                elif index < trial.count:
                    count, samples = await self.read(trial, index)
                    yield trial, samples
                    cursors[trial_id] = (trial, index + count)
                else:
                    idle.append(changed)
            if cursors and len(idle) == len(cursors):
                waits = [asyncio.create_task(changed.wait()) for changed in idle]
                try:
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for wait in waits:
                        wait.cancel()

    def select(self, trial_ids: Collection[str], properties: Mapping[str, str]) -> list[tuple[int, Trial]]:
        """Return ``(place, trial)`` of those with these ids (all for none) and properties."""
        wanted = set(trial_ids)
        return [
            (place, trial)
            for place, trial in enumerate(self.trials.values())
            if (not wanted or trial.trial_id in wanted)
            and all(trial.params.properties.get(name) == value for name, value in properties.items())
        ]

    def _append(self, trial: Trial, sample: StoredTrialSample) -> None:
        encoded = sample.SerializeToString()
        trial.recent.append(encoded)
        trial.count += 1
        trial.size += len(encoded)
        self._size += len(encoded)
        trial.last_state = sample.state
        if sample.state == int(TrialState.ENDED):
            trial.ended = True

    def _merge(self, trial: Trial, late: DatalogSample) -> None:
        """Add a late reward to the sample of its tick, while that is in memory."""
        for place in range(len(trial.recent) - 1, -1, -1):
            stored = StoredTrialSample.FromString(trial.recent[place])
            if stored.tick_id == late.info.tick_id:
                trial.converter.merge_late(stored, late)
                trial.recent[place] = stored.SerializeToString()
                trial.committed = min(trial.committed, trial.first + place)
                return
        _LOG.warning("trial %s: a reward for tick %d came too late", trial.trial_id, late.info.tick_id)

    def _copy_soon(self, trial: Trial) -> None:
        if self._columns is not None and not trial.copied:
            self._uncopied[trial.trial_id] = trial
            if self._copying is None:
                self._copying = asyncio.create_task(self._copy(self._columns))

    async def _copy(self, columns: Columns) -> None:
        """Give the ended trials their columns."""
        try:
            while self._uncopied:
                trial = self._uncopied.pop(next(iter(self._uncopied)))
                trial.copied = True
                samples: list[bytes] = []
                while len(samples) < trial.count and not trial.deleted:
                    _, some = await self.read(trial, len(samples))
                    if isinstance(some, bytes):
                        frames = SampleReplies.FromString(some).frames
                        some = [frame.trial_sample.SerializeToString() for frame in frames]
                    samples += some
                if samples and not trial.deleted:
                    await columns.write(trial.trial_id, trial.user_id, trial.params, samples)
        except TrialNotFoundError as error:
            _LOG.warning("%s", error)
        finally:
            self._copying = None

    def _touch(self, trial: Trial) -> None:
        trial.notify()
        if trial.ended:
            self._copy_soon(trial)
        if self._database is not None:
            self._dirty[trial.trial_id] = trial
            self._commit_soon()
        elif self._size > self._max_size:
            self._make_room()

    def _make_room(self) -> None:
        for trial in self.trials.values():
            droppable = trial.ended if self._database is None else trial.committed == trial.count
            if droppable and trial.recent:
                self._size -= trial.size
                trial.first, trial.recent, trial.size = trial.count, [], 0
                if self._size <= self._max_size:
                    return

    def _commit_soon(self) -> None:
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit())

    async def _commit(self) -> None:
        await asyncio.sleep(_COMMIT_SECONDS)
        dirty, self._dirty = self._dirty, {}
        chunks = []
        upto = {}
        for trial in dirty.values():
            upto[trial.trial_id] = trial.count
            start = trial.committed
            while start < trial.count:
                samples = trial.recent[start - trial.first : start - trial.first + _CHUNK]
                data = bundle(bundle((sample,)) for sample in samples)
                chunks.append((trial.trial_id, start, len(samples), data))
                start += len(samples)
        rows = [trial.row() for trial in dirty.values()]
        try:
            assert self._database is not None
            await asyncio.to_thread(self._database.write, rows, chunks)
        except Exception as error:
            self._failure = error
            self._dirty = dirty | self._dirty
            _LOG.error("the datastore cannot write: %s", error)
            await asyncio.sleep(1.0)
        else:
            for trial in dirty.values():
                trial.committed = max(trial.committed, upto[trial.trial_id])
            if self._size > self._max_size:
                self._make_room()
        finally:
            self._committing = None
        if self._dirty:
            self._commit_soon()
