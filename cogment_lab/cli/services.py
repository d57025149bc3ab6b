"""``cogmentlab services NAME``: one service, with the official flags and environment variables.

Flags go before environment variables, and those before defaults (protocol section 13). A launcher written for
the official executable can start ours.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cogment_lab.errors import CogmentLabError

__all__ = ["SERVICES", "run_service"]

_STOP_SECONDS = 5.0
_LEVELS = {"trace": 5, "debug": 10, "info": 20, "warning": 30, "error": 40, "off": 100}


def _flag(text: str) -> bool:
    if text.lower() in ("1", "t", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "f", "false", "no", "off"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _properties(text: str) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in _list(text))


@dataclass(frozen=True)
class _Option:
    """One flag.

    Attributes:
        names: The flag, and its older spellings, without dashes; the first one is the setting's name.
        variables: Environment variables, the first that is set counts.
        kind: Reads its text.
        help: What it is.
        bare: What the flag means without a value; ``None`` when it needs one.
    """

    names: tuple[str, ...]
    variables: tuple[str, ...]
    kind: Callable[[str], Any]
    help: str
    bare: Any = None


def _registration(service: str) -> list[_Option]:
    return [
        _Option(("directory_endpoint",), ("COGMENT_DIRECTORY_ENDPOINT",), str, "grpc://host:port"),
        _Option(
            ("directory_authentication_token",), ("COGMENT_DIRECTORY_AUTHENTICATION_TOKEN",), str, "token"
        ),
        _Option(
            ("directory_registration_host",),
            (f"COGMENT_{service}_DIRECTORY_REGISTRATION_HOST",),
            str,
            "host to register; our own address without it",
        ),
        _Option(
            ("directory_registration_properties",),
            (f"COGMENT_{service}_DIRECTORY_REGISTRATION_PROPERTIES",),
            _properties,
            "k=v,k=v",
        ),
    ]


_HOST = _Option(("host",), ("COGMENT_LAB_HOST",), str, "address to listen on (default 127.0.0.1)")

_ORCHESTRATOR = [
    _Option(("lifecycle_port",), ("COGMENT_LIFECYCLE_PORT", "TRIAL_LIFECYCLE_PORT"), int, "default 9000"),
    _Option(("actor_port",), ("COGMENT_ACTOR_PORT", "TRIAL_ACTOR_PORT"), int, "default 9000"),
    _HOST,
    _Option(("params",), ("COGMENT_DEFAULT_PARAMS_FILE",), Path, "YAML file of default parameters"),
    _Option(
        ("directory_auto_register",),
        ("COGMENT_ORCHESTRATOR_DIRECTORY_AUTO_REGISTER",),
        _flag,
        "register in the directory",
        bare=True,
    ),
    _Option(("pre_trial_hooks",), ("COGMENT_PRE_TRIAL_HOOKS",), _list, "endpoints, separated by commas"),
    _Option(
        ("prometheus_port",),
        ("COGMENT_ORCHESTRATOR_PROMETHEUS_PORT", "PROMETHEUS_PORT"),
        lambda text: int(text) or None,
        "0 for none",
    ),
    _Option(("status_file",), ("COGMENT_STATUS_FILE",), Path, "file or FIFO that gets I, R, T"),
    _Option(("private_key",), ("COGMENT_PRIVATE_KEY_FILE",), Path, "PEM file"),
    _Option(("root_cert",), ("COGMENT_ROOT_CERT_FILE",), Path, "PEM file"),
    _Option(("trust_chain",), ("COGMENT_TRUST_CHAIN_FILE",), Path, "PEM file"),
    _Option(("gc_frequency",), ("COGMENT_GC_FREQUENCY",), int, "accepted, has no effect"),
    *_registration("ORCHESTRATOR"),
]

_DATASTORE = [
    _Option(("port",), ("COGMENT_TRIAL_DATASTORE_PORT",), int, "default 9003"),
    _HOST,
    _Option(
        ("reflection", "grpc_reflection"),
        ("COGMENT_TRIAL_DATASTORE_GRPC_REFLECTION",),
        _flag,
        "let clients ask for the schema",
        bare=True,
    ),
    _Option(
        ("memory_storage_max_samples_size",),
        ("COGMENT_TRIAL_DATASTORE_MEMORY_STORAGE_MAX_SAMPLE_SIZE",),
        int,
        "bytes of samples kept in memory (default 1 GiB)",
    ),
    _Option(
        ("file_storage",),
        ("COGMENT_TRIAL_DATASTORE_FILE_STORAGE_PATH",),
        Path,
        "keep everything in this SQLite file (default .cogment/trial_datastore.db)",
        bare=Path(".cogment/trial_datastore.db"),
    ),
    *_registration("TRIAL_DATASTORE"),
]


_DIRECTORY = [
    _Option(("port",), ("COGMENT_DIRECTORY_PORT",), int, "default 9005"),
    _HOST,
    _Option(
        ("reflection", "grpc_reflection"),
        ("COGMENT_DIRECTORY_GRPC_REFLECTION",),
        _flag,
        "let clients ask for the schema",
        bare=True,
    ),
    _Option(
        ("registration_lag",), ("COGMENT_DIRECTORY_REGISTRATION_LAG",), float, "seconds to wait for a service"
    ),
    _Option(
        ("persistence_file",),
        ("COGMENT_DIRECTORY_PERSISTENCE_FILE",),
        str,
        "where records are kept; empty for nowhere (default .cogment-directory-data)",
    ),
    _Option(
        ("load_balancing",), ("COGMENT_DIRECTORY_LOAD_BALANCING",), _flag, "prefer idle services", bare=True
    ),
    _Option(
        ("check_on_inquire",),
        ("COGMENT_DIRECTORY_CHECK_ON_INQUIRE",),
        _flag,
        "check services when they are asked for",
        bare=True,
    ),
    _Option(
        ("force_permanent",),
        ("COGMENT_DIRECTORY_FORCE_PERMANENT",),
        _flag,
        "treat every service as permanent",
        bare=True,
    ),
]


def _orchestrator(settings: dict[str, Any]) -> Any:
    from cogment_lab.services.orchestrator import Orchestrator, OrchestratorSettings

    return Orchestrator(OrchestratorSettings(**settings))


def _trial_datastore(settings: dict[str, Any]) -> Any:
    from cogment_lab.services.trial_datastore import TrialDatastore, TrialDatastoreSettings

    return TrialDatastore(TrialDatastoreSettings(**settings))


def _directory(settings: dict[str, Any]) -> Any:
    from cogment_lab.services.directory import Directory, DirectorySettings

    return Directory(DirectorySettings(**settings))


@dataclass(frozen=True)
class _Service:
    make: Callable[[dict[str, Any]], Any]
    options: Sequence[_Option]
    aliases: tuple[str, ...] = ()


SERVICES = {
    "orchestrator": _Service(_orchestrator, _ORCHESTRATOR),
    "trial_datastore": _Service(_trial_datastore, _DATASTORE, ("datastore",)),
    "directory": _Service(_directory, _DIRECTORY),
}
"""What can be run, by its official name."""


def run_service(arguments: Sequence[str]) -> int:
    """Run ``NAME [--flag value]...`` until it is interrupted; return the exit status."""
    names = {alias: name for name, service in SERVICES.items() for alias in (name, *service.aliases)}
    if not arguments or arguments[0] not in names:
        wanted = f"there is no service {arguments[0]!r}; " if arguments and arguments[0][0] != "-" else ""
        print(f"{wanted}cogmentlab services NAME [--help], NAME one of: {', '.join(names)}", file=sys.stderr)
        return 2
    name = names[arguments[0]]
    settings, log = _parse(name, SERVICES[name].options, arguments[1:])
    _set_up_logging(**log)
    try:
        service = SERVICES[name].make(settings)
        asyncio.run(_serve(name, service))
    except CogmentLabError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    return 0


def _parse(
    name: str, options: Sequence[_Option], arguments: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings that were given, by flag or variable, and those of logging."""
    parser = argparse.ArgumentParser(prog=f"cogmentlab services {name}", allow_abbrev=False)
    for option in options:
        more = {} if option.bare is None else {"nargs": "?", "const": option.bare}
        parser.add_argument(
            *(f"--{each}" for each in option.names),
            dest=option.names[0],
            type=option.kind,
            default=argparse.SUPPRESS,
            help=f"{option.help} [{option.variables[0]}]",
            **more,  # type: ignore[arg-type]
        )
    variables = os.environ
    parser.add_argument("--log_level", choices=_LEVELS, default=variables.get("COGMENT_LOG_LEVEL", "info"))
    parser.add_argument("--log_file", default=variables.get("COGMENT_LOG_FILE"))
    parser.add_argument(
        "--log_format", choices=("text", "json"), default=variables.get("COGMENT_LOG_FORMAT", "text")
    )
    given = vars(parser.parse_args(arguments))
    log = {key: given.pop(f"log_{key}") for key in ("level", "file", "format")}
    for option in options:
        if option.names[0] in given:
            continue
        text = next((variables[key] for key in option.variables if variables.get(key)), None)
        if text is not None:
            try:
                given[option.names[0]] = option.kind(text)
            except (ValueError, argparse.ArgumentTypeError) as error:
                parser.error(f"{option.variables[0]}={text!r}: {error}")
    return given, log


def _set_up_logging(level: str, file: str | None, format: str) -> None:
    text = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    if format == "json":
        parts = {"time": "asctime", "level": "levelname", "name": "name", "message": "message"}
        text = json.dumps({key: f"%({value})s" for key, value in parts.items()})
    handler = logging.FileHandler(file) if file else logging.StreamHandler()
    logging.basicConfig(level=_LEVELS[level], format=text, handlers=[handler])


async def _serve(name: str, service: Any) -> None:
    """Serve until SIGINT or SIGTERM, then stop within five seconds."""
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    port = await service.start()
    print(f"{name} listens on {service.settings.host}:{port}", flush=True)
    await over.wait()
    await service.stop(grace=_STOP_SECONDS / 2)
