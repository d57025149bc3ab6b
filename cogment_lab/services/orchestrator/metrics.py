"""What an orchestrator tells Prometheus (protocol section 13.1).

The official one also has a summary of its garbage collections; ours has none to time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Summary, start_http_server
from prometheus_client.metrics_core import SummaryMetricFamily
from prometheus_client.registry import Collector

from cogment_lab.wire.generated import common_pb2 as common
from cogment_lab.wire.generated.orchestrator_pb2 import TrialInfo

__all__ = ["Metrics", "TickMeter"]


class TickMeter(Collector):
    """How many ticks there were, and how long they took: from a trial's first observation to its last.

    It listens to changes of state, and looks at running trials when it is asked, so that ticks cost nothing.

    Args:
        progress: Returns tick and duration in seconds of a trial in memory, ``None`` for an unknown one.
    """

    def __init__(self, progress: Callable[[str], tuple[int, float] | None]) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._running: dict[str, float] = {}
        self._count = 0
        self._seconds = 0.0

    def notify(self, info: TrialInfo) -> None:
        """Note that a trial begins to run, or has had its last tick."""
        seconds = info.trial_duration / 1e9
        with self._lock:
            if info.state == common.RUNNING:
                self._running[info.trial_id] = seconds
            elif info.state >= common.TERMINATING and info.trial_id in self._running:
                self._seconds += seconds - self._running.pop(info.trial_id)
                self._count += info.tick_id

    def close(self) -> None:
        """Do nothing: what was counted stays."""

    def collect(self) -> Iterator[SummaryMetricFamily]:
        """Return the summary, ticks of running trials included."""
        with self._lock:
            count, seconds = self._count, self._seconds
            for trial_id, start in self._running.items():
                progress = self._progress(trial_id)
                if progress is not None:
                    count += progress[0]
                    seconds += progress[1] - start
        yield SummaryMetricFamily(
            "orchestrator_tick_duration_seconds",
            "Duration of ticks",
            count_value=count,
            sum_value=seconds,
        )


class Metrics:
    """Summaries of trials and their ticks, served as a page when asked for."""

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

    def serve(self, port: int, host: str, ticks: TickMeter) -> None:
        """Serve the page; raise OSError when the port is taken."""
        self._registry.register(ticks)
        self._server, self._thread = start_http_server(port, host, self._registry)

    def close(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(5.0)  # type: ignore[union-attr]
            self._server = self._thread = None
