"""Names that people come with from elsewhere: only keyed hashes of them are kept, by a key of each store."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3

__all__ = ["external_id_hash", "store_key"]

_BYTES = 32
_TABLE = "CREATE TABLE IF NOT EXISTS store_keys (name TEXT PRIMARY KEY, value BLOB NOT NULL)"
_NAME = "external ids"


def store_key(connection: sqlite3.Connection) -> bytes:
    """Return the store's key, made when it is first asked for; inside the caller's transaction."""
    connection.execute(_TABLE)
    connection.execute("INSERT OR IGNORE INTO store_keys VALUES (?, ?)", (_NAME, secrets.token_bytes(_BYTES)))
    (key,) = connection.execute("SELECT value FROM store_keys WHERE name = ?", (_NAME,)).fetchone()
    return bytes(key)


def external_id_hash(key: bytes, study: str, external_id: str) -> str:
    """Return what is kept of a name, 64 hexadecimal digits: HMAC-SHA-256, different in each study."""
    message = f"{study}\n{external_id}".encode("utf-8", "surrogatepass")
    return hmac.new(key, message, hashlib.sha256).hexdigest()
