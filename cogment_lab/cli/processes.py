"""Child processes of a launcher: their output line by line, and an end for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path

from cogment_lab.errors import ConfigurationError

__all__ = ["run_child", "run_until_interrupted"]

_STOP_SECONDS = 6.0  # a service takes five at most
_REST_SECONDS = 1.0
_LONGEST_LINE = 1 << 20


async def run_child(
    command: Sequence[str],
    heard: Callable[[str], None],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run a command, and return its exit status.

    Cancelled, or when the command ends before its own children, what is left of them is ended.

    Args:
        command: The program and its arguments.
        heard: Called with each line of output.
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
    assert process.stdout is not None
    reading = asyncio.create_task(_pass_on(process.stdout, heard))
    try:
        status = await process.wait()
        await asyncio.wait({reading}, timeout=_REST_SECONDS)
        return status
    finally:
        await _end(process)
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
