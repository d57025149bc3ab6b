"""What a context serves: the implementations that were registered, and which of them a trial gets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cogment_lab.errors import ServiceError

__all__ = ["Implementation", "choose_actor", "choose_environment"]


@dataclass(frozen=True, slots=True)
class Implementation:
    """User code that plays a part in trials.

    Attributes:
        run: Called with the session.
        name: Its name among those of its kind; empty for hooks and datalogs.
        actor_classes: Classes of the actors that it can be.
        properties: What is registered in the directory besides.
        statuses: What the service answers besides when it is asked for its status.
    """

    run: Callable[[Any], Awaitable[None]]
    name: str = ""
    actor_classes: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    statuses: Mapping[str, str] = field(default_factory=dict)


def choose_environment(implementations: Mapping[str, Implementation], name: str) -> Implementation:
    """Return the implementation of that name, the first one when ``name`` is empty.

    Raises:
        ServiceError: there is none.
    """
    if not name:
        return next(iter(implementations.values()))
    if name not in implementations:
        raise ServiceError(f"no environment implementation {name!r} here, only {sorted(implementations)}")
    return implementations[name]


def choose_actor(
    implementations: Mapping[str, Implementation], name: str, actor_class: str, *, lenient: bool = False
) -> Implementation:
    """Return the implementation of that name, or for no name the first one for ``actor_class``.

    Args:
        implementations: What is registered, by name.
        name: The wanted name; empty leaves the choice.
        actor_class: Class of the actor.
        lenient: Treat a name that is not registered like no name.

    Raises:
        ServiceError: there is none.
    """
    named = implementations.get(name)
    if named is not None:
        if actor_class not in named.actor_classes:
            raise ServiceError(f"actor implementation {name!r} is not for the class {actor_class!r}")
        return named
    if name and not lenient:
        raise ServiceError(f"no actor implementation {name!r} here, only {sorted(implementations)}")
    for implementation in implementations.values():
        if actor_class in implementation.actor_classes:
            return implementation
    raise ServiceError(f"no actor implementation for the class {actor_class!r} here")
