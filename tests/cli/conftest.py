"""Running the command line as the processes that it is."""

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

COMMAND = [sys.executable, "-m", "cogment_lab.cli.main"]


class Running:
    """A command that runs; :meth:`port` reads its output up to the next line that names a port."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def line(self, pattern: str) -> re.Match[str]:
        """Read up to the next line with ``pattern``."""
        assert self.process.stdout is not None
        seen = []
        for line in self.process.stdout:
            seen.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"no line with {pattern!r} in:\n{''.join(seen)}")

    def port(self) -> int:
        """Return the port of the next service that listens."""
        return int(self.line(r"listens on 127\.0\.0\.1:(\d+)")[1])

    def ends(self, signal: int | None = None, seconds: float = 30.0) -> int:
        """Send a signal, and return the exit status."""
        if signal is not None:
            self.process.send_signal(signal)
        return self.process.wait(seconds)


@contextlib.contextmanager
def _running(*arguments: str, **environment: str) -> Iterator[Running]:
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
    )
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        yield Running(process)
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


def _output(*arguments: str, status: int = 0, input: bytes | None = None) -> bytes:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, timeout=60, input=input)
    assert done.returncode == status, (done.stdout, done.stderr)
    return done.stdout if status == 0 else done.stderr


@pytest.fixture
def cogmentlab() -> SimpleNamespace:
    """``running(*arguments, **environment)`` in a with statement; ``output(*arguments, status=0)``."""
    return SimpleNamespace(running=_running, output=_output)


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A function that returns a port which nothing uses."""
    import socket

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find
