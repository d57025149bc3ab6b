"""Metadata that users add to the calls of a context."""

from __future__ import annotations

import base64

from cogment_lab.errors import ServiceError

__all__ = ["GrpcMetadata"]


class GrpcMetadata:
    """Keys and values that travel with each call, as the official SDK's ``GrpcMetadata``."""

    def __init__(self) -> None:
        self._items: list[tuple[str, str | bytes]] = []

    def copy(self) -> GrpcMetadata:
        """Return a copy that can be added to."""
        copied = GrpcMetadata()
        copied._items = list(self._items)
        return copied

    def add(self, key: str, value: str | bytes) -> None:
        """Add a pair; keys are lower-cased.

        Raises:
            ServiceError: the key is grpc's own, or bytes without a key that ends in ``-bin``, or the reverse.
        """
        key = key.lower()
        if key.startswith("grpc-"):
            raise ServiceError(f"metadata key {key!r}: the prefix grpc- is reserved")
        if key.endswith("-bin") != isinstance(value, bytes):
            raise ServiceError(f"metadata key {key!r}: bytes go with keys ending in -bin, and only they")
        self._items.append((key, value))

    def add_http_basic_auth(self, username: str, password: str) -> None:
        """Add an ``authorization`` pair."""
        encoded = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._items.append(("authorization", f"basic {encoded}"))

    def to_grpc_metadata(self) -> list[tuple[str, str | bytes]]:
        """Return the pairs."""
        return self._items
