"""The orchestrator's end of a connection to an environment or an actor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import grpc

from cogment_lab.errors import ServiceError
from cogment_lab.wire.generated import common_pb2 as common
from cogment_lab.wire.generated.common_pb2 import ActorRunTrialInput, ActorRunTrialOutput
from cogment_lab.wire.generated.environment_pb2 import EnvRunTrialInput, EnvRunTrialOutput
from cogment_lab.wire.rpc import Stub
from cogment_lab.wire.shortcut import OFFERS, settle
from cogment_lab.wire.stream import (
    FrameStream,
    PeerLost,
    orchestrator_side_of_actor,
    orchestrator_side_of_env,
)

__all__ = ["ActorLink", "ComponentFailed", "EnvLink", "Link", "open_actor", "open_env"]

In = TypeVar("In", ActorRunTrialInput, EnvRunTrialInput)
Out = TypeVar("Out", ActorRunTrialOutput, EnvRunTrialOutput)


class ComponentFailed(ServiceError):
    """A component could not be reached, or does not keep to the protocol."""


class Link(Generic[In, Out]):
    """A component that is connected to a trial.

    Args:
        stream: Frames from and to it, the first one each way already exchanged.
        input_class: Class of the frames that it is sent.
        call: The rpc, when we are its client; ``None`` for a client actor, whose rpc is its own.

    Attributes:
        acknowledged: Set once it sent LAST_ACK, or is gone.
        gone: Whether the stream is over.
        closed: Set once END was sent, or the link was dropped.
    """

    def __init__(
        self, stream: FrameStream[Out, In], input_class: type[In], call: grpc.aio.Call | None = None
    ) -> None:
        self.acknowledged = asyncio.Event()
        self.closed = asyncio.Event()
        self.gone = False
        self._stream: FrameStream[Out, In] = stream
        self._input: type[In] = input_class
        self._call = call

    async def why(self, error: BaseException | None = None) -> str:
        """Return what its loss is to be blamed on; ``error`` is what writing raised, if that found it out."""
        return await self._stream.why(error)

    async def read(self) -> Any:
        """Return the next frames; nothing once the component is gone."""
        return await self._stream.read()

    async def write(self, *frames: In) -> None:
        """Send ``frames`` next to each other; raise PeerLost when the component is gone."""
        await self._stream.write(*frames)

    def post(self, *frames: In) -> bool:
        """Queue ``frames``; return whether :meth:`write` must be called to send them."""
        return self._stream.post(*frames)

    def lose(self) -> None:
        """Note that nothing more comes from here."""
        self.gone = True
        self.acknowledged.set()

    async def end(self, details: str = "") -> None:
        """Send END and half-close; a component that is gone is left alone."""
        if not self.gone:
            try:
                await self._stream.write(self._input(state=common.END, details=details or None))
                await self._stream.drain()  # another coroutine may be sending it
                if self._call is not None:
                    await self._call.done_writing()  # type: ignore[attr-defined]
            except (PeerLost, grpc.aio.UsageError, asyncio.InvalidStateError):
                self.lose()
        self.closed.set()

    def cancel(self) -> None:
        """Break the stream off."""
        self.lose()
        self.closed.set()
        if self._call is not None:
            self._call.cancel()


ActorLink = Link[ActorRunTrialInput, ActorRunTrialOutput]
EnvLink = Link[EnvRunTrialInput, EnvRunTrialOutput]


async def open_actor(stub: Stub, trial_id: str, init: ActorRunTrialInput) -> ActorLink:
    """Connect a service actor and wait for its ``init_output``; raise ComponentFailed."""
    call = stub.RunTrial(metadata=(("trial-id", trial_id), *OFFERS))
    stream = orchestrator_side_of_actor(call)
    await _open(call, stream, init, lambda: ActorRunTrialInput(state=common.HEARTBEAT))
    return Link(stream, ActorRunTrialInput, call)


async def open_env(stub: Stub, trial_id: str, init: EnvRunTrialInput) -> EnvLink:
    """Connect an environment and wait for its ``init_output``; raise ComponentFailed."""
    call = stub.RunTrial(metadata=(("trial-id", trial_id), *OFFERS))
    stream = orchestrator_side_of_env(call)
    await _open(call, stream, init, lambda: EnvRunTrialInput(state=common.HEARTBEAT))
    return Link(stream, EnvRunTrialInput, call)


async def _open(call: Any, stream: FrameStream[Any, Any], init: Any, heartbeat: Callable[[], Any]) -> None:
    try:
        await stream.write(init)
        while True:
            frames = await stream.read()
            if not frames:
                raise ComponentFailed(await _status(stream))
            (frame,) = frames
            if frame.state == common.HEARTBEAT:
                await stream.write(heartbeat())
            elif frame.state == common.NORMAL and frame.WhichOneof("data") == "init_output":
                await settle(call, stream)
                return
            else:
                raise ComponentFailed(
                    f"it began with {common.CommunicationState.Name(frame.state)} "
                    f"{frame.WhichOneof('data') or ''} instead of init_output"
                )
    except PeerLost as error:
        raise ComponentFailed(await _status(stream)) from error
    except BaseException:
        call.cancel()
        raise


async def _status(stream: FrameStream[Any, Any]) -> str:
    failure = await stream.failure()
    return f"{failure.code().name}: {failure.details()}" if failure is not None else await stream.why()
