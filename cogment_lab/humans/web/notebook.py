"""A seat inside a notebook's cell."""

from __future__ import annotations

from html import escape

__all__ = ["SeatFrame"]


class SeatFrame:
    """A frame with a seat's page in it, for Jupyter and everything else that asks for ``_repr_html_``.

    Keys reach the seat after a click into the frame. The page's server allows frames in pages of this machine
    and of ``WebUI(origins=...)``; elsewhere the link below the frame opens the seat in a tab.

    Args:
        url: The seat's address, token included.
        width: CSS length, or pixels.
        height: Pixels.
    """

    def __init__(self, url: str, width: str | int = "100%", height: int = 760) -> None:
        self.url = url
        self.width = f"{width}px" if isinstance(width, int) else width
        self.height = height

    def _repr_html_(self) -> str:
        url = escape(self.url, quote=True)
        style = escape(f"width:{self.width};height:{self.height}px;border:0;border-radius:8px", quote=True)
        return (
            f'<iframe src="{url}" style="{style}" title="cogment_lab seat" '
            'allow="gamepad; fullscreen; clipboard-write" loading="eager"></iframe>'
            f'<p><a href="{url}" target="_blank" rel="noopener">Open the seat in a tab of its own</a></p>'
        )

    def __repr__(self) -> str:
        return f"take your seat at {self.url}"
