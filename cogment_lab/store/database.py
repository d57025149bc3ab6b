"""Queries of readers: over a connection of their own to a file, through the writer's to a store in memory."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, TypeVar

from cogment_lab.errors import StoreError
from cogment_lab.store import registry
from cogment_lab.store.location import MEMORY, identity, prepare_for_writing
from cogment_lab.store.schema import connect, connect_to_read, explain

__all__ = ["Database", "FileDatabase", "MemoryDatabase", "Rows"]

Rows: TypeAlias = list[tuple[Any, ...]]
_SECONDS = 30.0
_T = TypeVar("_T")


class Database(Protocol):
    """Where readers ask.

    Attributes:
        generation: Changes when the file was replaced by another one: what was read before is void.
    """

    generation: int

    def query(self, sql: str, parameters: tuple[Any, ...] = ()) -> Rows:
        """Return all rows; everything that this process appended before is among them.

        Raises:
            StoreError: the store cannot be read.
        """

    def change(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Let ``work`` change the store, in a transaction that it begins and ends.

        Raises:
            StoreError: the store cannot be written.
        """

    def size(self) -> int:
        """Return how many bytes the store takes."""

    def close(self) -> None:
        """Let go of the connection; the next query opens another one."""


class FileDatabase:
    """A store in a file; may be used by several threads.

    Args:
        path: The file. While it does not exist, queries return no rows.
    """

    def __init__(self, path: str) -> None:
        self.generation = 0
        self._path = path
        self._file: tuple[int, int] | None = None
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._pid = os.getpid()

    def query(self, sql: str, parameters: tuple[Any, ...] = ()) -> Rows:
        """Return all rows; see :class:`Database`."""
        writer = registry.find_writer(self._path)
        if writer is not None:
            writer.settle(_SECONDS)
        if self._pid != os.getpid():
            self._leave_to_parent()
        with self._lock:
            try:
                if not self._is_open():
                    return []
                assert self._connection is not None
                return self._connection.execute(sql, parameters).fetchall()
            except sqlite3.DatabaseError as error:
                raise explain(error, self._path) from error

    def change(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Let ``work`` change the store; see :class:`Database`."""
        prepare_for_writing(self._path)
        connection = connect(self._path)
        try:
            work(connection)
        except sqlite3.DatabaseError as error:
            raise explain(error, self._path) from error
        finally:
            connection.close()

    def size(self) -> int:
        """Return the bytes of the file and its write-ahead log."""
        names = (self._path, f"{self._path}-wal")
        return sum(os.path.getsize(name) for name in names if os.path.exists(name))

    def close(self) -> None:
        """Let go of the connection."""
        if self._pid != os.getpid():
            self._leave_to_parent()
        with self._lock:
            self._close()

    def abandon(self) -> None:
        """Let go of the connection unless it is in use: garbage may be collected in the midst of a query."""
        if self._pid != os.getpid():
            self._leave_to_parent()
        elif self._lock.acquire(blocking=False):
            try:
                self._close()
            finally:
                self._lock.release()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _is_open(self) -> bool:
        """Open the file, anew if it was replaced; return whether there is one."""
        found = identity(self._path)
        if self._connection is not None and found != self._file:
            self._connection.close()
            self._connection = None
            self.generation += 1
        if self._connection is None and found is not None:
            self._connection = connect_to_read(self._path)
            self._file = found
        return self._connection is not None

    def _leave_to_parent(self) -> None:
        """Forget a connection (and a lock that may be held) inherited over a fork."""
        if self._connection is not None:
            registry.keep_for_ever(self._connection)
            self._connection = None
        self._lock = threading.Lock()
        self._pid = os.getpid()


class MemoryDatabase:
    """A store in memory; its queries run in the writer's thread, which has the only connection.

    Args:
        key: What the registry knows it by.
    """

    def __init__(self, key: str) -> None:
        self.generation = 0
        self._key = key

    def query(self, sql: str, parameters: tuple[Any, ...] = ()) -> Rows:
        """Return all rows; see :class:`Database`."""
        return self._call(lambda connection: connection.execute(sql, parameters).fetchall())

    def change(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Let ``work`` change the store; see :class:`Database`."""
        self._call(work)

    def size(self) -> int:
        """Return the bytes of the database."""
        ((pages,),) = self.query("PRAGMA page_count")
        ((page_size,),) = self.query("PRAGMA page_size")
        return int(pages) * int(page_size)

    def close(self) -> None:
        """End the store."""
        registry.close_pinned(self._key)

    def _call(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        writer = registry.find_writer(self._key)
        if writer is None:
            raise StoreError(
                "this store in memory is closed (or was made in another process); make a new one"
            )
        try:
            return writer.call(work, _SECONDS)
        except sqlite3.DatabaseError as error:
            raise explain(error, MEMORY) from error
