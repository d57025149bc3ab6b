"""Stored observations and actions in the shapes of a replay buffer, or why they do not fit."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer

from cogment_lab.errors import WrongBufferError

__all__ = [
    "NotANumberError",
    "Observations",
    "check_numbers",
    "check_starts",
    "fit_actions",
    "fit_observations",
    "why_start_does_not_fit",
]

Array: TypeAlias = npt.NDArray[Any]
Observations: TypeAlias = "Array | dict[str, Array]"


class NotANumberError(WrongBufferError):
    """NaN is among what was to be stored."""


def why_start_does_not_fit(space: spaces.Space[Any], what: str) -> str | None:
    """Return what is wrong with numbers that do not begin at 0, ``None`` of a space whose do.

    Stable-Baselines3 knows no ``start``: its policies choose from 0 on, and its networks count from 0.
    """
    if isinstance(space, spaces.Dict):
        found = (why_start_does_not_fit(part, f"{what}[{key!r}]") for key, part in space.spaces.items())
        return next(filter(None, found), None)
    if not isinstance(space, spaces.Discrete | spaces.MultiDiscrete) or not np.any(space.start):
        return None
    if what.startswith("observations"):
        wrapper = "TransformObservation(env, lambda observation: observation - start, shifted_space)"
    else:
        wrapper = "TransformAction(env, lambda action: action + start, shifted_space)"
    return (
        f"{what} of {space} begin at {space.start}, and Stable-Baselines3's networks count from 0. Put "
        f"gymnasium.wrappers.{wrapper} inside the trial (cogment_lab.make(lambda: ...)); of trials that are "
        "recorded already, learn offline from a dict of arrays, shifted likewise"
    )


def check_starts(space: spaces.Space[Any], what: str) -> None:
    """Check that the numbers of a space begin at 0.

    Raises:
        WrongBufferError: they do not.
    """
    if why := why_start_does_not_fit(space, what):
        raise WrongBufferError(why)


def fit_observations(buffer: ReplayBuffer, observations: Any) -> Observations:
    """Return stored observations in the buffer's shapes.

    Raises:
        WrongBufferError: they are of another space.
    """
    if not isinstance(buffer.observation_space, spaces.Dict):
        return _fit(observations, tuple(buffer.obs_shape), buffer.observation_space, "observations")
    if not isinstance(observations, dict) or set(observations) != set(buffer.observation_space.spaces):
        stored = f"the keys {sorted(observations)}" if isinstance(observations, dict) else "no keys"
        raise WrongBufferError(
            f"the stored observations have {stored}, the buffer holds {buffer.observation_space}: the trials "
            "are of another environment (choose with env_id=), or the model was made with other wrappers"
        )
    shapes: Any = buffer.obs_shape
    return {
        key: _fit(observations[key], tuple(shapes[key]), space, f"observations[{key!r}]")
        for key, space in buffer.observation_space.spaces.items()
    }


def _fit(stored: Any, shape: tuple[int, ...], space: spaces.Space[Any], what: str) -> Array:
    if isinstance(stored, np.ndarray) and np.can_cast(stored.dtype, space.dtype or stored.dtype, "same_kind"):
        if stored.shape[1:] == shape:
            return stored
        if stored.shape[1:] == () and shape == (1,):  # Discrete
            return stored.reshape(-1, 1)
        if stored.ndim == 4 and (stored.shape[3], *stored.shape[1:3]) == shape:  # VecTransposeImage
            return np.moveaxis(stored, 3, 1)
    found = f"{stored.shape[1:]} {stored.dtype}" if isinstance(stored, np.ndarray) else type(stored).__name__
    raise WrongBufferError(
        f"the stored {what} are {found}, the buffer holds {shape} {space.dtype}: the trials are of another "
        "environment (choose with env_id=), or the model sees it through wrappers outside the trial (frame "
        "stacks, normalisation of observations...), which belong inside"
    )


def fit_actions(buffer: ReplayBuffer, actions: Any) -> Array:
    """Return stored actions, which are of the buffer's action space.

    Raises:
        WrongBufferError: they are not.
    """
    space = buffer.action_space
    if isinstance(actions, dict | tuple | list):
        raise WrongBufferError(
            "the stored actions are of a Dict, Tuple or Sequence space, the buffer's action space is "
            f"{space}: choose trials of another environment with env_id=, or turn such actions into that "
            "space's by gymnasium.wrappers.TransformAction inside the trial"
        )
    found = np.asarray(actions)
    complaint = None
    if (
        isinstance(space, spaces.Box)
        and found.dtype.kind in "iub"
        and np.issubdtype(space.dtype, np.floating)
    ):
        raise WrongBufferError(
            f"the stored actions are {found.dtype}, of a discrete space, and the buffer's action space is "
            f"{space}: SAC, TD3 and their like need Box actions. Learn with DQN on line or DiscreteCQL "
            "offline, or choose trials of another environment with env_id="
        )
    if isinstance(space, spaces.Discrete) and found.dtype.kind == "f":
        raise WrongBufferError(
            f"the stored actions are {found.dtype}, of a Box, and the buffer's action space is {space}: DQN "
            "needs Discrete actions. Learn with SAC on line or IQL offline, or choose trials of another "
            "environment with env_id="
        )
    if found.ndim == 0 or int(np.prod(found.shape[1:])) != buffer.action_dim or found.dtype == object:
        complaint = f"have the shape {found.shape[1:]} and dtype {found.dtype}"
    elif not np.can_cast(found.dtype, buffer.actions.dtype, "same_kind"):
        complaint = f"are {found.dtype}"
    elif isinstance(space, spaces.Discrete):
        if found.min() < 0 or found.max() >= space.n:
            complaint = f"reach from {found.min()} to {found.max()}"
    elif isinstance(space, spaces.Box):
        slack = 1e-4 * (space.high - space.low) + 1e-6
        if (found < space.low - slack).any() or (found > space.high + slack).any():
            complaint = f"reach from {found.min()} to {found.max()}"
    if complaint is not None:
        raise WrongBufferError(
            f"the stored actions {complaint}, the buffer's action space is {space}: the trials are of "
            "another environment (choose with env_id=), or a wrapper outside the trial changes the model's "
            "actions"
        )
    return found


def check_numbers(values: Any, what: str, ticks: npt.NDArray[np.int64] | None) -> None:
    """Check that no value is NaN; ``ticks``, ``(n,)``, name the place.

    Raises:
        NotANumberError: some are.
    """
    if isinstance(values, dict):
        for key, part in values.items():
            check_numbers(part, f"{what}[{key!r}]", ticks)
    elif isinstance(values, np.ndarray) and values.dtype.kind == "f":
        bad = np.flatnonzero(np.isnan(values.reshape(len(values), -1)).any(1))
        if len(bad):
            where = f"row {bad[0]}" if ticks is None else f"tick {ticks[bad[0]]} of its trial"
            raise NotANumberError(
                f"{len(bad)} of {len(values)} stored {what} hold NaN, the first at {where}: a network would "
                "learn NaN from them. Leave those trials out with trial_ids=, and repair the environment"
            )
