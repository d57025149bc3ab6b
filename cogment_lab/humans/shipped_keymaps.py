"""Which key means what: layouts for Gymnasium's own environments, and defaults for any other action space.

Only data lives here; :mod:`cogment_lab.humans.keymaps` checks and runs it. What the actions of an environment
mean is taken from its docstring in ``gymnasium/envs/``.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Text

__all__ = ["SHIPPED", "Layout", "generated_layout"]

_SINGLE_KEYS = [f"Digit{i}" for i in range(10)] + [f"Key{c}" for c in "QWERYUIOASDFGHJKLCVBNM"]
_PAIRS = [(f"Key{up}", f"Key{down}") for up, down in ("QA", "WS", "ED", "RF", "YH", "UJ", "IK", "OL")]
_ROWS = [
    [f"Digit{c}" for c in "1234567890"],
    *([f"Key{c}" for c in row] for row in ("QWERYUIO", "ASDFGHJKL", "CVBNM")),
]
_ARROWS = {
    2: ("ArrowLeft", "ArrowRight"),
    3: ("ArrowLeft", "ArrowUp", "ArrowRight"),
    4: ("ArrowLeft", "ArrowDown", "ArrowRight", "ArrowUp"),
}


@dataclass(frozen=True, slots=True)
class Layout:
    """The keys of one action space.

    Attributes:
        space: The action space that the layout is made for.
        keys: ``"ArrowLeft"`` or ``"ArrowLeft+ArrowUp"`` to the action and its label.
        noop: The action while nothing is held; ``None`` where the environment has none.
        noop_label: Its label.
        hint: One or two sentences for the person.
        turn_based: The environment waits for a key.
        axes: Names of the components of a Box action.
        ramp: Seconds from the middle of a Box to its end while a key is held, 0 for at once.
    """

    space: gym.Space[Any]
    keys: Mapping[str, tuple[Any, str]]
    noop: Any = None
    noop_label: str = "no-op"
    hint: str = ""
    turn_based: bool = False
    axes: tuple[str, ...] = ()
    ramp: float = 0.0


def _box(low: list[float], high: list[float]) -> Box:
    return Box(np.array(low, np.float32), np.array(high, np.float32), dtype=np.float32)


_CARTPOLE = Layout(
    Discrete(2),
    {"ArrowLeft": (0, "push left"), "ArrowRight": (1, "push right")},
    hint="Hold an arrow to push the cart. It is always pushed one way or the other.",
)
_HIKE = "Build up speed: push the way the car already rolls."
_LANDER_HINT = "Hold up to brake the fall with the main engine; left and right push the lander that way."
_DRIVE_HINT = "Steer with left and right, gas with up, brake with down."
_WALKER = Layout(
    _box([-1, -1, -1, -1], [1, 1, 1, 1]),
    {
        "KeyQ": ([1, 0, 0, 0], "hip 1 forward"),
        "KeyA": ([-1, 0, 0, 0], "hip 1 back"),
        "KeyW": ([0, 1, 0, 0], "knee 1 straight"),
        "KeyS": ([0, -1, 0, 0], "knee 1 bent"),
        "KeyE": ([0, 0, 1, 0], "hip 2 forward"),
        "KeyD": ([0, 0, -1, 0], "hip 2 back"),
        "KeyR": ([0, 0, 0, 1], "knee 2 straight"),
        "KeyF": ([0, 0, 0, -1], "knee 2 bent"),
    },
    noop=[0, 0, 0, 0],
    noop_label="relax",
    hint="A column of keys for each joint, the upper key forward. Leg 1 is the lighter one. Keys combine.",
    axes=("hip 1", "knee 1", "hip 2", "knee 2"),
)
_LANDER_CONTINUOUS = Layout(
    _box([-1, -1], [1, 1]),
    {
        "ArrowUp": ([1, 0], "main engine"),
        "ArrowLeft": ([0, -1], "left"),
        "ArrowRight": ([0, 1], "right"),
    },
    noop=[0, 0],
    noop_label="engines off",
    hint=_LANDER_HINT + " Keys combine.",
    axes=("main engine", "sideways"),
)
_FROZEN_LAKE = Layout(
    Discrete(4),
    {
        "ArrowLeft": (0, "left"),
        "ArrowDown": (1, "down"),
        "ArrowRight": (2, "right"),
        "ArrowUp": (3, "up"),
    },
    hint="One arrow, one step. On slippery ice you may slide sideways.",
    turn_based=True,
)
_CLIFF_WALKING = Layout(
    Discrete(4),
    {
        "ArrowUp": (0, "up"),
        "ArrowRight": (1, "right"),
        "ArrowDown": (2, "down"),
        "ArrowLeft": (3, "left"),
    },
    hint="One arrow, one step. Keep off the cliff.",
    turn_based=True,
)

SHIPPED: Mapping[str, tuple[Layout, ...]] = {
    "CartPole": (_CARTPOLE,),
    "MountainCar": (
        Layout(
            Discrete(3),
            {"ArrowLeft": (0, "push left"), "ArrowRight": (2, "push right")},
            noop=1,
            noop_label="coast",
            hint=_HIKE,
        ),
    ),
    "MountainCarContinuous": (
        Layout(
            _box([-1], [1]),
            {"ArrowLeft": ([-1], "push left"), "ArrowRight": ([1], "push right")},
            noop=[0],
            noop_label="coast",
            hint=_HIKE,
            axes=("force",),
        ),
    ),
    "Acrobot": (
        Layout(
            Discrete(3),
            {"ArrowLeft": (0, "torque -1"), "ArrowRight": (2, "torque +1")},
            noop=1,
            noop_label="no torque",
            hint="The arrows swing the lower link while it hangs: left clockwise, right counterclockwise.",
        ),
    ),
    "Pendulum": (
        Layout(
            _box([-2], [2]),
            {"ArrowLeft": ([2], "counterclockwise"), "ArrowRight": ([-2], "clockwise")},
            noop=[0],
            noop_label="no torque",
            hint="Left turns counterclockwise, right clockwise: an upright pendulum tips towards the arrow.",
            axes=("torque",),
        ),
    ),
    "LunarLander": (
        Layout(
            Discrete(4),
            {
                "ArrowLeft": (1, "left"),
                "ArrowUp": (2, "main engine"),
                "ArrowRight": (3, "right"),
            },
            noop=0,
            noop_label="engines off",
            hint=_LANDER_HINT + " One engine at a time: the newest key counts.",
        ),
        _LANDER_CONTINUOUS,
    ),
    "LunarLanderContinuous": (_LANDER_CONTINUOUS,),
    "BipedalWalker": (_WALKER,),
    "BipedalWalkerHardcore": (_WALKER,),
    "CarRacing": (
        Layout(
            _box([-1, 0, 0], [1, 1, 1]),
            {
                "ArrowLeft": ([-1, 0, 0], "left"),
                "ArrowRight": ([1, 0, 0], "right"),
                "ArrowUp": ([0, 1, 0], "gas"),
                # gymnasium's own keyboard player brakes with 0.8, because 1.0 locks the wheels
                "ArrowDown": ([0, 0, 0.8], "brake"),
            },
            noop=[0, 0, 0],
            noop_label="roll",
            hint=_DRIVE_HINT + " Keys combine; let go of the gas in bends.",
            axes=("steering", "gas", "brake"),
        ),
        Layout(
            Discrete(5),
            {
                "ArrowRight": (1, "right"),
                "ArrowLeft": (2, "left"),
                "ArrowUp": (3, "gas"),
                "ArrowDown": (4, "brake"),
            },
            noop=0,
            noop_label="roll",
            hint=_DRIVE_HINT + " One at a time: the newest key counts.",
        ),
    ),
    "Blackjack": (
        Layout(
            Discrete(2),
            {"KeyS": (0, "stick"), "KeyH": (1, "hit")},
            hint="H takes another card, S sticks. Get close to 21, never above.",
            turn_based=True,
        ),
    ),
    "FrozenLake": (_FROZEN_LAKE,),
    "FrozenLake8x8": (_FROZEN_LAKE,),
    "CliffWalking": (_CLIFF_WALKING,),
    "CliffWalkingSlippery": (_CLIFF_WALKING,),
    "Taxi": (
        Layout(
            Discrete(6),
            {
                "ArrowDown": (0, "down"),
                "ArrowUp": (1, "up"),
                "ArrowRight": (2, "right"),
                "ArrowLeft": (3, "left"),
                "KeyU": (4, "pick up"),
                "KeyD": (5, "drop off"),
            },
            hint="One arrow, one street. U picks the passenger up, D drops off.",
            turn_based=True,
        ),
    ),
}
"""Environment name without version, to one layout for each action space it can have."""


def generated_layout(space: gym.Space[Any]) -> Layout:
    """Return keys for a space nobody described; a layout without keys where none make sense."""
    if isinstance(space, Discrete):
        return _discrete(space)
    if isinstance(space, Box):
        return _continuous(space)
    if isinstance(space, MultiBinary):
        return _multi_binary(space)
    if isinstance(space, MultiDiscrete):
        return _multi_discrete(space)
    hint = "Write what to do, and press Enter." if isinstance(space, Text) else "Fill in the form."
    return Layout(space, {}, hint=hint, turn_based=isinstance(space, Text))


def _discrete(space: Discrete) -> Layout:
    start, n = int(space.start), int(space.n)
    codes = itertools.chain(
        zip(_ARROWS.get(n, ()), range(n), strict=False),
        zip(_SINGLE_KEYS, range(n), strict=False),
    )
    keys = {code: (start + index, f"action {start + index}") for code, index in codes}
    hint = (
        "The digits are the actions, in their order; letters follow."
        if n > 10
        else "The digits are the actions."
    )
    return Layout(space, keys, hint=hint)


def _continuous(space: Box) -> Layout:
    low, high = space.low.ravel().astype(np.float64), space.high.ravel().astype(np.float64)
    neutral = np.clip(np.zeros_like(low), low, high)
    keys: dict[str, tuple[Any, str]] = {}
    arrows = [("ArrowRight", "ArrowLeft"), ("ArrowUp", "ArrowDown")]
    for axis, codes in enumerate((arrows if low.size <= 2 else _PAIRS)[: low.size]):
        # beyond 1e6 a bound is no lever's end but "any number"
        up = high[axis] if high[axis] < 1e6 else neutral[axis] + 1
        down = low[axis] if low[axis] > -1e6 else neutral[axis] - 1
        for code, value in zip(codes, (up, down), strict=True):
            if value != neutral[axis]:
                vector = neutral.copy()
                vector[axis] = value
                keys[code] = (vector.reshape(space.shape), f"axis {axis}: {value:+.4g}")
    hint = "A pair of keys for each axis. Keys combine."
    if low.size > len(_PAIRS):
        hint += f" Axes from {len(_PAIRS)} on have sliders only."
    return Layout(space, keys, noop=neutral.reshape(space.shape), noop_label="neutral", hint=hint)


def _multi_binary(space: MultiBinary) -> Layout:
    size = int(np.prod(space.shape))
    bits = np.eye(size, dtype=np.int8)
    keys = {
        code: (bits[bit].reshape(space.shape), f"bit {bit}")
        for code, bit in zip(_SINGLE_KEYS, range(size), strict=False)
    }
    noop = np.zeros(space.shape, np.int8)
    return Layout(space, keys, noop=noop, noop_label="all off", hint="A key for each bit. Keys combine.")


def _multi_discrete(space: MultiDiscrete) -> Layout:
    noop = np.asarray(space.start).ravel()
    keys: dict[str, tuple[Any, str]] = {}
    for axis, (row, n) in enumerate(zip(_ROWS, space.nvec.ravel(), strict=False)):
        for code, step in zip(row, range(1, int(n)), strict=False):
            vector = noop.copy()
            vector[axis] += step
            keys[code] = (vector.reshape(space.shape), f"axis {axis}: {vector[axis]}")
    hint = "A row of the keyboard for each axis. Keys of different rows combine."
    return Layout(space, keys, noop=noop.reshape(space.shape), noop_label="all first", hint=hint)
