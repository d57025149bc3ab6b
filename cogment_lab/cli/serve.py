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
        link = f"[link={ui.lobby_url}]{ui.lobby_url}[/link]"
        if ui.is_joined:
            console.print(f"{store} is served already: {link}", highlight=False, soft_wrap=True)
            return
        console.print(f"lobby       {link}", highlight=False, soft_wrap=True)
        console.print(
            f"seats come from training with the same store: make(..., teacher='web', store={str(store)!r})",
            highlight=False,
        )
        console.print("Ctrl-C ends it", highlight=False)
        try:
            while ui.is_running():
                time.sleep(_LOOK_SECONDS)
        except KeyboardInterrupt:
            return
        raise SeatLostError(f"the page of {store} ended by itself:\n{ui.log}")
