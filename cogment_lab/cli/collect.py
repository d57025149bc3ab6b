"""``cogmentlab collect``: demonstrations from the command line."""

from __future__ import annotations

import shlex
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from cogment_lab.cli.counting import counted
from cogment_lab.integrations.gymnasium.collect import collect
from cogment_lab.integrations.gymnasium.recording import default_store_path
from cogment_lab.integrations.gymnasium.registration import check_registered, inner_id

__all__ = ["run_collect"]


_INTERRUPTED = 130  # what a shell gives for Ctrl-C


def run_collect(
    env_id: str, *, trials: int, store: Path | None, human: str, seed: int | None, headless: bool, port: int
) -> int:
    """Record ``trials`` demonstrations and say where they are, also after Ctrl-C; return the exit status."""
    console = Console()
    env_id = inner_id(env_id)
    path = store or default_store_path(env_id)
    kept = 0

    def tell(so_far: int, of: int, total_reward: float) -> None:
        nonlocal kept
        kept = so_far
        console.print(f"{so_far} of {of} kept, return {total_reward:.1f}", highlight=False)

    interrupted = False
    try:
        if human == "scripted":
            from cogment_lab.humans.scripted import scripted_policy

            collect(env_id, scripted_policy(env_id), trials, store=path, seed=seed, on_progress=tell)
        else:
            _collect_from_a_person(env_id, path, port, headless, console, trials=trials, seed=seed, tell=tell)
    except KeyboardInterrupt:
        interrupted = True
    what = f"stopped: {kept} of {counted(trials, 'trial')} kept" if interrupted else counted(kept, "trial")
    # In one line, however narrow the terminal: it is there to be copied.
    console.print(
        escape(f"{what} in {path}; look at them with: cogmentlab trials ls {shlex.quote(str(path))}"),
        highlight=False,
        soft_wrap=True,
    )
    return _INTERRUPTED if interrupted else 0


def _collect_from_a_person(
    env_id: str,
    path: Path,
    port: int,
    headless: bool,
    console: Console,
    *,
    trials: int,
    seed: int | None,
    tell: Callable[[int, int, float], None],
) -> None:
    from cogment_lab.humans import WebUI

    check_registered(env_id)  # before anybody is asked to a seat
    with WebUI(port=port, store=path) as ui:
        player: Any = ui.seat("player")
        url = ui.link(player) if ui.is_joined else ui.url
        console.print(f"take your seat at [link={url}]{url}[/link]", highlight=False, soft_wrap=True)
        if not headless:
            webbrowser.open(url)
        collect(env_id, player, trials, store=path, seed=seed, on_progress=tell)
