"""The owner's side of the page: starts the server's process, hands out seats, ends it."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from cogment_lab.errors import ConfigurationError, PortInUseError, SeatLostError
from cogment_lab.humans.web.seat import WebSeat

__all__ = ["WebUI"]

_START_SECONDS = 30.0
_STOP_SECONDS = 3.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
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
        origins: Further web origins that may open a seat's socket.
        root_path: Path under which a proxy serves the page.

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
    ) -> None:
        if not 0 <= port <= 65535:
            raise ConfigurationError(f"port={port} lies outside 0 to 65535")
        if token is not None and len(token) < 8:
            raise ConfigurationError("token is shorter than 8 characters: anybody could guess it")
        self.host = host
        self.token = token if token is not None else secrets.token_urlsafe(18)
        self.public_url = public_url
        self.origins = tuple(origins)
        self.root_path = root_path.rstrip("/")
        self._asked_port = port
        self._port: int | None = None
        self._folder: Path | None = None
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0
        self._log: deque[str] = deque(maxlen=60)
        self._log_thread: threading.Thread | None = None

    @classmethod
    def on_free_port(cls) -> Self:
        """Return a started page on port 8000, or on any free one where that is taken."""
        ui = cls()
        try:
            ui.start()
        except PortInUseError:
            ui = cls(port=0)
            ui.start()
        return ui

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        self.start()
        assert self._port is not None
        return self._port

    @property
    def url(self) -> str:
        """The address to open, token included."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        base = self.public_url or f"http://{f'[{host}]' if ':' in host else host}:{self.port}{self.root_path}"
        return f"{base.rstrip('/')}/?{urlencode({'token': self.token})}"

    def seat(self, role: str, name: str | None = None, keymap: Any = None, patience: float = 30.0) -> WebSeat:
        """Return a seat on this page.

        Args:
            role: ``"teacher"``, ``"player"``, ``"evaluator"`` or ``"observer"``.
            name: Unique on this page, the role by default; the same name is the same seat.
            keymap: ``["no-op", "ArrowLeft", ...]``, ``{"ArrowLeft": action}`` or a :class:`KeyMap`; ``None``
                takes the shipped one for the environment.
            patience: Seconds that a turn-based environment waits for a key.

        Raises:
            ConfigurationError: an unknown role, or a name that is no plain word.
        """
        if role not in _ROLES:
            raise ConfigurationError(f"role={role!r} is unknown; choose one of {', '.join(_ROLES)}")
        name = name if name is not None else role
        if not _NAME.fullmatch(name):
            raise ConfigurationError(f"name={name!r}: letters, digits, '-' and '_' only, at most 64")
        self.start()
        assert self._folder is not None
        (self._folder / f"{name}.json").write_text(json.dumps({"name": name, "role": role}), encoding="utf-8")
        return WebSeat(self._folder, name, role, keymap, patience)

    def start(self) -> None:
        """Start the server's process, where that was not done yet.

        Raises:
            PortInUseError: the port is taken.
            SeatLostError: the process did not come up; the message holds what it said.
        """
        if self._port is not None:
            return
        folder = Path(tempfile.mkdtemp(prefix="cogment_lab-"))
        config = {
            "folder": str(folder),
            "host": self.host,
            "port": self._asked_port,
            "token": self.token,
            "public_url": self.public_url,
            "origins": list(self.origins),
            "root_path": self.root_path,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "cogment_lab.humans.web.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        assert process.stdin is not None
        self._log_thread = threading.Thread(target=self._drain, args=(process,), daemon=True)
        self._log_thread.start()
        try:
            process.stdin.write(json.dumps(config) + "\n")
            process.stdin.flush()
            answer = self._first_line(process)
        except BaseException as error:
            self._end(process)
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError):
                raise SeatLostError(f"the page's server did not start:\n{self._tail()}") from None
            raise
        if "error" in answer:
            self._end(process)
            shutil.rmtree(folder, ignore_errors=True)
            if answer["error"] == "port_in_use":
                raise PortInUseError(
                    f"port {self._asked_port} of {self.host} is in use: pass "
                    f"WebUI(port={_free_port(self.host)}), which is free now, or port=0 for any"
                )
            raise SeatLostError(f"the page's server did not start: {answer['error']}")
        self._folder, self._process, self._port = folder, process, answer["port"]
        self._owner = os.getpid()
        atexit.register(self.close)

    def close(self) -> None:
        """End the server and remove its files; a handle that does not own the server does nothing."""
        process, self._process = self._process, None
        if process is None or os.getpid() != self._owner:  # a forked child is no owner
            return
        atexit.unregister(self.close)
        self._end(process)
        self._port = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _end(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        with contextlib.suppress(OSError):
            process.stdin.close()  # the server's sign to stop
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_SECONDS)
        if self._log_thread is not None:
            self._log_thread.join(_STOP_SECONDS)
            self._log_thread = None
        process.stdout.close()
        process.stderr.close()

    def _drain(self, process: subprocess.Popen[str]) -> None:
        """Keep the last lines of what the server says, for an error message."""
        assert process.stderr is not None
        for line in process.stderr:
            self._log.append(line.rstrip())

    def _tail(self) -> str:
        return "\n".join(self._log)

    def _first_line(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """Return the server's answer: its port, or what went wrong."""
        assert process.stdout is not None
        killer = threading.Timer(_START_SECONDS, process.kill)  # ends the readline below
        killer.start()
        try:
            line = process.stdout.readline()
        finally:
            killer.cancel()
        if not line:
            process.wait(_STOP_SECONDS)
            raise SeatLostError(f"the page's server ended at once:\n{self._tail()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

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
        state = self.__dict__.copy()
        state["_process"] = state["_log_thread"] = None
        state["_log"] = deque(maxlen=60)
        return state


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
