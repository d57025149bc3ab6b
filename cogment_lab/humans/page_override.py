"""Serving an own page instead of ours, by the socket of Cogment Lab 0.1.5.

The page gets ``{"observation", "image"}`` (a PNG data URL) for each tick on ``/ws`` and sends the name of a
key, or a JSON object that is the action. Its link holds a token, which stays with the browser as a cookie,
since pages of 0.1.5 open their socket without one.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse
from PIL import Image

from cogment_lab.core import CogmentActor
from cogment_lab.errors import InvalidActionError, PortInUseError
from cogment_lab.humans.web.actions import parse_action
from cogment_lab.humans.web.guard import Guard
from cogment_lab.humans.web.page_config import PageConfig
from cogment_lab.humans.web.story import as_text

__all__ = ["plain", "serve_page"]

_LOG = logging.getLogger("cogment_lab.humans")
_LARGEST_MESSAGE = 64 * 1024
_LOOK_SECONDS = 0.5
_HEADERS = (("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"))
_NO_LINK = (
    "<!doctype html><title>Ask for a new link</title><h1>Ask for a new link</h1>"
    "<p>This one is not, or no longer, valid. The program that serves this page prints the link.</p>"
)


class _Reader:
    """One open page: it is sent the newest tick as soon as it can take it, and slows nobody."""

    def __init__(self, page: WebSocket) -> None:
        self._page = page
        self._newest: str | None = None
        self._changed = asyncio.Event()

    def show(self, message: str) -> None:
        self._newest = message
        self._changed.set()

    async def send(self) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # it left
            while True:
                await self._changed.wait()
                self._changed.clear()
                message, self._newest = self._newest, None
                if message is not None:
                    await self._page.send_text(message)


class _Pages:
    """All open pages, and what was said last.

    Args:
        rest: What is meant while nobody says anything.
    """

    def __init__(self, rest: str) -> None:
        self.said = self._rest = rest
        self.heard = asyncio.Event()
        self._speaker: WebSocket | None = None
        self._readers: set[_Reader] = set()

    async def listen(self, page: WebSocket) -> None:
        """Hear one page until it closes."""
        reader = _Reader(page)
        self._readers.add(reader)
        sending = asyncio.create_task(reader.send())
        try:
            while (message := await page.receive())["type"] != "websocket.disconnect":
                if (text := message.get("text")) is not None:
                    self.said, self._speaker = text, page
                    self.heard.set()
        finally:
            self._readers.discard(reader)
            sending.cancel()
            if self._speaker is page:
                self.said = self._rest

    def show(self, observation: Any, frame: Any) -> None:
        """Show all pages a tick."""
        if not self._readers:
            return
        image = None if frame is None else _data_url(frame)
        message = as_text({"observation": plain(observation), "image": image})
        for reader in self._readers:
            reader.show(message)


class _PageActor(CogmentActor[Any, Any]):
    """Plays what the pages last said; each trial is played by a copy of this.

    Args:
        pages: Who says it.
        keys: From key to action.
        rest: The key that stands for nothing said.
        fps: Ticks per second; 0 waits for a key.
    """

    def __init__(self, pages: _Pages, keys: Mapping[str, Any], rest: str, fps: float) -> None:
        super().__init__()
        self._pages = pages
        self._keys = keys
        self._rest = rest
        self._seconds = 1.0 / fps if fps > 0 else None
        self._due = 0.0

    async def act(self, observation: Any, rendered_frame: Any = None) -> Any:
        """Show the observation, wait a tick, and return what was said last."""
        pages = self._pages
        pages.show(observation, rendered_frame)
        if self._seconds is None:
            pages.heard.clear()
            while not pages.heard.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(pages.heard.wait(), _LOOK_SECONDS)
                if self.actor_session.is_trial_over():
                    return None
        else:
            now = time.monotonic()
            self._due = max(self._due + self._seconds, now)
            await asyncio.sleep(self._due - now)
        return self._meant(pages.said)

    def _meant(self, said: str) -> Any:
        rest = self._keys.get(self._rest)
        if not said.startswith("{"):
            return self._keys.get(said, rest)
        try:
            return parse_action(json.loads(said), self.action_space.gym_space)
        except (ValueError, RecursionError, InvalidActionError) as error:
            _LOG.warning("the page said no action: %s", error)
            return rest

    async def on_ending(self, observation: Any, rendered_frame: Any) -> None:
        """Show the last observation."""
        self._pages.show(observation, rendered_frame)


@contextlib.asynccontextmanager
async def serve_page(
    page: str, port: int, token: str, keys: Mapping[str, Any], fps: float
) -> AsyncIterator[CogmentActor[Any, Any]]:
    """Serve ``page`` on loopback to whoever has the token; yield the actor that it plays.

    Raises:
        PortInUseError: something else listens on ``port``.
    """
    try:
        listener = socket.create_server(("127.0.0.1", port))  # from now on connections wait, none is refused
    except OSError as error:
        raise PortInUseError(
            f"the page cannot have port {port}: {error.strerror}; choose another one"
        ) from None
    port = listener.getsockname()[1]
    rest = "no-op" if "no-op" in keys else next(iter(keys), "no-op")
    pages = _Pages(rest)
    served = uvicorn.Config(
        _make_app(page, PageConfig(Path(), token, "127.0.0.1", port), pages),
        log_level="warning",
        access_log=False,
        ws_max_size=_LARGEST_MESSAGE,
        ws_per_message_deflate=False,
    )
    server = uvicorn.Server(served)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield _PageActor(pages, keys, rest, fps)
    finally:
        server.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)


def _make_app(page: str, config: PageConfig, pages: _Pages) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, allows_origin=config.allows_origin, headers=_HEADERS)
    cookie = f"cogment_lab_{config.port}"  # cookies know no ports

    @app.get("/")
    async def index(request: Request, token: str = "") -> HTMLResponse:
        shown = token or request.cookies.get(cookie, "")
        if not config.allows_token(shown):
            return HTMLResponse(_NO_LINK, 401)
        answer = HTMLResponse(page)
        answer.set_cookie(cookie, shown, httponly=True, samesite="strict")
        return answer

    @app.websocket("/ws")
    async def play(websocket: WebSocket, token: str = "") -> None:
        await websocket.accept()
        if not config.allows_origin(websocket.headers.get("origin")):
            await websocket.close(4403, "this origin is not allowed")
        elif not config.allows_token(token or websocket.cookies.get(cookie, "")):
            await websocket.close(4401, "ask for a new link")
        else:
            await pages.listen(websocket)

    return app


def _data_url(frame: Any) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(frame)).save(buffer, format="PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def plain(value: Any) -> Any:
    """Return an observation as lists and numbers, as 0.1.5 hands it to pages and apps."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return [plain(part) for part in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
