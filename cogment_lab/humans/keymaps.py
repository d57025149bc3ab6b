"""Which action the keys held in the browser mean.

A key map is pure: it needs no browser, so it can be tested and reasoned about alone.

Example:
    >>> import gymnasium as gym
    >>> keymap = KeyMap.from_any(["no-op", "ArrowLeft", "ArrowUp", "ArrowRight"], gym.spaces.Discrete(4))
    >>> int(keymap.resolve(["ArrowUp"])), int(keymap.resolve([]))
    (2, 0)
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import operator
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from cogment_lab.errors import ConfigurationError
from cogment_lab.humans.shipped_keymaps import SHIPPED, Layout, generated_layout

__all__ = ["RESERVED_KEYS", "Action", "KeyMap", "jsonable", "keymap_for"]

Action: TypeAlias = Any
"""An element of the environment's action space, of whatever type that space has."""

RESERVED_KEYS = frozenset({"Space", "KeyT", "KeyP", "Period", "KeyZ", "KeyX", "Slash"})
"""Codes that the page itself uses (take over, pause, step, feedback, help)."""

_NOOP = "no-op"
_CODES = [
    *(f"Arrow{name}" for name in ("Left", "Right", "Up", "Down")),
    *(f"Key{chr(code)}" for code in range(ord("A"), ord("Z") + 1)),
    *(f"Digit{i}" for i in range(10)),
    *(f"F{i}" for i in range(1, 25)),
    *(f"Bracket{side}" for side in ("Left", "Right")),
    *(f"{name}{side}" for name in ("Shift", "Control", "Alt", "Meta") for side in ("Left", "Right")),
    *("Enter", "Tab", "Backspace", "Delete", "Insert", "Home", "End", "PageUp", "PageDown", "Escape"),
    *("Minus", "Equal", "Backslash", "Semicolon", "Quote", "Backquote", "Comma", "Period", "Slash"),
    *("CapsLock", "Space"),
]
_CODE_SET = frozenset(_CODES)
# Numpad and international keys, and what the page sends for a gamepad
_CODE_FAMILIES = re.compile(r"(Numpad|Intl)[A-Z0-9]\w*|Button\d+|Axis\d+(Plus|Minus)")


@dataclass(frozen=True, slots=True, eq=False)
class KeyMap:
    """Bindings from sets of held keys to actions.

    Each action is checked against ``space`` and kept in the type the environment wants: ``np.int64`` for a
    Discrete space, an array of the space's dtype and shape for Box, MultiBinary and MultiDiscrete.

    Attributes:
        bindings: Sets of ``KeyboardEvent.code`` strings, to actions; a gamepad's buttons are ``Button0``...,
            the ways of its axes ``Axis0Plus``, ``Axis0Minus``...
        space: The action space.
        noop: The action while nothing is held; ``None`` where there is none (a seat then falls back).
        labels: What to call the action of a binding; its number or vector where missing.
        noop_label: What to call ``noop``.
        hint: One or two sentences for the person.
        turn_based: The environment waits for a key.
        axes: Names of the components of a Box action, for the sliders.
        ramp: Seconds that a held key takes from the middle of a Box to its end; 0 is at once.

    Raises:
        ConfigurationError: a key is reserved or unknown, or an action lies outside the space.
    """

    bindings: Mapping[frozenset[str], Action]
    space: gym.Space[Any]
    noop: Action | None = None
    labels: Mapping[frozenset[str], str] = field(default_factory=dict)
    noop_label: str = _NOOP
    hint: str = ""
    turn_based: bool = False
    axes: tuple[str, ...] = ()
    ramp: float = 0.0

    def __post_init__(self) -> None:
        checked = {}
        for keys, action in self.bindings.items():
            _check_keys(keys)
            checked[keys] = _checked(action, self.space, f"binds {_text(keys)!r} to")
        unbound = [keys for keys in self.labels if keys not in checked]
        if unbound:
            raise ConfigurationError(f"the key map labels {_text(unbound[0])!r}, which it does not bind")
        object.__setattr__(self, "bindings", checked)
        object.__setattr__(self, "labels", dict(self.labels))
        if self.noop is not None:
            object.__setattr__(self, "noop", _checked(self.noop, self.space, f"has {_NOOP!r} as"))

    @classmethod
    def from_any(cls, value: Any, action_space: gym.Space[Any]) -> KeyMap:
        """Return the key map that ``value`` describes.

        Args:
            value: A :class:`KeyMap`; a list, one key for each action of a Discrete space in order, as in
                ``["no-op", "ArrowLeft"]``; or a dict, as in ``{"ArrowLeft": 0, "ArrowLeft+ArrowUp": 1}``.
                ``"no-op"`` names the action while nothing is held; without it there is none.
            action_space: The space that all actions must lie in.

        Raises:
            ConfigurationError: it fits neither form or not the space.
        """
        if isinstance(value, KeyMap):
            return dataclasses.replace(value, space=action_space)
        if isinstance(value, Mapping):
            pairs = list(value.items())
        elif isinstance(value, Sequence) and not isinstance(value, str):
            if not isinstance(action_space, Discrete):
                raise ConfigurationError(
                    f"a list of keys numbers the actions of a Discrete space, and this is {action_space}; "
                    "pass a dict such as {'ArrowLeft': action}"
                )
            pairs = [(keys, int(action_space.start) + index) for index, keys in enumerate(value)]
        else:
            raise ConfigurationError(
                f"a key map is a KeyMap, a list such as ['no-op', 'ArrowLeft'] or a dict, not {value!r}"
            )
        bindings: dict[frozenset[str], Action] = {}
        noops = []
        for keys, action in pairs:
            if keys == _NOOP:
                noops.append(action)
                continue
            chord = _parsed(keys)
            if chord in bindings:
                raise ConfigurationError(
                    f"the key map binds {keys!r} twice, to {bindings[chord]!r} and to {action!r}"
                )
            bindings[chord] = action
        if len(noops) > 1:
            raise ConfigurationError(f"the key map has several {_NOOP!r}: {noops!r}")
        return cls(bindings, action_space, noops[0] if noops else None)

    def resolve(self, held: Collection[str]) -> Action | None:
        """Return the action that the held keys mean.

        The binding with the most keys wins, then the one pressed last. In a Box space the vectors of the
        remaining keys add up, clipped to the space; in MultiBinary and MultiDiscrete spaces with a no-op,
        they set their components, the key pressed last winning.

        Args:
            held: ``KeyboardEvent.code`` strings in the order they were pressed.

        Returns:
            An action of ``space`` (a fresh copy); ``noop`` if the keys mean nothing, ``None`` without one.
        """
        if isinstance(self.space, Box):
            return self._sum(self.space, held)
        if isinstance(self.space, MultiBinary | MultiDiscrete) and self.noop is not None:
            action = self.noop.copy()
            for keys in reversed(list(self._matches(held))):
                changed = self.bindings[keys] != self.noop
                action[changed] = self.bindings[keys][changed]
            return action
        for keys in self._matches(held):
            return _copied(self.bindings[keys])
        return _copied(self.noop)

    def binds(self, held: Collection[str]) -> bool:
        """Return whether the held keys mean anything."""
        return next(self._matches(held), None) is not None

    def rest(self) -> Action:
        """Return the middle of a Box: the no-op, or what of the space is nearest to zero."""
        if self.noop is not None:
            return self.noop.astype(np.float64)
        assert isinstance(self.space, Box)
        return np.clip(np.zeros(self.space.shape), self.space.low, self.space.high)

    def resolve_touched(self, held: Collection[str]) -> Action:
        """Return what the keys mean in a Box of floats, with NaN in the components that they do not move."""
        rest = self.rest()
        action = self._sum(self.space, held) if isinstance(self.space, Box) else None
        touched = np.zeros(rest.shape, np.bool_)
        for keys in self._matches(held):
            touched |= self.bindings[keys] != rest
        return np.where(touched, rest if action is None else action, np.nan).astype(self.space.dtype)

    def label(self, action: Action) -> str:
        """Return what a person calls ``action``: ``"main engine"``, or its number or vector."""
        return self._word(action) or _value_text(action)

    def _word(self, action: Action | None) -> str | None:
        if self.noop is not None and _equal(action, self.noop):
            return self.noop_label
        for keys, label in self.labels.items():
            if _equal(action, self.bindings[keys]):
                return label
        return None

    def with_words_of(self, other: KeyMap) -> KeyMap:
        """Return this map, with ``other``'s words for the actions that have none here.

        Args:
            other: A map over the same space, such as the shipped one of the environment.
        """
        labels = {keys: other._word(action) for keys, action in self.bindings.items()}
        noop_label = self.noop_label if self.noop_label != _NOOP else other._word(self.noop) or _NOOP
        return dataclasses.replace(
            self,
            labels={**{keys: label for keys, label in labels.items() if label}, **self.labels},
            noop_label=noop_label,
            axes=self.axes or other.axes,
        )

    def to_json(self) -> dict[str, Any]:
        """Return KEYMAP of the seat page's protocol."""
        return {
            "bindings": [
                {
                    "keys": sorted(keys),
                    "label": self.labels.get(keys) or _value_text(action),
                    "value": jsonable(action),
                }
                for keys, action in self.bindings.items()
            ],
            "noop": None if self.noop is None else {"label": self.noop_label, "value": jsonable(self.noop)},
            "hint": self.hint,
            "turn_based": self.turn_based,
        }

    def _matches(self, held: Collection[str]) -> Iterator[frozenset[str]]:
        """Yield bindings that share no key, the most important first."""
        pressed = {code: order for order, code in enumerate(held)}
        while True:
            best = max(
                (keys for keys in self.bindings if keys <= pressed.keys()),
                key=lambda keys: (len(keys), sorted((pressed[code] for code in keys), reverse=True)),
                default=None,
            )
            if best is None:
                return
            yield best
            pressed = {code: order for code, order in pressed.items() if code not in best}

    def _sum(self, space: Box, held: Collection[str]) -> Action | None:
        matches = list(self._matches(held))
        if len(matches) < 2:
            return _copied(self.bindings[matches[0]] if matches else self.noop)
        rest = np.zeros(space.shape) if self.noop is None else self.noop.astype(np.float64)
        total = rest + sum(self.bindings[keys] - rest for keys in matches)
        return np.clip(total, space.low, space.high).astype(space.dtype)


def keymap_for(env_id: str, action_space: gym.Space[Any]) -> KeyMap:
    """Return the shipped key map of an environment, or a generated one for its action space.

    A shipped map is used only where the action space is the very one it was made for, so that a wrapper
    that rescales or renumbers actions gets a generated map and no wrong one.

    Args:
        env_id: ``"CartPole-v1"``, or ``"module:CartPole-v1"``.
        action_space: The space of the actions that the environment is given.
    """
    name = re.sub(r"-v\d+$", "", env_id.rpartition(":")[2])
    fitting = (layout for layout in SHIPPED.get(name, ()) if layout.space == action_space)
    return _from_layout(next(fitting, None) or generated_layout(action_space), action_space)


def _from_layout(layout: Layout, space: gym.Space[Any]) -> KeyMap:
    return KeyMap(
        bindings={_parsed(keys): action for keys, (action, _) in layout.keys.items()},
        space=space,
        noop=layout.noop,
        labels={_parsed(keys): label for keys, (_, label) in layout.keys.items()},
        noop_label=layout.noop_label,
        hint=layout.hint,
        turn_based=layout.turn_based,
        axes=layout.axes,
        ramp=layout.ramp,
    )


def _text(keys: Collection[str]) -> str:
    return "+".join(sorted(keys))


def _parsed(keys: Any) -> frozenset[str]:
    if isinstance(keys, str):
        return frozenset(code.strip() for code in keys.split("+"))
    if isinstance(keys, frozenset | tuple):
        return frozenset(keys)
    raise ConfigurationError(f"a key is a KeyboardEvent.code such as 'ArrowLeft', not {keys!r}")


def _check_keys(keys: frozenset[str]) -> None:
    if not isinstance(keys, frozenset) or not keys or not all(isinstance(code, str) for code in keys):
        raise ConfigurationError(f"a binding is a frozenset of KeyboardEvent.code strings, not {keys!r}")
    for code in sorted(keys):
        if code in RESERVED_KEYS:
            raise ConfigurationError(
                f"the key map binds {_text(keys)!r}, and the seat page itself uses {code}; "
                f"reserved are {', '.join(sorted(RESERVED_KEYS))}"
            )
        if code not in _CODE_SET and not _CODE_FAMILIES.fullmatch(code):
            near = _nearest(code)
            advice = f"; did you mean {near!r}?" if near else ""
            raise ConfigurationError(
                f"the key map binds {_text(keys)!r}, and {code!r} is no KeyboardEvent.code{advice}"
            )


def _nearest(code: str) -> str | None:
    by_name = {known.lower(): known for known in _CODES}
    typed = code.lower()
    for name in (
        f"key{typed}",
        f"digit{typed}",
        f"arrow{typed}",
        *difflib.get_close_matches(typed, by_name, 1),
    ):
        if name in by_name:
            return by_name[name]
    return None


def _checked(action: Any, space: gym.Space[Any], doing: str) -> Action:
    """Return ``action`` in the type that ``space`` wants, or say why that cannot be."""
    try:
        converted = _converted(action, space)
        fits = bool(space.contains(converted))
    except (TypeError, ValueError, OverflowError, AttributeError):
        fits = False
    if not fits:
        raise ConfigurationError(f"the key map {doing} {action!r}, which is no action of {space}")
    return converted


def _converted(action: Any, space: gym.Space[Any]) -> Action:
    if isinstance(space, Discrete):
        number = action.item() if isinstance(action, np.ndarray) else action
        return space.dtype.type(operator.index(number))
    if isinstance(space, Box | MultiBinary | MultiDiscrete):
        given = np.asarray(action)
        with np.errstate(invalid="ignore", over="ignore"):  # what does not fit is refused below
            array = np.array(given, dtype=space.dtype)
        if not np.issubdtype(array.dtype, np.floating) and not np.array_equal(array, given):
            raise ValueError("a fraction in a space of whole numbers")
        return array.reshape(space.shape)
    return action


def _copied(action: Action) -> Action:
    return action.copy() if isinstance(action, np.ndarray) else action


def _equal(one: Action, other: Action) -> bool:
    if isinstance(one, Mapping | tuple) or isinstance(other, Mapping | tuple):
        return repr(one) == repr(other)
    return np.array_equal(np.asarray(one), np.asarray(other))


def _value_text(action: Action) -> str:
    array = np.asarray(action) if isinstance(action, np.ndarray | np.generic | int | float | list) else None
    if array is None:
        return str(jsonable(action))
    if array.size == 1:
        return f"{array.item():.4g}" if array.dtype.kind == "f" else str(array.item())
    parts = ["\u00b7" if math.isnan(value) else f"{value:.3g}" for value in array.ravel()[:16].tolist()]
    return f"[{', '.join(parts)}{', ...' if array.size > 16 else ''}]"


def jsonable(value: Any) -> Any:
    """Return an action as JSON has it; NaN, which JSON has not, as ``None``."""
    if isinstance(value, np.ndarray | np.generic):
        return jsonable(value.tolist())
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): jsonable(part) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return [jsonable(part) for part in value]
    return value
