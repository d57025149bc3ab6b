"""The flags of the official executable: ``--name value``, ``--name=value``, or an environment variable.

A flag goes before its variable, and both before the default (protocol section 13).
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "DIRECTORY",
    "TLS",
    "Option",
    "a_path",
    "a_truth",
    "add_options",
    "given_options",
    "items",
    "properties",
    "seconds",
]

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Option:
    """One flag.

    Attributes:
        name: The flag without dashes, and what it is called in what is returned.
        kind: Reads its text; raises ValueError when it cannot.
        help: What it is.
        variables: Environment variables; the first that is not empty counts.
        aliases: Other spellings of the flag.
        bare: What the flag means without a value; ``None`` when it needs one.
    """

    name: str
    kind: Callable[[str], Any]
    help: str
    variables: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    bare: Any = None


def a_truth(text: str) -> bool:
    """Read a boolean."""
    if text.lower() in ("1", "t", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "f", "false", "no", "off"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def a_path(text: str) -> Path | None:
    """Read a path; no text is no path."""
    return Path(text) if text else None


def items(text: str) -> tuple[str, ...]:
    """Read ``a,b,c``."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def properties(text: str) -> dict[str, str]:
    """Read ``name=value,name=value``."""
    return {name.strip(): value.strip() for name, _, value in (part.partition("=") for part in items(text))}


def seconds(text: str) -> float:
    """Read a duration, ``30``, ``1m30s`` or ``500ms`` say."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    if not parts or "".join(map("".join, parts)) != text:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 30s or 1m30s")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


DIRECTORY = (
    Option(
        "directory_endpoint",
        str,
        "grpc://host:port of the directory",
        variables=("COGMENT_DIRECTORY_ENDPOINT",),
    ),
    Option(
        "directory_authentication_token",
        str,
        "only records of the same token are seen",
        variables=("COGMENT_DIRECTORY_AUTHENTICATION_TOKEN",),
    ),
)
"""Where the directory is."""

TLS = (
    Option("private_key", a_path, "PEM file of our key; turns TLS on", ("COGMENT_PRIVATE_KEY_FILE",)),
    Option(
        "root_cert",
        a_path,
        "PEM file of the trusted roots; makes client certificates mandatory",
        ("COGMENT_ROOT_CERT_FILE",),
    ),
    Option("trust_chain", a_path, "PEM file of our certificate chain", ("COGMENT_TRUST_CHAIN_FILE",)),
)
"""For what a service serves, and for every outgoing connection."""


def add_options(parser: argparse.ArgumentParser, options: Iterable[Option]) -> None:
    """Add flags to a parser, absent from its result when they are not given."""
    for option in options:
        more: dict[str, Any] = {} if option.bare is None else {"nargs": "?", "const": option.bare}
        variables = f" [{', '.join(option.variables)}]" if option.variables else ""
        parser.add_argument(
            *(f"--{name}" for name in (option.name, *option.aliases)),
            dest=option.name,
            type=option.kind,
            default=argparse.SUPPRESS,
            help=option.help.replace("%", "%%") + variables,
            **more,
        )


def given_options(
    parser: argparse.ArgumentParser,
    options: Sequence[Option],
    flags: Mapping[str, Any],
    variables: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the options that were given, by flag or by variable.

    Args:
        parser: Reports a variable that cannot be read, and ends the process.
        options: All of them.
        flags: Those that were given as flags.
        variables: The environment.
    """
    variables = os.environ if variables is None else variables
    given = {}
    for option in options:
        if option.name in flags:
            given[option.name] = flags[option.name]
            continue
        name = next((name for name in option.variables if variables.get(name)), None)
        if name is not None:
            try:
                given[option.name] = option.kind(variables[name])
            except (ValueError, argparse.ArgumentTypeError) as error:
                parser.error(f"{name}={variables[name]!r}: {error}")
    return given
