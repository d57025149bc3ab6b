"""The background writer: one connection and one thread for each store file and process.

The thread takes what waits in the queues of all streams of the file, makes rows of it, and commits them in
one transaction of a few statements: beside a pure-Python loop each statement costs a wait of 5 ms for the
interpreter.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from shutil import disk_usage
from typing import Any, TypeVar

from cogment_lab.errors import StoreError, StoreFullError
from cogment_lab.store.ledger import StreamLedger
from cogment_lab.store.location import MEMORY, identity
from cogment_lab.store.pending import StreamQueue
from cogment_lab.store.schema import connect, explain

__all__ = ["StoreWriter"]

_LOG = logging.getLogger("cogment_lab.store")
_POLL_SECONDS = 0.6
"""Rows that no stepping thread hands over are taken after so long."""
_LOCKED_SECONDS = 30.0
_CHECKPOINT_BYTES = 16_000_000
_T = TypeVar("_T")


class _Request:
    """Something the writer's thread is asked to do after its next commit."""

    __slots__ = ("_done", "error", "result", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], Any] | None = None) -> None:
        self.work = work
        self.result: Any = None
        self.error: Exception | None = None
        # A raw lock as a one-shot event: unlike Event's condition it may be used from a signal handler.
        self._done = threading.Lock()
        self._done.acquire()

    def wait(self, seconds: float) -> bool:
        return self._done.acquire(timeout=seconds)

    def finish(self, connection: sqlite3.Connection) -> None:
        if self.work is not None:
            try:
                self.result = self.work(connection)
            except Exception as error:  # belongs to whoever asked
                self.error = error
        self._done.release()


class StoreWriter:
    """Commits what streams record to one store.

    Args:
        path: The file, or ``:memory:``.
        may_finish: Asked by the thread when no stream is left; if it agrees, the thread ends.

    Attributes:
        failure: Why recording stopped, ``None`` while it goes on.

    Raises:
        StoreError: the file cannot be opened; see :func:`cogment_lab.store.schema.connect`.
    """

    def __init__(self, path: str, may_finish: Callable[[StoreWriter], bool]) -> None:
        self.path = path
        self.failure: StoreError | None = None
        self._may_finish = may_finish
        self._connection = connect(path)
        self._file = identity(path)
        self._requests: SimpleQueue[_Request] = SimpleQueue()
        self._ledgers: tuple[StreamLedger, ...] = ()
        self._is_busy = False
        self._looked = time.monotonic()
        self._bytes_since_checkpoint = 0
        self._max_bytes: int | None = None
        self._lock = threading.Lock()
        self.is_finished = False
        self._thread = threading.Thread(target=self._run, name=f"cogment_lab store {path}", daemon=True)
        self._is_started = False

    # --- called by other threads ---

    def start(self) -> None:
        """Start the thread, unless somebody has."""
        with self._lock:
            starts, self._is_started = not self._is_started, True
        if starts:
            self._thread.start()

    def attach(self, queue: StreamQueue) -> None:
        """Write what is put into this queue from now on (the caller holds the registry's lock)."""
        ledger = StreamLedger(queue)
        queue.writer = self
        with self._lock:
            self._ledgers = (*self._ledgers, ledger)

    def has_streams(self) -> bool:
        """Return whether a stream is open."""
        return bool(self._ledgers)

    def queues(self) -> list[StreamQueue]:
        """Return the queues of the open streams."""
        return [ledger.queue for ledger in self._ledgers]

    def hand_over(self, seconds: float) -> bool:
        """Have everything that waits committed; return whether it was within ``seconds``."""
        request = _Request()
        self._requests.put(request)
        return self.is_finished or request.wait(seconds)

    def flush(self, seconds: float) -> None:
        """Return when everything that was appended before is committed.

        Raises:
            StoreError: recording has stopped, or the deadline passed.
        """
        if self.failure is None and not self._is_idle() and not self.hand_over(seconds):
            raise StoreError(
                f"the store {self.path} did not commit within {seconds:g} s: its disk is slow, or another "
                "process holds its lock"
            )
        if self.failure is not None:
            raise type(self.failure)(str(self.failure)) from self.failure

    def settle(self, seconds: float) -> None:
        """Do as :meth:`flush`, for a reader: what cannot be committed is not there to be read."""
        if self.failure is None and not self._is_idle():
            self.hand_over(seconds)

    def call(self, work: Callable[[sqlite3.Connection], _T], seconds: float) -> _T:
        """Return what ``work`` returns, run in the writer's thread between two commits.

        Raises:
            StoreError: the deadline passed.
        """
        request = _Request(work)
        self._requests.put(request)
        if self.is_finished or not request.wait(seconds):
            raise StoreError(f"the store {self.path} was busy for more than {seconds:g} s; try again")
        if request.error is not None:
            raise request.error
        result: _T = request.result
        return result

    def fail(self, failure: StoreError) -> None:
        """Stop recording, and say so once."""
        if self.failure is not None:
            return
        self.failure = failure
        _LOG.error("recording to %s has stopped: %s", self.path, failure)
        for ledger in self._ledgers:
            for recorder in ledger.queue.recorders.values():
                recorder.expire()

    def limit_size(self, max_bytes: int) -> None:
        """Never let the file grow beyond this; the smallest limit holds."""

        def limit(connection: sqlite3.Connection) -> None:
            (page_size,) = connection.execute("PRAGMA page_size").fetchone()
            self._max_bytes = min(max_bytes, self._max_bytes or max_bytes)
            connection.execute(f"PRAGMA max_page_count = {max(1, self._max_bytes // page_size)}")

        self.call(limit, 10.0)

    def has_lost_file(self) -> bool:
        """Return whether somebody deleted or replaced the file since it was opened."""
        return self.path != MEMORY and identity(self.path) != self._file

    def wake(self) -> None:
        """Let the thread look at its queues now."""
        self._requests.put(_Request())

    def join(self, seconds: float) -> bool:
        """Wait for the thread's end; return whether it came."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    # --- the writer's thread ---

    def _is_idle(self) -> bool:
        # In this order: rows leave a queue only after the writer has declared itself busy.
        return all(ledger.queue.is_empty() for ledger in self._ledgers) and not self._is_busy

    def _run(self) -> None:
        while not self.is_finished:
            requests = self._next_requests()
            self._write_everything()
            if not self._ledgers:
                self.is_finished = self._may_finish(self)
            for request in requests:
                request.finish(self._connection)
            self._checkpoint()
        while not self._requests.empty():
            self._requests.get_nowait().finish(self._connection)
        self._connection.close()

    def _next_requests(self) -> list[_Request]:
        try:
            requests = [self._requests.get(timeout=max(0.0, self._looked + _POLL_SECONDS - time.monotonic()))]
        except Empty:
            return []
        while not self._requests.empty():
            requests.append(self._requests.get_nowait())
        return requests

    def _write_everything(self) -> None:
        self._looked = time.monotonic()
        self._is_busy = True
        try:
            closed = [ledger for ledger in self._ledgers if ledger.queue.closed]
            if self.failure is None:
                self._commit(self._ledgers)
            if closed:
                with self._lock:
                    self._ledgers = tuple(ledger for ledger in self._ledgers if ledger not in closed)
        except Exception as error:  # whatever it is, the environment goes on and the user hears of it
            if not isinstance(error, sqlite3.Error | StoreError):
                _LOG.exception("the writer of %s met an unexpected error", self.path)
            self.fail(self._explain(error))
        finally:
            self._is_busy = False

    def _commit(self, ledgers: Sequence[StreamLedger]) -> None:
        new = [ledger for ledger in ledgers if ledger.needs_stream()]
        if new:
            with self._transaction() as connection:
                for ledger in new:
                    ledger.insert_stream(connection)
        batches = [batch for ledger in ledgers if (batch := ledger.collect()) is not None]
        if batches:
            if self.has_lost_file():
                raise StoreError(
                    "the file was deleted or replaced; make the environment anew to record again"
                )
            with self._transaction() as connection:
                for batch in batches:
                    batch.write(connection)
            self._bytes_since_checkpoint += sum(batch.size() for batch in batches)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        self._begin()
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _begin(self) -> None:
        """Begin to write; another process may hold the lock for a while."""
        deadline = time.monotonic() + _LOCKED_SECONDS
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise

    def _checkpoint(self) -> None:
        """Move committed pages into the file; after the acknowledgement, since this waits for the disk."""
        if self._bytes_since_checkpoint < _CHECKPOINT_BYTES or self.path == MEMORY:
            return
        self._bytes_since_checkpoint = 0
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            self.fail(self._explain(error))

    def _explain(self, error: Exception) -> StoreError:
        """Return the error of ours that says what happened and what to do."""
        if isinstance(error, StoreError):
            return error
        if not isinstance(error, sqlite3.Error):
            return StoreError(f"the writer failed with {type(error).__name__}: {error}")
        if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_FULL:
            return explain(error, self.path)
        bound = self._max_bytes
        if bound is not None and (self.path == MEMORY or disk_usage(self.path).free > _CHECKPOINT_BYTES):
            return StoreFullError(
                f"the store {self.path} has reached max_gb={bound / 2**30:g}; delete trials "
                "(TrialStore.delete), raise max_gb, or give another path"
            )
        return StoreFullError(f"the disk under {self.path} is full; make room, or give another path")
