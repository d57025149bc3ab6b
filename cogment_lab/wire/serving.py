"""Serving user code: one task per session, and what its failure means for the rpc."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any, NoReturn, Protocol

import grpc
from google.protobuf.message import DecodeError

from cogment_lab._version import __version__
from cogment_lab.errors import ServiceError
from cogment_lab.wire.generated import common_pb2 as common
from cogment_lab.wire.registered import Implementation
from cogment_lab.wire.server import Servicer, hear_out
from cogment_lab.wire.session_metrics import SessionMetrics
from cogment_lab.wire.settings import ActorClass, Settings
from cogment_lab.wire.stream import FrameStream, PeerLost

__all__ = [
    "Played",
    "Sessions",
    "UserServicer",
    "actor_class_of",
    "config_of",
    "metadata_of",
    "play",
    "read_init",
    "why_it_failed",
]

_log = logging.getLogger("cogment_lab.wire")

_INIT_S = 30.0
_LONGEST_DETAILS = 1000


class Played(Protocol):
    """A session, as its service sees it."""

    @property
    def key(self) -> tuple[str, str]:
        """The trial and the name of the component, which no two running sessions share."""

    def _lose(self, why: str) -> None:
        """Note that the orchestrator is gone."""

    async def _finish(self) -> None:
        """Leave the trial properly: user code has returned."""

    async def _abandon(self) -> None:
        """Leave the trial at once: user code has failed."""


class Sessions:
    """The user code that runs, by trial and name.

    It outlives the rpc that started it: after the trial's end it may take its time.

    Attributes:
        metrics: Counts the sessions of actors and environments; ``None`` does not.
    """

    def __init__(self) -> None:
        self.metrics: SessionMetrics | None = None
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, key: tuple[str, str], work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work`` as a session; raise ServiceError when there is one of that key."""
        if key in self._tasks:
            work.close()
            raise ServiceError(f"trial {key[0]!r} runs {key[1] or 'its datalog'!r} here already")
        task = self._tasks[key] = asyncio.get_running_loop().create_task(work)

        def forget(done: asyncio.Task[None]) -> None:
            del self._tasks[key]
            if not done.cancelled():
                done.exception()  # reported by play(); retrieved here in case the rpc is gone

        task.add_done_callback(forget)
        return task

    async def stop(self, grace: float) -> None:
        """Give the sessions ``grace`` seconds to end, cancel those that remain, and wait once more."""
        for _ in range(2):
            tasks = list(self._tasks.values())
            if tasks:
                await asyncio.wait(tasks, timeout=grace)
            for task in self._tasks.values():
                task.cancel()
        if self._tasks:
            _log.error("user code does not end when cancelled: %s", sorted(self._tasks))


def metadata_of(context: grpc.aio.ServicerContext[Any, Any]) -> dict[str, str]:
    """Return what the caller sent along, the first value of each key."""
    return {key: str(value) for key, value in reversed(tuple(context.invocation_metadata() or ()))}


async def play(
    session: Played, implementation: Implementation, metrics: SessionMetrics | None = None
) -> None:
    """Run user code for a session, and leave the trial properly."""
    try:
        with metrics.counted(session) if metrics is not None else contextlib.nullcontext():
            await implementation.run(session)
    except Exception:
        _log.exception("%r: implementation %r failed", session, implementation.name)
        await session._abandon()
        raise
    except BaseException:
        await session._abandon()
        raise
    await session._finish()


def why_it_failed(what: str, error: BaseException) -> str:
    """Return the text of a failed rpc's status."""
    return f"{what} raised {type(error).__name__}: {error}"[:_LONGEST_DETAILS]


async def read_init(stream: FrameStream[Any, Any], frame: Any) -> Any:
    """Return the orchestrator's ``init_input``; ``None`` when the trial ended before it.

    Args:
        stream: Its frames.
        frame: Class of the frames to answer with.

    Raises:
        ServiceError: it sends something else.
        TimeoutError: it sends nothing for 30 seconds.
        PeerLost: it is gone.
    """
    async with asyncio.timeout(_INIT_S):
        while True:
            frames = await stream.read()
            if not frames:
                if stream.error is not None:
                    raise PeerLost(str(stream.error)) from stream.error
                return None
            received = frames[0]
            if received.state == common.NORMAL and received.HasField("init_input"):
                return received.init_input
            if received.state == common.HEARTBEAT:
                await stream.write(frame(state=common.HEARTBEAT))
            elif received.state == common.LAST:
                await stream.write(frame(state=common.LAST_ACK))
            elif received.state == common.END:
                return None
            else:
                state = common.CommunicationState.Name(received.state)
                raise ServiceError(f"{state} {received.WhichOneof('data') or ''} came before init_input")


def actor_class_of(settings: Settings, name: str) -> ActorClass:
    """Return the actor class of that name; raise ServiceError when the settings have none."""
    if name not in settings.actor_classes:
        known = [actor_class.name for actor_class in settings.actor_classes]
        raise ServiceError(f"unknown actor class {name!r}; the settings have {known}")
    actor_class: ActorClass = settings.actor_classes[name]
    return actor_class


def config_of(init: Any, config_type: Any) -> Any:
    """Return the configuration message in ``init``, ``None`` for none; raise ServiceError for a wrong one."""
    if not init.HasField("config"):
        return None
    if config_type is None:
        raise ServiceError("a configuration came, and the settings define no type for it")
    try:
        return config_type.FromString(init.config.content)
    except DecodeError as error:
        raise ServiceError(f"the configuration is no {config_type.DESCRIPTOR.full_name}: {error}") from error


class UserServicer(Servicer):
    """What the services of user code have in common.

    Args:
        settings: The application's messages.
        sessions: Where the running sessions are kept.
    """

    counts = True
    """Whether its sessions are counted."""

    def __init__(self, settings: Settings, sessions: Sessions) -> None:
        self._settings = settings
        self._sessions = sessions

    def versions(self) -> Mapping[str, str]:
        """Return our version and grpc's."""
        return {"cogment_lab": __version__, "grpc": grpc.__version__}

    def statuses(self) -> Mapping[str, str]:
        """Return the load of the machine, 0 to 254, and the number of sessions."""
        load = os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 0.0
        return {"overall_load": str(min(254, int(100 * load))), "nb_sessions": str(len(self._sessions))}

    async def _trial_id(self, context: grpc.aio.ServicerContext[Any, Any]) -> str:
        trial_id = metadata_of(context).get("trial-id")
        if trial_id:
            return trial_id
        await hear_out(context)
        await self._refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "no trial-id in the metadata")

    async def _refuse(
        self, context: grpc.aio.ServicerContext[Any, Any], code: grpc.StatusCode, why: str
    ) -> NoReturn:
        _log.warning("refused a session: %s", why)
        await context.abort(code, why[:_LONGEST_DETAILS])

    async def _run(
        self,
        context: grpc.aio.ServicerContext[Any, Any],
        session: Played,
        implementation: Implementation,
    ) -> None:
        try:
            metrics = self._sessions.metrics if self.counts else None
            task = self._sessions.start(session.key, play(session, implementation, metrics))
        except ServiceError:
            await session._abandon()
            raise
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            session._lose("it cancelled the session")
            raise
        if task.cancelled():
            await context.abort(grpc.StatusCode.CANCELLED, f"{session!r} was cancelled")
        error = task.exception()
        if error is not None:
            what = f"implementation {implementation.name!r} of {session!r}"
            await context.abort(grpc.StatusCode.INTERNAL, why_it_failed(what, error))

    @contextlib.asynccontextmanager
    async def _refusing(self, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[None]:
        """Turn what cannot be served into statuses."""
        try:
            yield
        except TimeoutError:
            await self._refuse(context, grpc.StatusCode.DEADLINE_EXCEEDED, "no init_input in time")
        except PeerLost as error:
            await self._refuse(context, grpc.StatusCode.CANCELLED, str(error))
        except ServiceError as error:
            await self._refuse(context, grpc.StatusCode.FAILED_PRECONDITION, str(error))
