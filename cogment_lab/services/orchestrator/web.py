"""The orchestrator for browsers: grpc-web over HTTP and over WebSocket (protocol section 12a).

Every call goes on to the orchestrator's port for actors, as with the official one. HTTP carries one request
and a stream of replies; calls that stream both ways, as an actor's ``RunTrial``, need the WebSocket.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from cogment_lab._version import __version__
from cogment_lab.errors import ProtocolError
from cogment_lab.services.orchestrator.grpc_web import (
    Deframer,
    data_frame,
    decode_text,
    grpc_metadata,
    header_block,
    lines_frame,
    parse_lines,
    timeout_of,
)

__all__ = ["make_web_app"]

_SUBPROTOCOL = "grpc-websockets"
_THIS_MACHINE = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"
_LARGEST = 64 << 20
_HEADERS_SECONDS = 10.0
_TYPES = re.compile(r"application/grpc-web(-text)?(\+proto)?(;.*)?")
_END_OF_SENDING = 1
_REFUSED, _WRONG, _TOO_LATE = 1008, 1002, 1008
_PATH = "/{service}/{method}"


def make_web_app(channel: grpc.aio.Channel, origins: Sequence[str]) -> Starlette:
    """Return the application.

    Args:
        channel: To the port for actors.
        origins: Pages of these origins may use it, besides those of this machine; ``*`` is all of them.
    """
    bridge = _Bridge(channel, origins)
    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_origin_regex=_THIS_MACHINE,
        allow_methods=["POST"],
        allow_headers=["*"],
        expose_headers=["*"],
    )
    routes = [
        Route(_PATH, bridge.over_http, methods=["POST"]),
        WebSocketRoute(_PATH, bridge.over_websocket),
        Route("/{path:path}", _banner),
    ]
    return Starlette(routes=routes, middleware=[cors])


async def _banner(request: Request) -> Response:
    return JSONResponse({"message": "This is the Cogment grpc-web proxy", "version": __version__})


class _Bridge:
    def __init__(self, channel: grpc.aio.Channel, origins: Sequence[str]) -> None:
        self._channel = channel
        self._origins = origins

    async def over_http(self, request: Request) -> Response:
        """Make a call of one request, and stream its replies."""
        kind = _TYPES.fullmatch(request.headers.get("content-type", ""))
        if kind is None:
            return JSONResponse({"message": "the content type is none of grpc-web"}, 415)
        if not self._is_welcome(request.headers.get("origin")):
            return JSONResponse({"message": "pages of this origin are not let in"}, 403)
        headers = request.headers.items()
        try:
            body = await _read(request)
            deframer = Deframer(_LARGEST)
            messages = list(deframer.feed(decode_text(body) if kind[1] else body))
            deframer.end()
            call = self._call(request.url.path, headers)
        except ProtocolError as error:
            return JSONResponse({"message": str(error)}, 400)
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            for message in messages:
                await call.write(message)
            await call.done_writing()
        replies = _replies(call, bool(kind[1]))
        told = {name: _header(value) for name, value in await call.initial_metadata() or ()}
        return StreamingResponse(replies, 200, told, media_type=kind[0])

    async def over_websocket(self, websocket: WebSocket) -> None:
        """Make a call that streams both ways."""
        offered = websocket.scope.get("subprotocols", ())
        if _SUBPROTOCOL not in offered or not self._is_welcome(websocket.headers.get("origin")):
            await websocket.close(_REFUSED)  # before it is accepted: 403
            return
        await websocket.accept(_SUBPROTOCOL)
        with contextlib.suppress(WebSocketDisconnect):
            try:
                async with asyncio.timeout(_HEADERS_SECONDS):
                    headers = parse_lines(await _receive(websocket))
                call = self._call(websocket.url.path, headers)
            except TimeoutError:
                await websocket.close(_TOO_LATE, "no headers came")
                return
            except ProtocolError as error:
                await websocket.close(_WRONG, str(error)[:120])
                return
            await _carry(call, websocket)

    def _is_welcome(self, origin: str | None) -> bool:
        """Return whether a page may call; programs that are no browsers name no origin."""
        if origin is None or "*" in self._origins or origin in self._origins:
            return True
        return re.fullmatch(_THIS_MACHINE, origin) is not None

    def _call(self, path: str, headers: Sequence[tuple[str, str]]) -> Any:
        rpc: Any = self._channel.stream_stream(path, None, None)  # every kind of call, and bytes both ways
        return rpc(metadata=grpc_metadata(headers), timeout=timeout_of(headers))


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > 2 * _LARGEST:  # text is longer than what is in it
            raise ProtocolError(f"the request is larger than {_LARGEST} bytes")
    return bytes(body)


async def _replies(call: Any, is_text: bool) -> AsyncIterator[bytes]:
    def encoded(frame: bytes) -> bytes:
        return base64.b64encode(frame) if is_text else frame

    try:
        with contextlib.suppress(grpc.aio.AioRpcError):  # its status is in the trailers
            async for message in call:
                yield encoded(data_frame(message))
        yield encoded(lines_frame(await _trailers(call)))
    finally:
        call.cancel()


async def _trailers(call: Any) -> bytes:
    code: grpc.StatusCode = await call.code()
    return header_block(await call.trailing_metadata() or (), code.value[0], await call.details() or "")


async def _receive(websocket: WebSocket) -> bytes:
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    if not message.get("bytes"):
        raise ProtocolError("a message without bytes")
    return bytes(message["bytes"])


async def _carry(call: Any, websocket: WebSocket) -> None:
    """Carry messages both ways until the call or the connection ends."""
    sending = asyncio.create_task(_pass_on(call, websocket))
    try:
        metadata = (*(await call.initial_metadata() or ()), ("content-type", "application/grpc-web+proto"))
        await websocket.send_bytes(lines_frame(header_block(metadata)))
        with contextlib.suppress(grpc.aio.AioRpcError):  # its status is in the trailers
            async for message in call:
                await websocket.send_bytes(data_frame(message))
        await websocket.send_bytes(lines_frame(await _trailers(call)))
        await websocket.close()
    except asyncio.CancelledError:
        if not sending.done():  # we are cancelled, not the call
            raise
        if sending.exception() is None:
            return
        with contextlib.suppress(RuntimeError):  # it is closed already
            await websocket.close(_WRONG, str(sending.exception())[:120])
    finally:
        sending.cancel()
        call.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def _pass_on(call: Any, websocket: WebSocket) -> None:
    """Send the call what the client sends; end the call when the client breaks a rule or is gone."""
    deframer = Deframer(_LARGEST)
    try:
        while True:
            piece = await _receive(websocket)
            if piece[0] == _END_OF_SENDING:
                deframer.end()
                await call.done_writing()
                continue
            for message in deframer.feed(piece[1:]):
                await call.write(message)
    except (WebSocketDisconnect, ProtocolError):
        call.cancel()
        raise
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        return  # the call is over: its status says why


def _header(value: str | bytes) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
