"""What a directory is told (protocol section 13.2)."""

from __future__ import annotations

from dataclasses import dataclass

from cogment_lab.services.tls import TlsFiles

__all__ = ["DirectorySettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectorySettings(TlsFiles):
    """The settings of one directory.

    Attributes:
        port: Port to listen on; 0 takes a free one.
        host: Address to listen on.
        reflection: Whether clients may ask for the schema.
        registration_lag: Seconds to wait for a service that is asked for and not there yet.
        persistence_file: Where records outlive the process; empty for nowhere.
        load_balancing: Prefer services with little load.
        check_on_inquire: Check services when they are asked for.
        force_permanent: Treat every service as permanent: its health goes unchecked.
    """

    port: int = 9005
    host: str = "127.0.0.1"
    reflection: bool = True
    registration_lag: float = 0.0
    persistence_file: str = ".cogment-directory-data"
    load_balancing: bool = False
    check_on_inquire: bool = False
    force_permanent: bool = False
