"""The application's messages: a spec file (``cogment.yaml``) and the protobuf files that it names."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from cogment_lab.errors import ConfigurationError, MissingExtraError
from cogment_lab.wire.settings import LAB_SETTINGS, ActorClass, ActorClassList, ConfigType, LabSettings

__all__ = ["load_spec"]

_DEFAULT = Path("cogment.yaml")
_PROTOC_SECONDS = 60.0


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
    try:
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigurationError(f"cannot read the spec file {path}: {error}") from error
    try:
        message = _compile(path.parent, [str(name) for name in spec["import"]["proto"]])
        return LabSettings(
            actor_classes=ActorClassList(
                *(_actor_class(entry, message) for entry in spec.get("actor_classes") or ())
            ),
            trial=_config(spec, "trial", message),
            environment=_config(spec, "environment", message),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"the spec file {path} lacks something, or it has the wrong shape: {error!r}; it needs "
            "import.proto, and actor_classes with name, action.space and observation.space"
        ) from error


def _actor_class(entry: Mapping[str, Any], message: Callable[[str], Any]) -> ActorClass:
    config = entry.get("config_type")
    return ActorClass(
        name=entry["name"],
        config_type=message(config) if config else None,
        action_space=message(entry["action"]["space"]),
        observation_space=message(entry["observation"]["space"]),
    )


def _config(spec: Mapping[str, Any], of: str, message: Callable[[str], Any]) -> ConfigType:
    name = (spec.get(of) or {}).get("config_type")
    return ConfigType(message(name) if name else None)


def _compile(folder: Path, files: Sequence[str]) -> Callable[[str], Any]:
    """Return a function from the full name of a message to its class."""
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(_descriptors(folder, files)).file:
        pool.AddSerializedFile(file.SerializeToString())

    def message(name: str) -> Any:
        try:
            return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
        except KeyError:
            raise ConfigurationError(f"no message {name!r} in {', '.join(files)}") from None

    return message


def _descriptors(folder: Path, files: Sequence[str]) -> bytes:
    folder = folder.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "descriptors"
        command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={folder}", "--include_imports"]
        done = subprocess.run(
            [*command, f"--descriptor_set_out={result}", *(str(folder / name) for name in files)],
            capture_output=True,
            text=True,
            timeout=_PROTOC_SECONDS,
        )
        if "No module named" in done.stderr:
            raise MissingExtraError("a spec file needs a protobuf compiler: pip install grpcio-tools")
        if done.returncode:
            raise ConfigurationError(f"the messages cannot be compiled: {done.stderr.strip()}")
        return result.read_bytes()
