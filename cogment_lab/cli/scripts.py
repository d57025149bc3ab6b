"""``cogmentlab launch FILE``: the scripts of a YAML file, side by side (protocol section 13.3)."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape

from cogment_lab.cli.processes import Guard, run_child, run_until_interrupted
from cogment_lab.errors import ConfigurationError

__all__ = ["launch_file"]

_VARIABLE = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")
_ALL_ARGUMENTS = "__ALL_ARGS"
_MOST_ARGUMENTS = 9
_SCRIPT_KEYS = {"folder", "dir", "environment", "quiet", "ready_output", "depends_on", "commands"}


@dataclass(frozen=True)
class _Script:
    """Commands that run one after the other.

    Attributes:
        commands: Program and arguments of each.
        folder: Where they run.
        environment: What they run with.
        ready_output: A line of output that says that others may start; ``None``: at once.
        depends_on: Scripts that are ready before this one starts.
        is_quiet: Do not show its output.
    """

    commands: tuple[tuple[str, ...], ...]
    folder: Path
    environment: Mapping[str, str]
    ready_output: re.Pattern[str] | None
    depends_on: tuple[str, ...]
    is_quiet: bool


def launch_file(path: Path, arguments: Sequence[str] = (), quiet: int = 0) -> int:
    """Run the scripts of a file until the first one ends, or this process is interrupted; then stop all.

    Args:
        path: The file.
        arguments: ``{{.__1}}`` to ``{{.__9}}`` in it.
        quiet: 1 leaves out our own lines, 2 those of the scripts too.

    Returns:
        The exit status of the script that ended, 0 when interrupted.

    Raises:
        ConfigurationError: the file is wrong, or a program cannot be run.
    """
    scripts = _read(path, arguments)
    console = Console(highlight=False, soft_wrap=True)
    ended: list[tuple[str, int]] = []

    async def run() -> None:
        async with Guard() as watchman:
            ended.append(await _run(scripts, console, quiet, watchman))

    if run_until_interrupted(run()):
        return 0
    name, status = ended[0]
    if not quiet:
        console.print(f"{name} ended with exit status {status}; the others are stopped", markup=False)
    return status


async def _run(
    scripts: Mapping[str, _Script], console: Console, quiet: int, watchman: Guard
) -> tuple[str, int]:
    """Run all scripts; return the first one that ended, and its exit status."""
    ready = {name: asyncio.Event() for name in scripts}

    async def run(name: str, script: _Script) -> tuple[str, int]:
        for other in script.depends_on:
            await ready[other].wait()
        if script.ready_output is None:
            ready[name].set()
        for number, command in enumerate(script.commands, 1):
            prefix = f"{name}:({number}/{len(script.commands)})"

            def heard(line: str, prefix: str = prefix) -> None:
                if script.ready_output is not None and script.ready_output.search(line):
                    ready[name].set()
                if quiet < 2 and not script.is_quiet:
                    console.print(f"[cyan]{escape(prefix)}[/] {escape(line)}")

            status = await run_child(
                command, heard, watchman, folder=script.folder, environment=script.environment
            )
            if status:
                return name, status
        return name, 0

    tasks = [asyncio.create_task(run(name, script)) for name, script in scripts.items()]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(iter(done)).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _read(path: Path, arguments: Sequence[str]) -> dict[str, _Script]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("scripts"), dict):
        raise ConfigurationError(f"{path} has no scripts: it needs scripts: {{NAME: {{commands: [...]}}}}")
    if len(arguments) > _MOST_ARGUMENTS:
        raise ConfigurationError(f"{path} takes {_MOST_ARGUMENTS} arguments, not {len(arguments)}")
    variables = dict(os.environ)
    variables |= {f"__{number}": "" for number in range(1, _MOST_ARGUMENTS + 1)}
    variables |= {f"__{number}": text for number, text in enumerate(arguments, 1)}
    variables |= {_ALL_ARGUMENTS: " ".join(arguments), "__NB_ARGS": str(len(arguments))}
    shared = content.get("global") or {}
    added = _environment(shared.get("environment") or {}, variables)
    variables |= added
    folder = path.parent / _filled(str(shared.get("folder", "")), variables)
    scripts = {
        str(name): _script(str(name), script or {}, dict(variables), dict(added), folder, arguments)
        for name, script in content["scripts"].items()
    }
    _check_dependencies(scripts)
    return scripts


def _script(
    name: str,
    script: Any,
    variables: dict[str, str],
    added: dict[str, str],
    folder: Path,
    arguments: Sequence[str],
) -> _Script:
    if not isinstance(script, dict) or set(script) - _SCRIPT_KEYS or not script.get("commands"):
        known = ", ".join(sorted(_SCRIPT_KEYS))
        raise ConfigurationError(f"script {name!r} needs commands, and may have only {known}")
    own = _environment(script.get("environment") or {}, variables)
    variables |= own
    added |= own
    ready_output = script.get("ready_output")
    commands = []
    for command in script["commands"]:
        if not isinstance(command, list) or not command:
            raise ConfigurationError(f"script {name!r}: a command is a list [program, argument, ...]")
        commands.append(tuple(_expanded([str(part) for part in command], variables, arguments)))
    depends_on = script.get("depends_on") or ()
    return _Script(
        commands=tuple(commands),
        folder=folder / _filled(str(script.get("folder", script.get("dir", ""))), variables),
        environment={**os.environ, **added},
        ready_output=re.compile(_filled(str(ready_output), variables)) if ready_output else None,
        depends_on=(depends_on,) if isinstance(depends_on, str) else tuple(depends_on),
        is_quiet=bool(script.get("quiet", False)),
    )


def _environment(given: Mapping[str, Any], variables: dict[str, str]) -> dict[str, str]:
    """Return the variables of a section; each may use those before it."""
    variables, added = dict(variables), {}
    for name, value in given.items():
        added[str(name)] = variables[str(name)] = _filled(str(value), variables)
    return added


def _expanded(command: Sequence[str], variables: Mapping[str, str], arguments: Sequence[str]) -> list[str]:
    expanded: list[str] = []
    for part in command:
        alone = _VARIABLE.fullmatch(part.strip())
        if alone is not None and alone[1] == _ALL_ARGUMENTS:
            expanded += arguments
        else:
            expanded.append(_filled(part, variables))
    return expanded


def _filled(text: str, variables: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1] not in variables:
            raise ConfigurationError(f"no variable {found[1]!r} for {text!r}")
        return variables[found[1]]

    return _VARIABLE.sub(value, text)


def _check_dependencies(scripts: Mapping[str, _Script]) -> None:
    """Raise ConfigurationError when a script depends on an unknown one, or on itself in the end."""

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name not in scripts:
            raise ConfigurationError(f"script {path[-1]!r} depends on {name!r}, which is not there")
        if name in path:
            raise ConfigurationError(f"scripts that wait for each other: {' -> '.join((*path, name))}")
        for other in scripts[name].depends_on:
            visit(other, (*path, name))

    for name in scripts:
        visit(name, ())
