"""What failed calls are called."""

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from cogment_lab.errors import ServiceError, ServiceTimeoutError, ServiceUnreachableError
from cogment_lab.wire.calls import call_error

CODE = grpc.StatusCode


@pytest.mark.parametrize(
    ("code", "details", "kind", "words"),
    [
        (CODE.UNAVAILABLE, "refused", ServiceUnreachableError, "cannot ask: nothing answers: refused"),
        (CODE.INTERNAL, "Internal error from Core", ServiceUnreachableError, "nothing answers"),
        (CODE.INTERNAL, "its own bug", ServiceError, "cannot ask: INTERNAL: its own bug"),
        (CODE.DEADLINE_EXCEEDED, "", ServiceTimeoutError, "cannot ask: no answer in time"),
    ],
)
def test_a_failed_call_says_what_it_means(
    code: grpc.StatusCode, details: str, kind: type[ServiceError], words: str
) -> None:
    error = call_error("ask", AioRpcError(code, Metadata(), Metadata(), details=details))
    assert type(error) is kind and words in str(error)
