"""Channels to endpoints, one per address and event loop, closed by whoever opened the pool."""

from __future__ import annotations

import grpc

from cogment_lab.wire.endpoint import Credentials
from cogment_lab.wire.rpc import CHANNEL_OPTIONS

__all__ = ["ChannelPool", "open_channel"]


class ChannelPool:
    """Shares one channel per target among all streams, as the official orchestrator does.

    Args:
        credentials: TLS material for every channel, ``None`` for channels in the clear.
    """

    def __init__(self, credentials: Credentials | None = None) -> None:
        self._credentials = credentials
        self._channels: dict[str, grpc.aio.Channel] = {}

    def get(self, target: str) -> grpc.aio.Channel:
        """Return the channel to ``target`` (``host:port``), opening it lazily."""
        channel = self._channels.get(target)
        if channel is None:
            channel = self._channels[target] = open_channel(target, self._credentials)
        return channel

    async def close(self) -> None:
        """Close every channel; calls in progress are cancelled."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close(None)


def open_channel(target: str, credentials: Credentials | None = None) -> grpc.aio.Channel:
    """Return a channel to ``target`` with our options, by TLS when there are credentials."""
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS)
    return grpc.aio.secure_channel(target, credentials.for_channel(), options=CHANNEL_OPTIONS)
