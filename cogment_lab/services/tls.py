"""The TLS files that every service takes (protocol section 13.1)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cogment_lab.wire.endpoint import Credentials

__all__ = ["TlsFiles"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files; any of them turns TLS on, for what is served and for every outgoing connection.

    Attributes:
        private_key: Our private key.
        root_cert: The trusted roots; on what we serve they make client certificates mandatory.
        trust_chain: Our certificate, and those that sign it.
    """

    private_key: Path | None = None
    root_cert: Path | None = None
    trust_chain: Path | None = None

    def credentials(self) -> Credentials | None:
        """Return what is in the files, ``None`` without any.

        Raises:
            EndpointError: a file cannot be read.
        """
        if not (self.private_key or self.root_cert or self.trust_chain):
            return None
        return Credentials.from_files(self.private_key, self.trust_chain, self.root_cert)
