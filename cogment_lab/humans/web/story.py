"""The status as it goes to the pages: one text for all who need the same."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["Story"]


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
            self._text = json.dumps(self.fields, separators=(",", ":"))
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
    return json.dumps({"type": "patch", "changes": changes}, separators=(",", ":"))
