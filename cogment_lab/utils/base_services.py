"""The orchestrator and datastore that a :class:`cogment_lab.Cogment` uses: found, or started."""

from __future__ import annotations

import json
import queue
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import Any

import grpc

from cogment_lab.errors import ConfigurationError, ServiceCrashedError, ServiceTimeoutError

__all__ = ["BaseServices", "is_listening"]

_START_SECONDS = 60.0


def is_listening(port: int, timeout: float = 0.3) -> bool:
    """Return whether something on this machine accepts connections on ``port``."""
    if port <= 0:
        return False
    try:
        with socket.create_connection(("localhost", port), timeout):
            return True
    except OSError:
        return False


@dataclass(slots=True)
class BaseServices:
    """Where orchestrator and datastore are.

    Attributes:
        orchestrator_port: Port of the orchestrator.
        datastore_port: Port of the datastore.
        process: The process that serves them, when we started it; it ends with ours.
        has_directory: Whether the orchestrator is a directory too, as ours is.
    """

    orchestrator_port: int
    datastore_port: int
    process: subprocess.Popen[str] | None = None
    has_directory: bool = True

    @classmethod
    def find_or_start(
        cls, orchestrator_port: int, datastore_port: int, store: str | None = None
    ) -> BaseServices:
        """Use what listens on these ports; start what is missing, on free ones.

        Args:
            orchestrator_port: Where an orchestrator may listen.
            datastore_port: Where a datastore may listen.
            store: File of the datastore, when it is started.

        Raises:
            ConfigurationError: ``store`` is given, and a datastore listens already.
            ServiceCrashedError: they did not start; with what the process said.
            ServiceTimeoutError: they were not ready in time.
        """
        ports = {
            name: port
            for name, port in (("orchestrator", orchestrator_port), ("datastore", datastore_port))
            if is_listening(port)
        }
        if store is not None and "datastore" in ports:
            raise ConfigurationError(
                f"store={store!r}: a datastore listens on port {datastore_port} already and keeps its trials "
                "where it was told to; pass datastore_port=0 to have one of your own"
            )
        has_directory = "orchestrator" not in ports or _is_directory(orchestrator_port)
        missing = [name for name in ("orchestrator", "datastore") if name not in ports]
        if not missing:
            return cls(orchestrator_port, datastore_port, has_directory=has_directory)
        file = [] if store is None else ["--datastore-file", store]
        process = subprocess.Popen(
            [sys.executable, "-m", "cogment_lab.services.base", *missing, *file],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        line = _first_line(process)
        ports |= json.loads(line)
        return cls(ports["orchestrator"], ports["datastore"], process, has_directory)

    @property
    def directory(self) -> str:
        """Address of the directory inside the orchestrator; empty for an orchestrator without one."""
        return f"grpc://localhost:{self.orchestrator_port}" if self.has_directory else ""

    def check(self) -> None:
        """Raise ServiceCrashedError when the process that we started died."""
        if self.process is not None and self.process.poll() is not None:
            raise ServiceCrashedError(
                f"the process of orchestrator and datastore ended with code {self.process.returncode}"
            )

    def stop(self, timeout: float = 5.0) -> None:
        """End the process that we started; idempotent."""
        process, self.process = self.process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout)
        if process.stdout is not None:
            process.stdout.close()


def _is_directory(port: int) -> bool:
    with grpc.insecure_channel(f"localhost:{port}") as channel:
        try:
            version: Any = channel.unary_unary("/cogmentAPI.DirectorySP/Version")  # type: ignore[call-arg]
            version(b"", timeout=2.0)
        except grpc.RpcError:
            return False
    return True


def _first_line(process: subprocess.Popen[str]) -> str:
    """Return the first line that a process prints."""
    lines: queue.Queue[str] = queue.Queue()
    output = process.stdout
    assert output is not None
    threading.Thread(target=lambda: lines.put(output.readline()), daemon=True).start()
    try:
        line = lines.get(timeout=_START_SECONDS)
    except queue.Empty:
        process.kill()
        raise ServiceTimeoutError(
            f"orchestrator and datastore were not ready within {_START_SECONDS:.0f} s"
        ) from None
    if not line:
        code = process.wait(_START_SECONDS)
        raise ServiceCrashedError(f"orchestrator and datastore did not start: exit code {code} (see above)")
    return line
