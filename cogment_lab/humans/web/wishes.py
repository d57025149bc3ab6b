"""What whoever drives a seat may ask for, beyond acting: the names that ``WebUI.seat(allows=...)`` takes."""

from __future__ import annotations

from collections.abc import Collection

from cogment_lab.errors import ConfigurationError

__all__ = ["REQUESTS", "SETTINGS", "WISHES", "check_wishes"]

REQUESTS = frozenset(
    {"take", "release", "pause", "resume", "step", "stop", "save", "discard", "success", "failure"}
)
"""By a ``request`` message."""

SETTINGS = frozenset({"idle", "wait", "ramp", "proposal", "inspect"})
"""By a ``setting`` message."""

WISHES = REQUESTS | SETTINGS | {"pace", "feedback", "note"}


def check_wishes(allows: Collection[str]) -> frozenset[str]:
    """Return the names as a set.

    Raises:
        ConfigurationError: one of them means nothing.
    """
    given = frozenset([allows] if isinstance(allows, str) else allows)
    unknown = sorted(given - WISHES)
    if unknown:
        raise ConfigurationError(
            f"allows={unknown}: nobody can ask for that at a seat; choose of {', '.join(sorted(WISHES))}"
        )
    return given
