"""``cogmentlab client``: what the official executable's clients do with a directory and a trial datastore.

The commands, flags and what is printed are those of the official ones (protocol section 13.2).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cogment_lab.cli import client_datastore, client_directory
from cogment_lab.cli.flags import (
    DIRECTORY,
    TLS,
    Option,
    a_path,
    a_truth,
    add_options,
    given_options,
    properties,
    seconds,
)
from cogment_lab.errors import CogmentLabError
from cogment_lab.services.tls import TlsFiles

__all__ = ["run_client"]

_TIMEOUT = 30.0

_EVERYWHERE = (
    Option("timeout", seconds, "30s or 1m30s say (default 30s)", ("COGMENT_CLIENT_TIMEOUT",)),
    Option("console_output", str, "text or json (default text)", ("COGMENT_CLIENT_CONSOLE_OUTPUT",)),
    *TLS,
)
_ENDPOINT = (Option("endpoint", str, "default grpc://localhost:9003", ("COGMENT_TRIAL_DATASTORE_ENDPOINT",)),)
_KIND = Option("type", str, "lifecycle, actor, environment, datastore, modelregistry...; other")
_PROPERTIES = Option("properties", properties, "name=value,name=value")
_SERVICE_ID = Option("service_id", int, "number of the record")


@dataclass(frozen=True)
class _Command:
    """One command: its own flags, whether it takes trial ids, and what runs it."""

    run: Callable[..., Awaitable[None]]
    options: Sequence[Option] = ()
    takes_ids: bool = False


_DIRECTORY_COMMANDS = {
    "register": _Command(
        client_directory.register,
        (
            Option("host", str, "host of the service"),
            Option("port", int, "its port"),
            Option("protocol", str, "grpc or cogment (default grpc)"),
            Option("ssl_required", a_truth, "it wants TLS", bare=True),
            _KIND,
            _PROPERTIES,
            Option("permanent", a_truth, "its health goes unchecked", bare=True),
        ),
    ),
    "deregister": _Command(
        client_directory.deregister, (_SERVICE_ID, Option("secret", str, "what registering printed"))
    ),
    "inquire": _Command(client_directory.inquire, (_SERVICE_ID, _KIND, _PROPERTIES)),
    "WaitForReady": _Command(client_directory.wait_for_ready),
}
_LIST = _Command(
    client_datastore.list_trials,
    (
        Option("count", int, "how many at most (default 10)"),
        Option("from", str, "handle that an earlier call printed"),
        _PROPERTIES,
    ),
)
_DELETE = _Command(client_datastore.delete_trials, takes_ids=True)
_DATASTORE_COMMANDS = {
    "list_trials": _LIST,
    "list": _LIST,
    "delete_trials": _DELETE,
    "delete": _DELETE,
    "export": _Command(
        client_datastore.export_trials,
        (Option("file", a_path, "file to write (default: standard output)"),),
        takes_ids=True,
    ),
    "import": _Command(
        client_datastore.import_trials,
        (
            Option("file", a_path, "file to read (default: standard input)"),
            Option("prefix", str, "before each trial id"),
            Option("user_id", str, "whose the trials are (default cogment CLI)"),
        ),
    ),
}
_GROUPS = {
    "directory": (DIRECTORY, _DIRECTORY_COMMANDS),
    "trial_datastore": (_ENDPOINT, _DATASTORE_COMMANDS),
    "datastore": (_ENDPOINT, _DATASTORE_COMMANDS),
}


def run_client(arguments: Sequence[str]) -> int:
    """Run ``GROUP COMMAND [--flag value]...``, flags anywhere; return the exit status."""
    parser = argparse.ArgumentParser(prog="cogmentlab client", allow_abbrev=False)
    add_options(parser, _EVERYWHERE)
    groups = parser.add_subparsers(metavar="SERVICE", required=True)
    for group, (shared, commands) in _GROUPS.items():
        commands_of = groups.add_parser(group, allow_abbrev=False).add_subparsers(
            metavar="COMMAND", required=True
        )
        for name, command in commands.items():
            sub = commands_of.add_parser(name, allow_abbrev=False)
            options = (*command.options, *shared, *_EVERYWHERE)
            add_options(sub, options)
            sub.set_defaults(command=command, options=options)
            if command.takes_ids:
                sub.add_argument("trial_ids", nargs="+", metavar="TRIAL_ID")
    flags = vars(parser.parse_args(_flags_last(arguments)))
    command = flags["command"]
    given: dict[str, Any] = given_options(parser, flags["options"], flags)
    if command.takes_ids:
        given["trial_ids"] = flags["trial_ids"]
    timeout = given.pop("timeout", _TIMEOUT)
    if given.setdefault("console_output", "text") not in ("text", "json"):
        parser.error(f"--console_output={given['console_output']}: text or json")
    as_json = given.pop("console_output") == "json"
    tls = TlsFiles(**{option.name: given.pop(option.name, None) for option in TLS})

    async def limited() -> None:
        async with asyncio.timeout(timeout):
            await command.run({**given, "credentials": tls.credentials()}, as_json)

    try:
        asyncio.run(limited())
    except TimeoutError:
        print(f"no answer in {timeout:g} s", file=sys.stderr)
        return 1
    except (CogmentLabError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _flags_last(arguments: Sequence[str]) -> list[str]:
    """Move flags before the names of service and command behind them, where every flag is known."""
    names = [place for place, text in enumerate(arguments) if text in _GROUPS]
    if not names or any(text in ("-h", "--help") for text in arguments[: names[0]]):
        return list(arguments)
    start = names[0]
    commands = _GROUPS[arguments[start]][1]
    end = next((place for place in range(start, len(arguments)) if arguments[place] in commands), None)
    if end is None:
        return [*arguments[start:], *arguments[:start]]
    between = [*arguments[:start], *arguments[start + 1 : end]]
    return [arguments[start], arguments[end], *between, *arguments[end + 1 :]]
