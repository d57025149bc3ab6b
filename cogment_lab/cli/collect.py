"""``cogmentlab collect``: demonstrations from the command line."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Any

from rich.console import Console

from cogment_lab.integrations.gymnasium.collect import collect
from cogment_lab.integrations.gymnasium.recording import default_store_path
from cogment_lab.integrations.gymnasium.registration import inner_id

__all__ = ["run_collect"]


def run_collect(
    env_id: str, *, trials: int, store: Path | None, human: str, seed: int | None, headless: bool, port: int
) -> None:
    """Record ``trials`` demonstrations and say where they are."""
    console = Console()
    env_id = inner_id(env_id)
    path = store or default_store_path(env_id)
    if human == "scripted":
        from cogment_lab.humans.scripted import scripted_policy

        kept = collect(
            env_id, scripted_policy(env_id), trials, store=path, seed=seed, on_progress=_tell(console)
        )
    else:
        from cogment_lab.humans import WebUI

        with WebUI(port=port, store=path) as ui:
            player: Any = ui.seat("player")
            url = ui.link(player) if ui.is_joined else ui.url
            console.print(f"take your seat at [link={url}]{url}[/link]")
            if not headless:
                webbrowser.open(url)
            kept = collect(env_id, player, trials, store=path, seed=seed, on_progress=_tell(console))
    console.print(
        f"{len(kept)} trials in {path}; look at them with: cogmentlab trials ls {path}", highlight=False
    )


def _tell(console: Console) -> Any:
    def tell(kept: int, trials: int, total_reward: float) -> None:
        console.print(f"{kept} of {trials} kept, return {total_reward:.1f}", highlight=False)

    return tell
