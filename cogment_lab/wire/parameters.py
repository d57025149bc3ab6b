"""A trial's parameters as messages with typed configurations (protocol sections 5 and 14)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from cogment_lab.errors import ServiceError
from cogment_lab.wire.generated.common_pb2 import ActorParams, TrialParams
from cogment_lab.wire.settings import ActorClass, Settings

__all__ = ["ActorParameters", "ActorParametersList", "TrialParameters"]


class _Scalar:
    """A field of the message, or of one inside it: ``None`` clears it, a wrong type is an error."""

    def __init__(self, path: str, kind: type, doc: str) -> None:
        *self._parents, self._name = path.split(".")
        self._kind = kind
        self.__doc__ = doc

    def _owner(self, parameters: Any) -> Any:
        message = parameters._raw_params
        for parent in self._parents:
            message = getattr(message, parent)
        return message

    def __get__(self, parameters: Any, owner: type | None = None) -> Any:
        return self if parameters is None else getattr(self._owner(parameters), self._name)

    def __set__(self, parameters: Any, value: Any) -> None:
        message = self._owner(parameters)
        if value is None:
            message.ClearField(self._name)
            return
        if self._kind is float and isinstance(value, int):
            value = float(value)
        if not isinstance(value, self._kind) or (self._kind is int and isinstance(value, bool)):
            raise ServiceError(f"{self._name!r} is {self._kind.__name__}, not {type(value).__name__}")
        try:
            setattr(message, self._name, value)
        except ValueError as error:
            raise ServiceError(f"{self._name!r} cannot be {value!r}: {error}") from error


class _Serialized:
    """A serialized message in the field, ``None`` for none."""

    def __init__(self, path: str, doc: str) -> None:
        *self._parents, self._name = path.split(".")
        self.__doc__ = doc

    def _owner(self, parameters: Any) -> Any:
        message = parameters._raw_params
        for parent in self._parents:
            message = getattr(message, parent)
        return message

    def __get__(self, parameters: Any, owner: type | None = None) -> Any:
        if parameters is None:
            return self
        message = self._owner(parameters)
        return getattr(message, self._name).content if message.HasField(self._name) else None

    def __set__(self, parameters: Any, value: bytes | None) -> None:
        message = self._owner(parameters)
        if value is None:
            message.ClearField(self._name)
        elif isinstance(value, bytes):
            getattr(message, self._name).content = value
        else:
            raise ServiceError(f"{self._name!r} is bytes, not {type(value).__name__}")


class _Typed(_Serialized):
    """The same as a message of the type that the settings give it."""

    def __init__(self, path: str, type_in: str, doc: str) -> None:
        super().__init__(path, doc)
        self._type_in = type_in

    def _type(self, parameters: Any) -> Any:
        settings = parameters._settings
        for name in self._type_in.split("."):
            settings = parameters.actor_class_spec if name == "actor_class" else getattr(settings, name)
        return settings

    def __get__(self, parameters: Any, owner: type | None = None) -> Any:
        content = super().__get__(parameters, owner)
        if parameters is None or content is None:
            return content
        if parameters._settings is None:
            raise ServiceError(f"{self._name!r} has no known type: the parameters were made without settings")
        try:
            return self._type(parameters).FromString(content)
        except DecodeError as error:
            raise ServiceError(f"{self._name!r} is no {self._type(parameters).__name__}: {error}") from error

    def __set__(self, parameters: Any, value: Any) -> None:
        if value is None:
            super().__set__(parameters, None)
            return
        if parameters._settings is not None:
            wanted = self._type(parameters)
            if wanted is None or not isinstance(value, wanted):
                raise ServiceError(f"{self._name!r} is {wanted}, not {type(value).__name__}")
        super().__set__(parameters, value.SerializeToString())


class _Parameters:
    """What parameters of trials and actors have in common."""

    _methods = frozenset({"has_specs", "serialize", "deserialize", "get_serialization_type"})
    _raw_params: Any

    def __init__(self, cog_settings: Settings | None) -> None:
        self._settings = cog_settings

    def _set(self, attributes: Mapping[str, Any]) -> None:
        for name, value in attributes.items():
            if name.startswith("_") or name in self._methods or not hasattr(type(self), name):
                raise ServiceError(f"{type(self).__name__} has no attribute {name!r}")
            setattr(self, name, value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._raw_params})"

    def has_specs(self) -> bool:
        """Return whether the types of configurations are known."""
        return self._settings is not None


class ActorParameters(_Parameters):
    """One actor of a trial.

    Args:
        cog_settings: The application's messages; with ``None``, configurations are bytes only.
        class_name: The actor's class, also ``actor_class=``.
        raw_params: The message to view, instead of a new one.
        **attributes: The other attributes.

    Raises:
        ServiceError: no class, an unknown attribute, a value of a wrong type.
    """

    name = _Scalar("name", str, "Name, unique in the trial.")
    endpoint = _Scalar("endpoint", str, "Where its service is; ``cogment://client`` for one that joins.")
    implementation = _Scalar("implementation", str, "Which of the service's implementations.")
    initial_connection_timeout = _Scalar(
        "initial_connection_timeout", float, "Seconds to wait for it at the start, 0 for ever."
    )
    response_timeout = _Scalar("response_timeout", float, "Seconds to wait for each action, 0 for ever.")
    optional = _Scalar("optional", bool, "Whether the trial goes on without it.")
    config = _Typed("config", "actor_class.config_type", "Configuration message, ``None`` for none.")
    config_serialized = _Serialized("config", "The configuration as bytes.")
    default_action = _Typed(
        "default_action", "actor_class.action_space", "Action used when it gives none, ``None`` for none."
    )
    default_action_serialized = _Serialized("default_action", "The default action as bytes.")

    def __init__(
        self,
        cog_settings: Settings | None,
        class_name: str | None = None,
        *,
        raw_params: Any = None,
        **attributes: Any,
    ) -> None:
        super().__init__(cog_settings)
        if raw_params is not None:
            self._raw_params = raw_params
            return
        actor_class = attributes.pop("actor_class", None) if class_name is None else class_name
        if not isinstance(actor_class, str) or not actor_class:
            raise ServiceError(f"an actor needs the name of its class, not {actor_class!r}")
        self._raw_params = ActorParams(actor_class=actor_class)
        self._set(attributes)

    @property
    def actor_class(self) -> str:
        """Name of the actor's class."""
        name: str = self._raw_params.actor_class
        return name

    @actor_class.setter
    def actor_class(self, value: str) -> None:
        if self._settings is not None:
            raise ServiceError("the class of an actor cannot change: its messages have the old one's types")
        if not isinstance(value, str) or not value:
            raise ServiceError(f"an actor needs the name of its class, not {value!r}")
        self._raw_params.actor_class = value

    @property
    def class_name(self) -> str:
        """Name of the actor's class; cannot be set."""
        return self.actor_class

    @class_name.setter
    def class_name(self, value: str) -> None:
        raise ServiceError("the class of an actor cannot change")

    @property
    def actor_class_spec(self) -> ActorClass:
        """The class itself; raises ServiceError without settings or when they do not have it."""
        if self._settings is None:
            raise ServiceError("no actor classes are known: the parameters were made without settings")
        if self.actor_class not in self._settings.actor_classes:
            raise ServiceError(f"the settings have no actor class {self.actor_class!r}")
        spec: ActorClass = self._settings.actor_classes[self.actor_class]
        return spec


class ActorParametersList:
    """The actors of a trial, in order; items are views of the trial's message."""

    def __init__(self, cog_settings: Settings | None, raw_params: TrialParams) -> None:
        self._settings = cog_settings
        self._raw_params = raw_params

    def _view(self, raw: Any) -> ActorParameters:
        return ActorParameters(self._settings, raw_params=raw)

    @staticmethod
    def _raw(value: Any) -> ActorParams:
        if not isinstance(value, ActorParameters):
            raise ServiceError(f"an actor is given by ActorParameters, not {type(value).__name__}")
        raw: ActorParams = value._raw_params
        return raw

    def __repr__(self) -> str:
        return repr(list(self))

    def __len__(self) -> int:
        return len(self._raw_params.actors)

    def __iter__(self) -> Iterator[ActorParameters]:
        return (self._view(raw) for raw in self._raw_params.actors)

    def __getitem__(self, key: int | slice | str) -> Any:
        actors = self._raw_params.actors
        if isinstance(key, slice):
            return [self._view(raw) for raw in actors[key]]
        if isinstance(key, int):
            return self._view(actors[key])
        for raw in actors:
            if raw.name == key:
                return self._view(raw)
        raise ServiceError(f"no actor {key!r} among {[raw.name for raw in actors]}")

    def __setitem__(self, key: int, value: ActorParameters) -> None:
        if not isinstance(key, int):
            raise ServiceError(f"an actor is replaced by its index, not by {key!r}")
        self._raw_params.actors[key].CopyFrom(self._raw(value))

    def __delitem__(self, key: int | slice) -> None:
        del self._raw_params.actors[key]

    def append(self, value: ActorParameters) -> None:
        """Add a copy of an actor at the end."""
        self._raw_params.actors.append(self._raw(value))

    def extend(self, values: Iterable[ActorParameters]) -> None:
        """Add copies of actors at the end."""
        self._raw_params.actors.extend([self._raw(value) for value in values])

    def clear(self) -> None:
        """Remove all actors."""
        self._raw_params.ClearField("actors")


class TrialParameters(_Parameters):
    """The whole of a trial.

    Args:
        cog_settings: The application's messages; with ``None``, configurations are bytes only.
        raw_params: The message to view, instead of a new one.
        **attributes: The attributes.

    Raises:
        ServiceError: an unknown attribute, a value of a wrong type.
    """

    config = _Typed("trial_config", "trial.config_type", "What pre-trial hooks are told, ``None`` for none.")
    config_serialized = _Serialized("trial_config", "The same as bytes.")
    max_steps = _Scalar("max_steps", int, "Tick after which the trial ends, 0 for no limit.")
    max_inactivity = _Scalar("max_inactivity", int, "Seconds without a tick to its end, 0 for no limit.")
    nb_buffered_ticks = _Scalar("nb_buffered_ticks", int, "How many ticks late rewards are logged in place.")
    datalog_endpoint = _Scalar("datalog.endpoint", str, "Where samples are logged; empty for nowhere.")
    environment_config = _Typed(
        "environment.config", "environment.config_type", "The environment's configuration, ``None`` for none."
    )
    environment_config_serialized = _Serialized("environment.config", "The same as bytes.")
    environment_name = _Scalar("environment.name", str, "Name of the environment.")
    environment_endpoint = _Scalar("environment.endpoint", str, "Where its service is.")
    environment_implementation = _Scalar("environment.implementation", str, "Which implementation it is.")

    def __init__(
        self, cog_settings: Settings | None, *, raw_params: TrialParams | None = None, **attributes: Any
    ) -> None:
        super().__init__(cog_settings)
        self._raw_params = TrialParams() if raw_params is None else raw_params
        self._set(attributes)

    @property
    def properties(self) -> Any:
        """Properties of the trial, name to value."""
        return self._raw_params.properties

    @properties.setter
    def properties(self, value: Mapping[str, str] | None) -> None:
        given = dict(value or {})
        self._raw_params.properties.clear()
        self._raw_params.properties.update(given)

    @property
    def datalog_exclude_fields(self) -> tuple[str, ...]:
        """Fields that samples are logged without."""
        return tuple(self._raw_params.datalog.exclude_fields)

    @datalog_exclude_fields.setter
    def datalog_exclude_fields(self, value: Iterable[str] | None) -> None:
        fields = list(value or ())
        if isinstance(value, str) or not all(isinstance(name, str) for name in fields):
            raise ServiceError(f"fields to exclude are a list of names, not {value!r}")
        if fields or self._raw_params.HasField("datalog"):
            self._raw_params.datalog.exclude_fields[:] = fields

    @property
    def actors(self) -> ActorParametersList:
        """The actors, in order."""
        return ActorParametersList(self._settings, self._raw_params)

    @actors.setter
    def actors(self, value: Iterable[ActorParameters] | None) -> None:
        raw = [ActorParametersList._raw(actor) for actor in value or ()]
        kept = TrialParams(actors=raw)
        self._raw_params.ClearField("actors")
        self._raw_params.actors.MergeFrom(kept.actors)

    def get_serialization_type(self) -> int:
        """Return the number of the format of :meth:`serialize`."""
        return 3

    def serialize(self) -> bytes:
        """Return the parameters as bytes."""
        data: bytes = self._raw_params.SerializeToString()
        return data

    def deserialize(self, raw_string: bytes, type: int | None = None) -> None:
        """Replace the parameters by serialized ones.

        Args:
            raw_string: From :meth:`serialize`.
            type: Its :meth:`get_serialization_type`, ``None`` for this one.

        Raises:
            ServiceError: another format, or no parameters.
        """
        if type not in (None, self.get_serialization_type()):
            raise ServiceError(f"unknown serialization type {type!r}")
        try:
            self._raw_params = TrialParams.FromString(raw_string)
        except DecodeError as error:
            raise ServiceError(f"these are no serialized trial parameters: {error}") from error
