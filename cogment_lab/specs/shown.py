"""A value as an error message shows it."""

from __future__ import annotations

import reprlib

__all__ = ["shown"]


def shown(value: object) -> str:
    """Return the ``repr`` of ``value``, cut to a few dozen characters; never raises."""
    try:
        return reprlib.repr(value)
    except Exception:  # the repr of an int of 4,301 digits raises, a foreign one may raise anything
        return f"<{type(value).__name__}>"
