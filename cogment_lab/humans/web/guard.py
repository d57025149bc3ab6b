"""What stands before every request: response headers, a limit on bodies, no writes from foreign pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard"]

_LARGEST_BODY = 1024 * 1024
_HARMLESS = frozenset({"GET", "HEAD"})


class _TooLargeError(Exception):
    pass


class Guard:
    """ASGI middleware.

    Args:
        app: What answers.
        allows_origin: Whether pages of that origin may write.
        headers: Added to each answer.
    """

    def __init__(
        self, app: ASGIApp, allows_origin: Callable[[str | None], bool], headers: Iterable[tuple[str, str]]
    ) -> None:
        self._app = app
        self._allows_origin = allows_origin
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"])
        started = False
        size = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                names = {name.lower() for name, _ in message.get("headers", ())}
                added = [header for header in self._headers if header[0] not in names]
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        async def receive_within_limit() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > _LARGEST_BODY:
                raise _TooLargeError
            return message

        origin = given.get(b"origin")
        if scope["method"] not in _HARMLESS and not self._allows_origin(origin and origin.decode("latin-1")):
            await _refuse(send_with_headers, 403, "this origin is not allowed")
            return
        length = given.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > _LARGEST_BODY:
            await _refuse(send_with_headers, 413, f"at most {_LARGEST_BODY} bytes, please")
            return
        try:
            await self._app(scope, receive_within_limit, send_with_headers)
        except _TooLargeError:
            if not started:
                await _refuse(send_with_headers, 413, f"at most {_LARGEST_BODY} bytes, please")


async def _refuse(send: Send, status: int, why: str) -> None:
    body = json.dumps({"error": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
