"""A two-way stream of Cogment frames over one ``grpc.aio`` call, plain or in bundles.

Official peers send one frame in each gRPC message. Between two of our own components, several frames that
belong together (the rewards of a tick and its observation, a batch of samples) travel in one message, because
a message costs far more than a frame: the caller names :data:`BUNDLES` in its metadata, the server answers
with the same key in its initial metadata, and everything after each side's first frame is a bundle. The
encoding of a bundle is a repeated field: a tag and a length before each encoded frame.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

import grpc

from cogment_lab.errors import ServiceError
from cogment_lab.wire.calls import UNTOLD
from cogment_lab.wire.driven import Driven
from cogment_lab.wire.generated.bundle_pb2 import ActorInputs, ActorOutputs, EnvInputs, EnvOutputs
from cogment_lab.wire.generated.common_pb2 import ActorRunTrialInput, ActorRunTrialOutput
from cogment_lab.wire.generated.environment_pb2 import EnvRunTrialInput, EnvRunTrialOutput

__all__ = [
    "BUNDLES",
    "EOF",
    "FrameStream",
    "PeerLost",
    "PeerStalled",
    "actor_side",
    "agree_to_bundles",
    "bundle",
    "env_side",
    "offers_bundles",
    "orchestrator_side_of_actor",
    "orchestrator_side_of_env",
]

BUNDLES = (("cogment-lab-bundles", "1"),)
"""Metadata with which a side says that it reads bundles."""

EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs lack it
"""What reading a call gives at its end."""

_MOST_WAITING = 10_000
_FAILURE_S = 1.0
_LOCALLY_CANCELLED = "Locally cancelled by application!"  # gRPC's word

In = TypeVar("In")
Out = TypeVar("Out")


class PeerLost(ServiceError):
    """The other end of a stream closed it, died, or does not read what it is sent."""


class PeerStalled(PeerLost):
    """The other end of a stream does not read what it is sent; the stream itself lives."""


def offers_bundles(metadata: Iterable[tuple[str, str | bytes]] | None) -> bool:
    """Return whether ``metadata`` (of an invocation, or initial metadata) holds :data:`BUNDLES`."""
    return any(key == BUNDLES[0][0] for key, _ in metadata or ())


async def agree_to_bundles(context: grpc.aio.ServicerContext[Any, Any]) -> bool:
    """Answer a caller's offer, before the first reply; return whether there was one."""
    if not offers_bundles(context.invocation_metadata()):
        return False
    await context.send_initial_metadata(BUNDLES)
    return True


def bundle(frames: Iterable[bytes]) -> bytes:
    """Return the message that holds the encoded ``frames`` in its repeated field 1."""
    parts: list[bytes] = []
    for frame in frames:
        size = len(frame)
        head = bytearray(b"\x0a")
        while size > 0x7F:
            head.append(size & 0x7F | 0x80)
            size >>= 7
        head.append(size)
        parts += (bytes(head), frame)
    return b"".join(parts)


class _Verdict:
    """How the other end of a client's call ended it, noted as it arrives.

    A write that fails in the same moment makes grpc.aio forget it (:data:`~cogment_lab.wire.calls.UNTOLD`).
    """

    def __init__(self, call: grpc.aio.Call) -> None:
        self.failure: grpc.aio.AioRpcError | None = None
        self.arrived = asyncio.Event()
        call.add_done_callback(self._note)

    def _note(self, call: grpc.aio.Call) -> None:
        if not self.arrived.is_set():
            Driven(self._ask(call), lambda _: None)

    async def _ask(self, call: grpc.aio.Call) -> None:
        code, details = await call.code(), await call.details()
        if details == UNTOLD:
            return
        if code is not grpc.StatusCode.OK and details != _LOCALLY_CANCELLED:
            nothing = grpc.aio.Metadata()
            self.failure = grpc.aio.AioRpcError(code, nothing, nothing, details or code.name, None)
        self.arrived.set()


class FrameStream(Generic[In, Out]):
    """Frames to and from one peer.

    One coroutine at a time may read. Several may write: while a write is under way the frames of others wait
    and are sent by it, so an idle stream costs no queue and no task.

    Args:
        call: The client's call or the server's context: it has ``read()`` and ``write(bytes)``.
        incoming: Message class of a received frame, and of its bundles.
        expects_init: Whether the first frame each way is still to come (it is never in a bundle).

    Attributes:
        bundled: Whether both ends agreed; set it once that is known.
        error: Why the stream ended, ``None`` while it lives and after a regular end.
    """

    def __init__(self, call: Any, incoming: tuple[Any, Any], *, expects_init: bool = True) -> None:
        self.bundled = False
        self.error: BaseException | None = None
        self._call = call
        self._verdict = _Verdict(call) if isinstance(call, grpc.aio.StreamStreamCall) else None
        self._detour: Any = None
        self._frame, self._bundle = incoming
        self._read_any = self._wrote_any = not expects_init
        self._waiting: list[Out] = []
        self._writing = False
        self._drained: asyncio.Event | None = None

    def reroute(self, detour: Any) -> None:
        """Read from and write to ``detour`` from now on; nothing may be on its way."""
        self._call = self._detour = detour

    async def close(self) -> None:
        """Close what the stream was rerouted to; the call is its owner's to end."""
        if self._detour is not None:
            await self._detour.close()

    async def failure(self) -> grpc.aio.AioRpcError | None:
        """Return how the server of a stream that is over failed; ``None`` if it said nothing in a second.

        Reading or writing can fail before its status has come, so that is waited for.
        """
        if self._verdict is None:
            return None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAILURE_S):
                await self._verdict.arrived.wait()
        return self._verdict.failure

    async def why(self, error: BaseException | None = None) -> str:
        """Return what the end of the stream is to be blamed on: the server's own words, if it failed.

        Args:
            error: What writing raised; ``None`` when reading found the end.
        """
        error = error or self.error
        if error is None:
            return "it closed its stream"
        failure = None if isinstance(error, PeerStalled) else await self.failure()
        return str(failure.details() if failure is not None else error)

    async def read(self) -> Sequence[In]:
        """Return the next frames; nothing when the peer closed the stream or is gone."""
        try:
            data = await self._call.read()
        except Exception as error:  # grpc has a dozen of them, some of them internal
            self.error = error
            return ()
        if data is EOF:
            return ()
        try:
            if self.bundled and self._read_any:
                frames: Sequence[In] = self._bundle.FromString(data).frames
                return frames
            self._read_any = True
            return (self._frame.FromString(data),)
        except Exception as error:  # protobuf's DecodeError
            self.error = error
            return ()

    def post(self, *frames: Out) -> bool:
        """Queue ``frames``; return whether nobody is writing, so that ``write()`` must be called.

        Raises:
            PeerStalled: the peer has not read ten thousand frames.
        """
        if len(self._waiting) + len(frames) > _MOST_WAITING:
            raise PeerStalled(f"the peer leaves {len(self._waiting)} frames unread")
        self._waiting.extend(frames)
        return not self._writing

    async def write(self, *frames: Out) -> None:
        """Send what is queued and ``frames``, in order and next to each other.

        Returns when they are on their way, or at once when another coroutine is writing and takes them along.

        Raises:
            PeerLost: the peer is gone. Why is the reader's to hear: the peer's last words may still be on
                their way when a write fails.
            PeerStalled: the peer has not read ten thousand frames.
        """
        if self._writing:
            self.post(*frames)
            return
        self._writing = True
        pending: Sequence[Out] = frames
        if self._waiting:
            pending, self._waiting = [*self._waiting, *frames], []
        try:
            while pending:
                encoded = [frame.SerializeToString() for frame in pending]  # type: ignore[attr-defined]
                if not self._wrote_any:
                    self._wrote_any = True
                    await self._call.write(encoded.pop(0))
                if self.bundled and encoded:
                    await self._call.write(bundle(encoded))
                else:
                    for data in encoded:
                        await self._call.write(data)
                pending, self._waiting = self._waiting, []
        except Exception as error:  # as in read()
            self.error = self.error or error  # a reader may have heard why
            raise PeerLost(f"the peer is gone: {error}") from error
        finally:
            self._writing = False
            if self._drained is not None:
                self._drained.set()
                self._drained = None

    async def drain(self) -> None:
        """Wait until nobody is writing: what was handed over is on its way, or the peer is lost."""
        while self._writing:
            if self._drained is None:
                self._drained = asyncio.Event()
            await self._drained.wait()


def actor_side(call: Any) -> FrameStream[ActorRunTrialInput, ActorRunTrialOutput]:
    """Return the actor's end of a ``RunTrial`` stream."""
    return FrameStream(call, (ActorRunTrialInput, ActorInputs))


def env_side(call: Any) -> FrameStream[EnvRunTrialInput, EnvRunTrialOutput]:
    """Return the environment's end of a ``RunTrial`` stream."""
    return FrameStream(call, (EnvRunTrialInput, EnvInputs))


def orchestrator_side_of_actor(call: Any) -> FrameStream[ActorRunTrialOutput, ActorRunTrialInput]:
    """Return the orchestrator's end of an actor's ``RunTrial`` stream."""
    return FrameStream(call, (ActorRunTrialOutput, ActorOutputs))


def orchestrator_side_of_env(call: Any) -> FrameStream[EnvRunTrialOutput, EnvRunTrialInput]:
    """Return the orchestrator's end of an environment's ``RunTrial`` stream."""
    return FrameStream(call, (EnvRunTrialOutput, EnvOutputs))
