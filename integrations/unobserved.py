"""Trials that were recorded without observations (``record="actions"``): their observations, made again."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from cogment_lab.integrations.gymnasium.replay import replay

from cogment_lab.errors import ConfigurationError, ReplayDivergedError
from cogment_lab.store.codec import ValueCodec
from cogment_lab.store.columns import take_rows, value_at
from cogment_lab.store.query import select_rows, with_successors
from cogment_lab.store.trial_data import keep_continuing

if TYPE_CHECKING:
    from cogment_lab.store import TrialData, TrialInfo, TrialQuery, TrialStore
    from cogment_lab.store.transitions import Transitions

__all__ = [
    "Unobserved",
    "check_unobserved",
    "chosen_steps",
    "find_unobserved",
    "rebuild_observations",
    "rebuilt_batches",
    "warn_unobserved",
]

Unobserved: TypeAlias = Literal["warn", "skip", "replay"]
"""What becomes of steps that were recorded without observations."""


def check_unobserved(unobserved: str) -> None:
    """Check the choice.

    Raises:
        ConfigurationError: it is none.
    """
    if unobserved not in ("warn", "skip", "replay"):
        raise ConfigurationError(
            f"unobserved={unobserved!r} is unknown; choose 'warn', 'skip' or 'replay' (execute such trials "
            "again)"
        )


def find_unobserved(
    store: TrialStore,
    *,
    env_id: str | None = None,
    agent: str = "gym",
    trial_ids: Collection[str] | None = None,
) -> list[TrialInfo]:
    """Return those of the chosen trials that have steps without an observation."""
    left_out = store.discarded() if trial_ids is None else ()
    return [
        info
        for info in store.trials(env_id=env_id, record="actions", trial_ids=trial_ids, without=left_out)
        if agent in info.agents and info.n_interventions < info.n_ticks
    ]


def warn_unobserved(trials: Sequence[TrialInfo], what_to_do: str, *, stacklevel: int) -> None:
    """Warn that most steps of these trials are left out; nothing is said of none."""
    if not trials:
        return
    steps = sum(info.n_ticks - info.n_interventions for info in trials)
    warnings.warn(
        f"up to {steps} steps are left out (trials: {len(trials)}, the first {trials[0].trial_id!r} of "
        f"{trials[0].env_id}): they were recorded without observations, but for takeovers (record='actions', "
        f"the default for images). {what_to_do}, or record with record='full'",
        stacklevel=stacklevel + 1,
    )


def rebuild_observations(store: TrialStore, trial_id: str, *, env: Any = None) -> TrialData:
    """Return a trial of a Gymnasium environment with its observations, by executing it again.

    Args:
        store: Holds the trial.
        trial_id: Which. One that was recorded with observations is returned as it is.
        env: As in :func:`cogment_lab.integrations.gymnasium.replay.replay`.

    Raises:
        ConfigurationError: the environment cannot be made again, or not all actions were recorded.
        ReplayDivergedError: the environment did not do again what is recorded.
        TrialStateError: the trial still runs.

    Example:
        >>> import cogment_lab
        >>> with cogment_lab.TrialStore(":memory:") as store:
        ...     player = lambda observation: 0
        ...     (name,) = cogment_lab.run("CartPole-v1", player, seed=1, store=store, record="actions")
        ...     data = rebuild_observations(store, name)
        ...     store.load(name)["gym"].observations, data.observations.shape == (len(data), 4)
        (None, True)
    """
    (data,) = rebuilt_batches(store, trial_id, env=env, batch_size=max(store.info(trial_id).n_ticks, 1))
    return data


def rebuilt_batches(
    store: TrialStore, trial_id: str, *, batch_size: int, env: Any = None
) -> Iterator[TrialData]:
    """Yield what :func:`rebuild_observations` returns in stretches of at most ``batch_size`` steps."""
    info = store.info(trial_id)
    if len(info.agents) > 1:
        raise ConfigurationError(
            f"trial {trial_id!r} has the agents {', '.join(info.agents)}; only trials of a Gymnasium "
            "environment are recorded without observations"
        )
    (data,) = store.load(trial_id).values()
    if data.observations is not None:
        yield data
        return
    (spec,) = store.agent_specs(trial_id=trial_id, agent=data.agent)
    codec = ValueCodec(spec.observation_space)
    packed: list[bytes] = []
    first = 0
    for step in replay(store, trial_id, env=env):
        if step.divergence is not None:
            raise ReplayDivergedError(
                f"the observations of trial {trial_id!r} cannot be made again: its environment did not do "
                f"what is recorded; {step.divergence}. Leave it out with trial_ids="
            )
        packed.append(codec.pack(step.observation))
        if len(packed) > batch_size:
            yield _with_observations(data, first, codec.unpack_each(packed), batch_size)
            first += batch_size
            packed = packed[-1:]
    if len(packed) > 1 or not first:
        yield _with_observations(data, first, codec.unpack_each(packed), len(packed) - 1)


def chosen_steps(
    query: TrialQuery, *, unobserved: Unobserved, env: Any = None
) -> Iterator[TrialData | Transitions]:
    """Yield each trial's chosen steps with their observations.

    Of steps without, ``"replay"`` makes the observations again, and the others leave them out.
    """
    if unobserved == "warn" and query.only != "interventions":  # takeovers have theirs
        lacking = find_unobserved(query.store, agent=query.agent, trial_ids=query.trial_ids)
        warn_unobserved(lacking, "Pass unobserved='replay' to execute those trials again", stacklevel=2)
    for data in query:
        if data.observations is not None:
            yield with_successors(data)
        elif unobserved == "replay":
            whole = rebuild_observations(query.store, data.trial_id, env=env)
            yield select_rows(whole, np.isin(whole.ticks, data.ticks))
        else:
            for batch in query.store.transitions(
                agent=query.agent, trial_ids=[data.trial_id], discarded=query.discarded
            ):
                rows = np.flatnonzero(np.isin(batch.ticks, data.ticks))
                columns = {each.name: getattr(batch, each.name) for each in fields(batch)}
                chosen = {name: take_rows(column, rows) for name, column in columns.items()}
                yield replace(batch, **{**chosen, "continues": keep_continuing(batch.continues, rows)})


def _with_observations(data: TrialData, first: int, observed: Any, count: int) -> TrialData:
    """Return ``count`` steps from ``first`` on; ``observed`` is what they saw, and what followed the last."""
    rows = np.arange(len(data))
    observations = take_rows(observed, np.arange(count))
    return replace(
        select_rows(data, (rows >= first) & (rows < first + count)),
        observations=observations,
        last_observation=value_at(observed, count),
        successors=None,
        observed_ticks=data.ticks[first : first + count],
        observed_observations=observations,
    )
