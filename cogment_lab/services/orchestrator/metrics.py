"""What an orchestrator tells Prometheus (protocol section 13.1)."""

from __future__ import annotations

import threading
from typing import Any

from prometheus_client import CollectorRegistry, Summary, start_http_server

__all__ = ["Metrics"]


class Metrics:
    """Summaries of trials, served as a page when asked for."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._durations = Summary(
            "orchestrator_trial_duration_seconds", "Duration of trials", registry=self._registry
        )
        self._server: Any = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """Port of the page; 0 while there is none."""
        return self._server.server_port if self._server is not None else 0

    def trial_ended(self, seconds: float) -> None:
        """Count a trial."""
        self._durations.observe(seconds)

    def serve(self, port: int, host: str) -> None:
        """Serve the page; raise OSError when the port is taken."""
        self._server, self._thread = start_http_server(port, host, self._registry)

    def close(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(5.0)  # type: ignore[union-attr]
            self._server = self._thread = None
