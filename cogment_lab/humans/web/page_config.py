"""What the owner of a page decided."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from cogment_lab.humans.web.access import Access

__all__ = ["PageConfig"]

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class PageConfig:
    """What the page's owner decided.

    Attributes:
        folder: The seats' files.
        token: The page's; opens everything.
        host: Where the server listens.
        port: Where the server listens.
        public_url: The address that people use, where a proxy stands before the page.
        origins: Further web origins that may open a seat, or show the page in a frame.
        store: Whose trials the page shows; ``None`` for none.
        access: The tokens that follow from the page's.
    """

    folder: Path
    token: str
    host: str
    port: int
    public_url: str | None = None
    origins: tuple[str, ...] = ()
    store: Path | None = None
    access: Access = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "access", Access(self.token))

    def allows_origin(self, origin: str | None) -> bool:
        """Return whether a page of that origin may open a seat; a client without one is no page."""
        if origin is None:
            return True
        own = {f"http://{host}:{self.port}" for host in (self.host, "127.0.0.1", "localhost", "[::1]")}
        if self.public_url is not None:
            parts = urlsplit(self.public_url)
            own.add(f"{parts.scheme}://{parts.netloc}")
        return origin in own or origin in self.origins

    def allows_token(self, token: str) -> bool:
        """Return whether this is the page's token."""
        return self.access.grant(token).everything

    @property
    def headers(self) -> dict[str, str]:
        """What every answer carries; a page on loopback may stand in a frame of a page there (Jupyter)."""
        local = "http://localhost:* http://127.0.0.1:*" if self.host in _LOOPBACK else ""
        framers = " ".join(["'self'", local, *self.origins])
        return {
            "Content-Security-Policy": (
                "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
                f"connect-src 'self' ws: wss:; frame-ancestors {framers}; base-uri 'none'; form-action 'none'"
            ),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }
