"""Serving an own page instead of ours, by the socket of Cogment Lab 0.1.5.

The page gets ``{"observation", "image"}`` (a PNG data URL) for each tick on ``/ws`` and sends the name of a
key, or a JSON object that is the action.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse
from PIL import Image

from cogment_lab.core import CogmentActor
from cogment_lab.errors import PortInUseError

__all__ = ["serve_page"]


class _PageActor(CogmentActor[Any, Any]):
    """Plays what the page last said.

    Args:
        keys: From key to action.
        fps: Ticks per second; 0 waits for a key.
    """

    def __init__(self, keys: Mapping[str, Any], fps: float) -> None:
        super().__init__(keys, fps)
        self._keys = keys
        self._seconds = 1.0 / fps if fps > 0 else None
        self._said = next(iter(keys), "no-op")
        self._heard = asyncio.Event()
        self._pages: set[WebSocket] = set()

    async def act(self, observation: Any, rendered_frame: Any = None) -> Any:
        """Send the observation, wait a tick, and return what the page said last."""
        await self._show(observation, rendered_frame)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                await self._heard.wait()
        self._heard.clear()
        said = self._said
        return json.loads(said) if said.startswith("{") else self._keys.get(said, self._keys.get("no-op"))

    async def on_ending(self, observation: Any, rendered_frame: Any) -> None:
        """Send the last observation."""
        await self._show(observation, rendered_frame)

    async def listen(self, page: WebSocket) -> None:
        """Hear one page until it closes."""
        await page.accept()
        self._pages.add(page)
        try:
            while True:
                self._said = await page.receive_text()
                self._heard.set()
        except WebSocketDisconnect:
            self._said = next(iter(self._keys), "no-op")
        finally:
            self._pages.discard(page)

    async def _show(self, observation: Any, frame: Any) -> None:
        message = {"observation": _plain(observation), "image": None if frame is None else _data_url(frame)}
        for page in list(self._pages):
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                await page.send_json(message)


@contextlib.asynccontextmanager
async def serve_page(
    page: str, port: int, keys: Mapping[str, Any], fps: float
) -> AsyncIterator[CogmentActor[Any, Any]]:
    """Serve ``page`` on loopback; yield the actor that it plays.

    Raises:
        PortInUseError: something else listens on ``port``.
    """
    try:
        listener = socket.create_server(("127.0.0.1", port))  # from now on connections wait, none is refused
    except OSError as error:
        raise PortInUseError(
            f"the page cannot have port {port}: {error.strerror}; choose another one"
        ) from None
    actor = _PageActor(keys, fps)
    app = FastAPI()

    @app.get("/", response_class=HTMLResponse)
    async def index() -> str:
        return page

    @app.websocket("/ws")
    async def play(websocket: WebSocket) -> None:
        await actor.listen(websocket)

    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield actor
    finally:
        server.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)


def _data_url(frame: Any) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(frame)).save(buffer, format="PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
