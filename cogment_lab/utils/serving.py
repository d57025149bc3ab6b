"""Serving what a context has registered, in a service's process or beside other code."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable

from cogment_lab.errors import PortInUseError
from cogment_lab.wire.context import Context
from cogment_lab.wire.endpoint import ServedEndpoint

__all__ = ["free_port", "serve"]

_LOG = logging.getLogger(__name__)


async def serve(context: Context, announce: Callable[[int], None], port: int) -> None:
    """Serve what is registered until cancelled, on a free port when that one is taken; announce the port."""
    try:
        if port and _is_free(port):
            with contextlib.suppress(PortInUseError):  # somebody was quicker
                await _serve(context, announce, port)
        if port:
            _LOG.info("port %d is taken; a free one is used", port)
        await _serve(context, announce, 0)
    finally:
        await context.close()


async def _serve(context: Context, announce: Callable[[int], None], port: int) -> None:
    serving = asyncio.create_task(context.serve_all_registered(ServedEndpoint(port=port)))
    try:
        while not context.served_port and not serving.done():
            await asyncio.sleep(0.005)
        if context.served_port:
            announce(context.served_port)
        await serving
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
