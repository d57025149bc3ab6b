"""Gives the ended trials of a datastore's file columns beside its messages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cogment_lab.errors import CogmentLabError, StoreError
from cogment_lab.store.store import TrialStore
from cogment_lab.wire.generated.common_pb2 import TrialParams
from cogment_lab.wire.generated.trial_datastore_pb2 import StoredTrialSample
from cogment_lab.wire.trial_columns import ColumnWriter

__all__ = ["Columns"]

_LOG = logging.getLogger(__name__)


class Columns:
    """Writes trials into a store, one after the other, in a thread of its own.

    Trials of services whose parameters hold no specs (those of other applications) have no columns; they are
    read over gRPC as before.

    Args:
        path: The file.

    Raises:
        StoreError: it is something else, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._store = TrialStore(path)
        self._writer = ColumnWriter(self._store)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cogment_lab columns")

    def known(self) -> set[str]:
        """Return the ids of the trials that have columns."""
        return {info.trial_id for info in self._store.trials()}

    async def write(self, trial_id: str, user_id: str, params: TrialParams, samples: Sequence[bytes]) -> None:
        """Write a trial, from its encoded samples; what cannot be written is logged."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._write, trial_id, user_id, params, samples)

    async def delete(self, trial_ids: Collection[str]) -> None:
        """Forget trials; unknown ids do not matter."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._delete, trial_ids)

    async def close(self) -> None:
        """Finish what was begun and let go of the file."""
        await asyncio.to_thread(self._thread.shutdown)
        await asyncio.to_thread(self._store.close)

    def _write(self, trial_id: str, user_id: str, params: TrialParams, samples: Sequence[bytes]) -> None:
        try:
            if trial_id not in self._store:
                decoded = [StoredTrialSample.FromString(sample) for sample in samples]
                self._writer.write(trial_id, user_id, params, decoded)
        except CogmentLabError as error:
            _LOG.info("trial %s gets no columns in the store: %s", trial_id, error)
        except Exception:  # messages of other applications have parsers of their own
            _LOG.warning("trial %s gets no columns in the store", trial_id, exc_info=True)

    def _delete(self, trial_ids: Collection[str]) -> None:
        try:
            self._store.delete([trial_id for trial_id in trial_ids if trial_id in self._store])
        except StoreError as error:
            _LOG.error("trials %s stay in the store: %s", sorted(trial_ids), error)
