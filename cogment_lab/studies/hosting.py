"""The server's side of one session's process: starts it, hears it, ends it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

__all__ = ["Ending", "host_session"]

_START_SECONDS = 90.0
_STOP_SECONDS = 2.0
_FAREWELL_SECONDS = 1.0
_LONGEST_LOG = 4096
_LONGEST_LINE = 256 * 1024


class Ending(NamedTuple):
    """How a session ended.

    Attributes:
        why: ``"done"``; ``"failed"``, it could not be made, or raised; ``"lost"``, its process died; and
            where it was cancelled, ``"idle"`` or ``"left"``.
        told: For the experimenter.
    """

    why: str
    told: str = ""


async def host_session(
    config: Mapping[str, Any], on_message: Callable[[dict[str, Any]], Awaitable[None]]
) -> Ending:
    """Run a session's process until it has ended, and return how; cancel to end it.

    Args:
        config: What :mod:`cogment_lab.studies.session_process` reads.
        on_message: Called with each ``{"kind": "ready" | "trial" | "done"}`` that it says.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cogment_lab.studies.session_process",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        limit=_LONGEST_LINE,
        start_new_session=True,  # Ctrl-C in the server's terminal is the server's business
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    log = bytearray()
    drain = asyncio.create_task(_drain(process.stderr, log))
    try:
        with contextlib.suppress(OSError):  # it died at once, and its output says so
            process.stdin.write(json.dumps(config).encode() + b"\n")
            await process.stdin.drain()
        return await _listen(process, log, drain, on_message)
    finally:
        await asyncio.shield(_end(process, drain))


async def _listen(
    process: asyncio.subprocess.Process,
    log: bytearray,
    drain: asyncio.Task[None],
    on_message: Callable[[dict[str, Any]], Awaitable[None]],
) -> Ending:
    assert process.stdout is not None
    deadline: float | None = _START_SECONDS
    while True:
        try:
            line = await asyncio.wait_for(process.stdout.readline(), deadline)
        except TimeoutError:
            return Ending(
                "failed", f"the session was not ready within {_START_SECONDS:.0f} s: do less in its factory"
            )
        if not line:
            await asyncio.wait([drain], timeout=_STOP_SECONDS)
            await process.wait()
            said = log.decode(errors="replace")
            status = f"the session's process died (exit status {process.returncode})"
            return Ending("lost", f"{status}\n{said}".strip())
        message = json.loads(line)
        if message["kind"] == "failed":
            return Ending("failed", f"{message['message']}\n{message['traceback']}".strip())
        deadline = None
        await on_message(message)
        if message["kind"] == "done":
            await asyncio.sleep(_FAREWELL_SECONDS)  # the page goes on before its seat is gone
            return Ending("done")


async def _drain(stream: asyncio.StreamReader, log: bytearray) -> None:
    """Keep the end of what the process says, for an error message."""
    while said := await stream.read(_LONGEST_LOG):
        log += said
        del log[:-_LONGEST_LOG]


async def _end(process: asyncio.subprocess.Process, drain: asyncio.Task[None]) -> None:
    """Tell the process to stop, and wait until it has; end it by force where it does not."""
    assert process.stdin is not None
    process.stdin.close()
    for force in (process.terminate, process.kill):
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
            break
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                force()
    await process.wait()
    drain.cancel()
    await asyncio.gather(drain, return_exceptions=True)
