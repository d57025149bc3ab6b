"""What a model registry is told (protocol section 13.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cogment_lab.services.tls import TlsFiles

__all__ = ["ModelRegistrySettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRegistrySettings(TlsFiles):
    """The settings of one model registry.

    Attributes:
        port: Port to listen on; 0 takes a free one.
        host: Address to listen on.
        reflection: Whether clients may ask for the schema.
        archive_dir: Folder of models and archived versions; made when missing.
        cache_max_items: How many versions that are not archived are kept, over all models; the newest of each
            model always is.
        sent_version_chunk_size: Bytes of data in one message to a client.
        max_version_size: Bytes of the largest version that is taken.
        directory_endpoint: ``grpc://host:port`` of the directory; empty for none.
        directory_authentication_token: Whose records are made.
        directory_registration_host: Host to register; empty finds our own address.
        directory_registration_properties: More properties to register.
    """

    port: int = 9002
    host: str = "127.0.0.1"
    reflection: bool = True
    archive_dir: Path = Path(".cogment/model_registry")
    cache_max_items: int = 100
    sent_version_chunk_size: int = 2 << 20
    max_version_size: int = 8 << 30
    directory_endpoint: str = ""
    directory_authentication_token: str = ""
    directory_registration_host: str = ""
    directory_registration_properties: Mapping[str, str] = field(default_factory=dict)
