"""The seat in a notebook: ``ui.display()`` as a cell's last line, :func:`display` anywhere in a cell.

Keys reach the seat after a click into the frame; where a browser or a notebook server forbids the frame, the
link below it opens the seat in a tab.
"""

from __future__ import annotations

import importlib

from cogment_lab.errors import MissingExtraError
from cogment_lab.humans import WebUI
from cogment_lab.humans.web.notebook import SeatFrame

__all__ = ["SeatFrame", "display"]


def display(page: WebUI | str, seat: str | None = None, width: str | int = "100%", height: int = 760) -> None:
    """Show a page, or one seat, now.

    Args:
        page: A :class:`~cogment_lab.humans.WebUI`, or the link to a seat.
        seat: A seat of the page; the page itself by default.
        width: CSS length, or pixels.
        height: Pixels.

    Raises:
        MissingExtraError: this is no notebook.
    """
    try:
        show = importlib.import_module("IPython.display").display
    except ImportError as error:
        raise MissingExtraError(
            "there is no IPython here, so this is no notebook: open ui.url in a browser instead"
        ) from error
    show(SeatFrame(page, width, height) if isinstance(page, str) else page.display(seat, width, height))
