"""The orchestrator's two gRPC services: trials for controllers, seats for client actors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, NoReturn

import grpc

from cogment_lab._version import PROTOCOL_VERSION, __version__
from cogment_lab.errors import ConfigurationError, ServiceError
from cogment_lab.services.orchestrator.component import Link
from cogment_lab.services.orchestrator.settings import OrchestratorSettings
from cogment_lab.services.orchestrator.trials import Trials
from cogment_lab.services.orchestrator.watch import Watcher
from cogment_lab.trial.states import TrialState
from cogment_lab.wire.generated import common_pb2 as common
from cogment_lab.wire.generated.common_pb2 import ActorRunTrialInput
from cogment_lab.wire.generated.orchestrator_pb2 import (
    TerminateTrialReply,
    TerminateTrialRequest,
    TrialInfoReply,
    TrialInfoRequest,
    TrialListEntry,
    TrialListRequest,
    TrialStartReply,
    TrialStartRequest,
)
from cogment_lab.wire.server import Servicer, hear_out
from cogment_lab.wire.shortcut import answer_offers
from cogment_lab.wire.stream import orchestrator_side_of_actor

__all__ = ["ClientActors", "Lifecycle"]


async def _refuse(
    context: Any, rpc: str, reason: str, code: grpc.StatusCode = grpc.StatusCode.INVALID_ARGUMENT
) -> NoReturn:
    await context.abort(code, f"{rpc} failure: [{reason}]")
    raise AssertionError("abort() raises")


def _trial_ids(context: Any) -> list[str]:
    return [str(value) for key, value in context.invocation_metadata() if key == "trial-id"]


class _Versioned(Servicer):
    def versions(self) -> Mapping[str, str]:
        """Answer the protocol's version under the official name, and ours."""
        return {"cogment": PROTOCOL_VERSION, "cogment_lab": __version__}


class Lifecycle(_Versioned):
    """``TrialLifecycleSP`` (protocol section 7).

    Args:
        trials: The trials it controls.
        settings: Those of the orchestrator.
    """

    def __init__(self, trials: Trials, settings: OrchestratorSettings) -> None:
        self._trials = trials
        self._settings = settings

    async def StartTrial(self, request: TrialStartRequest, context: Any) -> TrialStartReply:
        """Start a trial; an id in use gives an empty reply."""
        form = request.WhichOneof("start_data")
        try:
            trial_id = await self._trials.start(
                requested_id=request.trial_id_requested,
                user_id=request.user_id,
                config=request.config if form == "config" else None,
                params=request.params if form == "params" else None,
            )
        except ConfigurationError as error:
            await _refuse(context, "TrialLifecycleSP/StartTrial", str(error))
        except ServiceError as error:
            await _refuse(
                context, "TrialLifecycleSP/StartTrial", str(error), grpc.StatusCode.FAILED_PRECONDITION
            )
        return TrialStartReply(trial_id=trial_id)

    async def TerminateTrial(self, request: TerminateTrialRequest, context: Any) -> TerminateTrialReply:
        """End the trials of the metadata, softly or now; unknown ids are ignored."""
        wanted = _trial_ids(context)
        if not wanted:
            await _refuse(context, "TrialLifecycleSP/TerminateTrial", "No 'trial-id' key in metadata")
        for trial in self._trials.select(wanted):
            if request.hard_termination:
                await trial.end_hard()
            else:
                trial.end_softly()
        return TerminateTrialReply()

    async def GetTrialInfo(self, request: TrialInfoRequest, context: Any) -> TrialInfoReply:
        """Answer what is known of the trials of the metadata, or of all."""
        return TrialInfoReply(
            trial=[
                trial.info(latest_observation=request.get_latest_observation, actors=request.get_actor_list)
                for trial in self._trials.select(_trial_ids(context))
            ]
        )

    async def WatchTrials(self, request: TrialListRequest, context: Any) -> AsyncIterator[TrialListEntry]:
        """Stream every trial in memory, then every change."""
        watcher = Watcher(request.filter, request.full_info, self._settings.watcher_queue)
        self._trials.watch(watcher)
        await context.send_initial_metadata(())  # tells the client that it misses nothing from here on
        try:
            while (entry := await watcher.next()) is not None:
                yield entry
        finally:
            self._trials.watchers.remove(watcher)
        if watcher.overflowed:
            await _refuse(
                context,
                "TrialLifecycleSP/WatchTrials",
                f"the watcher left {self._settings.watcher_queue} changes unread",
                grpc.StatusCode.RESOURCE_EXHAUSTED,
            )


class ClientActors(_Versioned):
    """``ClientActorSP`` (protocol section 7.4).

    Args:
        trials: The trials that can be joined.
        settings: Those of the orchestrator.
    """

    _RPC = "ClientActorSP/RunTrial"

    def __init__(self, trials: Trials, settings: OrchestratorSettings) -> None:
        self._trials = trials
        self._deadline = settings.deadlines.join_frame

    async def RunTrial(self, requests: Any, context: Any) -> None:
        """Seat an actor that connects by itself, for the length of the trial."""
        ids = _trial_ids(context)
        if not ids:
            await hear_out(context)
            await _refuse(context, self._RPC, "No [trial-id] key in metadata")
        trial = self._trials.find(ids[0])
        if trial is None:
            await hear_out(context)
            await _refuse(context, self._RPC, f"Unknown trial [{ids[0]}]", grpc.StatusCode.NOT_FOUND)
        call, bundled = await answer_offers(context)
        stream = orchestrator_side_of_actor(call)
        try:
            async with asyncio.timeout(self._deadline):
                while True:
                    frames = await stream.read()
                    if not frames and stream.error is not None:
                        await _refuse(context, self._RPC, f"no frame: {stream.error}")
                    if not frames:
                        return
                    if frames[0].state != common.HEARTBEAT:
                        break
                    await context.write(ActorRunTrialInput(state=common.HEARTBEAT).SerializeToString())
        except TimeoutError:
            await _refuse(context, self._RPC, "no init_output came", grpc.StatusCode.DEADLINE_EXCEEDED)
        frame = frames[0]
        slot = frame.init_output.WhichOneof("slot_selection")
        if frame.state != common.NORMAL or frame.WhichOneof("data") != "init_output" or slot is None:
            await _refuse(context, self._RPC, "an actor begins with init_output, and names its slot")
        if trial.state is TrialState.ENDED:
            return
        if trial.state is not TrialState.PENDING:
            await _refuse(
                context,
                self._RPC,
                f"Wrong trial state for actor to join: {trial.state.name}",
                grpc.StatusCode.FAILED_PRECONDITION,
            )
        chosen = frame.init_output
        index = trial.reserve_seat(name=chosen.actor_name, actor_class=chosen.actor_class)
        if index is None:
            await _refuse(
                context,
                self._RPC,
                f"no free client slot {chosen.actor_name or chosen.actor_class!r} in trial [{ids[0]}]",
                grpc.StatusCode.FAILED_PRECONDITION,
            )
        link = Link(stream, ActorRunTrialInput)
        try:
            await link.write(trial.actor_init(index))
            stream.bundled = bundled
            if not trial.seat_client(index, link):
                return
        except BaseException:
            trial.release_seat(index)
            raise
        try:
            await self._hold(trial.read_client(index, link), link)
        finally:
            link.lose()
            trial.lose_client(index, link)

    async def _hold(self, reader: asyncio.Task[None], link: Any) -> None:
        """Wait until the actor has left, or its trial has ended and END is out.

        The reader is the trial's, and ends by itself when this rpc is over: cancelled with it, it might break
        off a write to the environment, and grpc ends a call whose write is cancelled.
        """
        closed = asyncio.create_task(link.closed.wait())
        try:
            await asyncio.wait((reader, closed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            closed.cancel()
