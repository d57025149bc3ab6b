"""Playing one actor of trials on a remote orchestrator: start, join, exchange, end."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

import grpc

from cogment_lab.errors import ServiceError, ServiceUnreachableError, TrialFailedError, TrialStateError
from cogment_lab.wire.generated import common_pb2 as common
from cogment_lab.wire.generated.common_pb2 import (
    ActorRunTrialInput,
    ActorRunTrialOutput,
    Message,
    Reward,
    TrialParams,
)
from cogment_lab.wire.generated.orchestrator_pb2 import TerminateTrialRequest, TrialStartRequest
from cogment_lab.wire.rpc import Stub
from cogment_lab.wire.shortcut import OFFERS, settle
from cogment_lab.wire.stream import FrameStream, PeerLost, actor_side

__all__ = ["Received", "RemoteTrial"]


@dataclass(slots=True)
class Received:
    """What an actor received up to an observation.

    Attributes:
        tick: Tick of the observation.
        content: The serialized observation; ``None`` when the trial ended without one.
        rewards: Rewards that came before it.
        messages: Messages that came before it.
        is_last: No action is expected any more.
    """

    tick: int = -1
    content: bytes | None = None
    rewards: list[Reward] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    is_last: bool = False


class RemoteTrial:
    """One trial as its client actor sees it.

    Args:
        channel: To the orchestrator.
        params: The trial's parameters, one of whose actors has the endpoint ``cogment://client``.
        actor: Name of that actor.
        user_id: Whose trial it is.

    Attributes:
        trial_id: Its id, once started.
        is_over: Whether nothing more comes.
    """

    def __init__(self, channel: grpc.aio.Channel, params: TrialParams, actor: str, user_id: str = "") -> None:
        self.trial_id = ""
        self.is_over = False
        self._lifecycle = Stub(channel, "cogmentAPI.TrialLifecycleSP")
        self._actors = Stub(channel, "cogmentAPI.ClientActorSP")
        self._params = params
        self._actor = actor
        self._user_id = user_id
        self._stream: FrameStream[ActorRunTrialInput, ActorRunTrialOutput] | None = None
        self._call: grpc.aio.StreamStreamCall[bytes, bytes] | None = None
        self._details = ""

    async def start(self, timeout: float) -> Received:
        """Start the trial, join it, and return the first observation.

        Raises:
            ServiceUnreachableError: no orchestrator answers.
            ServiceError: it refuses the trial, or the actor.
            TrialFailedError: the trial ended before its first observation; says why.
        """
        request = TrialStartRequest(params=self._params, user_id=self._user_id)
        try:
            reply = await self._lifecycle.StartTrial(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            kind = ServiceUnreachableError if error.code() is grpc.StatusCode.UNAVAILABLE else ServiceError
            raise kind(f"the orchestrator did not start a trial: {error.details()}") from error
        self.trial_id = reply.trial_id
        call = self._actors.RunTrial(metadata=(("trial-id", self.trial_id), *OFFERS))
        self._call = call
        self._stream = stream = actor_side(call)
        joining = ActorRunTrialOutput(state=common.NORMAL)
        joining.init_output.actor_name = self._actor
        with contextlib.suppress(PeerLost):  # what is left to be read says why
            await stream.write(joining)
        frames = await stream.read()
        if not frames or frames[0].WhichOneof("data") != "init_input":
            self.is_over = True
            raise ServiceError(
                f"cannot join trial {self.trial_id} as {self._actor!r}: {await self._reason()}"
            )
        await settle(call, stream)
        received = await self._receive(Received())
        if received.content is None:
            raise TrialFailedError(f"trial {self.trial_id} ended before it began: {await self._reason()}")
        return received

    async def act(self, tick: int, action: bytes) -> Received:
        """Answer the observation of ``tick`` and return the next one.

        Raises:
            TrialFailedError: the trial ended without another observation; says why.
        """
        if self._stream is None or self.is_over:
            raise TrialStateError("the trial is over or was never started")
        frame = ActorRunTrialOutput(state=common.NORMAL)
        frame.action.tick_id = tick
        frame.action.content = action
        with contextlib.suppress(PeerLost):  # what is left to be read says why
            await self._stream.write(frame)
        received = await self._receive(Received())
        if received.content is None:
            raise TrialFailedError(f"trial {self.trial_id} ended: {await self._reason()}")
        return received

    async def abandon(self, timeout: float = 10.0) -> None:
        """End the trial now, if it is not over, and leave it."""
        if self._call is None:
            return
        if not self.is_over:
            self.is_over = True
            with contextlib.suppress(grpc.aio.AioRpcError):  # one that is gone has no trial left to end
                await self._lifecycle.TerminateTrial(
                    TerminateTrialRequest(hard_termination=True),
                    metadata=(("trial-id", self.trial_id),),
                    timeout=timeout,
                )
        self._call.cancel()
        if self._stream is not None:
            await self._stream.close()

    async def _reason(self) -> str:
        if self._details or self._stream is None or self._stream.error is None:
            return self._details or "the orchestrator ended it"
        return await self._stream.why()

    async def _receive(self, received: Received) -> Received:
        """Collect frames up to the next observation, or to the end."""
        stream = self._stream
        assert stream is not None
        while True:
            frames = await stream.read()
            if not frames:
                self.is_over = True
                return received
            for frame in frames:
                if frame.state == common.NORMAL:
                    kind = frame.WhichOneof("data")
                    if kind == "observation":
                        received.tick = frame.observation.tick_id
                        received.content = frame.observation.content
                    elif kind == "reward":
                        received.rewards.append(frame.reward)
                    elif kind == "message":
                        received.messages.append(frame.message)
                elif frame.state == common.LAST:
                    received.is_last = True
                elif frame.state == common.HEARTBEAT:
                    await stream.write(ActorRunTrialOutput(state=common.HEARTBEAT))
                elif frame.state == common.END:
                    self._details = frame.details
                    self.is_over = True
                    return received
            if received.content is not None:
                if not received.is_last:
                    return received
                received.is_last = True
                await stream.write(ActorRunTrialOutput(state=common.LAST_ACK))
                await self._drain(received)
                return received

    async def _drain(self, received: Received) -> None:
        """Read what comes after the last observation, up to END: late rewards, say."""
        assert self._stream is not None
        while not self.is_over:
            frames = await self._stream.read()
            received.rewards += [frame.reward for frame in frames if frame.WhichOneof("data") == "reward"]
            if not frames or any(frame.state == common.END for frame in frames):
                self.is_over = True
