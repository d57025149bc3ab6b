"""``cogmentlab serve``: the page of a store, for as long as it is wanted."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console

from cogment_lab.errors import ConfigurationError, SeatLostError
from cogment_lab.humans import WebUI
from cogment_lab.store import TrialStore

__all__ = ["check_public_url", "run_serve"]

_LOOK_SECONDS = 0.5


def run_serve(
    store: Path, *, port: int, host: str, public_url: str | None, token: str | None, origins: tuple[str, ...]
) -> None:
    """Serve until Ctrl-C; where the store's page runs already, say where and return.

    A training may make the store later, and the folder that it is in (``runs/``) is made now.

    Raises:
        ConfigurationError: the folder of the store's folder is not there, or ``public_url`` is no address.
        StoreError: the store is none, or cannot be read.
        PortInUseError: the port is taken.
        SeatLostError: the server's process ended.
    """
    check_public_url(public_url)
    _check_store(store)
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


def check_public_url(url: str | None) -> None:
    """Check that people can open an address, and that paths can be appended to it.

    Raises:
        ConfigurationError: it has no scheme, no host, or a query.
    """
    if url is None:
        return
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole or set(url) & set(" ?#") or not url.isprintable():
        raise ConfigurationError(
            f"public_url={url!r} is no address that people can open: give a whole one, such as "
            "https://lab.example.org/seats"
        )


def _check_store(store: Path) -> None:
    if store.exists():
        with TrialStore(store) as opened:
            len(opened)
    elif not store.absolute().parent.parent.exists():
        raise ConfigurationError(
            f"{store} cannot become a store: there is no folder {store.parent.parent}; make it, or give "
            "another path"
        )


def _link(url: str) -> str:
    return f"[link={url}]{url}[/link]"


def _print(console: Console, text: str) -> None:
    """Print without a break inside of an address, also where no terminal says how wide it is."""
    console.print(text, highlight=False, soft_wrap=True)
