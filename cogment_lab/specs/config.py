"""Seeds and reset options in ``EnvironmentConfig`` and ``AgentConfig`` messages.

Cogment Lab 0.1.5 knows a 32-bit seed without presence, and options that are texts, 32-bit integers or floats.
Those fields stay filled; ours hold the whole.
"""

from __future__ import annotations

from typing import Any

from cogment_lab.errors import SpecError
from cogment_lab.specs.generated import data_pb2 as pb
from cogment_lab.specs.leaf_spaces import utf8
from cogment_lab.specs.tagged_json import from_json, to_json

__all__ = ["reset_options_of", "seed_of", "set_reset_options", "set_seed"]

_MAX_SEED = 2**64 - 1


def set_seed(config: pb.EnvironmentConfig | pb.AgentConfig, seed: int | None) -> None:
    """Write a seed; None (draw a fresh one) and 0 stay apart.

    Raises:
        SpecError: The seed is negative or has more than 64 bits.
    """
    if seed is None:
        config.ClearField("seed")
        config.ClearField("exact_seed")
        return
    if not 0 <= seed <= _MAX_SEED:
        raise SpecError(f"the seed {seed} is not between 0 and {_MAX_SEED}")
    config.seed = int(seed) & 0xFFFFFFFF
    config.exact_seed = int(seed)


def seed_of(config: pb.EnvironmentConfig | pb.AgentConfig) -> int | None:
    """Return the seed; None if none was given, and for 0.1.5's 0, which may be its default."""
    return config.exact_seed if config.HasField("exact_seed") else config.seed or None


def set_reset_options(config: pb.EnvironmentConfig, options: dict[str, Any] | None) -> None:
    """Write the ``options`` of ``reset``.

    Raises:
        SpecError: A key that is no string, or a value that ``to_json`` refuses.
    """
    config.ClearField("reset_args")
    config.reset_options_json = to_json(options) if options else ""
    for key, value in (options or {}).items():
        argument = _argument(value)
        if argument is not None:
            config.reset_args[utf8(key)].CopyFrom(argument)


def _argument(value: Any) -> pb.Value | None:
    match value:
        case str():
            return pb.Value(string_value=utf8(value))
        case int() if -(2**31) <= value < 2**31:
            return pb.Value(int_value=int(value))
        case float():
            return pb.Value(float_value=value)
    return None


def reset_options_of(config: pb.EnvironmentConfig) -> dict[str, Any]:
    """Return the ``options`` for ``reset``, empty if none were given.

    Raises:
        SpecError: The JSON of the options cannot be read.
    """
    if not config.reset_options_json:
        return {key: _value(argument) for key, argument in config.reset_args.items()}
    options = from_json(config.reset_options_json)
    if not isinstance(options, dict):
        raise SpecError(f"reset_options_json must hold an object, not {type(options).__name__}")
    return options


def _value(argument: pb.Value) -> str | int | float | None:
    kind = argument.WhichOneof("value_type")
    return None if kind is None else getattr(argument, kind)
