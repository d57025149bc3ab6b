"""Stored trials as the arrays of d3rlpy's ``MDPDataset``; d3rlpy is needed only for the dataset itself."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from cogment_lab.errors import ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    from cogment_lab.store import TrialQuery

__all__ = ["mdp_arrays", "to_mdp_dataset"]


def mdp_arrays(query: TrialQuery, *, continuous: bool | None = None) -> dict[str, npt.NDArray[Any]]:
    """Return ``observations, actions, rewards, terminals, timeouts`` of the chosen trials.

    Observations are ``(n, *shape)``, images channels first; actions ``(n, dim) float32``, or ``(n, 1) int32``
    for Discrete; rewards ``(n, 1) float32``; terminals and timeouts ``(n,) float32``, of which the last step
    of each trial has one. d3rlpy keeps no observation after the last step.

    Args:
        query: Of ``store.query(...)``.
        continuous: What the learner needs; ``None`` takes what the trials have.

    Raises:
        ConfigurationError: spaces that d3rlpy has not, actions of the other kind, NaN, or no steps.
    """
    spec = query.spaces()
    is_discrete = isinstance(spec.action_space, spaces.Discrete)
    if not isinstance(spec.observation_space, spaces.Box) or not (
        is_discrete or isinstance(spec.action_space, spaces.Box)
    ):
        raise ConfigurationError(
            f"d3rlpy takes Box observations, and Box or Discrete actions; the trials have {spec}"
        )
    if continuous and is_discrete:
        raise ConfigurationError(
            f"the actions are {spec.action_space}, and SAC and its like need a Box: use a discrete "
            "algorithm, DQN or DiscreteCQL"
        )
    if continuous is False and not is_discrete:
        raise ConfigurationError(
            f"the actions are {spec.action_space}, and a discrete algorithm needs Discrete: use SAC, IQL "
            "or CQL"
        )
    data = query.load()
    if data.observations is None:
        raise ConfigurationError("the trials were recorded without observations: record='full' keeps them")
    observations = np.asarray(data.observations)
    if observations.dtype.kind == "f":
        bad = np.flatnonzero(np.isnan(observations.reshape(len(data), -1)).any(1))
        if len(bad):
            raise ConfigurationError(
                f"{len(bad)} of {len(data)} observations hold NaN, the first in row {bad[0]} (tick "
                f"{data.ticks[bad[0]]} of its trial): leave those trials out with trial_ids"
            )
    if observations.dtype == np.uint8 and observations.ndim == 4 and observations.shape[3] in (1, 3, 4):
        observations = np.moveaxis(observations, 3, 1)
    ends = ~data.continues  # also where the steps after it were not asked for
    actions = np.asarray(data.actions)
    return {
        "observations": np.ascontiguousarray(observations),
        "actions": actions.reshape(len(data), -1).astype(np.int32 if is_discrete else np.float32),
        "rewards": data.rewards.astype(np.float32).reshape(-1, 1),
        "terminals": data.terminated.astype(np.float32),
        "timeouts": ((data.truncated | ends) & ~data.terminated).astype(np.float32),
    }


def to_mdp_dataset(query: TrialQuery, *, continuous: bool | None = None) -> Any:
    """Return a ``d3rlpy.dataset.MDPDataset``.

    Raises:
        ConfigurationError: as :func:`mdp_arrays`.
        MissingExtraError: d3rlpy is not installed.
    """
    if importlib.util.find_spec("d3rlpy") is None:
        raise MissingExtraError(
            "an MDPDataset needs d3rlpy, which pins an older Gymnasium: install it into an environment of "
            "its own, and carry mdp_arrays() there with numpy.savez"
        )
    arrays = mdp_arrays(query, continuous=continuous)
    return importlib.import_module("d3rlpy.dataset").MDPDataset(**arrays)
