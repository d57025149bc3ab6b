"""The owner's side of the page: starts its server or joins a running one, hands out seats."""

from __future__ import annotations

import atexit
import http.client
import json
import os
import re
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

from cogment_lab.errors import ConfigurationError, PortInUseError, SeatLostError
from cogment_lab.humans.web.access import Access
from cogment_lab.humans.web.farewell import end_all
from cogment_lab.humans.web.offer import offer_free_seat, offer_seat, withdraw_seat
from cogment_lab.humans.web.rendezvous import find_page
from cogment_lab.humans.web.seat import WebSeat
from cogment_lab.humans.web.server_process import ServerProcess
from cogment_lab.humans.web.wishes import check_wishes

if TYPE_CHECKING:
    from cogment_lab.humans.web.notebook import SeatFrame

__all__ = ["WebUI"]

_JOIN_SECONDS = 5.0
_ANSWER_SECONDS = 10.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_COMPARE = "compare"  # the purpose that the comparison's routes ask for
_ROLES = ("teacher", "player", "evaluator", "observer")


class WebUI:
    """A web page with seats for people, served by a process of its own.

    The server starts when a seat or the address is first asked for, listens on loopback unless told
    otherwise, and ends with this process, however it ends. A ``WebUI`` pickles as a handle: the copy knows
    address and seats and does not own the process.

    Args:
        port: Where to listen; 0 takes any free port.
        host: Address to listen on.
        token: What a browser must show; a random one by default. It is part of :attr:`url`.
        public_url: The address people use when a proxy stands before the page.
        origins: Further web origins that may open a seat's socket, or show the page in a frame.
        root_path: Path under which a proxy serves the page.
        store: Path of a store whose trials the page shows. Where a page of that store runs already, in any
            process of this user (``cogmentlab serve``), this is a handle of that one, whatever else was asked
            for; otherwise others find this one by the store.

    Raises:
        PortInUseError: when the server starts and the port is taken; the message names a free one.

    Example:
        >>> from cogment_lab.humans import WebUI
        >>> with WebUI(port=0) as ui:
        ...     teacher = ui.seat("teacher")
    """

    def __init__(
        self,
        port: int = 8000,
        host: str = "127.0.0.1",
        token: str | None = None,
        public_url: str | None = None,
        origins: tuple[str, ...] = (),
        root_path: str = "",
        store: str | os.PathLike[str] | None = None,
    ) -> None:
        if not 0 <= port <= 65535:
            raise ConfigurationError(f"port={port} lies outside 0 to 65535")
        if token is not None and not (len(token) >= 8 and re.fullmatch(r"[A-Za-z0-9._~-]+", token)):
            raise ConfigurationError(
                "token: at least 8 characters, or anybody could guess it, and of letters, digits and ._~- "
                "only, since it travels in addresses"
            )
        self.host = host
        self._token = token if token is not None else secrets.token_urlsafe(18)
        self.public_url = public_url
        self.origins = tuple(origins)
        self.root_path = root_path.rstrip("/")
        self.store = Path(store).absolute() if store is not None else None
        self._publish = self.store is not None
        self._asked_port = port
        self._port: int | None = None
        self._folder: Path | None = None
        self._process: ServerProcess | None = None
        self._owner = 0
        self._joined = False
        self._offered: dict[str, str] = {}

    @classmethod
    def on_free_port(cls, store: str | os.PathLike[str] | None = None) -> Self:
        """Return a started page on port 8000, or on any free one where that is taken.

        It joins the running page of ``store`` if there is one; one that it starts ends with this process,
        and is not for others to join.
        """
        ui = cls(store=store)
        ui._publish = False
        try:
            ui.start()
        except PortInUseError:
            ui._asked_port = 0
            ui.start()
        return ui

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        self.start()
        assert self._port is not None
        return self._port

    @property
    def token(self) -> str:
        """What a browser must show: what was asked for, or the running page's where this joins one."""
        if self.store is not None:
            self.start()
        return self._token

    @property
    def url(self) -> str:
        """The address to open, token included: the one free seat, or the lobby where there is a choice."""
        return self._address("", token=self.token)

    @property
    def lobby_url(self) -> str:
        """The address of the list of seats and trials, token included."""
        return self._address("lobby", token=self.token)

    @property
    def compare_url(self) -> str:
        """An address that opens only the comparison of clips; the page needs a ``store``."""
        return self._address("compare", token=Access(self.token).token_for(_COMPARE))

    @property
    def is_joined(self) -> bool:
        """Whether another process runs this page."""
        return self._joined

    def link(self, seat: str | WebSeat, *, watch: bool = False) -> str:
        """Return an address that opens one seat only.

        Args:
            seat: The seat, or its name.
            watch: Whoever comes by this link sees everything and can do nothing.
        """
        name = seat if isinstance(seat, str) else seat.name
        return self._address("", token=Access(self.token).seat_token(name, watch=watch), seat=name)

    def display(
        self, seat: str | WebSeat | None = None, width: str | int = "100%", height: int = 760
    ) -> SeatFrame:
        """Show the page, or one seat, in a notebook's cell.

        Returns:
            What a notebook shows as a frame with the page in it, and a link for where frames are forbidden.
        """
        from cogment_lab.humans.web.notebook import SeatFrame

        return SeatFrame(self.link(seat) if seat is not None else self.url, width, height)

    def seat(
        self,
        role: str,
        name: str | None = None,
        keymap: Any = None,
        patience: float = 30.0,
        show_proposal: bool = True,
        allows: Collection[str] | None = None,
    ) -> WebSeat:
        """Return a seat on this page.

        Args:
            role: ``"teacher"``, ``"player"``, ``"evaluator"`` or ``"observer"``.
            name: Unique on this page, the role by default; the same name is the same seat. On a page that
                another process runs the default is the first of ``teacher``, ``teacher-2``... that is free.
            keymap: ``["no-op", "ArrowLeft", ...]``, ``{"ArrowLeft": action}`` or a :class:`KeyMap`; ``None``
                takes the shipped one for the environment.
            patience: Seconds that a turn-based environment waits for a key; ten minutes where nobody else has
                an action.
            show_proposal: Whether the person sees what the player is about to do, until they say otherwise;
                whether it was shown is in the record.
            allows: What whoever sits here may ask for beyond acting and answering, ``None`` for everything:
                ``take, release, pause, resume, step, stop, save, discard, success, failure, pace, feedback,
                note`` and the settings ``idle, wait, ramp, proposal, inspect``. The page shows nothing else,
                and what comes all the same is refused and recorded.

        Raises:
            ConfigurationError: an unknown role or wish, or a name that is no plain word.
        """
        if role not in _ROLES:
            raise ConfigurationError(f"role={role!r} is unknown; choose one of {', '.join(_ROLES)}")
        if name is not None and not _NAME.fullmatch(name):
            raise ConfigurationError(f"name={name!r}: letters, digits, '-' and '_' only, at most 64")
        allowed = None if allows is None else check_wishes(allows)
        self.start()
        assert self._folder is not None
        if name is None:
            name = self._offered.get(role, role)
            if self._joined and role not in self._offered:
                name = self._offered[role] = offer_free_seat(self._folder, role)
        offer_seat(self._folder, name, role, allowed)
        self._offered.setdefault(name, name)
        return WebSeat(self._folder, name, role, keymap, patience, show_proposal)

    def start(self) -> None:
        """Join the running page of the store, or start the server's process, where that was not done yet.

        Raises:
            PortInUseError: the port is taken.
            SeatLostError: the process did not come up; the message holds what it said.
        """
        if self._port is not None or self._join():
            return
        folder = Path(tempfile.mkdtemp(prefix="cogment_lab-"))
        config = {
            "folder": str(folder),
            "host": self.host,
            "port": self._asked_port,
            "token": self._token,
            "public_url": self.public_url,
            "origins": list(self.origins),
            "root_path": self.root_path,
            "store": str(self.store) if self.store is not None else None,
            "publish": self._publish,
        }
        try:
            process = ServerProcess(config)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        error = process.answer.get("error")
        if error is not None:
            shutil.rmtree(folder, ignore_errors=True)
            self._fail(error)
            return
        self._folder, self._process, self._port = folder, process, process.answer["port"]
        self._owner = os.getpid()
        atexit.register(self._end)

    def _fail(self, error: str) -> None:
        """Join the page that somebody else started at the same time, or raise."""
        if error == "served":
            deadline = time.monotonic() + _JOIN_SECONDS
            while not self._join():
                if time.monotonic() > deadline:
                    raise SeatLostError(f"another page holds {self.store}, and does not say where it is")
                time.sleep(0.05)
            return
        if error == "port_in_use":
            free = _free_port(self.host)
            raise PortInUseError(
                f"port {self._asked_port} of {self.host} is in use: pass port={free} (--port {free}), "
                "which is free now, or 0 for any"
            )
        raise SeatLostError(f"the page's server did not start: {error}")

    def _join(self) -> bool:
        """Become a handle of the store's running page, if there is one."""
        meeting = find_page(self.store) if self.store is not None else None
        if meeting is None:
            return False
        self.host, self._token, self.public_url = meeting.host, meeting.token, meeting.public_url
        self.root_path = meeting.root_path
        self._folder, self._port, self._joined = Path(meeting.folder), meeting.port, True
        self._owner = os.getpid()
        atexit.register(self._end)
        return True

    def _end(self) -> None:
        """Close because the program ends."""
        end_all()
        self.close()

    def close(self) -> None:
        """End the server and remove its files; on another's page, withdraw the seats. A copy does nothing."""
        if self._port is None or os.getpid() != self._owner:  # a forked child is no owner
            return
        atexit.unregister(self._end)
        process, self._process = self._process, None
        folder, self._folder = self._folder, None
        self._port, self._owner = None, 0
        assert folder is not None
        end_all(folder)
        if process is not None:
            process.end()
            shutil.rmtree(folder, ignore_errors=True)
            return
        for name in set(self._offered.values()):
            withdraw_seat(folder, name)
        self._offered = {}
        self._joined = False

    def seats(self) -> list[dict[str, Any]]:
        """Return who sits where, as ``GET /api/seats`` of the page's protocol says it.

        Raises:
            SeatLostError: the server does not answer.
        """
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        connection = http.client.HTTPConnection(host, self.port, timeout=_ANSWER_SECONDS)
        try:
            connection.request("GET", "/api/seats", headers={"Authorization": f"Bearer {self.token}"})
            seats: list[dict[str, Any]] = json.load(connection.getresponse())
        except (OSError, http.client.HTTPException) as error:
            raise SeatLostError(f"the page's server does not answer: {error}") from error
        finally:
            connection.close()
        return seats

    def is_running(self) -> bool:
        """Return whether the server of this page, started here, has not ended."""
        return self._process is not None and self._process.is_running()

    @property
    def server_pid(self) -> int | None:
        """Number of the server's process, where it was started here."""
        return self._process.pid if self._process is not None else None

    @property
    def log(self) -> str:
        """The last lines that the server, started here, said."""
        return self._process.log if self._process is not None else ""

    def _address(self, path: str, **query: str) -> str:
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        base = self.public_url or f"http://{f'[{host}]' if ':' in host else host}:{self.port}{self.root_path}"
        return f"{base.rstrip('/')}/{path}?{urlencode(query)}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        self.start()
        return {**self.__dict__, "_process": None, "_owner": 0}


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
