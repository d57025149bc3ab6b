"""What sessions tell Prometheus, under the official SDK's names; each session is counted when it ends."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Counter, Gauge, Summary, start_http_server

from cogment_lab.errors import PortInUseError

__all__ = ["SessionMetrics", "metrics_page"]

_of_registry: WeakKeyDictionary[CollectorRegistry, SessionMetrics] = WeakKeyDictionary()

_BY_NAME = ["name", "impl_name"]
_BY_IMPLEMENTATION = ["impl_name"]


class SessionMetrics:
    """The metrics of all sessions that are counted in one registry (see :meth:`of`)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, labels: list[str]) -> Counter:
            return Counter(name, text, labels, registry=registry)

        self._actors_started = counter("actor_started", "Actors started", _BY_IMPLEMENTATION)
        self._actors_ended = counter("actor_ended", "Actors ended", _BY_IMPLEMENTATION)
        self._actor_messages = counter("actor_received_messages", "Messages received", _BY_NAME)
        self._rewards = counter("actor_rewards_count", "Rewards received", _BY_NAME)
        self._reward_sum = Gauge(
            "actor_reward_summation", "Sum of the rewards received", _BY_NAME, registry=registry
        )
        self._actor_seconds = Summary(
            "actor_decide_processing_seconds", "Duration of sessions", _BY_NAME, registry=registry
        )
        self._trials_started = counter("environment_trials_started", "Trials started", _BY_IMPLEMENTATION)
        self._trials_ended = counter("environment_trials_ended", "Trials ended", _BY_IMPLEMENTATION)
        self._received = counter("environment_received_messages", "Messages received", _BY_IMPLEMENTATION)
        self._sent = counter("environment_sent_messages", "Messages sent", _BY_IMPLEMENTATION)
        self._ticks = Summary(
            "environment_update_count_per_trial", "Ticks", _BY_IMPLEMENTATION, registry=registry
        )
        self._trial_seconds = Summary(
            "environment_trial_duration_in_second", "Duration of trials", ["trial_actor"], registry=registry
        )

    @classmethod
    def of(cls, registry: CollectorRegistry) -> SessionMetrics:
        """Return the metrics of a registry; contexts may share one."""
        if registry not in _of_registry:
            _of_registry[registry] = cls(registry)
        return _of_registry[registry]

    @contextlib.contextmanager
    def counted(self, session: Any) -> Iterator[None]:
        """Count a session of an actor or an environment."""
        start = time.monotonic()
        is_actor = hasattr(session, "actor_class")
        implementation = session.impl_name
        (self._actors_started if is_actor else self._trials_started).labels(implementation).inc()
        try:
            yield
        finally:
            seconds = time.monotonic() - start
            if is_actor:
                labels = (session.name, implementation)
                self._actors_ended.labels(implementation).inc()
                self._actor_messages.labels(*labels).inc(session._messages_received)
                self._rewards.labels(*labels).inc(session._rewards_received)
                self._reward_sum.labels(*labels).inc(session._reward_sum)
                self._actor_seconds.labels(*labels).observe(seconds)
            else:
                self._trials_ended.labels(implementation).inc()
                self._received.labels(implementation).inc(session._messages_received)
                self._sent.labels(implementation).inc(session._messages_sent)
                self._ticks.labels(implementation).observe(max(0, session.get_tick_id()))
                self._trial_seconds.labels(implementation).observe(seconds)


@contextlib.contextmanager
def metrics_page(registry: CollectorRegistry, port: int, host: str) -> Iterator[int]:
    """Serve a registry as a page; raise PortInUseError when the port is taken.

    Yields:
        The port of the page.
    """
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise PortInUseError(f"cannot serve metrics on {host}:{port}: {error.strerror}") from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5.0)
