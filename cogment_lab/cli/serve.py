"""``cogmentlab serve``: the page of a store, for as long as it is wanted."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from cogment_lab.errors import SeatLostError
from cogment_lab.humans import WebUI

__all__ = ["run_serve"]

_LOOK_SECONDS = 0.5


def run_serve(
    store: Path, *, port: int, host: str, public_url: str | None, token: str | None, origins: tuple[str, ...]
) -> None:
    """Serve until Ctrl-C; where the store's page runs already, say where and return.

    Raises:
        PortInUseError: the port is taken.
        SeatLostError: the server's process ended.
    """
    console = Console()
    with WebUI(port, host, token, public_url, origins, store=store) as ui:
        if ui.is_joined:
            _print(console, f"{store} is served already: {_link(ui.lobby_url)}")
            return
        _print(console, f"lobby       {_link(ui.lobby_url)}")
        _print(console, f"comparison  {_link(ui.compare_url)}  for raters: it opens nothing else")
        _print(
            console,
            f"seats come from training with the same store: make(..., teacher='web', store={str(store)!r})",
        )
        _print(console, "Ctrl-C ends it")
        try:
            while ui.is_running():
                time.sleep(_LOOK_SECONDS)
        except KeyboardInterrupt:
            return
        raise SeatLostError(f"the page of {store} ended by itself:\n{ui.log}")


def _link(url: str) -> str:
    return f"[link={url}]{url}[/link]"


def _print(console: Console, text: str) -> None:
    """Print without a break inside of an address, also where no terminal says how wide it is."""
    console.print(text, highlight=False, soft_wrap=True)
