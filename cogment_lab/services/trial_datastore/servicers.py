"""The datastore's two gRPC services: one takes samples in, the other hands them out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from cogment_lab.errors import StoreError, TrialNotFoundError
from cogment_lab.services.trial_datastore.backend import Backend, Trial
from cogment_lab.wire.generated.bundle_pb2 import DatalogInputs, SampleReplies
from cogment_lab.wire.generated.datalog_pb2 import RunTrialDatalogInput
from cogment_lab.wire.generated.trial_datastore_pb2 import (
    AddSamplesReply,
    AddTrialReply,
    AddTrialRequest,
    DeleteTrialsReply,
    DeleteTrialsRequest,
    RetrieveSamplesRequest,
    RetrieveTrialsReply,
    RetrieveTrialsRequest,
    StoredTrialInfo,
    StoredTrialSample,
)
from cogment_lab.wire.server import Servicer
from cogment_lab.wire.stream import EOF, agree_to_bundles, bundle

__all__ = ["Datalog", "Datastore"]

_INVALID = grpc.StatusCode.INVALID_ARGUMENT
_BUNDLE_TAG, _SAMPLE_TAG = 0x0A, 0x12
_FIELDS: dict[int, str] = {
    1: "observation",
    2: "action",
    3: "reward",
    4: "received_rewards",
    5: "sent_rewards",
    6: "received_messages",
    7: "sent_messages",
}


def _metadata(context: Any, key: str) -> list[str]:
    return [str(value) for name, value in context.invocation_metadata() if name == key]


async def _trial_id(context: Any) -> str:
    ids = _metadata(context, "trial-id")
    if len(ids) != 1 or not ids[0]:
        await context.abort(_INVALID, f"exactly one trial-id is needed in the metadata, not {len(ids)}")
    return ids[0]


class Datalog(Servicer):
    """``DatalogSP``: what an orchestrator logs (protocol section 9.1).

    Args:
        backend: Where it is kept.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def RunTrialDatalog(self, requests: Any, context: Any) -> None:
        """Keep one trial's samples; OK says that all of them are kept for good."""
        trial_id = await _trial_id(context)
        bundled = await agree_to_bundles(context)
        first = await context.read()
        if first is EOF:
            return
        opening = await self._parse(context, RunTrialDatalogInput.FromString, first)
        if opening.WhichOneof("msg") != "trial_params":
            await context.abort(_INVALID, "the first message must hold trial_params")
        user_id = next(iter(_metadata(context, "user-id")), "")
        trial = self._backend.add(trial_id, user_id, opening.trial_params)
        try:
            if not bundled:
                await context.write(b"")
            while (data := await context.read()) is not EOF:
                frames = await self._frames(context, data, bundled)
                if any(frame.WhichOneof("msg") != "sample" for frame in frames):
                    await context.abort(_INVALID, "after the parameters come samples")
                self._backend.log(trial, [frame.sample for frame in frames])
                if not bundled:
                    await context.write(b"")
            await self._backend.flush()
        except StoreError as error:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        finally:
            self._backend.end(trial)

    async def _frames(self, context: Any, data: bytes, bundled: bool) -> list[RunTrialDatalogInput]:
        if bundled and data[:1] == bytes((_BUNDLE_TAG,)):
            return list((await self._parse(context, DatalogInputs.FromString, data)).frames)
        return [await self._parse(context, RunTrialDatalogInput.FromString, data)]

    @staticmethod
    async def _parse(context: Any, parse: Callable[[bytes], Any], data: bytes) -> Any:
        try:
            return parse(data)
        except DecodeError as error:
            await context.abort(_INVALID, f"a malformed message: {error}")


class Datastore(Servicer):
    """``TrialDatastoreSP`` (protocol sections 9.2 to 9.4).

    Args:
        backend: Where trials are kept.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def RetrieveTrials(self, request: RetrieveTrialsRequest, context: Any) -> RetrieveTrialsReply:
        """Answer one page of trials, after waiting for them if asked to."""
        handle = request.trial_handle or "0"
        if not handle.isdecimal():
            await context.abort(_INVALID, f"trial_handle {handle!r} is no handle")
        start = int(handle)
        count = request.trials_count
        wanted = min(count or len(request.trial_ids), len(request.trial_ids) or count)
        deadline = asyncio.get_running_loop().time() + request.timeout / 1000.0
        while True:
            selected = self._backend.select(request.trial_ids, request.properties)
            found = [(place, trial) for place, trial in selected if place >= start]
            complete = 0 < len(request.trial_ids) <= len(selected)
            if not request.timeout or complete or (wanted and len(found) >= wanted):
                break
            if not await self._backend.wait_for_trials(deadline):
                break
        page = found[:count] if count else found
        following = page[-1][0] + 1 if page else start
        return RetrieveTrialsReply(
            trial_infos=[
                StoredTrialInfo(
                    trial_id=trial.trial_id,
                    last_state=trial.last_state,  # type: ignore[arg-type]
                    user_id=trial.user_id,
                    samples_count=trial.count,
                    params=trial.params,
                )
                for _, trial in page
            ],
            next_trial_handle=str(following),
        )

    async def RetrieveSamples(self, request: RetrieveSamplesRequest, context: Any) -> AsyncIterator[bytes]:
        """Stream the samples of trials, following those that still run."""
        bundled = await agree_to_bundles(context)
        for trial_id in request.trial_ids:
            if trial_id not in self._backend.trials:
                await context.abort(grpc.StatusCode.NOT_FOUND, f'no trial "{trial_id}" found')
        choose = _chooser(request)
        try:
            async for trial, samples in self._backend.follow(request.trial_ids):
                for data in _replies(trial, samples, bundled, choose):
                    yield data
        except TrialNotFoundError as error:
            await context.abort(grpc.StatusCode.OUT_OF_RANGE, str(error.args[0]))

    async def AddTrial(self, request: AddTrialRequest, context: Any) -> AddTrialReply:
        """Make or update a trial."""
        self._backend.add(await _trial_id(context), request.user_id, request.trial_params)
        await self._backend.flush()
        return AddTrialReply()

    async def AddSample(self, requests: Any, context: Any) -> AddSamplesReply:
        """Add samples in their stored form to a trial."""
        trial_id = await _trial_id(context)
        if trial_id not in self._backend.trials:
            await context.abort(grpc.StatusCode.NOT_FOUND, f'no trial "{trial_id}" found')
        trial = self._backend.trials[trial_id]
        async for request in requests:
            sample = request.trial_sample
            if sample.trial_id not in ("", trial_id):
                await context.abort(_INVALID, f"a sample of {sample.trial_id!r} in a stream of {trial_id!r}")
            sample.trial_id = trial_id
            self._backend.append(trial, [sample])
        await self._backend.flush()
        return AddSamplesReply()

    async def DeleteTrials(self, request: DeleteTrialsRequest, context: Any) -> DeleteTrialsReply:
        """Forget trials; unknown ones do not matter."""
        await self._backend.delete(request.trial_ids)
        return DeleteTrialsReply()


_Choose = Callable[[Trial, StoredTrialSample], StoredTrialSample]


def _replies(
    trial: Trial, samples: list[bytes] | bytes, bundled: bool, choose: _Choose | None
) -> list[bytes]:
    """Return the messages that carry ``samples``: one for a bundle, else one each."""
    if isinstance(samples, bytes):
        if bundled and choose is None:
            return [samples]
        samples = [
            frame.trial_sample.SerializeToString() for frame in SampleReplies.FromString(samples).frames
        ]
    if choose is not None:
        samples = [choose(trial, StoredTrialSample.FromString(data)).SerializeToString() for data in samples]
    replies = [bundle((data,)) for data in samples]
    return [bundle(replies)] if bundled else replies


def _chooser(request: RetrieveSamplesRequest) -> _Choose | None:
    """Return a function that keeps what ``request`` asks for, ``None`` when that is everything."""
    names, classes = set(request.actor_names), set(request.actor_classes)
    implementations = set(request.actor_implementations)
    kept = {_FIELDS[field] for field in request.selected_sample_fields if field in _FIELDS}
    if not (names or classes or implementations or kept):
        return None
    dropped = set(_FIELDS.values()) - kept if kept else set()

    def choose(trial: Trial, sample: StoredTrialSample) -> StoredTrialSample:
        actors = trial.params.actors
        chosen = []
        for entry in sample.actor_samples:
            actor = actors[entry.actor]
            if (
                (not names or actor.name in names)
                and (not classes or actor.actor_class in classes)
                and (not implementations or actor.implementation in implementations)
            ):
                for name in dropped:
                    entry.ClearField(name)
                chosen.append(entry)
        used = {place for entry in chosen for place in _payloads(entry)}
        payloads = [data if place in used else b"" for place, data in enumerate(sample.payloads)]
        reduced = StoredTrialSample(
            user_id=sample.user_id,
            trial_id=sample.trial_id,
            tick_id=sample.tick_id,
            timestamp=sample.timestamp,
            state=sample.state,
        )
        reduced.actor_samples.extend(chosen)
        reduced.payloads.extend(payloads)
        return reduced

    return choose


def _payloads(entry: Any) -> list[int]:
    """Return the places in the payload pool that an actor's sample refers to."""
    places = [getattr(entry, name) for name in ("observation", "action") if entry.HasField(name)]
    for rewards in (entry.received_rewards, entry.sent_rewards):
        places += [each.user_data for each in rewards if each.HasField("user_data")]
    for messages in (entry.received_messages, entry.sent_messages):
        places += [each.payload for each in messages]
    return places
