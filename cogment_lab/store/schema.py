"""The tables of a store, and how a file is opened, created, and brought up to date."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from cogment_lab.errors import (
    CorruptStoreError,
    NotAStoreError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
    StoreVersionError,
)
from cogment_lab.store.location import MEMORY, identity

__all__ = [
    "APPLICATION_ID",
    "BUSY_SECONDS",
    "MIGRATIONS",
    "VERSION",
    "check_header",
    "connect",
    "connect_to_read",
    "explain",
]

APPLICATION_ID = 0x436F674C  # "CogL"
VERSION = 1
BUSY_SECONDS = 5.0

_LOOKING = threading.Lock()
_LOOKED_AT: set[tuple[int, int]] = set()

Migration = Callable[[sqlite3.Connection], None]
MIGRATIONS: Mapping[int, Migration] = {}
"""From each older version, the step to the next one; run inside one transaction."""

_TABLES = """
CREATE TABLE streams (           -- one environment of one process; its trials follow each other
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    env_id TEXT NOT NULL, record TEXT NOT NULL, env_spec TEXT, parameters TEXT NOT NULL,
    versions TEXT NOT NULL, host TEXT NOT NULL, namespace TEXT NOT NULL, pid INTEGER NOT NULL,
    process_started INTEGER NOT NULL, opened REAL NOT NULL);
CREATE TABLE agents (
    stream INTEGER NOT NULL, position INTEGER NOT NULL, name TEXT NOT NULL,
    observation_space BLOB NOT NULL, action_space BLOB NOT NULL, inline INTEGER NOT NULL,
    PRIMARY KEY (stream, position)) WITHOUT ROWID;
CREATE TABLE trials (
    id INTEGER PRIMARY KEY,      -- stream * 2**32 + number of the trial in its stream, from 1
    trial_id TEXT NOT NULL, state TEXT NOT NULL, end_reason TEXT, n_ticks INTEGER NOT NULL,
    total_reward REAL,           -- NULL for nan, which SQLite lacks
    n_interventions INTEGER NOT NULL, n_takeovers INTEGER NOT NULL,
    terminated INTEGER NOT NULL, truncated INTEGER NOT NULL,
    seed,                        -- or the generator's state before a reset without a seed
    details TEXT NOT NULL,       -- options, properties, user_id: one column, as Python binds each NULL slowly
    started REAL NOT NULL, ended REAL, last_observations BLOB);
CREATE INDEX trials_by_name ON trials (trial_id);
CREATE TABLE chunks (            -- ticks of one agent in consecutive trials; see rows.py
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream INTEGER NOT NULL, agent INTEGER NOT NULL, first_trial INTEGER NOT NULL,
    last_trial INTEGER NOT NULL, n_rows INTEGER NOT NULL, checksum INTEGER NOT NULL,
    proposed BLOB, feedback BLOB, infos BLOB, info_tables BLOB, actions BLOB, ticks BLOB NOT NULL,
    observations BLOB);
CREATE INDEX chunks_by_trial ON chunks (stream, agent, last_trial);
CREATE TABLE events (
    id INTEGER PRIMARY KEY, trial INTEGER NOT NULL, tick INTEGER NOT NULL, kind TEXT NOT NULL,
    data TEXT NOT NULL, time REAL NOT NULL);
CREATE INDEX events_by_trial ON events (trial);
"""


def connect(path: str) -> sqlite3.Connection:
    """Open a store for writing, creating or migrating it as needed; statements run in autocommit.

    Raises:
        NotAStoreError: the file is something else.
        StoreVersionError: a newer version of cogment_lab wrote it.
        StoreReadOnlyError: SQLite cannot write it.
    """
    check_header(path)
    try:
        connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=64
        )
    except sqlite3.Error as error:
        raise explain(error, path) from error
    try:
        _version(connection, path)  # before anything is changed: it may be the database of another program
        connection.execute("PRAGMA page_size = 8192")
        _switch_to_wal(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        # The writer checkpoints by itself, after it has acknowledged: no one waits for an fsync.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        _create_or_migrate(connection, path)
        if (made := identity(path)) is not None:
            _LOOKED_AT.add(made)
    except sqlite3.Error as error:
        connection.close()
        raise explain(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection


def connect_to_read(path: str) -> sqlite3.Connection:
    """Open an existing store for reading; one in a read-only folder as well.

    Raises:
        NotAStoreError: the file is something else.
        StoreVersionError: a newer version wrote it, or an older one and it cannot be migrated here.
    """
    check_header(path)
    writable = os.access(path, os.W_OK) and os.access(os.path.dirname(path), os.W_OK)
    mode = "rw" if writable else "ro" if os.path.exists(f"{path}-shm") else "ro&immutable=1"
    address = f"{Path(path).as_uri()}?mode={mode}"
    try:
        connection = sqlite3.connect(
            address, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise explain(error, path) from error
    try:
        version = _version(connection, path)
        if version != VERSION:
            connection.close()
            connect(path).close()
            return connect_to_read(path)
    except sqlite3.Error as error:
        connection.close()
        raise explain(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection


def check_header(path: str) -> None:
    """Refuse a file that is no SQLite database before SQLite touches it.

    Each file is looked at once: closing it cancels the locks of this process's connections to it (POSIX),
    and another process that leaves would then take the write-ahead log along.
    """
    if path == MEMORY:
        return
    with _LOOKING:
        if (found := identity(path)) is None or found in _LOOKED_AT:
            return
        try:
            with open(path, "rb") as file:
                header = file.read(16)
        except FileNotFoundError:
            return
        except PermissionError as error:
            raise StoreReadOnlyError(f"the store {path} cannot be read; change its permissions") from error
        if header and header != b"SQLite format 3\x00":
            raise NotAStoreError(f"{path} is no trial store (no SQLite file); give another path")
        _LOOKED_AT.add(found)


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Set the journal mode; SQLite's busy time-out does not cover this when processes start at once."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def _version(connection: sqlite3.Connection, path: str) -> int:
    """Return the version of the file's tables, 0 for an empty file."""
    if not connection.in_transaction:  # another process may be creating the tables between two statements
        connection.execute("BEGIN")
        with connection:
            return _version(connection, path)
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application == APPLICATION_ID:
        if version > VERSION:
            raise StoreVersionError(
                f"{path} has store version {version}, and this cogment_lab reads up to version {VERSION}: "
                "upgrade cogment_lab (pip install -U cogment_lab)"
            )
        return int(version)
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application or version or tables:
        raise NotAStoreError(f"{path} is an SQLite database of another program; give another path")
    return 0


def _create_or_migrate(connection: sqlite3.Connection, path: str) -> None:
    if _version(connection, path) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection, path)  # another process may have been faster
        if version == 0:
            for statement in _TABLES.split(";\n"):
                if statement.strip():
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        else:
            for older in range(version, VERSION):
                MIGRATIONS[older](connection)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def explain(error: sqlite3.Error, path: str) -> StoreError:
    """Return the error of ours that says what an SQLite error means for the store."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return NotAStoreError(f"{path} is no trial store ({error}); give another path")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StoreReadOnlyError(
            f"the store {path} cannot be written ({error}); choose another place, or change permissions"
        )
    if code == sqlite3.SQLITE_CORRUPT:
        return CorruptStoreError(
            f"{path} is damaged ({error}); `sqlite3 {path} .recover` may save what is left of it"
        )
    if code == sqlite3.SQLITE_BUSY:
        return StoreError(f"the store {path} stays locked by another process; end it, or give another path")
    if code == sqlite3.SQLITE_FULL:
        return StoreFullError(f"the disk under {path} is full; make room, or give another path")
    return StoreError(f"the store {path} cannot be used: {error}; look at its disk, or give another path")
