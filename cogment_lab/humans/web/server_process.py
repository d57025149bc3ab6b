"""The owner's side of the page's process: starts it, hears its answer, ends it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

from cogment_lab.errors import SeatLostError

__all__ = ["ServerProcess"]

_START_SECONDS = 90.0  # one that ends is noticed at once
_STOP_SECONDS = 3.0
_LOG_LINES = 60


class ServerProcess:
    """A running server.

    Args:
        config: What :mod:`cogment_lab.humans.web.server` reads.

    Attributes:
        answer: Its first line: ``port`` and ``pid``, or an ``error``, after which it has ended.

    Raises:
        SeatLostError: the process did not come up; the message holds what it said.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cogment_lab.humans.web.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            # A session of its own: Ctrl-C in a terminal, or a notebook's interrupt, reaches all processes of
            # ours, and would cut off whoever is at the page. This one ends when its input does.
            start_new_session=True,
        )
        assert self._process.stdin is not None
        self._log_thread = threading.Thread(target=self._drain, daemon=True)
        self._log_thread.start()
        try:
            self._process.stdin.write(json.dumps(config) + "\n")
            self._process.stdin.flush()
            self.answer = self._first_line()
        except BaseException as error:
            self.end()
            if isinstance(error, OSError):
                raise SeatLostError(f"the page's server did not start:\n{self.log}") from None
            raise
        if "error" in self.answer:
            self.end()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def kill(self) -> None:
        """End it without a word, as a crash would."""
        self._process.kill()

    def is_running(self) -> bool:
        """Return whether it has not ended yet."""
        return self._process.poll() is None

    def end(self) -> None:
        """Tell it to stop, and wait until it has."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        with contextlib.suppress(OSError, ValueError):  # it has ended already
            process.stdin.write("end\n")
            process.stdin.close()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_SECONDS)
        self._log_thread.join(_STOP_SECONDS)
        process.stdout.close()
        process.stderr.close()

    def _drain(self) -> None:
        """Keep the last lines of what the server says, for an error message."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._log.append(line.rstrip())

    @property
    def log(self) -> str:
        """The last lines that it said."""
        return "\n".join(self._log)

    def _first_line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self._process.kill()  # ends the readline below

        killer = threading.Timer(_START_SECONDS, give_up)
        killer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            killer.cancel()
        if not line:
            self._process.wait(_STOP_SECONDS)
            why = f"said nothing for {_START_SECONDS:g} s" if late.is_set() else "ended at once"
            raise SeatLostError(f"the page's server {why}:\n{self.log}")
        answer: dict[str, Any] = json.loads(line)
        return answer
