"""Starting, watching and ending trials (protocol section 7)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from cogment_lab.errors import ServiceError
from cogment_lab.trial.states import TrialState
from cogment_lab.wire.calls import answer, call_error
from cogment_lab.wire.events import ActorInfo
from cogment_lab.wire.generated import orchestrator_pb2 as api
from cogment_lab.wire.generated.common_pb2 import TrialState as WireState
from cogment_lab.wire.generated.common_pb2 import VersionRequest
from cogment_lab.wire.metadata import GrpcMetadata
from cogment_lab.wire.parameters import TrialParameters
from cogment_lab.wire.rpc import Stub

__all__ = ["Controller", "TrialInfo", "TrialState"]

_START_S = 120.0
"""The reply to a start waits for the pre-trial hooks."""


@dataclass(frozen=True, slots=True)
class TrialInfo:
    """What is known of a trial.

    Attributes:
        trial_id: Its id.
        state: Its state.
        properties: Of its parameters; ``None``, like what follows, when only the state was asked for.
        env_name: Name of its environment.
        tick_id: Its current tick.
        duration: Nanoseconds since its start, until its end.
    """

    trial_id: str
    state: TrialState
    properties: Mapping[str, str] | None = None
    env_name: str | None = None
    tick_id: int | None = None
    duration: int | None = None


def _info(raw: api.TrialInfo) -> TrialInfo:
    return TrialInfo(
        trial_id=raw.trial_id,
        state=TrialState(raw.state),
        properties=dict(raw.properties),
        env_name=raw.env_name,
        tick_id=raw.tick_id,
        duration=raw.trial_duration,
    )


class Controller:
    """The control of an orchestrator's trials; awaiting it gives itself.

    Args:
        channel: To the orchestrator.
        user_id: Whose trials are started.
        metadata: Sent with each call.
    """

    def __init__(
        self, channel: grpc.aio.Channel, user_id: str = "", metadata: GrpcMetadata | None = None
    ) -> None:
        self._stub = Stub(channel, "cogmentAPI.TrialLifecycleSP")
        self._user_id = user_id
        self._metadata = tuple(metadata.to_grpc_metadata()) if metadata is not None else ()

    def __await__(self) -> Generator[Any, None, Controller]:
        return self
        yield

    def has_specs(self) -> bool:
        """Return True: a controller needs no settings."""
        return True

    async def start_trial(
        self,
        trial_config: Any = None,
        trial_id_requested: str | None = None,
        trial_params: TrialParameters | None = None,
    ) -> str:
        """Start a trial and return its id, empty when the requested one is in use.

        Args:
            trial_config: Message or bytes for the pre-trial hooks, which complete the parameters.
            trial_id_requested: Its id; the orchestrator makes one otherwise.
            trial_params: The final parameters, instead of a configuration; no hook is called.

        Raises:
            ServiceError: both are given, or the orchestrator refuses.
            ServiceUnreachableError: no orchestrator answers.
        """
        request = api.TrialStartRequest(user_id=self._user_id, trial_id_requested=trial_id_requested or "")
        if trial_config is not None and trial_params is not None:
            raise ServiceError("give either trial_config or trial_params")
        if trial_config is not None:
            is_bytes = isinstance(trial_config, bytes)
            request.config.content = trial_config if is_bytes else trial_config.SerializeToString()
        elif trial_params is not None:
            request.params.CopyFrom(trial_params._raw_params)
        reply = await self._call("StartTrial", request, "start a trial", timeout=_START_S)
        trial_id: str = reply.trial_id
        return trial_id

    async def terminate_trial(self, trial_ids: Iterable[str] | str, hard: bool = False) -> None:
        """End trials; softly after their current tick, or at once.

        Args:
            trial_ids: Their ids.
            hard: At once, without last observation and FINAL events.
        """
        request = api.TerminateTrialRequest(hard_termination=hard)
        await self._call("TerminateTrial", request, "terminate a trial", trial_ids)

    async def get_trial_info(self, trial_ids: Iterable[str] | str | None) -> list[TrialInfo]:
        """Return what is known of these trials, of all for ``[]``; unknown ones are left out."""
        reply = await self._call("GetTrialInfo", api.TrialInfoRequest(), "get trial infos", trial_ids or ())
        return [_info(raw) for raw in reply.trial]

    async def get_actors(self, trial_id: str) -> list[ActorInfo]:
        """Return a trial's actors, in order; raise ServiceError when there is no such trial."""
        request = api.TrialInfoRequest(get_actor_list=True)
        reply = await self._call("GetTrialInfo", request, "get the actors of a trial", trial_id)
        if len(reply.trial) != 1:
            raise ServiceError(f"no trial {trial_id!r}")
        return [ActorInfo(actor.name, actor.actor_class) for actor in reply.trial[0].actors_in_trial]

    async def get_remote_versions(self) -> dict[str, str]:
        """Return the versions of the orchestrator's parts, by name."""
        reply = await self._call("Version", VersionRequest(), "get the versions")
        return {version.name: version.version for version in reply.versions}

    async def watch_trials(
        self, trial_state_filters: Sequence[TrialState] = (), full_info: bool = False
    ) -> AsyncGenerator[TrialInfo, object]:
        """Yield the present state of every trial, then each change; send a false value to stop.

        The iteration ends when the orchestrator does.

        Args:
            trial_state_filters: Only these states; all when empty.
            full_info: Fill everything instead of id and state.

        Raises:
            ServiceUnreachableError: no orchestrator answers.
            ServiceError: a filter that is no TrialState, or the orchestrator refuses.
        """
        if not all(isinstance(state, TrialState) for state in trial_state_filters):
            raise ServiceError(f"filters are TrialState values, not {list(trial_state_filters)!r}")
        request = api.TrialListRequest(
            filter=[WireState.Name(int(state)) for state in trial_state_filters], full_info=full_info
        )
        call = self._stub.WatchTrials(request, metadata=self._metadata)
        answered = False
        try:
            async for entry in call:
                answered = True
                if entry.HasField("info"):
                    info = _info(entry.info)
                else:
                    info = TrialInfo(entry.trial_id, TrialState(entry.state))
                go_on = yield info
                if go_on is not None and not go_on:
                    return
        except grpc.aio.AioRpcError as error:
            if not answered or error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise call_error("watch trials", error) from error
        finally:
            call.cancel()

    async def _call(
        self, rpc: str, request: Any, what: str, trial_ids: Iterable[str] | str = (), timeout: float = 30.0
    ) -> Any:
        ids = [trial_ids] if isinstance(trial_ids, str) else trial_ids
        metadata = (*self._metadata, *(("trial-id", trial_id) for trial_id in ids))
        return await answer(getattr(self._stub, rpc), request, what, metadata=metadata, timeout=timeout)
