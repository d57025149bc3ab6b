"""``cogmentlab generate``: the module of settings that a :class:`cogment_lab.wire.Context` takes.

It does what ``python -m cogment.generate`` does (protocol section 14).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cogment_lab.errors import ConfigurationError
from cogment_lab.wire.spec_file import SpecFile, compile_messages, messages_of, read_spec

__all__ = ["generate"]

_HEAD = '''"""Settings of {spec}, written by ``cogmentlab generate``: do not edit."""

from types import SimpleNamespace as _SimpleNamespace

import cogment_lab.wire as _cogment

{imports}
'''


def generate(spec_path: Path, output: Path) -> list[Path]:
    """Write the modules of a spec's messages, and one of settings that names them.

    Args:
        spec_path: The spec file, ``cogment.yaml`` say.
        output: The module of settings; those of messages are written beside it.

    Returns:
        The files that were written.

    Raises:
        ConfigurationError: the spec, or a file that it imports, is missing or wrong, or nothing can be
            written there.
        MissingExtraError: there is no protobuf compiler.
    """
    spec = read_spec(spec_path)
    known = messages_of(compile_messages(spec))
    used: set[str] = set()

    def python_name(message: str | None) -> str:
        if message is None:
            return "None"
        if message not in known:
            raise ConfigurationError(f"no message {message!r} in {', '.join(spec.proto_files)}")
        file, name = known[message]
        used.add(_module(file))
        return f"{_module(file)}.{name}"

    body = _settings(spec, python_name)
    imports = "".join(f"import {module}\n" for module in sorted(used))
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        compile_messages(spec, output.parent)
        output.write_text(_HEAD.format(spec=spec_path.name, imports=imports) + body, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot write {output}: {error.strerror}") from error
    modules = [output.parent / f"{_module(name).replace('.', '/')}.py" for name in spec.proto_files]
    return [output, *modules]


def _module(proto_file: str) -> str:
    """Return the name of the module that protoc writes for a file."""
    return f"{proto_file.removesuffix('.proto').replace('-', '_').replace('/', '.')}_pb2"


def _settings(spec: SpecFile, python_name: Callable[[str | None], str]) -> str:
    classes = "".join(
        "    _cogment.ActorClass(\n"
        f"        name={one.name!r},\n"
        f"        config_type={python_name(one.config_type)},\n"
        f"        action_space={python_name(one.action_space)},\n"
        f"        observation_space={python_name(one.observation_space)},\n"
        "    ),\n"
        for one in spec.actor_classes
    )
    return (
        f"actor_classes = _cogment.ActorClassList(\n{classes})\n"
        f"trial = _SimpleNamespace(config_type={python_name(spec.trial_config)})\n"
        f"environment = _SimpleNamespace(config_type={python_name(spec.environment_config)})\n"
    )
