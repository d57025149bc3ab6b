"""The application's messages, from a spec file, in a descriptor pool of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool

from cogment_lab.errors import ConfigurationError
from cogment_lab.wire.settings import LAB_SETTINGS, ActorClass, ActorClassList, ConfigType, LabSettings
from cogment_lab.wire.spec_file import compile_messages, read_spec

__all__ = ["load_spec"]

_DEFAULT = Path("cogment.yaml")


def load_spec(path: Path | None) -> LabSettings:
    """Return the actor classes and message types of a spec file.

    Args:
        path: The file; ``None`` is ``cogment.yaml`` where there is one, else Cogment Lab's own spec.

    Raises:
        ConfigurationError: the file, or a file that it imports, is missing or wrong.
        MissingExtraError: there is no protobuf compiler.
    """
    if path is None:
        if not _DEFAULT.exists():
            return LAB_SETTINGS
        path = _DEFAULT
    spec = read_spec(path)
    pool = DescriptorPool()
    for file in compile_messages(spec).file:
        pool.AddSerializedFile(file.SerializeToString())

    def message(name: str | None) -> Any:
        if name is None:
            return None
        try:
            return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
        except KeyError:
            raise ConfigurationError(f"no message {name!r} in {', '.join(spec.proto_files)}") from None

    return LabSettings(
        actor_classes=ActorClassList(
            *(
                ActorClass(
                    name=one.name,
                    config_type=message(one.config_type),
                    action_space=message(one.action_space),
                    observation_space=message(one.observation_space),
                )
                for one in spec.actor_classes
            )
        ),
        trial=ConfigType(message(spec.trial_config)),
        environment=ConfigType(message(spec.environment_config)),
    )
