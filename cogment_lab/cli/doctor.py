"""``cogmentlab doctor``: what is installed, what is missing, how to get it."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cogment_lab._version import __version__
from cogment_lab.cli.packages import CORE, EXTRAS, installed_version

__all__ = ["run_doctor"]


def run_doctor() -> int:
    """Print the report; return 1 when the core is incomplete, else 0."""
    console = Console()
    console.print(
        f"cogment_lab {__version__} · Python {platform.python_version()} · {platform.platform(terse=True)} · "
        f"SQLite {sqlite3.sqlite_version}",
        highlight=False,
        soft_wrap=True,
    )
    table = Table()
    for name in ("package", "version", "for", "how to get it"):
        table.add_column(name)
    healthy = True
    for package in CORE:
        version = installed_version(package)
        healthy &= version is not None
        table.add_row(package, *_row(version, "core", "pip install cogment_lab"))
    for extra, packages in EXTRAS.items():
        for package in packages:
            table.add_row(
                package,
                *_row(installed_version(package), extra, escape(f"pip install 'cogment_lab[{extra}]'")),
            )
    console.print(table)
    for check, good, advice in _checks():
        console.print(
            f"{'[green]ok[/]     ' if good else '[yellow]missing[/]'} "
            f"{escape(check)}{'' if good else ': ' + advice}",
            soft_wrap=True,
        )
    if not healthy:
        console.print("[red]The core installation is incomplete.[/]")
    return 0 if healthy else 1


def _row(version: str | None, purpose: str, remedy: str) -> tuple[str, str, str]:
    return (version or "[yellow]missing[/]", purpose, "" if version else remedy)


def _checks() -> list[tuple[str, bool, str]]:
    """Return ``(what, whether it is fine, what to do)``."""
    here = Path.cwd()
    browser = any(shutil.which(name) for name in ("chromium", "google-chrome", "firefox", "xdg-open", "open"))
    free = shutil.disk_usage(here).free
    return [
        ("Python 3.11 or newer", sys.version_info >= (3, 11), "install Python 3.11, 3.12 or 3.13"),
        (f"{here} can be written", os.access(here, os.W_OK), "pass store= or set COGMENT_LAB_STORE"),
        ("1 GB of free disk space", free > 1e9, f"{free / 1e9:.1f} GB are left here"),
        ("a web browser", browser, "open the printed URL from another machine through an SSH tunnel"),
    ]
