"""Addresses of Cogment's services: ``grpc://host:port``, ``cogment://client``, ``cogment://discover/...``.

The syntax and its meanings are the protocol's section 4.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

import grpc

from cogment_lab.errors import EndpointError

__all__ = [
    "CLIENT",
    "Credentials",
    "Discovery",
    "Endpoint",
    "ServedEndpoint",
    "ServiceType",
    "check_context_name",
    "parse",
]

CLIENT = "client"
"""What :func:`parse` returns for an actor that connects by itself."""

_UNROUTABLE = re.compile(r"[%?&=;:/+,#@\[\]]")
_ID, _TOKEN = "__id", "__authentication-token"
_LARGEST_ID, _MOST_DIGITS = 2**64 - 1, 20


class ServiceType(IntEnum):
    """What a registered service is; the numbers are those of Cogment's protocol."""

    UNKNOWN = 0
    LIFECYCLE = 1
    ACTSERVICE = 2
    ACTOR = 3
    ENVIRONMENT = 4
    PREHOOK = 5
    DATALOG = 6
    DATASTORE = 7
    MODELREGISTRY = 8
    DIRECTORY = 9
    OTHER = 100


@dataclass(frozen=True, slots=True)
class Discovery:
    """A question to the directory.

    Attributes:
        type: The wanted kind of service; UNKNOWN is completed from the context.
        properties: Every one must be equal in the found service.
        service_id: Ask for this record instead; 0 asks by type and properties.
        token: Authentication token that overrides the configured one, ``None`` for none.
        is_context: No path was given (``cogment://discover``), so that type and properties are completed.
    """

    type: ServiceType = ServiceType.UNKNOWN
    properties: dict[str, str] = field(default_factory=dict)
    service_id: int = 0
    token: str | None = None
    is_context: bool = False

    def complete(self, service_type: ServiceType, **properties: str) -> Discovery:
        """Return this question with what the context knows; an explicit one stays as it is."""
        if not self.is_context:
            return self
        known = {f"__{name}": value for name, value in properties.items() if value}
        return replace(self, type=service_type, properties=self.properties | known)


@dataclass(frozen=True, slots=True)
class Credentials:
    """TLS material, PEM encoded; ``None`` where there is none.

    Attributes:
        private_key: Our private key.
        certificate_chain: Our certificate and those that sign it.
        root_certificates: Whom we trust; on a server it makes client certificates mandatory (mutual TLS).
    """

    private_key: bytes | None = None
    certificate_chain: bytes | None = None
    root_certificates: bytes | None = None

    @classmethod
    def from_files(
        cls,
        private_key_file: str | Path | None = None,
        certificate_chain_file: str | Path | None = None,
        root_certificates_file: str | Path | None = None,
    ) -> Credentials:
        """Read the material; raise EndpointError naming a file that cannot be read."""

        def read(path: str | Path | None) -> bytes | None:
            if not path:
                return None
            try:
                return Path(path).read_bytes()
            except OSError as error:
                raise EndpointError(f"cannot read the TLS file {str(path)!r}: {error.strerror}") from error

        return cls(read(private_key_file), read(certificate_chain_file), read(root_certificates_file))

    def for_channel(self) -> grpc.ChannelCredentials:
        """Return what a client connects with."""
        return grpc.ssl_channel_credentials(self.root_certificates, self.private_key, self.certificate_chain)

    def for_server(self) -> grpc.ServerCredentials:
        """Return what a server serves with; raise EndpointError without key and certificate."""
        if self.private_key is None or self.certificate_chain is None:
            raise EndpointError("a TLS server needs a private key and a certificate chain")
        return grpc.ssl_server_credentials(
            [(self.private_key, self.certificate_chain)],
            root_certificates=self.root_certificates,
            require_client_auth=self.root_certificates is not None,
        )


class Endpoint:
    """Where a service is, as the official SDK's ``Endpoint``.

    Args:
        url: ``grpc://host:port`` or a discovery address.
        use_ssl: Connect by TLS.

    Attributes:
        private_key: Our private key in PEM, for servers that ask for client certificates.
        root_certificates: Trusted roots in PEM; ``None`` takes the system's.
        certificate_chain: Our certificate and those that sign it, in PEM.
    """

    def __init__(self, url: str = "cogment://discover", use_ssl: bool = False) -> None:
        self.url = url
        self.use_ssl = use_ssl
        self.private_key: str | bytes | None = None
        self.root_certificates: str | bytes | None = None
        self.certificate_chain: str | bytes | None = None

    @property
    def credentials(self) -> Credentials:
        """The TLS material."""
        return Credentials(_pem(self.private_key), _pem(self.certificate_chain), _pem(self.root_certificates))

    def set_from_files(
        self,
        private_key_file: str | None = None,
        root_certificates_file: str | None = None,
        certificate_chain_file: str | None = None,
    ) -> None:
        """Read the TLS material from PEM files, and connect by TLS.

        Raises:
            EndpointError: a file cannot be read.
        """
        read = Credentials.from_files(private_key_file, certificate_chain_file, root_certificates_file)
        self.private_key = read.private_key
        self.root_certificates = read.root_certificates
        self.certificate_chain = read.certificate_chain
        self.use_ssl = True

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r}, use_ssl={self.use_ssl})"


class ServedEndpoint:
    """Where to serve, as the official SDK's ``ServedEndpoint``.

    Args:
        port: Port to listen on; 0 takes a free one.
        host: Address to listen on. Loopback unless told otherwise.

    Attributes:
        private_key_certificate_chain_pairs: ``[(private_key, certificate_chain)]``, PEM; ``None``: no TLS.
        root_certificates: Trusted roots in PEM; setting them makes client certificates mandatory.
    """

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        self.port = port
        self.host = host
        self.private_key_certificate_chain_pairs: Sequence[tuple[str | bytes, str | bytes]] | None = None
        self.root_certificates: str | bytes | None = None

    @property
    def credentials(self) -> Credentials | None:
        """The TLS material, or ``None`` to serve in the clear; EndpointError for more than one key."""
        if not self.private_key_certificate_chain_pairs:
            return None
        if len(self.private_key_certificate_chain_pairs) > 1:
            raise EndpointError("one private key and certificate chain are served, not several")
        key, chain = self.private_key_certificate_chain_pairs[0]
        return Credentials(_pem(key), _pem(chain), _pem(self.root_certificates))


def _pem(text: str | bytes | None) -> bytes | None:
    return text.encode() if isinstance(text, str) else text


def parse(url: str) -> str | Discovery:
    """Return the gRPC target of ``url``, :data:`CLIENT`, or the question that it puts to the directory.

    Raises:
        EndpointError: not an address of section 4.
    """
    text = url.strip()
    if re.search(r"\s", text):
        raise EndpointError(f"endpoint {url!r} holds white space")
    if not text:
        return Discovery(is_context=True)
    if text.lower() == "client":
        return CLIENT
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise EndpointError(f"endpoint {url!r} has no scheme; write grpc://host:port")
    if scheme.lower() == "grpc":
        if not re.search(r"[^:]:\d+$", rest):
            raise EndpointError(f"endpoint {url!r} needs a host and a port: grpc://host:port")
        return rest
    if scheme.lower() != "cogment":
        raise EndpointError(f"endpoint {url!r} has the unknown scheme {scheme!r}; use grpc:// or cogment://")
    location, _, query = rest.partition("?")
    host, _, path = location.lower().partition("/")
    if host == "client":
        if path:
            raise EndpointError(f"endpoint {url!r}: cogment://client takes no path")
        return CLIENT
    if host != "discover":
        raise EndpointError(f"endpoint {url!r}: cogment:// is followed by client or discover")
    return _discovery(url, path, query)


def _discovery(url: str, path: str, query: str) -> Discovery:
    properties: dict[str, Any] = {}
    for pair in filter(None, query.split("&")):
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise EndpointError(f"endpoint {url!r}: {pair!r} is not name=value")
        properties[name] = value
    token = properties.pop(_TOKEN, None)
    if path == "service":
        service_id = properties.pop(_ID, "")
        if not service_id.isdecimal() or properties:
            raise EndpointError(f"endpoint {url!r}: discover/service takes __id=NUMBER and nothing else")
        if len(service_id) > _MOST_DIGITS or not 0 < int(service_id) <= _LARGEST_ID:
            raise EndpointError(f"endpoint {url!r}: ids of services go from 1 to {_LARGEST_ID}")
        return Discovery(service_id=int(service_id), token=token)
    if not path:
        return Discovery(properties=properties, token=token, is_context=True)
    kind = ServiceType.__members__.get(path.upper(), ServiceType.UNKNOWN)
    if kind in (ServiceType.UNKNOWN, ServiceType.OTHER):
        known = ", ".join(
            name.lower() for name in ServiceType.__members__ if name not in ("UNKNOWN", "OTHER")
        )
        raise EndpointError(f"endpoint {url!r}: {path!r} is none of {known}, service")
    return Discovery(type=kind, properties=properties, token=token)


def check_context_name(name: str) -> str:
    """Return ``name``; raise EndpointError when it cannot be part of a discovery address."""
    if _UNROUTABLE.search(name):
        raise EndpointError(f"the name {name!r} cannot be looked up: it holds one of %?&=;:/+,#@[]")
    return name
