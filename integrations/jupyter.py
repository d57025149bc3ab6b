"""The seat in a notebook: :meth:`WebUI.display` for a page of one's own, :func:`display` for any link.

Keys reach the seat after a click into the frame; where a browser or a notebook server forbids the frame, the link
below it opens the seat in a tab.
"""

from __future__ import annotations

from cogment_lab.humans import WebUI
from cogment_lab.humans.web.notebook import SeatFrame

__all__ = ["SeatFrame", "display"]


def display(
    page: WebUI | str, seat: str | None = None, width: str | int = "100%", height: int = 760
) -> SeatFrame:
    """Show a page, or one seat, now, also in the middle of a cell.

    Args:
        page: A :class:`~cogment_lab.humans.WebUI`, or the link to a seat.
        seat: A seat of the page; the page itself by default.
        width: CSS length, or pixels.
        height: Pixels.

    Returns:
        What was shown; without a notebook (no IPython) only that.
    """
    frame = SeatFrame(page, width, height) if isinstance(page, str) else page.display(seat, width, height)
    try:
        from IPython.display import display as show
    except ImportError:
        return frame
    show(frame)
    return frame
