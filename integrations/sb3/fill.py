"""From a store of trials into a Stable-Baselines3 replay buffer, by whole arrays."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from cogment_lab.integrations.sb3.actions import ActionEncoder
from cogment_lab.integrations.sb3.fitting import (
    NotANumberError,
    Observations,
    check_numbers,
    check_starts,
    fit_actions,
    fit_observations,
)
from cogment_lab.integrations.sb3.replay_buffers import TakeoverReplayBuffer, holds_takeovers
from cogment_lab.integrations.unobserved import (
    Unobserved,
    check_unobserved,
    chosen_steps,
    find_unobserved,
    rebuilt_batches,
    warn_unobserved,
)
from stable_baselines3.common.buffers import DictReplayBuffer, ReplayBuffer
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from cogment_lab.errors import ConfigurationError, WrongBufferError
from cogment_lab.store import TrialStore
from cogment_lab.store.catalog import as_names
from cogment_lab.store.given import store_to_read
from cogment_lab.store.query import TrialQuery, leave_out, with_successors

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogment_lab.store import AgentSpec, TrialData

    _Rebuild: TypeAlias = Callable[[str], Iterator[TrialData]]

__all__ = ["TransitionBatch", "fill_replay_buffer", "write_transitions"]

Array: TypeAlias = npt.NDArray[Any]

_BATCH_BYTES = 1 << 27
_WRITES_ONE_ROW = {ReplayBuffer.add, DictReplayBuffer.add, TakeoverReplayBuffer.add}


class TransitionBatch(Protocol):
    """What is read of a batch; :class:`cogment_lab.store.transitions.Transitions` is one.

    Optional are ``continues``, ``(n,) bool``, whether the next row is the next step of the same trial
    (without it, that is so where ``ticks``, ``(n,) int64``, grow by one, and without those, where neither
    ``terminated`` nor ``truncated`` says otherwise), ``decided_by``, ``(n,) str``, ``"fallback"`` where a
    teacher in control gave no action, and ``infos``, the environment's info of each step, which goes into HER
    buffers with ``copy_info_dict``.
    """

    @property
    def observations(self) -> Any:
        """``(n, *shape)``, or a dict of such arrays."""

    @property
    def next_observations(self) -> Any:
        """As ``observations``."""

    @property
    def actions(self) -> Any:
        """``(n, *shape)``, in the environment's units."""

    @property
    def proposed_actions(self) -> Any:
        """``(n, *shape)``."""

    @property
    def rewards(self) -> Array:
        """``(n,)``."""

    @property
    def terminated(self) -> npt.NDArray[np.bool_]:
        """``(n,)``."""

    @property
    def truncated(self) -> npt.NDArray[np.bool_]:
        """``(n,)``."""

    @property
    def is_intervention(self) -> npt.NDArray[np.bool_]:
        """``(n,)``."""


def fill_replay_buffer(
    buffer: ReplayBuffer,
    store: TrialStore | str | os.PathLike[str] | TrialQuery,
    *,
    env_id: str | None = None,
    trial_ids: Collection[str] | None = None,
    agent: str = "gym",
    actions: Literal["executed", "proposed"] = "executed",
    batch_size: int | None = None,
    unobserved: Unobserved = "warn",
    env: Any = None,
) -> int:
    """Add stored trials to a replay buffer; the oldest rows make way when it is full.

    Rows are what ``learn`` would have stored: Box actions in [-1, 1], truncated steps as time-outs (they
    bootstrap). With ``n_envs > 1`` each environment's column gets a stretch of consecutive steps; to fill the
    last row, up to ``n_envs - 1`` steps of a batch are stored twice. n-step windows end where a stretch does.

    Args:
        buffer: ``model.replay_buffer``; HER's are filled step by step, with the recorded infos if they have
            ``copy_info_dict``, and relabel these trials as their own.
        store: Holds the trials; or its path; or a choice of them, or of their steps (``store.query(...)``),
            which says itself what the next three say of a store.
        env_id: Only trials of this environment.
        trial_ids: Only these trials; without, all but those that people discarded. Ticks that a label
            discards are left out of all.
        agent: Whose steps, in an environment with several agents.
        actions: ``"executed"`` is what happened; ``"proposed"`` is what the learner wanted.
        batch_size: Steps per batch; by default about 128 MiB of observations.
        unobserved: What becomes of steps that were recorded without observations (``record="actions"``, the
            default for images). ``"warn"`` and ``"skip"`` leave them out, of each such trial all but its
            takeovers (of HER's infos, all); ``"replay"`` makes their observations again by executing the
            trials, see :func:`cogment_lab.integrations.unobserved.rebuild_observations`.
        env: For ``"replay"``: what makes the environment, where it was recorded without a spec.

    Returns:
        How many steps were added.

    Raises:
        WrongBufferError: observations or actions do not fit the buffer's spaces, do not begin at 0, or are
            NaN; what was added before stays.
        CorruptStoreError: ticks cannot be decoded; ``trial_ids`` can leave out the trials it names.
        ConfigurationError: no such file, an unknown ``actions`` or ``unobserved``, ``"replay"`` cannot make
            the environment, or trials are chosen twice.
        ReplayDivergedError: with ``"replay"``, an environment did not do again what is recorded.

    Example:
        >>> def fill_with_takeovers(model, store):
        ...     return fill_replay_buffer(model.replay_buffer, store.query(only="interventions"))
    """
    check_unobserved(unobserved)
    with contextlib.nullcontext(store) if isinstance(store, TrialQuery) else store_to_read(store) as found:
        return _fill(buffer, found, env_id, trial_ids, agent, actions, batch_size, unobserved, env)


def _fill(
    buffer: ReplayBuffer,
    store: TrialStore | TrialQuery,
    env_id: str | None,
    trial_ids: Collection[str] | None,
    agent: str,
    actions: Literal["executed", "proposed"],
    batch_size: int | None,
    unobserved: Unobserved,
    env: Any,
) -> int:
    """Do what :func:`fill_replay_buffer` says."""
    discarded = False
    check_starts(buffer.action_space, "actions")
    check_starts(buffer.observation_space, "observations")
    if isinstance(store, TrialQuery):
        if env_id is not None or trial_ids is not None or agent not in ("gym", store.agent):
            raise ConfigurationError("a query chooses trials itself: pass env, trial_ids and agent to it")
        if not store.infos:
            raise ConfigurationError(f"no trials match in {store.store.path}: {store.explain()}")
        check_starts(store.spaces().action_space, "stored actions")
        if store.only in ("interventions", "autonomous") or store.damaged == "skip":
            chosen_batches = chosen_steps(store, unobserved=unobserved, env=env)
            return write_transitions(buffer, chosen_batches, actions=actions)
        agent, trial_ids, discarded = store.agent, store.trial_ids, store.discarded
        store = store.store
    elif isinstance(store, TrialStore):
        for spec in _specs(store, env_id, agent, trial_ids):
            check_starts(spec.action_space, "stored actions")
    lacking = find_unobserved(store, env_id=env_id, agent=agent, trial_ids=trial_ids)
    if unobserved == "warn":
        warn_unobserved(lacking, "Pass unobserved='replay' to execute those trials again", stacklevel=3)
    if batch_size is None:
        batch_size = int(np.clip(_BATCH_BYTES // _observation_bytes(buffer), 1024, 65536))
    rebuilt = {info.trial_id for info in lacking if info.state != "RUNNING" and unobserved == "replay"}

    def rebuild(trial_id: str) -> Iterator[TrialData]:
        left_out = {} if discarded else store.labels.discarded_ticks(agent)
        for data in rebuilt_batches(store, trial_id, batch_size=batch_size, env=env):
            yield leave_out(data, left_out.get(trial_id, ()))

    batches: Iterable[TransitionBatch]
    if isinstance(buffer, HerReplayBuffer) and buffer.copy_info_dict:
        chosen = store.query(env=env_id, agent=agent, trial_ids=trial_ids, discarded=discarded)
        batches = _with_infos(chosen, rebuilt, rebuild)
    elif rebuilt:
        names = [
            info.trial_id
            for info in store.trials(
                env_id=env_id,
                trial_ids=trial_ids,
                without=store.discarded() if trial_ids is None else (),
            )
            if agent in info.agents
        ]
        read = partial(store.transitions, agent=agent, discarded=discarded, batch_size=batch_size)
        batches = _in_turn(names, read, rebuilt, rebuild)
    else:
        batches = store.transitions(
            env_id=env_id, agent=agent, trial_ids=trial_ids, discarded=discarded, batch_size=batch_size
        )
    try:
        added = write_transitions(buffer, batches, actions=actions)
    except NotANumberError as error:
        chosen = store.query(
            env=env_id, agent=agent, trial_ids=trial_ids, discarded=discarded, damaged="skip"
        )
        raise WrongBufferError(f"{error}. NaN is in {_name_trials_with_nan(chosen)}") from error
    if not added and not lacking:
        asked = {"env_id": env_id, "agent": agent, "trial_ids": trial_ids}
        nothing = TrialQuery(store=store, agent=agent, infos=(), asked=asked)
        warnings.warn(
            f"no step of {store!r} was added to the replay buffer: {nothing.explain()}", stacklevel=3
        )
    return added


def _specs(
    store: TrialStore, env_id: str | None, agent: str, trial_ids: Collection[str] | None
) -> list[AgentSpec]:
    """Return the spaces of the chosen trials."""
    if trial_ids is None:
        return store.agent_specs(env_id=env_id, agent=agent)
    return [spec for name in as_names(trial_ids) for spec in store.agent_specs(trial_id=name, agent=agent)]


def _name_trials_with_nan(trials: TrialQuery) -> str:
    """Return the ids of up to five trials: rows of a batch do not tell whose they are."""
    found: list[str] = []
    for data in trials:
        try:
            for name in ("observations", "next_observations", "rewards"):
                check_numbers(getattr(data, name), name, None)
        except NotANumberError:
            found.append(repr(data.trial_id))
            if len(found) > 5:
                return f"{', '.join(found[:5])}, ..."
    return ", ".join(found) or "none that is over"


def write_transitions(
    buffer: ReplayBuffer,
    batches: Iterable[TransitionBatch],
    *,
    actions: Literal["executed", "proposed"] = "executed",
) -> int:
    """Add batches of transitions to a replay buffer; see :func:`fill_replay_buffer`.

    Returns:
        How many steps were added.
    """
    if actions not in ("executed", "proposed"):
        raise ConfigurationError(f"actions={actions!r} is unknown; choose 'executed' or 'proposed'")
    added = 0
    for batch in batches:
        if len(batch.rewards):
            _write(buffer, _Rows(buffer, batch, actions))
            added += len(batch.rewards)
    return added


def _in_turn(
    names: Iterable[str],
    read: Callable[..., Iterator[TransitionBatch]],
    rebuilt: Collection[str],
    rebuild: _Rebuild,
) -> Iterator[TransitionBatch]:
    """Yield the steps of all trials, in the order of their names."""
    for is_rebuilt, trials in groupby(names, key=rebuilt.__contains__):
        if is_rebuilt:
            for trial_id in trials:
                yield from rebuild(trial_id)
        else:
            yield from read(trial_ids=list(trials))


def _with_infos(trials: TrialQuery, rebuilt: Collection[str], rebuild: _Rebuild) -> Iterator[TrialData]:
    """Yield trials as batches; ``TrialStore.transitions`` is faster, and reads no infos."""
    for data in trials:
        if data.trial_id in rebuilt:
            yield from rebuild(data.trial_id)
        if data.observations is None:
            continue
        yield with_successors(data)


class _Rows:
    """A batch, as the buffer would hold it: ``(n_rows, n_envs, ...)`` by fancy indexing with ``index``."""

    def __init__(self, buffer: ReplayBuffer, batch: TransitionBatch, actions: str) -> None:
        encoder = ActionEncoder(buffer.action_space, scaled=True)
        proposed = fit_actions(buffer, batch.proposed_actions)
        executed = fit_actions(buffer, batch.actions)
        self.observations = fit_observations(buffer, batch.observations)
        self.next_observations = fit_observations(buffer, batch.next_observations)
        ticks = getattr(batch, "ticks", None)
        for name in ("observations", "next_observations"):
            check_numbers(getattr(self, name), name, ticks)
        check_numbers(np.asarray(batch.rewards), "rewards", ticks)
        self.proposed_actions = encoder.encode(proposed).reshape(-1, buffer.action_dim)
        self.actions = self.proposed_actions
        if actions == "executed":
            self.actions = encoder.encode(executed).reshape(-1, buffer.action_dim)
        self.rewards = np.array(batch.rewards, np.float32)
        self.is_intervention = np.asarray(batch.is_intervention, np.bool_)
        decided_by = getattr(batch, "decided_by", None)
        self.is_fallback = np.zeros_like(self.is_intervention)
        if decided_by is not None:
            self.is_fallback[:] = np.asarray(decided_by) == "fallback"
        terminated, truncated = np.asarray(batch.terminated, np.bool_), np.asarray(batch.truncated, np.bool_)
        self.dones = (terminated | truncated).astype(np.float32)
        self.timeouts = (truncated & ~terminated & buffer.handle_timeout_termination).astype(np.float32)

        n = len(self.rewards)
        n_rows = -(-n // buffer.n_envs)
        first = np.minimum(np.arange(buffer.n_envs) * n_rows, n - n_rows)
        self.index = first + np.arange(n_rows)[:, None]

        self.infos: list[dict[str, Any]] | None = getattr(batch, "infos", None)
        goes_on = self.dones == 0
        continues = getattr(batch, "continues", None)
        if continues is not None:
            goes_on &= continues
        elif ticks is not None:
            goes_on[:-1] &= np.diff(ticks) == 1
        goes_on[-1] = False
        self._treat_boundaries(buffer, goes_on)
        goes_on[self.index[-1]] = False
        breaks = ~goes_on & (self.dones == 0)
        # A stretch that breaks off bootstraps, and no n-step window leaves it; where the next observation is
        # lost to the next stretch (one array holds both), it ends instead.
        self.timeouts[breaks] = float(not buffer.optimize_memory_usage)
        self.dones[breaks] = 1.0

    def _treat_boundaries(self, buffer: ReplayBuffer, goes_on: npt.NDArray[np.bool_]) -> None:
        if not holds_takeovers(buffer) or buffer.boundary == "through":
            return
        flags = self.is_intervention
        before = np.append(~flags[:-1] & flags[1:] & goes_on[:-1], False)
        if buffer.boundary == "penalty":
            self.rewards[before] -= buffer.switch_penalty
        else:
            self.timeouts[before] = 1.0


def _write(buffer: ReplayBuffer, rows: _Rows) -> None:
    if isinstance(buffer, HerReplayBuffer) or type(buffer).add not in _WRITES_ONE_ROW:
        _add_one_by_one(buffer, rows)
        return
    size = buffer.buffer_size
    end = buffer.pos + len(rows.index)
    index = rows.index[-size:]
    where = np.arange(end - len(index), end) % size
    for target, source in _pairs(buffer.observations, rows.observations):
        target[where] = source[index]
    if buffer.optimize_memory_usage:
        for target, source in _pairs(buffer.observations, rows.next_observations):
            target[end % size] = source[index[-1]]
    else:
        for target, source in _pairs(buffer.next_observations, rows.next_observations):
            target[where] = source[index]
    for name in ("actions", "rewards", "dones", "timeouts"):
        getattr(buffer, name)[where] = getattr(rows, name)[index]
    if holds_takeovers(buffer):
        buffer.is_intervention[where] = rows.is_intervention[index]
        buffer.is_fallback[where] = rows.is_fallback[index]
        buffer.proposed_actions[where] = rows.proposed_actions[index]
    buffer.full = buffer.full or end >= size
    buffer.pos = end % size


def _add_one_by_one(buffer: ReplayBuffer, rows: _Rows) -> None:
    """Add rows through a buffer's own ``add``: HER's keeps the books of its episodes."""
    for index in rows.index:
        row = buffer.pos
        infos = [
            {**(rows.infos[each] if rows.infos else {}), "TimeLimit.truncated": bool(rows.timeouts[each])}
            for each in index.tolist()
        ]
        buffer.add(
            _take(rows.observations, index),  # type: ignore[arg-type]
            _take(rows.next_observations, index),  # type: ignore[arg-type]
            rows.actions[index],
            rows.rewards[index],
            rows.dones[index],
            infos,
        )
        if holds_takeovers(buffer):
            buffer.is_intervention[row] = rows.is_intervention[index]
            buffer.is_fallback[row] = rows.is_fallback[index]
            buffer.proposed_actions[row] = rows.proposed_actions[index]


def _pairs(target: Any, source: Any) -> list[tuple[Array, Array]]:
    if isinstance(target, dict):
        return [(target[key], source[key]) for key in target]
    return [(target, source)]


def _take(observations: Observations, index: Array) -> Observations:
    if isinstance(observations, dict):
        return {key: part[index] for key, part in observations.items()}
    return observations[index]


def _observation_bytes(buffer: ReplayBuffer) -> int:
    pairs = _pairs(buffer.observations, buffer.observations)
    return max(sum(int(part[0, 0].nbytes) for part, _ in pairs), 1)
