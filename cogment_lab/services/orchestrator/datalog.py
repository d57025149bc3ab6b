"""Sending a trial's samples to its datalog, beside the trial (protocol section 8.1)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque

import grpc

from cogment_lab.wire.generated.common_pb2 import TrialParams
from cogment_lab.wire.generated.datalog_pb2 import RunTrialDatalogInput
from cogment_lab.wire.rpc import Stub
from cogment_lab.wire.stream import BUNDLES, EOF, bundle, offers_bundles

__all__ = ["DatalogWriter"]

_LOG = logging.getLogger(__name__)
_BATCH = 512
_BATCH_SECONDS = 0.02
_MOST_WAITING = 20_000
_FINISH_SECONDS = 30.0
_AGREE_SECONDS = 0.5


class DatalogWriter:
    """Writes what is put into :attr:`queue` to a ``DatalogSP``, in batches when it knows bundles.

    A log that cannot be reached, or breaks, costs the samples and an error in the log, never the trial.

    Args:
        stub: The ``DatalogSP`` to write to.
        trial_id: Which trial.
        user_id: Whose trial.
        params: Its final parameters, the first thing that is sent.

    Attributes:
        queue: Frames to send, oldest first; call :meth:`wake` after adding some.
        failure: Why samples are lost; empty while none is.
    """

    def __init__(self, stub: Stub, trial_id: str, user_id: str, params: TrialParams) -> None:
        self.queue: deque[RunTrialDatalogInput] = deque()
        self.failure = ""
        self._stub = stub
        self._metadata = (("trial-id", trial_id), ("user-id", user_id), *BUNDLES)
        self._params = params
        self._trial_id = trial_id
        self._closing = asyncio.Event()
        self._wakeup = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"datalog of {trial_id}")

    @property
    def is_full(self) -> bool:
        """Whether the log is so far behind that the trial should wait for :meth:`room`."""
        return len(self.queue) > _MOST_WAITING and not self.failure

    def wake(self) -> None:
        """Note that frames were added."""
        if self.failure:
            self.queue.clear()
        else:
            self._wakeup.set()

    async def room(self, seconds: float = 10.0) -> None:
        """Wait until the log has caught up, at most ``seconds``; then give it up."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self.is_full:
            if asyncio.get_running_loop().time() > deadline:
                self._fail(f"it is {len(self.queue)} samples behind")
                return
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Send the rest, half-close, and wait (at most 30 s) until the log has taken it."""
        self._closing.set()
        self._wakeup.set()
        try:
            async with asyncio.timeout(_FINISH_SECONDS):
                await self._task
        except TimeoutError:
            self._fail(f"it did not take the last samples within {_FINISH_SECONDS:.0f} s")

    def _fail(self, reason: str) -> None:
        self._report(reason)
        self._task.cancel()

    def _report(self, reason: str) -> None:
        if not self.failure:
            self.failure = reason
            _LOG.error("samples of trial %s are lost, because of its datalog: %s", self._trial_id, reason)
        self.queue.clear()

    async def _run(self) -> None:
        call = self._stub.RunTrialDatalog(metadata=self._metadata)
        reader = asyncio.create_task(self._drain(call))
        try:
            await call.write(RunTrialDatalogInput(trial_params=self._params).SerializeToString())
            bundled = await self._agrees(call)
            while self.queue or not self._closing.is_set():
                if self.queue:
                    await self._send(call, bundled)
                    if not self._closing.is_set():
                        await self._pause()
                    continue
                self._wakeup.clear()
                await self._wakeup.wait()
            await call.done_writing()
            await reader
            if await call.code() is not grpc.StatusCode.OK:
                self._report(f"answers {await call.code()}: {await call.details()}")
        except Exception as error:
            self._report(str(error.details() if isinstance(error, grpc.aio.AioRpcError) else error))
        finally:
            reader.cancel()
            call.cancel()

    async def _pause(self) -> None:
        """Let samples gather for the next batch, unless these are the last ones."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_BATCH_SECONDS):
                await self._closing.wait()

    async def _send(self, call: grpc.aio.StreamStreamCall[bytes, bytes], bundled: bool) -> None:
        frames = [self.queue.popleft().SerializeToString() for _ in range(min(len(self.queue), _BATCH))]
        if bundled:
            await call.write(bundle(frames))
        else:
            for frame in frames:
                await call.write(frame)

    @staticmethod
    async def _agrees(call: grpc.aio.StreamStreamCall[bytes, bytes]) -> bool:
        """Return whether the log reads bundles; one that says nothing (the official SDK's) does not."""
        try:
            async with asyncio.timeout(_AGREE_SECONDS):
                return offers_bundles(await call.initial_metadata())
        except TimeoutError:
            return False

    @staticmethod
    async def _drain(call: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
        """Read acknowledgements, so that they do not fill the stream."""
        while await call.read() is not EOF:
            pass
