"""What a trial is told before it starts (protocol section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cogment_lab.errors import ConfigurationError

__all__ = ["ActorParameters", "TrialParameters"]

_DEFAULT_BUFFERED_TICKS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorParameters:
    """One slot of a trial.

    Attributes:
        name: Unique in the trial; no dots, no ``*`` (they are patterns of :mod:`cogment_lab.trial.routing`).
        actor_class: What the actor may do: ``player``, ``teacher``...
        implementation: Which of a service's implementations fills the slot; empty leaves the choice to it.
        endpoint: Where that service is; empty asks the directory.
        config: Serialized configuration message, ``None`` for none.
        initial_connection_timeout: Seconds to wait for the actor, 0 for ever.
        response_timeout: Seconds to wait for each action, 0 for ever.
        optional: The trial goes on without this actor.
        default_action: Serialized action used when the actor gives none; ``None`` for none.
    """

    name: str
    actor_class: str
    implementation: str = ""
    endpoint: str = ""
    config: bytes | None = None
    initial_connection_timeout: float = 0.0
    response_timeout: float = 0.0
    optional: bool = False
    default_action: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialParameters:
    """The whole of a trial: its environment, its actors, its limits.

    Attributes:
        actors: In order; an actor's place is its index in observation and action sets.
        environment_name: Receiver name of the environment.
        environment_implementation: Which of a service's implementations it is.
        environment_endpoint: Where that service is; empty asks the directory.
        environment_config: Serialized configuration message, ``None`` for none.
        properties: Stored with the trial, for finding it again.
        max_steps: Tick after whose actions the trial ends softly, 0 for no limit. As in Cogment,
            ``max_steps=M`` gives ``M + 1`` action sets (ticks 0 to M).
        max_inactivity: Seconds without observation or action after which the trial is ended, 0 for no limit.
        buffered_ticks: How many ticks a late reward may still be logged in place; 0 and 1 mean 2.

    Raises:
        ConfigurationError: no actor, an empty or duplicate or unroutable name, an empty class.
    """

    actors: tuple[ActorParameters, ...]
    environment_name: str = "env"
    environment_implementation: str = ""
    environment_endpoint: str = ""
    environment_config: bytes | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    max_steps: int = 0
    max_inactivity: float = 0.0
    buffered_ticks: int = _DEFAULT_BUFFERED_TICKS

    def __post_init__(self) -> None:
        if not self.actors:
            raise ConfigurationError("a trial needs at least one actor")
        if not self.environment_name:
            object.__setattr__(self, "environment_name", "env")
        if self.buffered_ticks < _DEFAULT_BUFFERED_TICKS:
            object.__setattr__(self, "buffered_ticks", _DEFAULT_BUFFERED_TICKS)
        if any(mark in self.environment_name for mark in ".*"):
            raise ConfigurationError(f"environment name {self.environment_name!r} holds '.' or '*'")
        taken = {self.environment_name}
        for actor in self.actors:
            if not actor.name or any(mark in actor.name for mark in ".*"):
                raise ConfigurationError(f"actor name {actor.name!r} is empty or holds '.' or '*'")
            if not actor.actor_class:
                raise ConfigurationError(f"actor {actor.name!r} has no class")
            if actor.name in taken:
                raise ConfigurationError(f"the name {actor.name!r} is used twice in one trial")
            taken.add(actor.name)
