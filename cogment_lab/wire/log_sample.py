"""What a datalog receives for each tick, with the names of the official SDK."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import DecodeError

from cogment_lab.errors import ServiceError
from cogment_lab.trial.states import TrialState
from cogment_lab.wire.events import ActorStatus, RecvAction, RecvMessage, RecvObservation, RecvReward
from cogment_lab.wire.generated.datalog_pb2 import DatalogSample
from cogment_lab.wire.parameters import TrialParameters
from cogment_lab.wire.settings import Settings

__all__ = ["LogParams", "LogSample"]


class LogParams:
    """A trial's parameters in the form that :class:`TrialParameters` replaced.

    Args:
        cog_settings: The application's messages.
        parameters: The parameters; :meth:`deserialize` gives others.
    """

    def __init__(self, cog_settings: Settings | None, parameters: TrialParameters | None = None) -> None:
        self._parameters = parameters if parameters is not None else TrialParameters(cog_settings)

    @property
    def max_steps(self) -> int:
        """Tick after which the trial ends, 0 for no limit."""
        steps: int = self._parameters.max_steps
        return steps

    @property
    def max_inactivity(self) -> int:
        """Seconds without a tick to the trial's end, 0 for no limit."""
        seconds: int = self._parameters.max_inactivity
        return seconds

    @property
    def nb_actors(self) -> int:
        """How many actors the trial has."""
        return len(self._parameters.actors)

    @property
    def datalog(self) -> dict[str, Any]:
        """``endpoint`` and ``exclude``, the fields that samples are logged without."""
        parameters = self._parameters
        return {"endpoint": parameters.datalog_endpoint, "exclude": parameters.datalog_exclude_fields}

    @property
    def environment(self) -> dict[str, str]:
        """``name``, ``endpoint`` and ``implementation``."""
        keys = ("name", "endpoint", "implementation")
        return {key: getattr(self._parameters, f"environment_{key}") for key in keys}

    def get_serialization_type(self) -> int:
        """Return the number of the format of :meth:`serialize`."""
        return 2

    def serialize(self) -> bytes:
        """Return the parameters as bytes."""
        return self._parameters.serialize()

    def deserialize(self, raw_string: bytes) -> None:
        """Replace the parameters by serialized ones."""
        self._parameters.deserialize(raw_string)

    def get_trial_config(self) -> Any:
        """Return the trial's configuration, ``None`` for none."""
        return self._parameters.config

    def get_environment_config(self) -> Any:
        """Return the environment's configuration, ``None`` for none."""
        return self._parameters.environment_config

    def get_actor_index(self, actor_name: str) -> int | None:
        """Return the place of an actor, ``None`` when there is none of that name."""
        names = [actor.name for actor in self._parameters.actors]
        return names.index(actor_name) if actor_name in names else None

    def get_actor_name(self, actor_index: int) -> str:
        """Return the name of the actor at a place."""
        name: str = self._parameters.actors[actor_index].name
        return name

    def get_actor(self, actor_index: int) -> dict[str, Any]:
        """Return what is known of the actor at a place."""
        actor = self._parameters.actors[actor_index]
        keys = ("name", "actor_class", "endpoint", "implementation", "config")
        spec = actor.actor_class_spec
        return {key: getattr(actor, key) for key in keys} | {
            "action_space": spec.action_space,
            "observation_space": spec.observation_space,
        }


class LogSample:
    """What happened in one tick.

    Args:
        params: The trial's parameters.
        raw_sample: The message; :meth:`deserialize` gives another.

    Attributes:
        tick_id: The tick; ``None``, like what follows, when the sample was logged without ``info``.
        out_of_sync: The sample holds only a reward that came too late for its tick's.
        timestamp: When the tick began, in ns since the Unix epoch.
        state: The trial's state when the tick was over.
        events: What else happened, in words.
    """

    def __init__(self, params: TrialParameters | LogParams, raw_sample: DatalogSample | None = None) -> None:
        if not isinstance(params, TrialParameters | LogParams):
            raise ServiceError(f"a sample needs the trial's parameters, not {type(params).__name__}")
        self._parameters = params._parameters if isinstance(params, LogParams) else params
        self._set(DatalogSample() if raw_sample is None else raw_sample)

    def _set(self, raw_sample: DatalogSample) -> None:
        self._raw_sample = raw_sample
        info = raw_sample.info if raw_sample.HasField("info") else None
        self.tick_id = None if info is None else info.tick_id
        self.out_of_sync = None if info is None else info.out_of_sync
        self.timestamp = None if info is None else info.timestamp
        self.state = None if info is None else TrialState(info.state)
        self.events = None if info is None else list(info.special_events)

    def __repr__(self) -> str:
        return f"LogSample({self._raw_sample})"

    def get_serialization_type(self) -> int:
        """Return the number of the format of :meth:`serialize`."""
        return 2

    def serialize(self) -> bytes:
        """Return the sample as bytes."""
        data: bytes = self._raw_sample.SerializeToString()
        return data

    def deserialize(self, raw_string: bytes) -> None:
        """Replace the sample by a serialized one; raise ServiceError when it is none."""
        try:
            self._set(DatalogSample.FromString(raw_string))
        except DecodeError as error:
            raise ServiceError(f"this is no serialized sample: {error}") from error

    def all_actor_names(self) -> Iterator[str]:
        """Yield the names of the actors, in order."""
        for actor in self._parameters.actors:
            yield actor.name

    def get_action(self, actor: int | str) -> RecvAction | None:
        """Return the action of an actor (index or name); ``None`` when actions are not logged."""
        index = self._index(actor)
        sample = self._raw_sample
        if not sample.actions:
            return None
        raw = sample.actions[index]
        if index in sample.unavailable_actors:
            return RecvAction(raw.tick_id, index, ActorStatus.UNAVAILABLE, 0, None)
        if index in sample.default_actors:
            return RecvAction(raw.tick_id, index, ActorStatus.DEFAULT, 0, None)
        action = self._parameters.actors[index].actor_class_spec.action_space.FromString(raw.content)
        return RecvAction(raw.tick_id, index, ActorStatus.ACTIVE, raw.timestamp, action)

    def get_observation(self, actor: int | str) -> RecvObservation | None:
        """Return the observation of an actor (index or name); ``None`` when none is logged."""
        index = self._index(actor)
        if not self._raw_sample.HasField("observations"):
            return None
        raw = self._raw_sample.observations
        content = raw.observations[raw.actors_map[index]]
        observation = self._parameters.actors[index].actor_class_spec.observation_space.FromString(content)
        known = raw.tick_id if raw.tick_id >= 0 or self.tick_id is None else self.tick_id
        return RecvObservation(known, raw.timestamp, observation)

    def all_rewards(self) -> Iterator[RecvReward]:
        """Yield the rewards for this tick, as they were sent."""
        return (RecvReward(reward) for reward in self._raw_sample.rewards)

    def all_messages(self) -> Iterator[RecvMessage]:
        """Yield the messages of this tick, as they were sent."""
        return (RecvMessage(message) for message in self._raw_sample.messages)

    def _index(self, actor: int | str) -> int:
        names = list(self.all_actor_names())
        index = names.index(actor) if actor in names else actor
        if not isinstance(index, int) or not 0 <= index < len(names):
            raise ServiceError(f"no actor {actor!r} in this trial, only {names}")
        return index
