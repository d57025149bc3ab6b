"""What a session's user code receives: one event per frame, with the names of the official SDK."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from cogment_lab.errors import ServiceError
from cogment_lab.wire.generated.common_pb2 import Message, Reward, RewardSource

__all__ = [
    "ActorInfo",
    "ActorStatus",
    "EventType",
    "RecvAction",
    "RecvEvent",
    "RecvMessage",
    "RecvObservation",
    "RecvReward",
    "RecvRewardSource",
    "pack_any",
]


class EventType(Enum):
    """Where in its life the trial was when the event was received."""

    NONE = 0
    ACTIVE = 1
    ENDING = 2
    FINAL = 3


class ActorStatus(Enum):
    """Where an actor's action comes from."""

    UNKNOWN = 0
    ACTIVE = 1
    UNAVAILABLE = 2
    DEFAULT = 3


@dataclass(frozen=True, slots=True)
class ActorInfo:
    """An actor of a trial."""

    actor_name: str
    actor_class_name: str


@dataclass(slots=True)
class RecvObservation:
    """An observation.

    Attributes:
        tick_id: The tick that it begins.
        timestamp: When the environment sent it, in ns since the Unix epoch.
        observation: Message of the actor class' observation space.
    """

    tick_id: int
    timestamp: int
    observation: Any

    @property
    def snapshot(self) -> Any:
        """Old name of ``observation``."""
        return self.observation


@dataclass(slots=True)
class RecvAction:
    """An actor's action, as the environment or a log receives it.

    Attributes:
        tick_id: Tick of the observation that it answers.
        actor_index: The actor's place in the trial.
        status: UNAVAILABLE when there is no action; to an environment, default actions look ACTIVE.
        timestamp: In ns since the Unix epoch, 0 when there is no action.
        action: Message of the actor class' action space, ``None`` when there is none.
    """

    tick_id: int
    actor_index: int
    status: ActorStatus
    timestamp: int
    action: Any


class RecvRewardSource:
    """One sender's part of a reward; ``user_data`` is a ``google.protobuf.Any``."""

    __slots__ = ("confidence", "sender_name", "user_data", "value")

    def __init__(self, source: RewardSource) -> None:
        self.value = source.value
        self.confidence = source.confidence
        self.sender_name = source.sender_name
        self.user_data = source.user_data

    def __repr__(self) -> str:
        return f"RecvRewardSource({self.value} by {self.sender_name!r}, confidence {self.confidence})"


class RecvReward:
    """A reward: the weighted mean of its sources, for what was done in tick ``tick_id``."""

    __slots__ = ("_sources", "receiver_name", "tick_id", "value")

    def __init__(self, reward: Reward) -> None:
        self.tick_id = reward.tick_id
        self.receiver_name = reward.receiver_name
        self.value = reward.value
        self._sources = reward.sources

    def get_nb_sources(self) -> int:
        """Return how many sources the reward has."""
        return len(self._sources)

    def all_sources(self) -> Iterator[RecvRewardSource]:
        """Yield the sources, in order of arrival at the orchestrator."""
        if not self._sources:
            raise ServiceError(f"the reward for {self.receiver_name!r} has no source")
        for source in self._sources:
            yield RecvRewardSource(source)

    def __repr__(self) -> str:
        return f"RecvReward({self.value} to {self.receiver_name!r} in tick {self.tick_id})"


class RecvMessage:
    """A message; ``payload`` is a ``google.protobuf.Any`` (``payload.Unpack(into)``)."""

    __slots__ = ("payload", "receiver_name", "sender_name", "tick_id")

    def __init__(self, message: Message) -> None:
        self.tick_id = message.tick_id
        self.sender_name = message.sender_name
        self.receiver_name = message.receiver_name
        self.payload = message.payload

    def __repr__(self) -> str:
        return f"RecvMessage({self.payload.type_url!r} from {self.sender_name!r} in tick {self.tick_id})"


class RecvEvent:
    """What one frame brought: an observation, or actions, or a reward, or a message; FINAL brings nothing."""

    __slots__ = ("actions", "messages", "observation", "rewards", "type")

    def __init__(self, event_type: EventType) -> None:
        self.type = event_type
        self.observation: RecvObservation | None = None
        self.actions: list[RecvAction] = []
        self.rewards: list[RecvReward] = []
        self.messages: list[RecvMessage] = []

    def __repr__(self) -> str:
        parts = [self.observation, *self.actions, *self.rewards, *self.messages]
        return f"RecvEvent({self.type.name}, {', '.join(repr(part) for part in parts if part)})"


def pack_any(payload: Any, into: Any) -> None:
    """Put ``payload``, a message of any descriptor pool, into a ``google.protobuf.Any``."""
    into.type_url = f"type.googleapis.com/{payload.DESCRIPTOR.full_name}"
    into.value = payload.SerializeToString()
