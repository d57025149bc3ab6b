"""Data on which learning would go wrong silently are refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from cogment_lab.integrations.sb3.fitting import why_start_does_not_fit
from gymnasium import spaces

from cogment_lab.errors import ConfigurationError

if TYPE_CHECKING:
    from cogment_lab.algorithms.offline_data import OfflineData

__all__ = ["check", "check_spaces", "leaves"]


def leaves(column: Any) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Yield ``(key, array)`` of observations: one with an empty key, or those of a dict."""
    if isinstance(column, Mapping):
        for key, part in column.items():
            yield f"[{key!r}]", np.asarray(part)
    else:
        yield "", np.asarray(column)


def check_spaces(observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
    """Check that the networks of Stable-Baselines3 can hold what is of these spaces.

    Raises:
        ConfigurationError: they cannot.
    """
    seen = {"": observation_space}
    if isinstance(observation_space, spaces.Dict):
        seen = {f"[{key!r}]": part for key, part in observation_space.spaces.items()}
    for key, part in seen.items():
        if not _is_array_space(part):
            raise ConfigurationError(
                f"observations{key} of {part} do not fit into a network's input: "
                "turn them into arrays of one size inside the trial, by FlattenObservation (Tuple, and Dict "
                "within Dict) or TransformObservation of gymnasium.wrappers"
            )
    if not _is_array_space(action_space):
        raise ConfigurationError(
            f"no offline algorithm learns actions of {action_space}, only Box, Discrete, and MultiDiscrete "
            "and MultiBinary of one dimension: turn them into one of these inside the trial, by "
            "gymnasium.wrappers.TransformAction"
        )
    for space, what in ((observation_space, "observations"), (action_space, "actions")):
        if why := why_start_does_not_fit(space, what):
            raise ConfigurationError(why)


def _is_array_space(space: spaces.Space[Any]) -> bool:
    if isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary):
        return len(space.shape) == 1
    return isinstance(space, spaces.Box | spaces.Discrete)


def check(data: OfflineData) -> None:
    """Check values and shapes.

    Raises:
        ConfigurationError: numbers that are not finite, observations or actions that are not of their space.
    """
    for name in ("observations", "next_observations", "actions", "rewards"):
        _check_numbers(data, name)
    for name in ("observations", "next_observations"):
        for key, array in leaves(getattr(data, name)):
            part = data.observation_space[key[2:-2]] if key else data.observation_space  # type: ignore[index]
            if array.shape[1:] != part.shape:
                raise ConfigurationError(
                    f"{name}{key} have the shape {array.shape[1:]}, which is not of {part}"
                )
            _check_range(array, part, f"{name}{key}")
    _check_actions(data)


def _check_numbers(data: OfflineData, name: str) -> None:
    for key, array in leaves(getattr(data, name)):
        if array.dtype.kind not in "biuf":
            raise ConfigurationError(f"{name}{key} is no array of numbers but of {array.dtype}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            rows = np.unique(np.nonzero(~np.isfinite(array))[0])
            trial = int(np.count_nonzero(data.ends[: rows[0]]))
            raise ConfigurationError(
                f"{name}{key} has NaN or infinite values in {len(rows)} of {len(data)} steps, first in step "
                f"{rows[0]} (trial {trial} of the {np.count_nonzero(data.ends)} given, from 0): leave these "
                "trials out, or repair the environment that gave them"
            )


def _check_actions(data: OfflineData) -> None:
    space, actions = data.action_space, data.actions
    fits = actions.shape[1:] == space.shape
    if isinstance(space, spaces.Box):
        slack = 1e-4 * (space.high - space.low) + 1e-6
        if fits and ((actions < space.low - slack) | (actions > space.high + slack)).any():
            raise ConfigurationError(
                f"actions reach from {actions.min()} to {actions.max()}, outside {space}"
            )
    else:
        fits |= isinstance(space, spaces.Discrete) and actions.shape[1:] == (1,)
        fits &= np.issubdtype(actions.dtype, np.integer)
    if not fits:
        raise ConfigurationError(
            f"actions of shape {actions.shape[1:]} and dtype {actions.dtype} are not of {space}"
        )
    _check_range(actions, space, "actions")


def _check_range(values: npt.NDArray[Any], space: spaces.Space[Any], what: str) -> None:
    """Check that numbers of a discrete space, ``(n, *shape)``, are below what there is to choose from."""
    if isinstance(space, spaces.Discrete):
        counts: Any = space.n
    elif isinstance(space, spaces.MultiDiscrete):
        counts = space.nvec
    elif isinstance(space, spaces.MultiBinary):
        counts = 2
    else:
        return
    outside = ((values < 0) | (values >= counts)).reshape(len(values), -1).any(axis=1)
    if outside.any():
        raise ConfigurationError(
            f"{what} reach from {values.min()} to {values.max()}, outside {space}, in {outside.sum()} of "
            f"{len(values)} steps, first in step {outside.argmax()}: count from 0, or pass the env= that "
            "these steps are of"
        )
