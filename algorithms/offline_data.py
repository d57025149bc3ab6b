"""What offline algorithms learn from: steps of stored trials as arrays, checked before learning."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from cogment_lab.algorithms.offline_checks import check, check_spaces, leaves
from cogment_lab.integrations.sb3.checks import check_query
from cogment_lab.integrations.unobserved import find_unobserved, warn_unobserved
from gymnasium import spaces

from cogment_lab.errors import ConfigurationError
from cogment_lab.store import TrialData, TrialQuery, TrialStore
from cogment_lab.store.catalog import as_names
from cogment_lab.store.columns import concatenate_columns, take_rows
from cogment_lab.store.given import store_to_read

__all__ = ["OfflineData", "read_offline_data"]

Array = npt.NDArray[Any]
Observations = Array | dict[str, Array]

_REBUILD = (
    "Learn from a list of what rebuild_observations(store, trial_id) of cogment_lab.integrations.unobserved "
    "returns, which executes a trial again"
)
_OF_TRANSITIONS = {"env_id", "agent", "trial_ids"}
"""Choices for which steps of many trials are read at once, as arrays."""

_NAMES = ("observations", "actions", "rewards", "next_observations", "terminated")
_FIELDS = (*_NAMES, "truncated", "is_intervention", "ticks", "continues")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class OfflineData:
    """Steps of one agent, of one trial after the other.

    Attributes:
        observation_space: Of the environment.
        action_space: Of the environment.
        observations: ``(n, *shape)``, or a dict of such arrays.
        actions: ``(n, *shape)``, as executed, in the environment's units.
        next_observations: As ``observations``.
        rewards: ``(n,) float64``.
        terminated: ``(n,) bool``; nothing is bootstrapped after these.
        truncated: ``(n,) bool``; the value of what would have followed is.
        is_intervention: ``(n,) bool``, whether somebody else than the player decided.
        ends: ``(n,) bool``, the last step of each trial, however it ended.
    """

    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    observations: Observations
    actions: Array
    next_observations: Observations
    rewards: npt.NDArray[np.float64]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    is_intervention: npt.NDArray[np.bool_]
    ends: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def proposed_actions(self) -> Array:
        """``actions``: offline, what was executed is all that counts."""
        return self.actions

    def trial_returns(self) -> npt.NDArray[np.float64]:
        """Return the undiscounted return of each trial."""
        starts = np.append(0, np.flatnonzero(self.ends)[:-1] + 1)
        return np.add.reduceat(self.rewards, starts)

    def returns_to_go(self, gamma: float) -> npt.NDArray[np.float64]:
        """Return the discounted return of what was done from each step on, ``(n,) float64``.

        A trial that did not terminate is taken to go on for ever with the mean reward of its last quarter
        (of ``1 / (1 - gamma)`` steps at most): if no rewards followed its end, good states near a time limit
        would look worse than bad ones far from it, or better, where rewards are costs.
        """
        returns = np.empty(len(self))
        end = 0
        for last in np.flatnonzero(self.ends).tolist():
            start, end = end, last + 1
            following = 0.0
            if not self.terminated[last] and gamma < 1.0:
                horizon = min(round(1.0 / (1.0 - gamma)), -(-(end - start) // 4))
                following = self.rewards[end - horizon : end].mean() / (1.0 - gamma)
            for row in range(last, start - 1, -1):
                following = returns[row] = self.rewards[row] + gamma * following
        return returns


def read_offline_data(
    source: Any,
    *,
    observation_space: spaces.Space[Any] | None = None,
    action_space: spaces.Space[Any] | None = None,
    **query: Any,
) -> OfflineData:
    """Return the steps of a source, checked.

    Args:
        source: A :class:`TrialStore`, the path of one, or a query of one (``TrialStore.query``); a
            ``TrialData``, a batch of transitions, or a list of either; or a dict of arrays ``observations,
            actions, rewards, next_observations, terminated`` and optionally ``truncated, is_intervention``
            and ``ends`` (the last step of each trial).
        observation_space: Needed where the source does not know it; a store does.
        action_space: As ``observation_space``.
        **query: Of a store: ``env_id``, ``agent``, ``trial_ids``, and the other arguments of
            ``TrialStore.query``.

    Raises:
        ConfigurationError: there is nothing to learn from, or steps of several spaces, or of spaces that no
            network holds, or NaN, or the arrays do not belong together.
    """
    if isinstance(source, OfflineData):
        return source
    if isinstance(source, str | os.PathLike):
        with store_to_read(source) as store:
            return read_offline_data(
                store, observation_space=observation_space, action_space=action_space, **query
            )
    if isinstance(source, TrialStore):
        check_query(query)
    if isinstance(source, TrialStore) and not set(query) <= _OF_TRANSITIONS:
        source, query = source.query(**query), {}
    if isinstance(source, TrialStore | TrialQuery):
        known = _spaces_of(source, query)
        observation_space, action_space = observation_space or known[0], action_space or known[1]
    parts: list[Any]
    if isinstance(source, TrialStore):
        parts = list(source.transitions(**query))
    elif query:
        raise ConfigurationError(
            f"{', '.join(query)} choose among the trials of a store, not of {type(source)}"
        )
    elif not isinstance(source, Iterable) and not hasattr(source, "observations"):
        raise ConfigurationError(
            f"data={source!r:.200} are no steps: pass a TrialStore, its path, a query, TrialData or arrays"
        )
    else:
        parts = [source] if isinstance(source, Mapping) or hasattr(source, "observations") else list(source)
    if observation_space is None or action_space is None:
        raise ConfigurationError(
            f"a {type(source).__name__} does not say which spaces its arrays are of: pass env= (an "
            "environment or its id), or a TrialStore, which knows"
        )
    check_spaces(observation_space, action_space)
    columns = [_columns(part) for part in parts]
    columns = [column for column in columns if len(column["rewards"])]
    if not columns:
        raise ConfigurationError(
            f"{source!r:.200} holds no step{f' of {query}' if query else ''} to learn from; trials recorded "
            f"with record='actions' keep no observations ({_REBUILD}), and running ones are read as far as "
            "they are stored"
        )
    if isinstance(source, TrialStore):
        warn_unobserved(find_unobserved(source, **query), _REBUILD, stacklevel=2)
    joined = {name: _join([column[name] for column in columns], name) for name in columns[0]}
    ticks = joined.pop("ticks")
    # A trial may go on in the next batch of transitions; it ends where ticks do not grow.
    joined["ends"][:-1] |= (np.diff(ticks) <= 0) & (ticks[1:] >= 0)
    joined["ends"][-1] = True
    data = OfflineData(observation_space=observation_space, action_space=action_space, **joined)
    check(data)
    return data


def _spaces_of(
    store: TrialStore | TrialQuery, query: Mapping[str, Any]
) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
    """Return the spaces that all chosen trials share."""
    if isinstance(store, TrialQuery):
        shared = store.spaces()
        return shared.observation_space, shared.action_space
    agent, env_id, chosen = query.get("agent", "gym"), query.get("env_id"), query.get("trial_ids")
    env_ids = {env_id} if chosen is None else {store.info(each).env_id for each in as_names(chosen)}
    found = []
    for name in env_ids:
        found += [spec for spec in store.agent_specs(env_id=name, agent=agent) if spec not in found]
    if not found:
        raise ConfigurationError(
            f"{store!r} holds no trial of agent {agent!r} and {dict(query)} to learn from"
        )
    if len(found) > 1:
        listed = "; ".join(f"{spec.observation_space} -> {spec.action_space}" for spec in found)
        raise ConfigurationError(
            f"the trials of {store!r} are of several spaces ({listed}): choose with query={{'env_id': ...}}"
        )
    return found[0].observation_space, found[0].action_space


def _columns(part: Any) -> dict[str, Any]:
    """Return the columns of one part, in the order of ``OfflineData``'s fields."""
    given = part if isinstance(part, Mapping) else {name: getattr(part, name, None) for name in _FIELDS}
    missing = [name for name in _NAMES if given.get(name) is None]
    if missing:
        why = ""
        if isinstance(part, TrialData):
            why = f": trial {part.trial_id!r} was recorded without. {_REBUILD}"
        raise ConfigurationError(f"a {type(part).__name__} has no {', '.join(missing)}{why}")
    rewards = np.asarray(given["rewards"], np.float64)
    for name in (*_FIELDS, "ends"):
        for key, array in leaves(given.get(name, rewards)):
            if array.ndim and len(array) != len(rewards):
                raise ConfigurationError(
                    f"{name}{key} has {len(array)} rows, rewards has {len(rewards)}: one of each per step"
                )
    none = np.zeros(len(rewards), np.bool_)
    terminated = np.asarray(given["terminated"], np.bool_)
    truncated = none if given.get("truncated") is None else np.asarray(given["truncated"], np.bool_)
    ends = terminated | truncated
    if given.get("ends") is not None:
        ends = ends | np.asarray(given["ends"], np.bool_)
    ticks = given.get("ticks")
    flags = given.get("is_intervention")
    columns: dict[str, Any] = {
        "observations": given["observations"],
        "actions": np.asarray(given["actions"]),
        "next_observations": given["next_observations"],
        "rewards": rewards,
        "terminated": terminated,
        "truncated": truncated & ~terminated,
        "is_intervention": none if flags is None else np.asarray(flags, np.bool_),
        "ends": ends,
        "ticks": np.full(len(rewards), -1) if ticks is None else np.asarray(ticks),
    }
    if isinstance(part, TrialData):
        columns["ends"] |= ~part.continues
        # Nobody knows what followed the last step of a trial that was interrupted.
        is_known = part.has_successor | part.terminated
        if not is_known.all():
            columns["ends"][:-1] |= ~is_known[1:]
            columns = {name: take_rows(column, np.flatnonzero(is_known)) for name, column in columns.items()}
    elif given.get("continues") is not None:
        columns["ends"][:-1] |= ~np.asarray(given["continues"], np.bool_)[:-1]
    return columns


def _join(columns: Sequence[Any], name: str) -> Any:
    try:
        return concatenate_columns(columns)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"the parts' {name} are of different shapes: {error}") from error
