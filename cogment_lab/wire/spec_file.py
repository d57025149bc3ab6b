"""An application's spec file, ``cogment.yaml``: which messages its actors, trials and environments use."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorSet

from cogment_lab.errors import ConfigurationError, MissingExtraError

__all__ = ["ActorClassSpec", "SpecFile", "compile_messages", "messages_of", "read_spec"]

_PROTOC_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ActorClassSpec:
    """A class of actors; messages by their full names.

    Attributes:
        name: Name of the class.
        action_space: Message of its actions.
        observation_space: Message of its observations.
        config_type: Message of its configuration, ``None`` for none.
    """

    name: str
    action_space: str
    observation_space: str
    config_type: str | None


@dataclass(frozen=True, slots=True)
class SpecFile:
    """What a spec file says.

    Attributes:
        folder: Where it is.
        proto_files: The protobuf files that it imports, relative to ``folder``.
        actor_classes: The classes of actors, in order.
        trial_config: Message of a trial's configuration, ``None`` for none.
        environment_config: Message of an environment's configuration, ``None`` for none.
    """

    folder: Path
    proto_files: tuple[str, ...]
    actor_classes: tuple[ActorClassSpec, ...]
    trial_config: str | None
    environment_config: str | None


def read_spec(path: Path) -> SpecFile:
    """Read a spec file.

    Raises:
        ConfigurationError: it is missing, or wrong.
    """
    try:
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigurationError(f"cannot read the spec file {path}: {error}") from error
    try:
        return SpecFile(
            folder=path.parent.resolve(),
            proto_files=tuple(str(name) for name in spec["import"]["proto"]),
            actor_classes=tuple(_actor_class(entry) for entry in spec.get("actor_classes") or ()),
            trial_config=(spec.get("trial") or {}).get("config_type") or None,
            environment_config=(spec.get("environment") or {}).get("config_type") or None,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"the spec file {path} lacks something, or it has the wrong shape: {error!r}; it needs "
            "import.proto, and actor_classes with name, action.space and observation.space"
        ) from error


def _actor_class(entry: Mapping[str, Any]) -> ActorClassSpec:
    return ActorClassSpec(
        name=entry["name"],
        action_space=entry["action"]["space"],
        observation_space=entry["observation"]["space"],
        config_type=entry.get("config_type") or None,
    )


def compile_messages(spec: SpecFile, python_out: Path | None = None) -> FileDescriptorSet:
    """Compile the protobuf files of a spec.

    Args:
        spec: The spec.
        python_out: Folder to which modules (``data_pb2.py`` for ``data.proto``) are written; ``None``: none.

    Returns:
        The files, and those that they import.

    Raises:
        ConfigurationError: one of them is missing or wrong.
        MissingExtraError: there is no protobuf compiler.
    """
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "descriptors"
        options = [f"--proto_path={spec.folder}", "--include_imports", f"--descriptor_set_out={result}"]
        if python_out is not None:
            options.append(f"--python_out={python_out}")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "grpc_tools.protoc", *options),
                *(str(spec.folder / name) for name in spec.proto_files),
            ],
            capture_output=True,
            text=True,
            timeout=_PROTOC_SECONDS,
        )
        if "No module named" in done.stderr:
            raise MissingExtraError("a spec file needs a protobuf compiler: pip install grpcio-tools")
        if done.returncode:
            raise ConfigurationError(f"the messages cannot be compiled: {done.stderr.strip()}")
        return FileDescriptorSet.FromString(result.read_bytes())


def messages_of(files: FileDescriptorSet) -> dict[str, tuple[str, str]]:
    """Return, by the full name of each message, its file and its name inside the package."""
    found = {}
    for file in files.file:
        start = f"{file.package}." if file.package else ""
        for name in _names(file.message_type, ""):
            found[start + name] = (file.name, name)
    return found


def _names(messages: Any, outer: str) -> Iterator[str]:
    message: DescriptorProto
    for message in messages:
        name = outer + message.name
        yield name
        yield from _names(message.nested_type, f"{name}.")
