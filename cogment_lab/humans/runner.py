"""People as actors of services: a web page in a process of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from cogment_lab.humans.page_override import serve_page
from cogment_lab.humans.player import HumanPlayer
from cogment_lab.humans.service import serve_player
from cogment_lab.humans.web import WebUI

__all__ = ["serve_web_ui"]


async def serve_web_ui(
    announce: Callable[[int], None],
    app_port: int,
    cogment_port: int,
    keys: Mapping[str, Any],
    fps: float,
    page: str | None,
    token: str,
) -> None:
    """Serve the page and its actor until cancelled.

    Args:
        announce: Called with the actor's port.
        app_port: Port of the page.
        cogment_port: Port of the actor.
        keys: From key to action.
        fps: Ticks per second; 0 waits for a key.
        page: HTML to serve instead of our page; it speaks 0.1.5's socket.
        token: What a browser must show.
    """
    async with contextlib.AsyncExitStack() as stack:
        if page is not None:
            actor: Any = await stack.enter_async_context(serve_page(page, app_port, token, keys, fps))
        else:
            ui = stack.enter_context(WebUI(port=app_port, token=token))
            actor = HumanPlayer(lambda keymap: ui.seat("player", keymap=keymap), keys, fps)
            ui.seat("player")  # the page waits there for the first trial
        await serve_player(actor, "web_ui", cogment_port, announce)
