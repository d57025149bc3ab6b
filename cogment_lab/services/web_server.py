"""An HTTP server beside a gRPC one, in the same event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import uvicorn

from cogment_lab.errors import PortInUseError
from cogment_lab.services.tls import TlsFiles

__all__ = ["WebServer"]

_BACKLOG = 128
_LARGEST_MESSAGE = 64 << 20


class WebServer:
    """Serves an ASGI application; leaves signals to whoever embeds it.

    Args:
        app: The application.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        tls: Files for TLS; trusted roots make client certificates mandatory.
        websockets: Whether it speaks WebSocket.

    Attributes:
        port: Its port, once it listens.
    """

    def __init__(
        self, app: Any, *, host: str, port: int, tls: TlsFiles | None = None, websockets: bool = False
    ) -> None:
        self.port = port
        self._app = app
        self._host = host
        self._tls = tls
        self._websockets = websockets
        self._listener: socket.socket | None = None
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    def listen(self) -> int:
        """Take the port, and return it; raise PortInUseError when something else has it."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        address = (self._host, self.port)
        try:
            self._listener = socket.create_server(address, family=family, backlog=_BACKLOG)
        except OSError as error:
            raise PortInUseError(
                f"cannot listen on {self._host}:{self.port} for HTTP: {error.strerror}"
            ) from error
        self.port = int(self._listener.getsockname()[1])
        return self.port

    def start(self) -> None:
        """Serve, after :meth:`listen`."""
        assert self._listener is not None
        config = uvicorn.Config(
            self._app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            ws="websockets-sansio" if self._websockets else "none",
            ws_max_size=_LARGEST_MESSAGE,
            ws_per_message_deflate=False,
            **_tls(self._tls),
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._listener]))

    async def stop(self, grace: float = 1.0) -> None:
        """Stop listening, and give requests in progress ``grace`` seconds."""
        if self._server is not None and self._serving is not None:
            self._server.config.timeout_graceful_shutdown = max(1, round(grace))
            self._server.should_exit = True
            await self._serving
            self._server = self._serving = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing."""
        yield


def _tls(files: TlsFiles | None) -> dict[str, Any]:
    if files is None or files.credentials() is None:
        return {}
    return {
        "ssl_keyfile": files.private_key,
        "ssl_certfile": files.trust_chain,
        "ssl_ca_certs": str(files.root_cert) if files.root_cert else None,
        "ssl_cert_reqs": ssl.CERT_REQUIRED if files.root_cert else ssl.CERT_NONE,
    }
