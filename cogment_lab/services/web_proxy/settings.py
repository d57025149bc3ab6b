"""What a web proxy is told (protocol section 13.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cogment_lab.services.tls import TlsFiles

__all__ = ["WebProxySettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebProxySettings(TlsFiles):
    """The settings of one web proxy.

    Attributes:
        web_port: Port of the HTTP API; 0 takes a free one.
        port: Port of the actors' gRPC service; 0 takes a free one.
        host: Address to listen on.
        orchestrator_endpoint: Where trials are started; a discovery address asks the directory.
        spec_file: The application's messages; ``None`` is ``cogment.yaml`` in the working directory where
            there is one, else Cogment Lab's own.
        implementation: Name of the actor implementation, for every actor class of the spec.
        secret: Signs the tokens of actors; empty makes a new one, and tokens end with the proxy.
        origins: Pages of these origins (``https://example.org``) may use the API, besides those of this
            machine; ``*`` is all of them.
        wait_seconds: How long a request waits for the next event; it may be repeated after that.
        last_word_seconds: How long the end of a trial waits for an actor's answer to the last observation.
        directory_endpoint: ``grpc://host:port`` of the directory; empty for none.
        directory_authentication_token: Whose records are made and seen.
        directory_registration_host: Host to register; empty finds our own address.
        directory_registration_properties: More properties to register.
    """

    web_port: int = 8080
    port: int = 0
    host: str = "127.0.0.1"
    orchestrator_endpoint: str = "cogment://discover"
    spec_file: Path | None = None
    implementation: str = "web"
    secret: str = ""
    origins: tuple[str, ...] = ()
    wait_seconds: float = 60.0
    last_word_seconds: float = 2.0
    directory_endpoint: str = ""
    directory_authentication_token: str = ""
    directory_registration_host: str = ""
    directory_registration_properties: Mapping[str, str] = field(default_factory=dict)
