"""Observations as rows of a table, and which actions an environment allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["allowed_actions", "table"]

_MOST_ROWS = 48
_LONGEST_TEXT = 400
_MOST_ACTIONS = 256


def table(observation: Any, name: str = "") -> list[tuple[str, str]]:
    """Return an observation as ``(name, value)`` rows, 48 at most; of pictures the size only."""
    rows: list[tuple[str, str]] = []
    if isinstance(observation, Mapping):
        for key, part in observation.items():
            rows += table(part, f"{name}{key}.")
    elif isinstance(observation, tuple):
        for index, part in enumerate(observation):
            rows += table(part, f"{name}{index}.")
    elif isinstance(observation, np.ndarray) and observation.ndim and observation.size <= _MOST_ROWS:
        rows += [
            (f"{name}{index}", f"{value:.4g}") for index, value in enumerate(observation.ravel().tolist())
        ]
    elif isinstance(observation, np.ndarray) and observation.ndim:
        size = "x".join(map(str, observation.shape))
        spread = f"{observation.min():.4g} to {observation.max():.4g}"
        rows.append((_plain(name), f"{size} {observation.dtype}, {spread}, mean {observation.mean():.4g}"))
    elif observation is not None:
        rows.append((_plain(name), str(observation)[:_LONGEST_TEXT]))
    return rows[:_MOST_ROWS]


def allowed_actions(observation: Any, info: Mapping[str, Any]) -> list[int] | None:
    """Return the action mask (1 allowed, 0 not) of the info or of the observation, ``None`` without one."""
    mask = info.get("action_mask")
    if mask is None and isinstance(observation, Mapping):
        mask = observation.get("action_mask")
    if mask is None:
        return None
    flat = np.asarray(mask).ravel()
    return [int(bool(each)) for each in flat] if flat.size <= _MOST_ACTIONS else None


def _plain(name: str) -> str:
    return name.rstrip(".") or "observation"
