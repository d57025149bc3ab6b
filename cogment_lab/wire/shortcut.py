"""The short way between two processes of one machine: a Unix socket that carries a stream's frames.

A message over gRPC costs several rounds of two event loops and a thread each; over a socket it costs one.
So when both ends of a ``RunTrial`` stream are ours and the caller is on this machine, the stream begins as a
gRPC call and goes on over a socket:

1. The caller names :data:`~cogment_lab.wire.stream.BUNDLES` and :data:`SHORTCUT` in its metadata.
2. The server answers with the path of a socket in its initial metadata. It lies in a folder that only this
   user may enter, serves one connection, and is removed at once.
3. Each side's first frame goes over gRPC. Then the caller connects, or says with an empty message that it
   cannot, and everything else goes the way it chose.

The call stays open beside the socket: its status is still why a trial was lost, its cancellation ends both.
Messages are bytes after their length, 4 bytes, little endian. ``COGMENT_LAB_SHORTCUT=0`` in the environment
of either end keeps everything on gRPC.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import stat
import tempfile
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc

from cogment_lab.wire.driven import Driven
from cogment_lab.wire.stream import BUNDLES, EOF, FrameStream, offers_bundles

__all__ = ["OFFERS", "SHORTCUT", "answer_offers", "settle"]

SHORTCUT = "cogment-lab-shortcut"
"""Metadata key: the caller's ``1``, the server's path."""

_LONGEST = 1 << 30
_MOST_WAITING = 256
_WRITE_BUFFER = 1 << 20
_CONNECT_S = 2.0
_REASON_S = 1.0
_CANNOT = b""


def _is_wanted() -> bool:
    return hasattr(socket, "AF_UNIX") and os.environ.get("COGMENT_LAB_SHORTCUT", "1") != "0"


OFFERS = (*BUNDLES, (SHORTCUT, "1")) if _is_wanted() else BUNDLES
"""Metadata with which a caller says all that it can do."""


class _Pipe(asyncio.Protocol):
    """One end of a connected socket, with the ``read()`` and ``write()`` of a call.

    Args:
        reason: Awaited when the socket is closed: returns ``EOF``, or raises why.
        connected: Called with this pipe once it can be used.
    """

    def __init__(
        self, reason: Callable[[], Awaitable[Any]], connected: Callable[[_Pipe], None] | None = None
    ) -> None:
        self._reason = reason
        self._connected = connected
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._messages: deque[bytes] = deque()
        self._arrival: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._closed = self._full = False
        self._gone: asyncio.Future[None] = self._loop.create_future()

    async def read(self) -> Any:
        """Return the next message, ``EOF`` at the end."""
        if not self._messages:
            if not self._closed:
                self._arrival = self._loop.create_future()
                try:
                    await self._arrival
                finally:
                    self._arrival = None
            if not self._messages:
                return await self._end()
        message = self._messages.popleft()
        if self._full and not self._messages:
            self._full = False
            if self._transport is not None:
                self._transport.resume_reading()
        return message

    async def _end(self) -> Any:
        reason = asyncio.ensure_future(self._reason())
        try:
            # asyncio.timeout() needs a task, and a reader may be none
            await asyncio.wait((reason,), timeout=_REASON_S)
        finally:
            if not reason.done():
                reason.cancel()
        if reason.done():
            reason.result()
        return EOF

    async def write(self, message: bytes) -> None:
        """Send ``message``; wait while the peer is a megabyte behind."""
        if self._closed or self._transport is None:
            raise ConnectionResetError("the peer closed its socket")
        self._transport.write(len(message).to_bytes(4, "little") + message)
        while self._room is not None:
            await asyncio.wait((self._room,))

    def begin_to_close(self) -> None:
        """Send what is on its way, then close."""
        if self._transport is not None:
            self._transport.close()

    async def close(self) -> None:
        """Close, and wait until that is done."""
        self.begin_to_close()
        if not self._closed:
            await asyncio.wait((self._gone,), timeout=_REASON_S)

    # what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        self._transport = transport
        if self._connected is not None:
            self._connected(self)

    def data_received(self, data: bytes) -> None:
        """Cut what arrived into messages."""
        buffer = self._buffer
        if not buffer and len(data) >= 4 and len(data) - 4 == int.from_bytes(data[:4], "little"):
            self._messages.append(data[4:])
        else:
            buffer += data
            begin = 0
            while len(buffer) - begin >= 4:
                size = int.from_bytes(buffer[begin : begin + 4], "little")
                if size > _LONGEST and self._transport is not None:
                    self._transport.abort()
                    return
                end = begin + 4 + size
                if end > len(buffer):
                    break
                self._messages.append(bytes(buffer[begin + 4 : end]))
                begin = end
            del buffer[:begin]
        if self._messages:
            self._wake()
        if len(self._messages) > _MOST_WAITING and not self._full and self._transport is not None:
            self._full = True
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """Make writers wait."""
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let writers go on."""
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """Note the end."""
        self._closed = True
        self._gone.set_result(None)
        self.resume_writing()
        self._wake()

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)


class _Offer:
    """The server's end of a stream whose caller may take the shortcut: a call that is not settled yet."""

    def __init__(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self._context = context
        self._loop = asyncio.get_running_loop()
        folder = tempfile.mkdtemp(prefix="cogment-lab-")
        self.path = str(Path(folder) / "stream")
        self._remove_folder = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._listener: socket.socket | None = None
        self._connecting: asyncio.Task[Any] | None = None
        self._began = self._wrote = False
        self._rest: asyncio.Future[Any] = self._loop.create_future()
        self._reader: Driven[None] | None = None
        self._way: Any = None  # what carries the frames, once that is settled
        self._settled = asyncio.Event()

    def open(self) -> None:
        """Listen; raise OSError where that cannot be done."""
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(self.path)
            listener.listen(1)
        except OSError:
            listener.close()
            self._remove_folder()
            raise
        listener.setblocking(False)
        self._listener = listener
        self._loop.add_reader(listener, self._accept)
        self._context.add_done_callback(lambda _: self._close())  # type: ignore[arg-type]

    async def read(self) -> Any:
        """Return the next message: the first one of the call, then those of the way that was chosen."""
        if not self._began:
            self._began = True
            data = await self._context.read()
            self._reader = Driven(self._read_rest(), lambda _: None)
            return data
        await self._settled.wait()
        if self._way is self:
            self._way = self._context
            message = await asyncio.shield(self._rest)
            return await self._context.read() if message is not EOF and message == _CANNOT else message
        return await self._way.read()

    async def write(self, message: bytes) -> None:
        """Send a message: the first one over the call, the others as was chosen."""
        if not self._wrote:
            self._wrote = True
            await self._context.write(message)
            return
        await self._settled.wait()
        way = self._context if self._way is self else self._way
        await way.write(message)

    async def _read_rest(self) -> None:
        """Keep what the call brings after its first message: a choice, or the end."""
        try:
            message = await self._context.read()
        except BaseException as error:
            self._rest.set_exception(error)
            self._rest.exception()  # it is not an error of its own when nobody asks
        else:
            self._rest.set_result(message)
        if not self._settled.is_set():
            self._settle(self)

    def _accept(self) -> None:
        """Take the connection that waits; asyncio's own server minds being closed meanwhile."""
        assert self._listener is not None
        try:
            connection, _ = self._listener.accept()
        except OSError:  # whoever it was is gone again
            return
        self._stop_listening()
        connecting = self._loop.connect_accepted_socket(
            lambda: _Pipe(lambda: asyncio.shield(self._rest), self._connected), connection
        )
        self._connecting = self._loop.create_task(connecting)

    def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            self._loop.remove_reader(listener)
            listener.close()
        self._remove_folder()

    def _connected(self, pipe: _Pipe) -> None:
        if self._settled.is_set():  # the call was quicker, or somebody else came
            pipe.begin_to_close()
        else:
            self._settle(pipe)

    def _settle(self, way: Any) -> None:
        self._way = way
        self._settled.set()
        self._stop_listening()

    def _close(self) -> None:
        if not self._settled.is_set():
            self._settle(self)
        if isinstance(self._way, _Pipe):
            self._way.begin_to_close()


async def answer_offers(context: grpc.aio.ServicerContext[Any, Any]) -> tuple[Any, bool]:
    """Answer a caller's offers before the first reply.

    Returns:
        What its frames are read from and written to, and whether they travel in bundles.
    """
    metadata = context.invocation_metadata()
    if not offers_bundles(metadata):
        return context, False
    offer = _make_offer(context) if any(key == SHORTCUT for key, _ in metadata or ()) else None
    if offer is None:
        await context.send_initial_metadata(BUNDLES)
        return context, True
    await context.send_initial_metadata((*BUNDLES, (SHORTCUT, offer.path)))
    return offer, True


def _make_offer(context: grpc.aio.ServicerContext[Any, Any]) -> _Offer | None:
    is_near = context.peer().startswith(("ipv4:127.", "ipv6:%5B::1%5D", "ipv6:[::1]", "unix:"))
    is_encrypted = b"ssl" in (context.auth_context().get("transport_security_type") or ())
    if not (_is_wanted() and is_near) or is_encrypted:  # who asked for TLS gets it
        return None
    try:
        offer = _Offer(context)
        offer.open()
    except OSError:  # no room for temporary files, or a path too long for a socket
        return None
    return offer


async def settle(call: Any, stream: FrameStream[Any, Any]) -> None:
    """Take what the server of ``call`` answered to :data:`OFFERS`, once its first frame has come."""
    metadata = tuple(await call.initial_metadata() or ())
    stream.bundled = offers_bundles(metadata)
    path = next((str(value) for key, value in metadata if key == SHORTCUT), None)
    if path is None:
        return

    async def reason() -> Any:
        return EOF if call.cancelled() else await call.read()

    pipe = _Pipe(reason)
    try:
        if not _is_ours(path):
            raise PermissionError(f"{path} is not this user's socket")
        async with asyncio.timeout(_CONNECT_S):
            await asyncio.get_running_loop().create_unix_connection(lambda: pipe, path)
    except (OSError, TimeoutError):  # in a container of its own, say
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # over: reading finds out
            await call.write(_CANNOT)
        return
    call.add_done_callback(lambda call: pipe.begin_to_close() if call.cancelled() else None)
    stream.reroute(pipe)


def _is_ours(path: str) -> bool:
    """Return whether a server may send us there: a socket of this user, made for a stream."""
    found = Path(path)
    status = found.stat()
    return (
        found.parent.name.startswith("cogment-lab-")
        and stat.S_ISSOCK(status.st_mode)
        and status.st_uid == os.getuid()
    )
