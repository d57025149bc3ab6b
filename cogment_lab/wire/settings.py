"""What an application tells Cogment about its messages: actor classes and configuration types.

``LAB_SETTINGS`` are Cogment Lab's own; ``cogment.generate`` writes modules with the same three attributes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from cogment_lab.specs.generated import data_pb2

__all__ = ["LAB_SETTINGS", "ActorClass", "ActorClassList", "ConfigType", "LabSettings", "Settings"]


@dataclass(frozen=True)
class ActorClass:
    """The message types of a class of actors.

    Attributes:
        name: Name of the class.
        config_type: Message class of its configuration, ``None`` for none.
        action_space: Message class of its actions.
        observation_space: Message class of its observations.
    """

    name: str
    config_type: Any
    action_space: Any
    observation_space: Any


class ActorClassList:
    """Actor classes, by name (as item or attribute) and in order."""

    def __init__(self, *actor_classes: ActorClass) -> None:
        self._by_name = {actor_class.name: actor_class for actor_class in actor_classes}

    def __iter__(self) -> Iterator[ActorClass]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> ActorClass:
        return self._by_name[name]

    def __getattr__(self, name: str) -> ActorClass:
        try:
            return self.__dict__["_by_name"][name]  # type: ignore[no-any-return]
        except KeyError:
            raise AttributeError(f"no actor class {name!r}") from None

    def get(self, name: str, default: ActorClass | None = None) -> ActorClass | None:
        """Return the class of that name, or ``default``."""
        return self._by_name.get(name, default)

    def get_class_by_index(self, index: int) -> ActorClass:
        """Return the class at a place in the order of declaration."""
        return list(self._by_name.values())[index]


@dataclass(frozen=True)
class ConfigType:
    """The message class of a configuration, ``None`` for none."""

    config_type: Any


class Settings(Protocol):
    """What a ``cog_settings`` module has."""

    @property
    def actor_classes(self) -> Any:
        """The classes of actors."""

    @property
    def trial(self) -> Any:
        """Its ``config_type``."""

    @property
    def environment(self) -> Any:
        """Its ``config_type``."""


@dataclass(frozen=True)
class LabSettings:
    """A ``cog_settings`` as an object."""

    actor_classes: ActorClassList
    trial: ConfigType
    environment: ConfigType


LAB_SETTINGS = LabSettings(
    actor_classes=ActorClassList(
        ActorClass(
            name="player",
            config_type=data_pb2.AgentConfig,
            action_space=data_pb2.PlayerAction,
            observation_space=data_pb2.Observation,
        )
    ),
    trial=ConfigType(data_pb2.TrialConfig),
    environment=ConfigType(data_pb2.EnvironmentConfig),
)
"""Cogment Lab's: one class, ``player``; teachers, evaluators and observers are players of other names."""
