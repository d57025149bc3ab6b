"""What an orchestrator is told: the official flags, and the deadlines that the official one lacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cogment_lab.services.tls import TlsFiles

__all__ = ["Deadlines", "OrchestratorSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long the orchestrator waits, in seconds.

    Attributes:
        hook: For each pre-trial hook.
        directory: For each question to the directory.
        join_frame: For the first frame of a client actor.
        env_init: For the environment's init_output.
        env_acknowledges: For the environment's LAST_ACK.
        actors_acknowledge: For the actors' LAST_ACK, all of them together.
        end: For components to finish their rpc after END, before it is cancelled.
        soft_end: For a soft termination to take effect before it becomes a hard one; 0 waits for ever.
    """

    hook: float = 30.0
    directory: float = 10.0
    join_frame: float = 30.0
    env_init: float = 300.0
    env_acknowledges: float = 60.0
    actors_acknowledge: float = 30.0
    end: float = 5.0
    soft_end: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OrchestratorSettings(TlsFiles):
    """The settings of one orchestrator (protocol section 13.1).

    Attributes:
        lifecycle_port: Port of ``TrialLifecycleSP``; 0 takes a free one.
        actor_port: Port of ``ClientActorSP``; the same number, or 0 beside a 0, means one server for both.
        actor_web_port: Port on which browsers reach what the actor port serves, by grpc-web over HTTP and
            WebSocket; ``None`` serves none, 0 takes a free one. With TLS, our certificate has to be valid for
            ``localhost``, or for ``host`` where that is neither loopback nor every address.
        actor_web_origins: Pages of these origins (``https://example.org``) may use it, besides those of this
            machine; ``*`` is all of them.
        host: Address to listen on.
        params: YAML file with the default trial parameters.
        pre_trial_hooks: Endpoints that complete the parameters of a trial, in order.
        status_file: File or FIFO to which ``I``, ``R`` and ``T`` are written.
        prometheus_port: Port of the metrics page; ``None`` serves none, 0 takes a free one.
        directory_endpoint: ``grpc://host:port`` of the directory; empty for the one inside (next).
        own_directory: Whether to be a directory too, on the lifecycle port, where no other is named.
        directory_authentication_token: Whose records are seen and made.
        directory_auto_register: Whether to register there.
        directory_registration_host: Host to register; empty finds our own address.
        directory_registration_properties: More properties to register.
        max_inactivity: Default for trials whose parameters name none, seconds; 0 is unlimited.
        gc_frequency: The official orchestrator looks for inactive trials, and forgets ended ones, at every
            n-th start of a trial; ours has timers, and logs that this has no effect.
        ended_trials: How many ended trials stay visible.
        watcher_queue: How many state changes wait for a slow watcher before it is dropped.
        reflection: Whether clients may ask for the schema.
        deadlines: How long to wait for whom.
    """

    lifecycle_port: int = 9000
    actor_port: int = 9000
    actor_web_port: int | None = None
    actor_web_origins: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    params: Path | None = None
    pre_trial_hooks: tuple[str, ...] = ()
    status_file: Path | None = None
    prometheus_port: int | None = None
    directory_endpoint: str = ""
    own_directory: bool = True
    directory_authentication_token: str = ""
    directory_auto_register: bool = True
    directory_registration_host: str = ""
    directory_registration_properties: Mapping[str, str] = field(default_factory=dict)
    max_inactivity: int = 0
    gc_frequency: int | None = None
    ended_trials: int = 50
    watcher_queue: int = 10_000
    reflection: bool = True
    deadlines: Deadlines = field(default_factory=Deadlines)
