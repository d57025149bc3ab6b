"""The client of a trial datastore, with the official SDK's surface (protocol section 9.7)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as PackedAny

from cogment_lab.errors import ServiceError
from cogment_lab.trial.states import TrialState
from cogment_lab.wire.calls import answer, call_error
from cogment_lab.wire.generated.bundle_pb2 import SampleReplies
from cogment_lab.wire.generated.trial_datastore_pb2 import (
    DeleteTrialsRequest,
    RetrieveSampleReply,
    RetrieveSamplesRequest,
    RetrieveTrialsRequest,
    StoredTrialActorSample,
    StoredTrialInfo,
    StoredTrialSample,
)
from cogment_lab.wire.metadata import GrpcMetadata
from cogment_lab.wire.parameters import TrialParameters
from cogment_lab.wire.rpc import Stub
from cogment_lab.wire.stream import BUNDLES, offers_bundles

__all__ = [
    "Datastore",
    "DatastoreActorData",
    "DatastoreFields",
    "DatastoreMessage",
    "DatastoreReward",
    "DatastoreSample",
    "DatastoreTrialInfo",
]


class DatastoreFields(IntEnum):
    """What of a sample is retrieved."""

    UNKNOWN = 0
    OBSERVATION = 1
    ACTION = 2
    REWARD = 3
    RECEIVED_REWARDS = 4
    SENT_REWARDS = 5
    RECEIVED_MESSAGES = 6
    SENT_MESSAGES = 7


class DatastoreTrialInfo:
    """A trial in the datastore.

    Attributes:
        trial_id: The trial.
        trial_state: State of its newest sample.
        user_id: Whose.
        sample_count: How many samples it has.
        parameters: Its parameters.
    """

    def __init__(self, raw: StoredTrialInfo, cog_settings: Any) -> None:
        self.trial_id = raw.trial_id
        self.trial_state = TrialState(raw.last_state)
        self.user_id = raw.user_id
        self.sample_count = raw.samples_count
        self.parameters = TrialParameters(cog_settings)
        self.parameters.deserialize(raw.params.SerializeToString())

    def __repr__(self) -> str:
        return f"<DatastoreTrialInfo {self.trial_id!r} {self.trial_state.name} {self.sample_count} samples>"


class DatastoreReward:
    """A reward in a sample; ``sender`` and ``receiver`` are names, the environment's for an environment."""

    def __init__(self, raw: Any, payloads: Sequence[bytes], names: _Names) -> None:
        self.value = raw.reward
        self.confidence = raw.confidence
        self.sender = names.name(raw.sender)
        self.receiver = names.name(raw.receiver)
        self.user_data: Any = None
        if raw.HasField("user_data"):
            self.user_data = PackedAny.FromString(payloads[raw.user_data])


class DatastoreMessage:
    """A message in a sample, its ``payload`` still packed."""

    def __init__(self, raw: Any, payloads: Sequence[bytes], names: _Names) -> None:
        self.sender = names.name(raw.sender)
        self.receiver = names.name(raw.receiver)
        self.payload = PackedAny.FromString(payloads[raw.payload])


class _Names:
    def __init__(self, parameters: TrialParameters) -> None:
        self._actors = [actor.name for actor in parameters.actors]
        self._environment = parameters.environment_name or "env"

    def name(self, index: int) -> str:
        return self._environment if index < 0 else self._actors[index]


class DatastoreActorData:
    """What one actor did and received in one tick.

    Attributes:
        name: The actor.
        observation_serialized: What it saw, ``None`` for nothing.
        action_serialized: What it did, ``None`` for nothing.
        reward: The aggregate of what it received, 0.0 for nothing.
    """

    def __init__(
        self, raw: StoredTrialActorSample, payloads: Sequence[bytes], names: _Names, spec: Any
    ) -> None:
        self.name = names.name(raw.actor)
        self.observation_serialized = payloads[raw.observation] if raw.HasField("observation") else None
        self.action_serialized = payloads[raw.action] if raw.HasField("action") else None
        self.reward = raw.reward
        self._raw = raw
        self._payloads = payloads
        self._names = names
        self._spec = spec

    @property
    def observation(self) -> Any:
        """What it saw, as a message; ``None`` for nothing."""
        return self._decode(self.observation_serialized, "observation_space")

    @property
    def action(self) -> Any:
        """What it did, as a message; ``None`` for nothing."""
        return self._decode(self.action_serialized, "action_space")

    def _decode(self, data: bytes | None, space: str) -> Any:
        if data is None:
            return None
        if self._spec is None:
            raise ServiceError("a datastore without cog_settings gives serialized messages only")
        return getattr(self._spec, space).FromString(data)

    def all_received_rewards(self) -> Iterator[DatastoreReward]:
        """Yield the rewards that it received."""
        return (DatastoreReward(raw, self._payloads, self._names) for raw in self._raw.received_rewards)

    def all_sent_rewards(self) -> Iterator[DatastoreReward]:
        """Yield the rewards that it sent."""
        return (DatastoreReward(raw, self._payloads, self._names) for raw in self._raw.sent_rewards)

    def all_received_messages(self) -> Iterator[DatastoreMessage]:
        """Yield the messages that it received."""
        return (DatastoreMessage(raw, self._payloads, self._names) for raw in self._raw.received_messages)

    def all_sent_messages(self) -> Iterator[DatastoreMessage]:
        """Yield the messages that it sent."""
        return (DatastoreMessage(raw, self._payloads, self._names) for raw in self._raw.sent_messages)


class DatastoreSample:
    """One tick of a trial.

    Attributes:
        trial_id: The trial.
        trial_state: State of the trial when the tick was over.
        tick_id: The tick.
        timestamp: When it began, ns since the epoch.
        actors_data: By actor name.
    """

    def __init__(self, raw: StoredTrialSample, names: _Names, specs: Sequence[Any]) -> None:
        self.trial_id = raw.trial_id
        self.trial_state = TrialState(raw.state)
        self.tick_id = raw.tick_id
        self.timestamp = raw.timestamp
        self.actors_data = {
            names.name(entry.actor): DatastoreActorData(entry, raw.payloads, names, specs[entry.actor])
            for entry in raw.actor_samples
        }


class Datastore:
    """Reads a trial datastore.

    Args:
        channel: To the datastore.
        cog_settings: The application's messages, ``None`` for serialized ones only.
        metadata: Sent with each call.
    """

    def __init__(
        self, channel: grpc.aio.Channel, cog_settings: Any = None, metadata: GrpcMetadata | None = None
    ) -> None:
        self.stub = Stub(channel, "cogmentAPI.TrialDatastoreSP")
        self._settings = cog_settings
        self._metadata = tuple(metadata.to_grpc_metadata()) if metadata is not None else ()

    def __await__(self) -> Generator[Any, None, Datastore]:
        return self
        yield

    def has_specs(self) -> bool:
        """Return whether observations and actions can be decoded."""
        return self._settings is not None

    async def all_trials(
        self,
        bundle_size: int = 1,
        wait_for_trials: float = 0,
        properties: Mapping[str, str] | None = None,
        ids: Sequence[str] = (),
    ) -> AsyncGenerator[DatastoreTrialInfo, None]:
        """Yield trials in order of arrival.

        Args:
            bundle_size: How many to ask for at once.
            wait_for_trials: Seconds to wait for more, for each request.
            properties: Only trials that have them all.
            ids: Only these; empty for all.
        """
        handle = ""
        while True:
            request = RetrieveTrialsRequest(
                trial_ids=ids,
                properties=properties or {},
                timeout=int(wait_for_trials * 1000),
                trials_count=bundle_size,
                trial_handle=handle,
            )
            reply = await self._ask(self.stub.RetrieveTrials, request, wait_for_trials + 30.0)
            for raw in reply.trial_infos:
                yield DatastoreTrialInfo(raw, self._settings)
            handle = reply.next_trial_handle
            if len(reply.trial_infos) < bundle_size:
                return

    async def get_trials(
        self, ids: Sequence[str] = (), properties: Mapping[str, str] | None = None
    ) -> list[DatastoreTrialInfo]:
        """Return the trials that exist now, of these ids (all for none) and properties."""
        request = RetrieveTrialsRequest(trial_ids=ids, properties=properties or {})
        reply = await self._ask(self.stub.RetrieveTrials, request)
        return [DatastoreTrialInfo(raw, self._settings) for raw in reply.trial_infos]

    async def delete_trials(self, ids: Sequence[str]) -> None:
        """Delete trials; unknown ones do not matter."""
        await self._ask(self.stub.DeleteTrials, DeleteTrialsRequest(trial_ids=ids))

    async def all_samples(
        self,
        trial_infos: Sequence[DatastoreTrialInfo],
        actor_names: Sequence[str] = (),
        actor_classes: Sequence[str] = (),
        actor_implementations: Sequence[str] = (),
        fields: Sequence[DatastoreFields] = (),
    ) -> AsyncGenerator[DatastoreSample, None]:
        """Yield the samples of trials, following those that still run to their end.

        Args:
            trial_infos: Which trials.
            actor_names: Only data of these actors; empty for all, as below.
            actor_classes: Only data of actors of these classes.
            actor_implementations: Only data of actors that these implementations play.
            fields: Only these fields.
        """
        names = {info.trial_id: _Names(info.parameters) for info in trial_infos}
        specs = {info.trial_id: self._specs(info.parameters) for info in trial_infos}
        request = RetrieveSamplesRequest(
            trial_ids=list(names),
            actor_names=actor_names,
            actor_classes=actor_classes,
            actor_implementations=actor_implementations,
            selected_sample_fields=[int(field) for field in fields],  # type: ignore[misc]
        )
        call = self.stub.RetrieveSamples(request, metadata=(*self._metadata, *BUNDLES))
        try:
            bundled = offers_bundles(await call.initial_metadata())
            async for data in call:
                replies = SampleReplies.FromString(data).frames if bundled else None
                for reply in replies or [RetrieveSampleReply.FromString(data)]:
                    raw = reply.trial_sample
                    yield DatastoreSample(raw, names[raw.trial_id], specs[raw.trial_id])
        except grpc.aio.AioRpcError as error:
            raise call_error("retrieve samples", error) from error
        finally:
            call.cancel()

    def _specs(self, parameters: TrialParameters) -> list[Any]:
        if self._settings is None:
            return [None] * len(parameters.actors)
        return [self._settings.actor_classes.get(actor.actor_class) for actor in parameters.actors]

    async def _ask(self, rpc: Any, request: Any, timeout: float = 30.0) -> Any:
        return await answer(rpc, request, "ask the datastore", metadata=self._metadata, timeout=timeout)
