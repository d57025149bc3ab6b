"""What the seat page needs to draw controls for an action space, whatever its kind."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from cogment_lab.humans.keymaps import KeyMap

__all__ = ["controls_for"]

_MAX_LABELS = 256
_LARGEST_SLIDER = 1e6


def controls_for(action_space: gym.Space[Any], keymap: KeyMap) -> dict[str, Any]:
    """Return CONTROLS of the seat page's protocol: a tree with one ``kind`` for each part of the space.

    A Box bound that is infinite (or beyond 1e6) is given as 1 beyond what the keys reach, for JSON has no
    infinity and a slider needs an end.
    """
    if isinstance(action_space, spaces.Discrete):
        start, n = int(action_space.start), int(action_space.n)
        labels = [keymap.label(start + index) for index in range(n)] if n <= _MAX_LABELS else []
        return {"kind": "discrete", "n": n, "start": start, "labels": labels}
    if isinstance(action_space, spaces.Box):
        low, high = _slider_ends(action_space, keymap)
        axes = keymap.axes if len(keymap.axes) == len(low) else [f"axis {axis}" for axis in range(len(low))]
        return _box(action_space, low, high, list(axes), keymap.rest())
    return _plain_controls(action_space)


def _plain_controls(space: gym.Space[Any]) -> dict[str, Any]:
    """Return the controls of a space, or a part of one, that has no keys of its own."""
    if isinstance(space, spaces.Discrete):
        start, n = int(space.start), int(space.n)
        labels = [str(start + index) for index in range(n)] if n <= _MAX_LABELS else []
        return {"kind": "discrete", "n": n, "start": start, "labels": labels}
    if isinstance(space, spaces.Box):
        middle = np.clip(np.zeros(space.shape), space.low, space.high)
        low = np.where(space.low < -_LARGEST_SLIDER, middle - 1, space.low.astype(np.float64))
        high = np.where(space.high > _LARGEST_SLIDER, middle + 1, space.high.astype(np.float64))
        labels = [str(axis) for axis in range(middle.size)]
        return _box(space, low.ravel().tolist(), high.ravel().tolist(), labels, middle)
    if isinstance(space, spaces.MultiBinary):
        return {"kind": "multi_binary", "n": int(np.prod(space.shape))}
    if isinstance(space, spaces.MultiDiscrete):
        nvec, starts = space.nvec.ravel().tolist(), np.asarray(space.start).ravel().tolist()
        return {"kind": "multi_discrete", "nvec": nvec, "start": starts}
    if isinstance(space, spaces.Text):
        characters = "".join(sorted(space.character_set)) if len(space.character_set) <= _MAX_LABELS else ""
        return {
            "kind": "text",
            "min_length": int(space.min_length),
            "max_length": int(space.max_length),
            "characters": characters,
        }
    if isinstance(space, spaces.Dict):
        return {"kind": "dict", "parts": {name: _plain_controls(part) for name, part in space.items()}}
    if isinstance(space, spaces.Tuple):
        return {"kind": "tuple", "parts": [_plain_controls(part) for part in space.spaces]}
    return {"kind": "other", "text": repr(space)}


def _box(
    space: spaces.Box, low: list[float], high: list[float], labels: list[str], rest: Any
) -> dict[str, Any]:
    return {
        "kind": "box",
        "low": low,
        "high": high,
        "labels": labels,
        "shape": [int(size) for size in space.shape],
        "rest": np.asarray(rest, np.float64).ravel().tolist(),
        "whole": not np.issubdtype(space.dtype, np.floating),
    }


def _slider_ends(space: spaces.Box, keymap: KeyMap) -> tuple[list[float], list[float]]:
    reached = [np.zeros(space.shape), *keymap.bindings.values()]
    if keymap.noop is not None:
        reached.append(keymap.noop)
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    # zero may lie outside a half-open box, so the far end is measured from inside it
    inside = np.clip(np.stack(reached).astype(np.float64), low, high)
    low = np.where(low < -_LARGEST_SLIDER, inside.min(axis=0) - 1, low)
    high = np.where(high > _LARGEST_SLIDER, inside.max(axis=0) + 1, high)
    return low.ravel().tolist(), high.ravel().tolist()
