"""Serving somebody who plays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cogment_lab.utils.serving import serve
from cogment_lab.wire.context import Context
from cogment_lab.wire.settings import LAB_SETTINGS

__all__ = ["serve_player"]


async def serve_player(actor: Any, name: str, port: int, announce: Callable[[int], None]) -> None:
    """Serve the actor ``name`` until cancelled; announce the port."""
    context = Context(user_id="cogment_lab", cog_settings=LAB_SETTINGS)
    context.register_actor(impl=actor.impl, impl_name=name, actor_classes=["player"])
    await serve(context, announce, port)
