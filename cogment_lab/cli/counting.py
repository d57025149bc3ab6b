"""Numbers of things, in words."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, thing: str, things: str | None = None) -> str:
    """Return ``1 trial``, ``2 trials``; ``things`` where an ``s`` is not all that makes it plural."""
    return f"{number} {thing if number == 1 else things or f'{thing}s'}"
