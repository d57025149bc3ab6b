"""Datalogs: user code that receives a trial's samples (protocol section 8)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from cogment_lab.errors import ProtocolError, ServiceError
from cogment_lab.wire.generated.bundle_pb2 import DatalogInputs
from cogment_lab.wire.generated.common_pb2 import ENDED
from cogment_lab.wire.generated.datalog_pb2 import RunTrialDatalogInput
from cogment_lab.wire.log_sample import LogParams, LogSample
from cogment_lab.wire.parameters import TrialParameters
from cogment_lab.wire.registered import Implementation
from cogment_lab.wire.serving import Sessions, UserServicer, metadata_of
from cogment_lab.wire.settings import Settings
from cogment_lab.wire.stream import FrameStream, agree_to_bundles

__all__ = ["DatalogServicer", "DatalogSession", "LogParams", "LogSample"]

_log = logging.getLogger("cogment_lab.wire")

_FIRST_S = 30.0


class DatalogSession:
    """The log of one trial; made by the service, not by user code.

    Args:
        stream: The frames of the orchestrator.
        trial_id: The trial.
        user_id: Who started it.
        trial_parameters: Its parameters.

    Attributes:
        trial_id: As above.
        user_id: As above.
        trial_parameters: As above.
    """

    def __init__(
        self, stream: FrameStream[Any, Any], trial_id: str, user_id: str, trial_parameters: TrialParameters
    ) -> None:
        self.trial_id = trial_id
        self.user_id = user_id
        self.trial_parameters = trial_parameters
        self._stream = stream
        self._frames: list[Any] = []
        self._started = False
        self._over = False

    def __repr__(self) -> str:
        return f"DatalogSession of trial {self.trial_id!r}"

    @property
    def key(self) -> tuple[str, str]:
        """What tells this session from others."""
        return self.trial_id, ""

    @property
    def trial_params(self) -> LogParams:
        """The parameters in their older form; deprecated."""
        return LogParams(self.trial_parameters._settings, self.trial_parameters)

    def start(self) -> None:
        """Begin to listen."""
        self._started = True

    async def all_samples(self) -> AsyncGenerator[LogSample, object]:
        """Yield the samples as they come, with the trial's end as the last; a false value sent in stops it.

        Raises:
            ProtocolError: the orchestrator sent something that cannot be understood.
        """
        if not self._started:
            _log.warning("%r: no samples before start()", self)
            return
        while True:
            while self._frames:
                raw = self._frames.pop().sample
                self._over = self._over or raw.info.state == ENDED
                go_on = yield LogSample(self.trial_parameters, raw)
                if go_on is not None and not go_on:
                    return
            if self._over:
                return
            await self._receive()

    async def get_all_samples(self) -> AsyncGenerator[LogSample, object]:
        """Yield what :meth:`all_samples` yields; its old name."""
        async for sample in self.all_samples():
            yield sample

    async def _receive(self) -> None:
        frames = await self._stream.read()
        if not frames:
            self._over = True
            if isinstance(self._stream.error, DecodeError):
                raise ProtocolError(f"{self!r}: an undecodable sample: {self._stream.error}")
        self._frames = [frame for frame in reversed(frames) if frame.HasField("sample")]

    def _lose(self, why: str) -> None:
        self._over = True

    async def _abandon(self) -> None:
        self._over = True

    async def _finish(self) -> None:
        """Take the samples that user code did not want."""
        while not self._over:
            await self._receive()
            self._over = self._over or any(frame.sample.info.state == ENDED for frame in self._frames)


class DatalogServicer(UserServicer):
    """``DatalogSP`` for a registered datalog."""

    counts = False

    def __init__(self, settings: Settings, sessions: Sessions, implementation: Implementation) -> None:
        super().__init__(settings, sessions)
        self._implementation = implementation

    async def RunTrialDatalog(self, requests: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Log a trial."""
        trial_id = await self._trial_id(context)
        async with self._refusing(context):
            bundled = await agree_to_bundles(context)
            stream: FrameStream[Any, Any] = FrameStream(context, (RunTrialDatalogInput, DatalogInputs))
            async with asyncio.timeout(_FIRST_S):
                frames = await stream.read()
            if not frames or not frames[0].HasField("trial_params"):
                raise ServiceError("a log begins with the trial's parameters")
            params = TrialParameters(self._settings, raw_params=frames[0].trial_params)
            stream.bundled = bundled
            session = DatalogSession(stream, trial_id, metadata_of(context).get("user-id", ""), params)
            await self._run(context, session, self._implementation)
