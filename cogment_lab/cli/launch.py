"""``cogmentlab launch``: several services at once, each in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from cogment_lab.cli.flags import TLS
from cogment_lab.cli.processes import Guard, run_child, run_until_interrupted
from cogment_lab.errors import ConfigurationError, PortInUseError, ServiceCrashedError, ServiceTimeoutError

__all__ = ["DEFAULT_PORTS", "chosen_services", "launch", "reachable_host"]

DEFAULT_PORTS = {
    "orchestrator": 9000,
    "trial_datastore": 9003,
    "model_registry": 9002,
    "directory": 9005,
    "web_proxy": 8080,
}
"""Official ports of the services that can be launched."""

_GROUPS = {"base": ("orchestrator", "trial_datastore"), "all": tuple(DEFAULT_PORTS)}
_PORT_FLAGS = {"orchestrator": ("lifecycle_port", "actor_port"), "web_proxy": ("web_port",)}
_PORT_OPTIONS = {"orchestrator": "--orchestrator-port ", "trial_datastore": "--datastore-port "}
_LOOPBACK = "127.0.0.1"
_ANYWHERE = ("0.0.0.0", "::", "")
_READY_SECONDS = 30.0
_RETRY_SECONDS = 0.1
_LOG_LINES = 20


def launch(
    names: Sequence[str],
    *,
    engine: str = "embedded",
    orchestrator_port: int | None = None,
    datastore_port: int | None = None,
    ports: Mapping[str, int] | None = None,
) -> None:
    """Run services until one of them ends, or this process is interrupted; then stop all of them.

    Args:
        names: ``base``, ``all``, or names of services.
        engine: ``embedded`` for ours, ``official`` for the binary that ``cogmentlab install`` downloads.
        orchestrator_port: Instead of 9000.
        datastore_port: Instead of 9003.
        ports: Of these services, instead of the official ones.

    Raises:
        ConfigurationError: an unknown service or engine, or no official binary.
        PortInUseError: a port is taken; offers another.
        ServiceCrashedError: a service ended by itself; with the end of its log.
        ServiceTimeoutError: a service does not begin to listen.
    """
    own = {"orchestrator": orchestrator_port, "trial_datastore": datastore_port}
    given = {name: port for name, port in own.items() if port is not None}
    chosen = chosen_services(names, {**(ports or {}), **given})
    services = list(chosen)
    program = _program(engine)
    for name in services:
        _check_free(name, chosen[name])
    commands = {name: [*program, "services", name, *_flags(name, services, chosen)] for name in services}
    console = Console(highlight=False, soft_wrap=True)

    async def run() -> None:
        async with Guard() as watchman:
            await _run(commands, chosen, console, watchman)

    if run_until_interrupted(run()):
        console.print("stopped")


def chosen_services(names: Sequence[str], ports: Mapping[str, int]) -> dict[str, int]:
    """Return the services that ``base``, ``all`` and names stand for, with their ports.

    Args:
        names: What was asked for.
        ports: Ports that differ from the official ones; those of other services do not matter.

    Raises:
        ConfigurationError: an unknown service, or none.
    """
    services = list(dict.fromkeys(part for name in names for part in _GROUPS.get(name, (name,))))
    unknown = [name for name in (*services, *ports) if name not in DEFAULT_PORTS]
    if unknown or not services:
        known = ", ".join((*_GROUPS, *DEFAULT_PORTS))
        raise ConfigurationError(
            f"there is no service {unknown[0] if unknown else ''!r}; choose from: {known}"
        )
    return {name: ports.get(name, DEFAULT_PORTS[name]) for name in services}


async def _run(
    commands: Mapping[str, Sequence[str]], ports: Mapping[str, int], console: Console, watchman: Guard
) -> None:
    """Run the directory before the others, and all of them until one ends."""
    logs: dict[str, deque[str]] = {name: deque(maxlen=_LOG_LINES) for name in commands}
    running: dict[str, asyncio.Task[int]] = {}

    def start(name: str) -> None:
        def heard(line: str) -> None:
            logs[name].append(line)
            console.print(f"[cyan]{name:16}[/] {escape(line)}")

        running[name] = asyncio.create_task(run_child(commands[name], heard, watchman))

    async def all_listen() -> None:
        for name in running:
            await _listens(name, ports[name])

    async def until_one_ends(main: asyncio.Task[None] | None) -> None:
        await asyncio.wait(
            {*running.values(), *([main] if main else [])}, return_when=asyncio.FIRST_COMPLETED
        )
        for name, task in running.items():
            if task.done():
                log = "\n".join(logs[name])
                raise ServiceCrashedError(f"{name} ended with exit status {task.result()}:\n{log}")

    try:
        for names in (("directory",), tuple(commands)):
            for name in names:
                if name in commands and name not in running:
                    start(name)
            listening = asyncio.create_task(all_listen())
            try:
                await until_one_ends(listening)
                listening.result()
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
        _show(commands, ports, console)
        await until_one_ends(None)
    finally:
        for task in running.values():
            task.cancel()
        await asyncio.gather(*running.values(), return_exceptions=True)


def _show(names: Mapping[str, object], ports: Mapping[str, int], console: Console) -> None:
    console.print("[bold green]ready[/]")
    is_secret = any(os.environ.get(variable) for option in TLS for variable in option.variables)
    web = "https" if is_secret else "http"
    for name in names:
        protocol = web if name == "web_proxy" else "grpc"
        console.print(f"  [bold]{name:16}[/] {protocol}://localhost:{ports[name]}")
    console.print("[dim]stop with Ctrl-C[/]")


def reachable_host() -> str:
    """Return where services of this machine answer: ``$COGMENT_LAB_HOST``, or loopback."""
    host = os.environ.get("COGMENT_LAB_HOST") or _LOOPBACK
    return _LOOPBACK if host in _ANYWHERE else host


async def _listens(name: str, port: int) -> None:
    try:
        async with asyncio.timeout(_READY_SECONDS):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(reachable_host(), port)
                    writer.close()
                    await writer.wait_closed()
                    return
                await asyncio.sleep(_RETRY_SECONDS)
    except TimeoutError:
        raise ServiceTimeoutError(
            f"{name} does not listen on port {port} after {_READY_SECONDS:g} s"
        ) from None


def _program(engine: str) -> list[str]:
    if engine == "embedded":
        return [sys.executable, "-m", "cogment_lab.cli.main"]
    if engine == "official":
        from cogment_lab.cli.install import official_binary

        Path(".cogment/model_registry").mkdir(parents=True, exist_ok=True)  # it does not make it
        return [str(official_binary())]
    raise ConfigurationError(f"engine={engine!r}: choose embedded or official")


def _flags(name: str, services: Sequence[str], ports: Mapping[str, int]) -> list[str]:
    flags = {flag: str(ports[name]) for flag in _PORT_FLAGS.get(name, ("port",))}
    if not os.environ.get("COGMENT_LOG_LEVEL"):
        flags["log_level"] = "warning"
    if "directory" in services and name != "directory":
        flags["directory_endpoint"] = f"grpc://localhost:{ports['directory']}"
    if "orchestrator" in services and name == "web_proxy":
        flags["orchestrator_endpoint"] = f"grpc://localhost:{ports['orchestrator']}"
    return [f"--{flag}={value}" for flag, value in flags.items()]


def _check_free(name: str, port: int) -> None:
    with socket.socket() as probe:
        if os.name != "nt":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((reachable_host(), port))
        except OSError:
            with socket.socket() as other:
                other.bind((_LOOPBACK, 0))
                free = other.getsockname()[1]
            option = _PORT_OPTIONS.get(name, f"--port {name}=")
            raise PortInUseError(f"port {port} of the {name} is taken; try {option}{free}") from None
