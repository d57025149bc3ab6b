"""``cogmentlab launch``: several services at once, each in a process of its own."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape

from cogment_lab.errors import ConfigurationError, PortInUseError, ServiceCrashedError

__all__ = ["DEFAULT_PORTS", "launch"]

DEFAULT_PORTS = {
    "directory": 9005,
    "orchestrator": 9000,
    "trial_datastore": 9003,
    "model_registry": 9002,
    "web_proxy": 8080,
}
"""Official ports of the services that can be launched."""

_GROUPS = {"base": ("orchestrator", "trial_datastore"), "all": tuple(DEFAULT_PORTS)}
_PORT_FLAGS = {"orchestrator": ("--lifecycle_port", "--actor_port"), "web_proxy": ("--web_port",)}
_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.2


def launch(
    names: Sequence[str],
    *,
    engine: str = "embedded",
    orchestrator_port: int | None = None,
    datastore_port: int | None = None,
) -> None:
    """Run services until one of them ends, or this process is interrupted; then stop all of them.

    Args:
        names: ``base``, ``all``, or names of services.
        engine: ``embedded`` for ours, ``official`` for the binary that ``cogmentlab install`` downloads.
        orchestrator_port: Instead of 9000.
        datastore_port: Instead of 9003.

    Raises:
        ConfigurationError: an unknown service or engine, or no official binary.
        PortInUseError: a port is taken; offers another.
        ServiceCrashedError: a service ended by itself.
    """
    services = list(dict.fromkeys(part for name in names for part in _GROUPS.get(name, (name,))))
    unknown = [name for name in services if name not in DEFAULT_PORTS]
    if unknown:
        known = ", ".join((*_GROUPS, *DEFAULT_PORTS))
        raise ConfigurationError(f"there is no service {unknown[0]!r}; launch one of: {known}")
    ports = dict(DEFAULT_PORTS)
    ports |= {"orchestrator": orchestrator_port} if orchestrator_port is not None else {}
    ports |= {"trial_datastore": datastore_port} if datastore_port is not None else {}
    command = _command(engine)
    for name in services:
        _check_free(name, ports[name])
    console = Console()
    running: dict[str, subprocess.Popen[str]] = {}
    previous = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for name in services:
            flags = [f"{flag}={ports[name]}" for flag in _PORT_FLAGS.get(name, ("--port",))]
            if name != "directory" and "directory" in services:
                flags.append(f"--directory_endpoint=grpc://localhost:{ports['directory']}")
            if name == "web_proxy":
                flags.append(f"--orchestrator_endpoint=grpc://localhost:{ports['orchestrator']}")
            running[name] = _start(command, name, flags, console)
        console.print("[dim]stop with Ctrl-C[/]")
        while True:
            for name, process in running.items():
                if process.poll() is not None:
                    raise ServiceCrashedError(f"{name} ended with exit code {process.returncode}; see above")
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        console.print("stopping")
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _stop(running.values())


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _command(engine: str) -> list[str]:
    if engine == "embedded":
        return [sys.executable, "-m", "cogment_lab.cli.main"]
    if engine == "official":
        from cogment_lab.cli.install import official_binary

        return [str(official_binary())]
    raise ConfigurationError(f"engine={engine!r}: choose embedded or official")


def _check_free(name: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            with socket.socket() as other:
                other.bind(("127.0.0.1", 0))
                free = other.getsockname()[1]
            option = {"orchestrator": "--orchestrator-port", "trial_datastore": "--datastore-port"}.get(name)
            advice = f"; try {option} {free}" if option else ""
            raise PortInUseError(f"port {port} of the {name} is taken{advice}") from None


def _start(command: list[str], name: str, flags: list[str], console: Console) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*command, "services", name, *flags, "--log_level=warning"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # Ctrl-C reaches us, and we stop it
    )

    def copy() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            console.print(f"[cyan]{name:16}[/]", escape(line.rstrip()), highlight=False, soft_wrap=True)

    threading.Thread(target=copy, daemon=True).start()
    return process


def _stop(processes: Iterable[subprocess.Popen[str]]) -> None:
    running = [process for process in processes if process.poll() is None]
    for process in running:
        process.terminate()
    deadline = time.monotonic() + _STOP_SECONDS
    for process in running:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
