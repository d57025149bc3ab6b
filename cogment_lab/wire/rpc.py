"""Calling and serving Cogment's rpcs: stubs and handlers made from the service descriptors of the pool.

No code is generated for services: a method's path, its message classes and whether it streams are in the
descriptors. Official components keep grpc's 4 MiB limit on what they receive; ours lift it on both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf import message_factory

from cogment_lab.wire.pool import POOL

__all__ = ["CHANNEL_OPTIONS", "SERVER_OPTIONS", "Stub", "handler"]

_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

CHANNEL_OPTIONS: list[tuple[str, Any]] = [
    *_UNLIMITED,
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.use_local_subchannel_pool", 1),
]
"""For every channel: no message limit, a ping each 30 s that notices a peer whose machine is gone."""

SERVER_OPTIONS: list[tuple[str, Any]] = [
    *_UNLIMITED,
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
]
"""For every server: no message limit, and one server per port (a taken port is an error, not a lottery)."""

_KINDS = {
    (False, False): "unary_unary",
    (False, True): "unary_stream",
    (True, False): "stream_unary",
    (True, True): "stream_stream",
}
_RAW_STREAMS = {"RunTrial", "RunTrialDatalog", "RetrieveSamples"}
"""Rpcs whose messages the caller parses: they may be bundles (:mod:`cogment_lab.wire.stream`)."""


def _codec(method: Any) -> tuple[str, Any, Any]:
    kind = _KINDS[method.client_streaming, method.server_streaming]
    request = message_factory.GetMessageClass(method.input_type)
    reply = message_factory.GetMessageClass(method.output_type)
    return kind, request, reply


class Stub:
    """The rpcs of one service on a channel: ``Stub(channel, "cogmentAPI.DirectorySP").Inquire(request)``.

    Requests and replies are messages, but bytes in the replies and streamed requests of ``RunTrial``,
    ``RunTrialDatalog`` and ``RetrieveSamples``.

    Args:
        channel: A ``grpc.aio`` channel.
        service: Full name of the service, ``cogmentAPI.TrialLifecycleSP`` say.
    """

    def __init__(self, channel: grpc.aio.Channel, service: str) -> None:
        for method in POOL.FindServiceByName(service).methods:
            kind, request, reply = _codec(method)
            raw_reply = method.name in _RAW_STREAMS
            raw_request = raw_reply and method.client_streaming
            call = getattr(channel, kind)(
                f"/{service}/{method.name}",
                request_serializer=None if raw_request else request.SerializeToString,
                response_deserializer=None if raw_reply else reply.FromString,
            )
            setattr(self, method.name, call)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise AttributeError(f"no rpc {name!r}")


def handler(service: str, servicer: object) -> grpc.GenericRpcHandler[Any, Any]:
    """Return the handler of ``service`` whose rpcs are the methods of the same names of ``servicer``.

    A method that ``servicer`` lacks answers UNIMPLEMENTED. The raw streams are those of :class:`Stub`.
    """
    handlers = {}
    for method in POOL.FindServiceByName(service).methods:
        implementation = getattr(servicer, method.name, None)
        if implementation is None:
            continue
        kind, request, reply = _codec(method)
        raw_reply = method.name in _RAW_STREAMS
        raw_request = raw_reply and method.client_streaming
        handlers[method.name] = getattr(grpc, f"{kind}_rpc_method_handler")(
            implementation,
            request_deserializer=None if raw_request else request.FromString,
            response_serializer=None if raw_reply else reply.SerializeToString,
        )
    generic: grpc.GenericRpcHandler[Any, Any] = grpc.method_handlers_generic_handler(service, handlers)
    return generic
