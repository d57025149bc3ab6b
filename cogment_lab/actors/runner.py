"""The process of an actor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cogment_lab.core import BaseActor
from cogment_lab.utils.serving import serve
from cogment_lab.wire.context import Context
from cogment_lab.wire.settings import LAB_SETTINGS

__all__ = ["serve_actor"]


async def serve_actor(
    announce: Callable[[int], None],
    actor_class: type[BaseActor],
    actor_args: tuple[Any, ...],
    actor_kwargs: dict[str, Any],
    actor_name: str,
    port: int,
) -> None:
    """Make an actor and serve it until cancelled.

    Args:
        announce: Called with the port once it is served.
        actor_class: What to make, from
        actor_args: these arguments, and
        actor_kwargs: these.
        actor_name: Name of the implementation.
        port: Port to serve; 0 takes a free one.
    """
    actor = actor_class(*actor_args, **actor_kwargs)
    context = Context(user_id="cogment_lab", cog_settings=LAB_SETTINGS)
    context.register_actor(impl=actor.impl, impl_name=actor_name, actor_classes=["player"])
    await serve(context, announce, port)
