"""Which writers this process has: one for each store file, shared by all its handles and streams."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
import weakref

from cogment_lab.store.location import MEMORY
from cogment_lab.store.pending import StreamQueue
from cogment_lab.store.signals import SignalGuard
from cogment_lab.store.writer import StoreWriter

__all__ = ["attach", "close_pinned", "find_writer", "keep_for_ever", "pin", "release", "settle", "unpin"]

_LOG = logging.getLogger("cogment_lab.store")
_RELEASE_SECONDS = 10.0
_SIGNAL_SECONDS = 3.0

_lock = threading.RLock()
_writers: dict[str, StoreWriter] = {}
_pinned: set[str] = set()
_queues: weakref.WeakSet[StreamQueue] = weakref.WeakSet()
_exit_hooks_of = 0
"""The pid for which hooks at exit are registered."""


def attach(key: str, queue: StreamQueue, max_bytes: int | None) -> None:
    """Give the queue to the writer of a store, which is started if there is none.

    Args:
        key: The file's resolved path; for a store in memory ``:memory:`` and a name.
        queue: What a stream records.
        max_bytes: Bound of the file.

    Raises:
        StoreError: the file cannot be opened, see :func:`cogment_lab.store.schema.connect`.
    """
    with _lock:
        _register_exit_hooks()
        writer = _writer_of(key)
        writer.attach(queue)
        _queues.add(queue)
    writer.start()
    if max_bytes is not None and queue.writer is not None:
        queue.writer.limit_size(max_bytes)


def pin(key: str) -> StoreWriter:
    """Return the writer of a store in memory; it lives until :func:`close_pinned`."""
    with _lock:
        _pinned.add(key)
        writer = _writer_of(key)
    writer.start()
    return writer


def find_writer(key: str) -> StoreWriter | None:
    """Return the running writer of a store."""
    return _writers.get(key)


def release(queue: StreamQueue, seconds: float = _RELEASE_SECONDS) -> None:
    """Commit what a closed queue holds; the writer of its last stream is ended."""
    if queue.writer is not None:
        _settle(queue.writer, seconds)


def settle(key: str) -> None:
    """Commit everything, end streams that were dropped without being closed, and an idle writer."""
    writer = find_writer(key)
    if writer is not None:
        _settle(writer, _RELEASE_SECONDS)


def _settle(writer: StoreWriter, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    done = writer.hand_over(seconds)
    if done and writer.is_finished:
        done = writer.join(max(0.0, deadline - time.monotonic()))
    if not done:
        _LOG.error("%s did not commit the last ticks within %g s: its disk is slow", writer.path, seconds)
    with _lock:
        if not _writers:
            _guard.remove()


def unpin(key: str) -> StoreWriter | None:
    """Let the writer of a store in memory end, and the store with it, without waiting for that.

    It takes no lock, as it is called while garbage is collected: in any thread, between any two bytecodes.
    """
    _pinned.discard(key)
    writer = _writers.get(key)
    if writer is not None:
        for queue in writer.queues():
            queue.closed = True
        writer.wake()
    return writer


def close_pinned(key: str) -> None:
    """End the writer of a store in memory, and the store with it."""
    writer = unpin(key)
    if writer is not None:
        writer.join(_RELEASE_SECONDS)


def keep_for_ever(inherited: object) -> None:
    """Leak something that holds an SQLite connection inherited over a fork, which must not be closed here."""
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))


def _writer_of(key: str) -> StoreWriter:
    """Return the writer of a store, new if there is none.

    Its thread is for the caller to start, without the lock: a starting thread may collect garbage before it
    says that it runs, and so wait for whoever waits for it.
    """
    writer = _writers.get(key)
    path = MEMORY if key.startswith(MEMORY) else key
    # A new stream makes a new attempt where an earlier one has failed.
    has_failed = writer is not None and path != MEMORY and (writer.failure or writer.has_lost_file())
    if writer is None or has_failed:
        writer = _writers[key] = StoreWriter(path, lambda writer: _may_finish(key, writer))
        _guard.install()
    return writer


def _may_finish(key: str, writer: StoreWriter) -> bool:
    with _lock:
        if writer.has_streams() or key in _pinned:
            return False
        if _writers.get(key) is writer:
            del _writers[key]
        return True


def _register_exit_hooks() -> None:
    """Commit at exit; children of multiprocessing have an exit of their own, without atexit."""
    global _exit_hooks_of
    if _exit_hooks_of == os.getpid():
        return
    if not _exit_hooks_of:
        atexit.register(_close_all)
    _exit_hooks_of = os.getpid()
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, _close_all, exitpriority=100)


def _close_all() -> None:
    deadline = time.monotonic() + _RELEASE_SECONDS
    for writer in tuple(_writers.values()):
        for queue in writer.queues():
            queue.closed = True
            release(queue, max(0.1, deadline - time.monotonic()))


def _flush_all() -> None:
    deadline = time.monotonic() + _SIGNAL_SECONDS
    for writer in tuple(_writers.values()):
        writer.settle(max(0.1, deadline - time.monotonic()))


def _after_fork() -> None:
    """Forget in the child what belongs to the parent; its streams start anew with their next trial."""
    global _lock
    _lock = threading.RLock()
    for writer in _writers.values():
        keep_for_ever(writer)
    _writers.clear()
    _pinned.clear()
    for queue in tuple(_queues):
        queue.forget()


_guard = SignalGuard(_flush_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
