"""TLS for a connection that one thread reads while others write to it."""

from __future__ import annotations

import selectors
import ssl
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Self, TypeVar

__all__ = ["shared_tls_context"]

T = TypeVar("T")

_LOOK_AGAIN_S = 0.1


class _SharedSocket(ssl.SSLSocket):
    """A socket whose TLS session is in one thread's hands at a time, and in nobody's while that one waits.

    OpenSSL's sessions must not be used by two threads at once. websockets' threads do so all the same: one is
    in ``recv()`` for good while others send. That loses messages, or blocks the writer until something comes;
    and closing does not wake a reader that waits for the rest of a record.
    """

    _turn: threading.Lock

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        made = super().__new__(cls, *args, **kwargs)
        made._turn = threading.Lock()
        return made

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Return up to ``buflen`` bytes; wait for the first."""
        return self._in_turn(partial(super().recv, buflen, flags))

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all of ``data``."""
        with memoryview(data) as view, view.cast("B") as left:
            sent = 0
            while sent < len(left):
                sent += self._in_turn(partial(super().send, left[sent:], flags))

    def _in_turn(self, act: Callable[[], T]) -> T:
        while True:
            with self._turn:
                if self.gettimeout() != 0.0:
                    self.setblocking(False)
                try:
                    return act()
                except (ssl.SSLWantReadError, BlockingIOError):
                    awaited = selectors.EVENT_READ
                except ssl.SSLWantWriteError:
                    awaited = selectors.EVENT_WRITE
            with selectors.DefaultSelector() as selector:
                selector.register(self, awaited)  # raises ValueError once the socket is closed
                selector.select(_LOOK_AGAIN_S)  # a close wakes nobody


def shared_tls_context() -> ssl.SSLContext:
    """Return a client's default context, whose sockets may be read by one thread while others write."""
    context = ssl.create_default_context()
    context.sslsocket_class = _SharedSocket
    return context
