"""What a person holds (keys, sliders, a form), and the action that it means."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from cogment_lab.humans.keymaps import KeyMap
from cogment_lab.humans.web.actions import parse_action
from cogment_lab.trial.mixing import ActionMix

__all__ = ["IDLE_RULES", "LONGEST_RAMP", "Driving"]

IDLE_RULES = ("no-op", "repeat", "agent")
"""What to do while in control and nothing is held."""

LONGEST_RAMP = 3.0
_TAP_SECONDS = 0.5
_LONGEST_STEP = 0.1


class Driving:
    """The controls of one seat.

    Args:
        space: The action space.
        keymap: What the keys mean.
        mix: How the trial makes the executed action of the player's and this one. Other than with
            ``"replace"``, components that nobody touched are NaN.
        clock: Seconds, for ramps and taps.

    Attributes:
        held: ``KeyboardEvent.code`` strings in the order they were pressed.
        controls: An action as the page's sliders and forms say it, ``None`` for none. It outranks the keys.
        idle: What nothing held means, of :data:`IDLE_RULES`.
        waits: The trial waits for each action: one press, one turn.
        ramp: Seconds from the middle of a Box to its end while a key is held, 0 for at once.
    """

    def __init__(
        self,
        space: gym.Space[Any],
        keymap: KeyMap,
        mix: ActionMix = "replace",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.held: Sequence[str] = ()
        self.controls: Any = None
        self.idle = "no-op"
        self.waits = keymap.turn_based
        self.ramp = keymap.ramp
        self._space = space
        self._keymap = keymap
        self._mix = mix
        self._clock = clock
        self._previous: Any = None
        self._level: Any = None
        self._tap: Sequence[str] = ()
        self._tapped = 0.0
        self._moved = 0.0

    @property
    def has_input(self) -> bool:
        """Whether something is held that means an action."""
        return self.controls is not None or self._keymap.binds(self._keys())

    @property
    def last(self) -> Any:
        """The action that was taken last, ``None`` where there was none since the controls were let go."""
        return self._previous

    def hold(self, held: Sequence[str]) -> None:
        """Hold these keys; one that goes down and up within a tick counts for that tick all the same."""
        if set(held) - set(self.held):
            self._tap, self._tapped = held, self._clock()
        self.held = held

    def let_go(self) -> None:
        """Release everything."""
        self.held = self._tap = ()
        self.controls = None
        self._previous = self._level = None

    def pressed(self) -> Any:
        """Return the action that is held, for the page; ``None`` for none."""
        if self.controls is not None:
            return self._previous
        return self._from_keys(self.held) if self.held else None

    def take(self, proposed_action: Any) -> Any:
        """Return the action of this tick, ``None`` where none is meant.

        Args:
            proposed_action: The player's, for the parts that are left to it; ``None`` where nobody proposes.

        Raises:
            InvalidActionError: the controls say no action of the space; they are let go.
        """
        if self.controls is not None:
            said = self.controls
            if self.waits:
                self.controls = None
            try:
                action = self._parse(said, proposed_action)
            except Exception:
                self.controls = None
                raise
        elif self.has_input or self.idle == "no-op":
            action = self._ramped(self._from_keys(self._keys()))
            self._tap = ()
            if self.waits:
                self.held = ()
        else:
            return self._previous if self.idle == "repeat" else None
        if action is not None:
            self._previous = action
        return action

    def _parse(self, said: Any, proposed_action: Any) -> Any:
        if self._mix == "replace":
            return parse_action(said, self._space, proposed_action)
        nothing = np.full(self._space.shape or (), np.nan, self._space.dtype)
        return parse_action(said, self._space, nothing, bounded=self._mix != "add")

    def _keys(self) -> Sequence[str]:
        if self._tap and not self._keymap.binds(self.held) and self._clock() - self._tapped < _TAP_SECONDS:
            return self._tap
        return self.held

    def _from_keys(self, keys: Sequence[str]) -> Any:
        if self._mix == "replace":
            return self._keymap.resolve(keys)
        return self._keymap.resolve_touched(keys)

    def _ramped(self, target: Any) -> Any:
        """Move towards where the keys point, as fast as the ramp allows."""
        space = self._space
        if not self.ramp or target is None or not isinstance(space, gym.spaces.Box):
            return target
        now = self._clock()
        seconds = min(now - self._moved, _LONGEST_STEP)
        self._moved = now
        rest = self._keymap.rest()
        level = rest if self._level is None else self._level
        goal = np.where(np.isnan(target), rest, target)
        most = np.maximum(np.abs(goal - rest), np.abs(level - rest)) * (seconds / self.ramp)
        self._level = level + np.clip(goal - level, -most, most)
        return np.where(np.isnan(target), np.nan, self._level).astype(space.dtype)
