"""One batch from two sources: what the learner collects, and trials that are stored."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

import numpy as np
import torch as th
from cogment_lab.integrations.sb3.checks import check_query
from cogment_lab.integrations.sb3.fill import fill_replay_buffer
from cogment_lab.integrations.sb3.fitting import check_starts
from cogment_lab.integrations.sb3.replay_buffers import (
    TakeoverDictReplayBuffer,
    TakeoverHerReplayBuffer,
    TakeoverNStepReplayBuffer,
    TakeoverReplayBuffer,
)
from cogment_lab.integrations.unobserved import Unobserved, check_unobserved
from gymnasium import spaces
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from cogment_lab.errors import CogmentLabError, ConfigurationError, StoreError
from cogment_lab.store import TrialStore
from cogment_lab.store.catalog import as_names

__all__ = [
    "MixedDictReplayBuffer",
    "MixedHerReplayBuffer",
    "MixedNStepReplayBuffer",
    "MixedReplayBuffer",
    "linear_schedule",
]

Schedule = Callable[[int], float]
_LOG = logging.getLogger("cogment_lab")


class _Mixes(ReplayBuffer):
    """What the buffers below share; stands before one of ours in their bases."""

    stored: ReplayBuffer
    """The stored steps, which never make way for the learner's own."""

    refused: dict[str, str]
    """Trials that ended while learning went on and cannot be learned from, by id: why."""

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: th.device | str = "auto",
        n_envs: int = 1,
        *,
        store: TrialStore | str | None = None,
        ratio: float | Schedule = 0.5,
        query: Mapping[str, Any] | None = None,
        stored_size: int = 100_000,
        refresh_every: int = 1000,
        actions: Literal["executed", "proposed"] = "executed",
        unobserved: Unobserved = "warn",
        **kwargs: Any,
    ) -> None:
        super().__init__(buffer_size, observation_space, action_space, device=device, n_envs=n_envs, **kwargs)
        check_starts(action_space, "actions")
        check_starts(observation_space, "observations")
        if store is None:
            raise ConfigurationError(
                f"{type(self).__name__} needs the store of the trials to mix in: pass "
                "replay_buffer_kwargs={'store': ...}"
            )
        if not callable(ratio):
            _check_ratio(ratio)
        if refresh_every < 0 or stored_size < 1:
            raise ConfigurationError(
                f"refresh_every={refresh_every} must not be negative, stored_size={stored_size} at least 1"
            )
        check_unobserved(unobserved)
        self.unobserved = unobserved
        if isinstance(store, TrialStore):
            self.store = store
        else:
            _warn_where_nothing_is(store, refresh_every)
            self.store = TrialStore(store)
        self.ratio = ratio
        self.query = dict(query or {})
        check_query(self.query)
        self.refresh_every = refresh_every
        self.stored_actions: Literal["executed", "proposed"] = actions
        self.stored = self._make_stored(stored_size)
        self.steps = 0
        self.refused: dict[str, str] = {}
        self._taken: set[str] = set()
        self.refresh()

    def _make_stored(self, size: int, **options: Any) -> ReplayBuffer:
        """Return a buffer whose samples are like this one's."""
        kinds = (HerReplayBuffer, NStepReplayBuffer, DictReplayBuffer, ReplayBuffer)
        plain: Any = next(kind for kind in kinds if isinstance(self, kind))
        made: ReplayBuffer = plain(
            size,
            self.observation_space,
            self.action_space,
            device=self.device,
            handle_timeout_termination=True,
            **options,
        )
        return made

    def add(self, *args: Any, **kwargs: Any) -> None:
        """Store one step of every environment; every ``refresh_every`` steps, look for new trials."""
        super().add(*args, **kwargs)
        before, self.steps = self.steps, self.steps + self.n_envs
        if self.refresh_every and before // self.refresh_every != self.steps // self.refresh_every:
            self._look()

    def refresh(self) -> int:
        """Take in trials that have ended since; return how many steps that are.

        Raises:
            WrongBufferError: they are of other spaces.
            CorruptStoreError: their ticks cannot be decoded.
        """
        return self._take(self.store.query(**self._new()).trial_ids)

    def _new(self) -> dict[str, Any]:
        """Return the query without the trials that are known already."""
        known = self._taken | self.refused.keys() | set(as_names(self.query.get("without", ())))
        return {**self.query, "without": known}

    def _look(self) -> None:
        """Take in what has ended, in the midst of learning: what cannot be learned from does not stop it."""
        try:
            names = self.store.query(**self._new()).trial_ids
        except ConfigurationError:  # they are of several spaces, of which some are not the learner's
            named, left_out = self.query.get("trial_ids"), self._new()["without"]
            if named is None and not self.query.get("discarded") and self.query.get("labelled") != "discard":
                left_out |= self.store.discarded()
            found = self.store.trials(trial_ids=named, without=left_out)
            over = [info.trial_id for info in found if info.state != "RUNNING"]
            names = [name for name in over if len(self.store.query(**{**self.query, "trial_ids": [name]}))]
        except StoreError as error:
            _LOG.warning("the store is read again in %d steps, not now: %s", self.refresh_every, error)
            return
        for name in names:
            try:
                self._take([name])
            except CogmentLabError as error:
                self.refused[name] = str(error)
                _LOG.warning("trial %r is not learned from, and learning goes on: %s", name, error)

    def _take(self, names: list[str]) -> int:
        if not names:
            return 0
        chosen = self.store.query(**{**self.query, "trial_ids": names})
        added = fill_replay_buffer(
            self.stored, chosen, actions=self.stored_actions, unobserved=self.unobserved
        )
        self._taken.update(names)
        return added

    def stored_share(self) -> float:
        """Return the share of the next batch that comes from the store: 0 while it has given nothing."""
        if not _can_sample(self.stored):
            return 0.0
        share = self.ratio(self.steps) if callable(self.ratio) else self.ratio
        _check_ratio(share)
        return float(share)

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> Any:
        """Return a batch of which ``stored_share()`` is stored steps, rounded to whole ones.

        All are stored ones while the learner has nothing of its own to sample.
        """
        stored = round(batch_size * self.stored_share()) if _can_sample(self) else batch_size
        if not stored or not _can_sample(self.stored):
            return super().sample(batch_size, env)
        mine = self.stored.sample(stored, env)
        if stored == batch_size:
            return mine
        return _join(super().sample(batch_size - stored, env), mine)


class MixedReplayBuffer(_Mixes, TakeoverReplayBuffer):
    """A replay buffer whose batches hold stored steps beside the learner's own (RLPD, arXiv:2302.02948).

    The store is read again while learning goes on, so that trials which people finish elsewhere are learned
    from without a stop; one of them that cannot be (damaged, NaN, other spaces) is logged, and named in
    :attr:`refused`. Stored steps never make way for the learner's own: they lie in :attr:`stored`.

    Args:
        buffer_size: As in Stable-Baselines3, like every argument not named here.
        observation_space: Not a Dict; see :class:`MixedDictReplayBuffer`.
        action_space: Box actions are stored in [-1, 1].
        device: As there.
        n_envs: As there.
        store: The store, or its path; of a file that is not there yet a warning says so.
        ratio: Share of stored steps in each batch, or ``schedule(steps) -> share`` of the environment steps
            so far; while the store has given nothing, all are the learner's.
        query: Chooses trials, as ``TrialStore.query``; name the environment in a store of several, and where
            the learner records into the same store, what is not its own (``{"only": "demonstrations"}``).
        stored_size: Most stored steps; the oldest make way.
        refresh_every: Environment steps between two looks into the store; 0 for none.
        actions: ``"executed"`` or ``"proposed"`` ones of the store.
        unobserved: What becomes of stored steps without observations, as in :func:`fill_replay_buffer`.
        **kwargs: Passed on to :class:`TakeoverReplayBuffer`.

    Raises:
        ConfigurationError: no store, a query that it does not know, or a ratio outside [0, 1].
        WrongBufferError: stored trials are of other spaces, or numbers of discrete spaces do not begin at 0.

    Example:
        >>> from cogment_lab.integrations.sb3 import MixedReplayBuffer
        >>> kwargs = {"replay_buffer_class": MixedReplayBuffer}
        >>> options = {"replay_buffer_kwargs": {"store": "demos.db", "ratio": 0.5}}  # SAC(..., **options)
    """


class MixedDictReplayBuffer(_Mixes, TakeoverDictReplayBuffer):
    """The same for Dict observations."""


class MixedNStepReplayBuffer(_Mixes, TakeoverNStepReplayBuffer):
    """The same for n-step returns; give ``n_steps`` and ``gamma`` as :class:`TakeoverNStepReplayBuffer`."""

    def _make_stored(self, size: int, **options: Any) -> ReplayBuffer:
        return super()._make_stored(size, n_steps=self.n_steps, gamma=self.gamma, **options)


class MixedHerReplayBuffer(_Mixes, TakeoverHerReplayBuffer):
    """The same for goal-conditioned environments: stored steps are given other goals as well.

    Until the learner's first trial has ended, which HER waits for, all steps of a batch are stored ones.
    """

    def _make_stored(self, size: int, **options: Any) -> ReplayBuffer:
        return super()._make_stored(
            size,
            env=self.env,
            n_sampled_goal=self.n_sampled_goal,
            goal_selection_strategy=self.goal_selection_strategy,
            copy_info_dict=self.copy_info_dict,
            **options,
        )

    def set_env(self, env: VecEnv) -> None:
        """Set the environment that computes rewards, after loading."""
        super().set_env(env)
        cast("HerReplayBuffer", self.stored).set_env(env)


def linear_schedule(start: float, end: float, steps: int) -> Schedule:
    """Return a ratio that goes from ``start`` to ``end`` within ``steps`` environment steps."""
    _check_ratio(start)
    _check_ratio(end)
    return _Linear(start, end, steps)


class _Linear:
    def __init__(self, start: float, end: float, steps: int) -> None:
        self.start, self.end, self.steps = start, end, max(steps, 1)

    def __call__(self, steps: int) -> float:
        return float(np.interp(steps, (0, self.steps), (self.start, self.end)))


def _warn_where_nothing_is(path: str, refresh_every: int) -> None:
    if os.path.exists(os.path.expanduser(path)):
        return
    again = f"the buffer looks again every {refresh_every} steps" if refresh_every else "call refresh() then"
    warnings.warn(
        f"store={os.fspath(path)!r} does not exist: all steps are the learner's own until trials are "
        f"recorded there ({again})",
        stacklevel=3,
    )


def _can_sample(buffer: ReplayBuffer) -> bool:
    """Return whether a buffer has a step to give: HER's gives none of an episode that has not ended."""
    if isinstance(buffer, HerReplayBuffer):
        return bool((buffer.ep_length > 0).any())
    return buffer.size() > 0


def _check_ratio(ratio: Any) -> None:
    try:
        is_share = 0.0 <= float(ratio) <= 1.0
    except (TypeError, ValueError):
        is_share = False
    if not is_share:
        raise ConfigurationError(f"ratio={ratio!r} is the share of stored steps: between 0 and 1")


def _join(first: Any, second: Any) -> Any:
    """Return two batches of one type as one."""
    joined: list[Any] = []
    for one, other in zip(first, second, strict=True):
        if isinstance(one, dict):
            joined.append({key: th.cat([one[key], other[key]]) for key in one})
        elif one is None or other is None:
            joined.append(None)
        else:
            joined.append(th.cat([one, other]))
    return type(first)(*joined)
