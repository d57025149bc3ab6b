"""Unary calls with a deadline, whose failures are this package's errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc

from cogment_lab.errors import ServiceError, ServiceTimeoutError, ServiceUnreachableError

__all__ = ["UNTOLD", "Metadata", "answer", "call_error"]

UNTOLD = "Internal error from Core"
"""gRPC's own word on a message it could not send: no peer said it, and what a peer said may replace it."""

Metadata = Sequence[tuple[str, str | bytes]]


def call_error(what: str, error: grpc.aio.AioRpcError) -> ServiceError:
    """Return the error that tells a user what a failed call means.

    Args:
        what: What was asked, ``start a trial`` say.
        error: How it failed.
    """
    details = error.details() or error.code().name
    if error.code() is grpc.StatusCode.UNAVAILABLE or details == UNTOLD:
        return ServiceUnreachableError(f"cannot {what}: nothing answers: {details}")
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return ServiceTimeoutError(f"cannot {what}: no answer in time")
    return ServiceError(f"cannot {what}: {error.code().name}: {details}")


async def answer(rpc: Any, request: Any, what: str, *, metadata: Metadata = (), timeout: float = 30.0) -> Any:
    """Return the reply of a unary rpc.

    Args:
        rpc: The method of a stub.
        request: Its message.
        what: What is asked, for the error's text.
        metadata: Sent along.
        timeout: Seconds to wait.

    Raises:
        ServiceUnreachableError: nothing answers there.
        ServiceTimeoutError: no answer in time.
        ServiceError: the service refuses.
    """
    try:
        return await rpc(request, metadata=tuple(metadata), timeout=timeout)
    except grpc.aio.AioRpcError as error:
        raise call_error(what, error) from error
