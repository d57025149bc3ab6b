"""The server's process: ``python -m cogment_lab.humans.web.server``.

Configured by one line of JSON on its input, it answers with one line of JSON (its port, or what went wrong),
and serves until its input ends (after the line ``end``, or because the process that started it is gone).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import shutil
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from cogment_lab.humans.web.app import PageConfig, make_app
from cogment_lab.humans.web.rendezvous import Meeting, Rendezvous
from cogment_lab.store.process import process_exists

__all__: list[str] = []

_BACKLOG = 256
_LARGEST_MESSAGE = 8 * 1024
_STOP_SECONDS = 1
_WATCH_SECONDS = 0.5
_DYING_SECONDS = 0.01
_SWITCH_SECONDS = 0.001  # encoders and the event loop share one interpreter


def _answer(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    if os.name != "nt":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(_BACKLOG)
    return listener


async def _serve(server: uvicorn.Server, app: FastAPI, listener: socket.socket) -> None:
    """Serve until the input ends or the parent is gone (a forked child may keep the input open)."""
    loop = asyncio.get_running_loop()
    parent = os.getppid()
    ended = asyncio.Event()
    told = False

    def watch_input() -> None:
        nonlocal told
        while line := sys.stdin.readline():
            told = told or line.strip() == "end"
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=watch_input, daemon=True).start()  # ends with the input, or with this process

    async def watch() -> None:
        while not ended.is_set() and os.getppid() == parent:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), _WATCH_SECONDS)
        deadline = loop.time() + _WATCH_SECONDS
        while not told and process_exists(parent) and loop.time() < deadline:
            await asyncio.sleep(_DYING_SECONDS)  # one that is killed closes its files first
        try:
            await app.state.rooms.close()  # uvicorn would cut everybody off without the last word
        finally:
            server.should_exit = True

    watcher = loop.create_task(watch())
    await server.serve(sockets=[listener])
    watcher.cancel()


def main() -> None:
    """Read the configuration, answer, serve."""
    config = json.loads(sys.stdin.readline())
    store = Path(config["store"]) if config["store"] else None
    rendezvous = None
    if config["publish"] and store is not None:
        try:
            rendezvous = Rendezvous(store)
        except BlockingIOError:
            _answer(error="served")
            return
        except OSError as error:
            if not store.exists():
                _answer(error=f"{error.strerror}: {error.filename}")
                return
            # An archive that can only be read: its trials are shown, and no training writes to it.
    try:
        _run(config, store, rendezvous)
    finally:
        if rendezvous is not None:
            rendezvous.close()
        shutil.rmtree(config["folder"], ignore_errors=True)  # its owner may be dead


def _run(config: dict[str, Any], store: Path | None, rendezvous: Rendezvous | None) -> None:
    try:
        listener = _listen(config["host"], config["port"])
    except OSError as error:
        _answer(error="port_in_use" if error.errno in (errno.EADDRINUSE, errno.EACCES) else str(error))
        return
    port = listener.getsockname()[1]
    page = PageConfig(
        folder=Path(config["folder"]),
        token=config["token"],
        host=config["host"],
        port=port,
        public_url=config["public_url"],
        origins=tuple(config["origins"]),
        store=store,
    )
    app = make_app(page)
    served = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        root_path=config["root_path"],
        ws_max_size=_LARGEST_MESSAGE,
        ws_per_message_deflate=False,
        ws_ping_interval=5.0,
        ws_ping_timeout=10.0,
        timeout_graceful_shutdown=_STOP_SECONDS,
        server_header=False,
    )
    if rendezvous is not None:
        rendezvous.publish(
            Meeting(
                folder=config["folder"],
                host=config["host"],
                port=port,
                token=config["token"],
                public_url=config["public_url"],
                root_path=config["root_path"],
                pid=os.getpid(),
            )
        )
    sys.setswitchinterval(_SWITCH_SECONDS)
    _answer(port=port, pid=os.getpid())
    with asyncio.Runner(loop_factory=served.get_loop_factory()) as runner:
        runner.run(_serve(uvicorn.Server(served), app, listener))


if __name__ == "__main__":
    main()
