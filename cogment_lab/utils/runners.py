"""Service processes: starting them, hearing of their readiness and their death, ending them."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import multiprocessing
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Coroutine
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

from cogment_lab.errors import ConfigurationError, ServiceCrashedError, ServiceTimeoutError

__all__ = ["ServiceProcess", "process_cleanup", "setup_logging"]

Target: TypeAlias = Callable[..., Coroutine[Any, Any, None]]
_RUNNING: set[ServiceProcess] = set()


class ServiceProcess:
    """A child process that serves something on a port.

    It is started by *spawn*, so its target and arguments are pickled, and scripts guard their body with
    ``if __name__ == "__main__":``. It ends when its pipe closes, be it by :meth:`stop` or by our death.

    Args:
        name: Of the service.
        target: Importable coroutine function; called with ``announce(port)`` and ``args``, it serves until
            cancelled.
        args: Picklable arguments.
        log_file: Where its output goes; ``None`` leaves it to ours.
        context: The multiprocessing context.

    Attributes:
        port: What it serves, once ready.

    Raises:
        ConfigurationError: an argument cannot be pickled.
    """

    def __init__(
        self,
        name: str,
        target: Target,
        args: tuple[Any, ...],
        *,
        log_file: str | None = None,
        context: Any = None,
    ) -> None:
        self.name = name
        self.port = 0
        self._failure = ""
        context = context or multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=_run, args=(theirs, target, args, log_file), name=f"cogment_lab_{name}"
        )
        try:
            self.process.start()
        except (AttributeError, TypeError) as error:  # what pickling raises
            self._pipe.close()
            raise ConfigurationError(
                f"{name!r} cannot be sent to a process of its own: {error}; its arguments must be picklable "
                "(no lambdas, no functions defined inside functions)"
            ) from error
        finally:
            theirs.close()
        _RUNNING.add(self)

    @property
    def pid(self) -> int | None:
        """Id of the process."""
        pid: int | None = self.process.pid
        return pid

    def is_alive(self) -> bool:
        """Return whether the process runs."""
        return bool(self.process.is_alive())

    async def ready(self, timeout: float) -> int:
        """Wait until it serves, and return its port.

        Raises:
            ServiceCrashedError: it died; with its traceback.
            ServiceTimeoutError: it takes longer than ``timeout`` seconds; it is killed.
        """
        deadline = time.monotonic() + timeout
        while not self.port:
            self.check()
            if time.monotonic() > deadline:
                self.stop(0.0)
                raise ServiceTimeoutError(f"service {self.name!r} was not ready within {timeout:g} s")
            if not self.port:
                await asyncio.sleep(0.01)
        return self.port

    def check(self) -> None:
        """Raise ServiceCrashedError when it died; take note of what it says."""
        try:
            while not self._failure and self._pipe.poll():
                kind, value = self._pipe.recv()
                if kind == "ready":
                    self.port = value
                else:
                    self._failure = value
        except (EOFError, OSError):
            self.process.join(1.0)
            self._failure = self._failure or f"it ended with exit code {self.process.exitcode}"
        if self._failure:
            raise ServiceCrashedError(f"service {self.name!r} died:\n{self._failure}")

    def stop(self, timeout: float = 1.0) -> None:
        """End it: gently for ``timeout`` seconds, then by force."""
        _RUNNING.discard(self)
        with contextlib.suppress(OSError):
            self._pipe.close()
        if timeout > 0.0:
            self.process.join(timeout)
        if self.process.is_alive():
            self.process.kill()
        self.process.join(5.0)

    # what multiprocessing.Process offers, for code that looks into Cogment.processes

    def terminate(self) -> None:
        """Ask the process to end."""
        self.process.terminate()

    def kill(self) -> None:
        """Kill the process."""
        self.process.kill()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the process."""
        self.process.join(timeout)


def _run(pipe: Connection, target: Target, args: tuple[Any, ...], log_file: str | None) -> None:
    """The body of the child."""
    if log_file:
        setup_logging(log_file)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None

        def watch() -> None:
            with contextlib.suppress(EOFError, OSError):
                pipe.recv()
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(task.cancel)

        def announce(port: int) -> None:
            pipe.send(("ready", port))
            threading.Thread(target=watch, daemon=True).start()

        await target(announce, *args)

    try:
        asyncio.run(main())
    except (KeyboardInterrupt, asyncio.CancelledError):
        pass
    except BaseException:
        text = traceback.format_exc()
        with contextlib.suppress(OSError):
            pipe.send(("failed", text))
        sys.stderr.write(text)
        sys.stderr.flush()
        os._exit(1)


def setup_logging(log_file: str) -> None:
    """Send standard output, standard error and log records to a file."""
    path = Path(log_file)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s - %(name)s - %(levelname)s - %(message)s", force=True
    )


def process_cleanup() -> None:
    """End every service process that this process started."""
    for process in list(_RUNNING):
        process.stop(0.0)


atexit.register(process_cleanup)  # before multiprocessing's own, which would wait for them
