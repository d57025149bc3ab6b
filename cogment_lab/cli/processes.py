"""Child processes of a launcher: their output line by line, and an end for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path

from cogment_lab.cli import guard
from cogment_lab.errors import ConfigurationError

__all__ = ["Guard", "run_child", "run_until_interrupted"]

_STOP_SECONDS = 6.0  # a service takes five at most
_REST_SECONDS = 1.0
_GUARD_SECONDS = 10.0
_LONGEST_LINE = 1 << 20


class Guard:
    """A process that ends our children when we are killed and cannot; an asynchronous context manager.

    A child is known to it some microseconds after it was started.
    """

    async def __aenter__(self) -> Guard:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", guard.__file__),
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,  # what kills our group leaves it alone
        )
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(_GUARD_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def add(self, pid: int) -> None:
        """Watch over a child."""
        self._tell(f"+{pid}\n")

    def remove(self, pid: int) -> None:
        """Forget a child that has ended."""
        self._tell(f"-{pid}\n")

    def _tell(self, line: str) -> None:
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(line.encode())


async def run_child(
    command: Sequence[str],
    heard: Callable[[str], None],
    watchman: Guard,
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run a command, and return its exit status.

    Cancelled, or when the command ends before its own children, what is left of them is ended.

    Args:
        command: The program and its arguments.
        heard: Called with each line of output.
        watchman: Ends it when we are killed.
        folder: Where it runs.
        environment: What it runs with; ours otherwise.

    Raises:
        ConfigurationError: there is no such program or folder.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=folder,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches us, and we end it
            limit=_LONGEST_LINE,
        )
    except OSError as error:
        raise ConfigurationError(f"cannot run {command[0]!r}: {error}") from error
    watchman.add(process.pid)
    assert process.stdout is not None
    reading = asyncio.create_task(_pass_on(process.stdout, heard))
    try:
        status = await process.wait()
        await asyncio.wait({reading}, timeout=_REST_SECONDS)
        return status
    finally:
        await _end(process)
        watchman.remove(process.pid)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def _pass_on(output: asyncio.StreamReader, heard: Callable[[str], None]) -> None:
    while True:
        try:
            line = await output.readline()
        except ValueError:
            line = b"(a line that is too long)\n"
        if not line:
            return
        heard(line.decode(errors="replace").rstrip())


async def _end(process: asyncio.subprocess.Process) -> None:
    try:
        if process.returncode is None:
            _signal(process, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP_SECONDS):
                    await process.wait()
    finally:
        _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))
        await process.wait()


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)  # its whole session
        else:
            process.terminate()


def run_until_interrupted(main: Coroutine[object, object, None]) -> bool:
    """Run a coroutine that SIGINT and SIGTERM cancel; return whether it was."""

    async def interruptible() -> bool:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None
        previous = {
            number: signal.signal(number, lambda *_: loop.call_soon_threadsafe(task.cancel))
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            await main
        except asyncio.CancelledError:
            return True
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        return False

    return asyncio.run(interruptible())
