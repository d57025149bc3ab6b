"""The status as it goes to the pages: one text for all who need the same."""

from __future__ import annotations

import json
import math
from typing import Any

__all__ = ["Story", "as_text"]


def as_text(message: dict[str, Any]) -> str:
    """Return a message as JSON that every browser reads: ``null`` where a number is infinite or none."""
    try:
        return json.dumps(message, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json.dumps(_finite(message), separators=(",", ":"))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Story:
    """One state of the page's status, as text at most once whoever needs it.

    Args:
        fields: The status, without what the greeting says.
        before: The story that this one follows.
    """

    def __init__(self, fields: dict[str, Any], before: Story | None) -> None:
        self.fields = fields
        self._before = before
        self._patch: str | None = None
        self._text: str | None = None

    @property
    def text(self) -> str:
        """The complete status."""
        if self._text is None:
            self._text = as_text(self.fields)
        return self._text

    def since(self, known: Story) -> str:
        """Return what changed since the story that a viewer knows."""
        if known is not self._before:
            return _patch(known.fields, self.fields)
        if self._patch is None:
            self._patch = _patch(known.fields, self.fields)
        return self._patch

    def forget_before(self) -> None:
        """Let the one before go, or each story would hold all its ancestors."""
        self._before = None


def _patch(old: dict[str, Any], new: dict[str, Any]) -> str:
    changes = {key: value for key, value in new.items() if key not in old or old[key] != value}
    return as_text({"type": "patch", "changes": changes})
