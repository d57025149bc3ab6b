"""A study's server: the participants' page, their seats on the same port, and their sessions."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import secrets
import shutil
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from cogment_lab.errors import ConfigurationError, PortInUseError, SeatLostError
from cogment_lab.humans.web.app import PageConfig, make_app
from cogment_lab.humans.web.guard import Guard
from cogment_lab.humans.web.rendezvous import Meeting, Rendezvous
from cogment_lab.studies.definition import Study
from cogment_lab.studies.desk import Desk
from cogment_lab.studies.doorkeeper import Doorkeeper, JoinLimit
from cogment_lab.studies.ledger import Participant, StudyLedger
from cogment_lab.studies.routes import make_router
from cogment_lab.studies.sessions import Sessions
from cogment_lab.studies.withdrawal import Departures, erase

__all__ = ["StudyServer"]

_BACKLOG = 256
_LARGEST_MESSAGE = 8 * 1024
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_SEATS = "/seat"
_THIS_MACHINE = ("127.0.0.1", "::1")
_JOIN_LIMIT = JoinLimit()
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; frame-src 'self'; frame-ancestors 'none'; "
        "base-uri 'none'; form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class StudyServer:
    """Serves a study from a thread of its own, with a process for each session.

    It holds the store's page: sessions find it as any training finds the page of ``cogmentlab serve``. What
    participants did is in the store, so a server that is started again goes on where it was.

    Args:
        study: What is served.
        store: Path of the store.
        port: Where to listen; 0 takes any free port.
        host: Address to listen on.
        public_url: The address that participants use, where a proxy stands before the server. Only then is
            its ``X-Forwarded-For`` believed.
        proxies: Addresses or networks that the proxy may have; by default it is on this machine.
        join_limit: How many people may join in how much time; ``None`` for any number.
        say: Called with a line for the experimenter, from the server's thread.
        fps: Ticks per second instead of the environment's, for simulated people.

    Raises:
        PortInUseError: the port is taken.
        ConfigurationError: another page serves the store; ``proxies`` are none, or lack a ``public_url``.

    Example::

        with StudyServer(read_study("study.yaml"), "runs/study.db") as server:
            print(server.join_url)
            input("Enter ends it")
    """

    def __init__(
        self,
        study: Study,
        store: str | os.PathLike[str],
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        public_url: str | None = None,
        proxies: Sequence[str] = (),
        join_limit: JoinLimit | None = _JOIN_LIMIT,
        say: Callable[[str], None] = print,
        fps: float | None = None,
    ) -> None:
        self.study = study
        self.store = Path(store).absolute()
        self.host = host
        self.public_url = public_url.rstrip("/") if public_url is not None else None
        self._proxies = _check_proxies(proxies, public_url)
        self._join_limit = join_limit
        self._say = say
        self._fps = fps
        self._token = secrets.token_urlsafe(18)
        self._started = threading.Event()
        self._server: uvicorn.Server | None = None
        self._error: BaseException | None = None
        with contextlib.ExitStack() as stack:
            self._folder = Path(tempfile.mkdtemp(prefix="cogment_lab-"))
            stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
            self._listener = stack.enter_context(_listen(host, port))
            self.port: int = self._listener.getsockname()[1]
            rendezvous = self._meet()
            stack.callback(rendezvous.close)
            self._ledger = StudyLedger(self.store, study)
            stack.callback(self._ledger.close)
            erase(self._ledger, self.store, say)
            self._app = self._make_app()
            rendezvous.publish(self._meeting())
            self._thread = threading.Thread(target=self._run, name="study server", daemon=True)
            self._thread.start()
            stack.callback(self._stop)
            self._stack = stack.pop_all()
        if not self._started.wait(_START_SECONDS) or self._error is not None:
            self.close()
            raise SeatLostError(f"the study's server did not start: {self._error}")

    @property
    def base_url(self) -> str:
        """The address without a path."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return self.public_url or f"http://{host}:{self.port}"

    @property
    def join_url(self) -> str:
        """The address for everybody who takes part; ``?id=`` names somebody who may come back."""
        return f"{self.base_url}/study"

    @property
    def lobby_url(self) -> str:
        """The experimenter's address: all seats to look at, all trials. It opens everything."""
        return f"{self.base_url}{_SEATS}/lobby?token={self._token}"

    def people(self) -> Sequence[Participant]:
        """Return everybody who has joined."""
        return self._ledger.people()

    def is_running(self) -> bool:
        """Return whether the server has not ended."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End all sessions and the server; whoever plays may go on when it is started again."""
        self._stack.close()

    def _stop(self) -> None:
        if self._server is not None:
            self._server.should_exit = True
        self._thread.join(_STOP_SECONDS)
        if not self._thread.is_alive():
            erase(self._ledger, self.store, self._say)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _make_app(self) -> FastAPI:
        config = PageConfig(
            folder=self._folder,
            token=self._token,
            host=self.host,
            port=self.port,
            public_url=self.public_url,
            store=self.store,
        )
        seats = make_app(config)
        desk = Desk(self._ledger)
        sessions = Sessions(self.study, self.store, desk, self._say, self._fps)
        departures = Departures(desk, sessions, self.store, self._say)

        @contextlib.asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            async with seats.router.lifespan_context(seats):
                sessions.start()
                self._started.set()
                yield
                await sessions.close()
                await departures.close()

        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
        app.add_exception_handler(RequestValidationError, _refuse)
        app.add_middleware(Guard, allows_origin=config.allows_origin, headers=tuple(_HEADERS.items()))
        app.include_router(
            make_router(
                self.study,
                desk,
                sessions,
                doorkeeper=Doorkeeper(self._join_limit, self._say),
                departures=departures,
                access=config.access,
            )
        )
        app.mount(_SEATS, seats)
        return app

    def _meet(self) -> Rendezvous:
        try:
            return Rendezvous(self.store)
        except BlockingIOError:
            raise ConfigurationError(
                f"another page serves {self.store}: end that one (cogmentlab serve, or another study), or "
                "give this study a store of its own"
            ) from None

    def _meeting(self) -> Meeting:
        return Meeting(
            folder=str(self._folder),
            host=self.host,
            port=self.port,
            token=self._token,
            public_url=f"{self.public_url}{_SEATS}" if self.public_url is not None else None,
            root_path=_SEATS,
            pid=os.getpid(),
        )

    def _run(self) -> None:
        """Serve; the body of the thread."""
        config = uvicorn.Config(
            self._app,
            log_level="warning",
            access_log=False,
            proxy_headers=self.public_url is not None,
            forwarded_allow_ips=self._proxies,
            ws_max_size=_LARGEST_MESSAGE,
            ws_per_message_deflate=False,
            ws_ping_interval=5.0,
            ws_ping_timeout=10.0,
            timeout_graceful_shutdown=1,
            server_header=False,
        )
        self._server = uvicorn.Server(config)
        try:
            asyncio.run(_serve(self._server, self._listener))
        except BaseException as error:
            self._error = error
            self._started.set()
            raise


async def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    """Serve, and hang up on whoever did not in time: the loop ends now."""
    await server.serve(sockets=[listener])
    for connection in list(server.server_state.connections):
        connection.transport.abort()
    await asyncio.sleep(0)


def _check_proxies(proxies: Sequence[str], public_url: str | None) -> list[str]:
    """Return the addresses whose word counts for where somebody comes from."""
    if proxies and public_url is None:
        raise ConfigurationError(
            "a proxy's address is given, and not the address that people use: public_url"
        )
    for each in proxies:
        try:
            ipaddress.ip_network(each)
        except ValueError:
            raise ConfigurationError(
                f"proxies: {each!r} is no address or network, such as 10.0.0.7 or 10.0.0.0/24"
            ) from None
    return list(proxies or _THIS_MACHINE)


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    """Say what is wrong with a request without repeating it: it may be any bytes."""
    assert isinstance(error, RequestValidationError)
    told = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:5])
    return JSONResponse({"error": told[:1000]}, 422)


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name != "nt":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise PortInUseError(
                f"port {port} of {host} is in use: pass --port 0 for any that is free"
            ) from None
        raise ConfigurationError(f"host={host!r}: {error}") from None
    return listener
