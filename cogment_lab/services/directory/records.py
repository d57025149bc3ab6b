"""What a directory knows of services."""

from __future__ import annotations

import hmac
import json
import logging
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cogment_lab.errors import NotAStoreError

__all__ = ["Record", "Records"]

_OF_THIS_PROCESS = {"checked", "answered"}
_LOG = logging.getLogger(__name__)
UNSERVICEABLE = 255


@dataclass(slots=True)
class Record:
    """One registered service.

    Attributes:
        service_id: Its number, never 0.
        secret: Whoever knows it may deregister.
        token: Whoever has the same sees it.
        protocol: Number of the endpoint's protocol.
        host: Where it is.
        port: Where it listens.
        type: Number of its kind.
        properties: What it was registered with.
        permanent: Its health goes unchecked.
        registered: When, in seconds since the epoch.
        failures: How many health checks in a row failed; it is hidden unless 0.
        checked: When it was checked last, monotonic seconds.
        answered: When it answered last, or became known here, monotonic seconds.
        load: 0 (idle) to 254; 255 cannot serve.
    """

    service_id: int
    secret: str = field(repr=False)
    token: str = field(repr=False)
    protocol: int
    host: str
    port: int
    type: int
    properties: dict[str, str]
    permanent: bool
    registered: float
    failures: int = 0
    checked: float = 0.0
    answered: float = field(default_factory=time.monotonic)
    load: int = 0

    def matches(self, kind: int, properties: Mapping[str, str], token: str) -> bool:
        """Return whether this is of that kind (0 for any), with these properties, of that token."""
        return (
            hmac.compare_digest(self.token.encode(), token.encode())
            and kind in (0, self.type)
            and all(self.properties.get(name) == value for name, value in properties.items())
        )


class Records:
    """All records, the oldest first, kept in a file when there is one.

    Args:
        path: The file, ``None`` for none.

    Raises:
        NotAStoreError: the file holds something else.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._records: dict[int, Record] = {}
        if path is not None and path.exists():
            try:
                for fields in json.loads(path.read_text(encoding="utf-8")):
                    record = Record(**fields)
                    self._records[record.service_id] = record
            except (OSError, ValueError, TypeError) as error:
                raise NotAStoreError(f"{str(path)!r} is no file of a directory: {error}") from error

    def __iter__(self) -> Iterator[Record]:
        return iter(list(self._records.values()))

    def __len__(self) -> int:
        return len(self._records)

    def get(self, service_id: int) -> Record | None:
        """Return the record of that number."""
        return self._records.get(service_id)

    def add(
        self,
        *,
        protocol: int,
        host: str,
        port: int,
        kind: int,
        properties: Mapping[str, str],
        permanent: bool,
        token: str,
    ) -> Record:
        """Return a new record; a permanent one takes the place of those with the same details."""
        same = [r for r in self if permanent and r.permanent and r.matches(kind, properties, token)]
        for other in same[1:]:
            del self._records[other.service_id]
        if same:
            record = same[0]
            record.protocol, record.host, record.port = protocol, host, port
            record.properties = dict(properties)
        else:
            record = Record(
                service_id=secrets.randbits(62) + 1,
                secret=secrets.token_urlsafe(16),
                token=token,
                protocol=protocol,
                host=host,
                port=port,
                type=kind,
                properties=dict(properties),
                permanent=permanent,
                registered=time.time(),
            )
            self._records[record.service_id] = record
        self.save()
        return record

    def remove(self, record: Record) -> None:
        """Forget a record."""
        if self._records.pop(record.service_id, None) is not None:
            self.save()

    def save(self) -> None:
        """Write the file anew, where there is one."""
        if self._path is None:
            return
        kept = [
            {name: value for name, value in asdict(record).items() if name not in _OF_THIS_PROCESS}
            for record in self._records.values()
        ]
        part = self._path.with_name(self._path.name + ".part")
        try:
            part.unlink(missing_ok=True)
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(kept, file)
            part.replace(self._path)
        except OSError as error:
            _LOG.error("the directory cannot keep its records in %s: %s", self._path, error)
