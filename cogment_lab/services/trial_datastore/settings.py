"""What a trial datastore is told (protocol section 13.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cogment_lab.services.tls import TlsFiles

__all__ = ["TrialDatastoreSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialDatastoreSettings(TlsFiles):
    """The settings of one trial datastore.

    Attributes:
        port: Port of both services; 0 takes a free one.
        host: Address to listen on.
        reflection: Whether clients may ask for the schema.
        memory_storage_max_samples_size: Bytes of samples kept in memory. Without a file the samples of the
            oldest ended trials are dropped beyond it; with a file they are read from there.
        file_storage: SQLite file that keeps everything; ``None`` keeps it in memory.
        directory_endpoint: ``grpc://host:port`` of the directory; empty for none.
        directory_authentication_token: Whose records are made.
        directory_registration_host: Host to register; empty finds our own address.
        directory_registration_properties: More properties to register.
    """

    port: int = 9003
    host: str = "127.0.0.1"
    reflection: bool = True
    memory_storage_max_samples_size: int = 1 << 30
    file_storage: Path | None = None
    directory_endpoint: str = ""
    directory_authentication_token: str = ""
    directory_registration_host: str = ""
    directory_registration_properties: Mapping[str, str] = field(default_factory=dict)
