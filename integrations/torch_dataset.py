"""Stored trials for torch's ``DataLoader``, with workers that open the store themselves."""

from __future__ import annotations

import importlib.util
import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from cogment_lab.errors import ConfigurationError, MissingExtraError
from cogment_lab.store import TrialQuery, TrialStore
from cogment_lab.store.columns import Column, concatenate_columns, take_rows
from cogment_lab.store.query import with_successors
from cogment_lab.store.trial_data import TrialData
from cogment_lab.store.trial_info import TrialInfo
from cogment_lab.store.views import read_sequences

if importlib.util.find_spec("torch") is None:
    raise MissingExtraError('torch datasets need torch: pip install "cogment_lab[sb3]"')

import torch as th
from torch.utils.data import IterableDataset, get_worker_info

__all__ = ["SequenceDataset", "TransitionDataset"]

_TRANSITION = ("observations", "actions", "rewards", "next_observations", "terminated", "truncated")
_SEQUENCE = ("observations", "actions", "rewards", "terminated", "returns", "ticks", "mask")

_BLOCK_TICKS = 8192

_Columns: TypeAlias = dict[str, Column]


class _TrialDataset(IterableDataset[dict[str, Any]]):
    """Trials that are shared out among workers, in a new order each time that it is iterated.

    Args:
        store: A store in a file, or its path, of which each iteration reads what there is; or a choice of
            trials (``store.query(...)``), which stays the same.
        batch_size: How many rows are yielded together, for a ``DataLoader`` with ``batch_size=None``, which
            is much faster than to put single rows together; ``None`` yields single rows.
        shuffle: How many rows, of whole trials, are at hand to draw from: 0 yields trial by trial.
        seed: Of the order; with workers it depends on torch's generator too, which draws anew each time.
            ``None`` keeps the order of the store, and nothing is shuffled.
        **query: Chooses trials, as ``TrialStore.query``.

    Raises:
        ConfigurationError: no trials match, they are chosen twice, or a size that cannot be.
    """

    def __init__(
        self,
        store: TrialStore | str | os.PathLike[str] | TrialQuery,
        *,
        batch_size: int | None,
        shuffle: int,
        seed: int | None,
        **query: Any,
    ) -> None:
        if shuffle < 0 or (batch_size is not None and batch_size < 1):
            raise ConfigurationError(
                f"shuffle={shuffle} must not be negative, batch_size={batch_size} at least 1"
            )
        if isinstance(store, TrialQuery) and query:
            raise ConfigurationError(f"a query chooses trials itself: pass {', '.join(query)} to it")
        self.chosen = store if isinstance(store, TrialQuery) else None
        if isinstance(store, TrialQuery):
            self.store = store.store
        else:
            self.store = store if isinstance(store, TrialStore) else TrialStore(store)
        self.query = query
        self.batch_size = batch_size
        self.shuffle = 0 if seed is None else shuffle
        self.seed = seed
        self.epoch = 0
        if not len(self._choose()):
            raise ConfigurationError(f"no trials match in {self.store.path}: nothing to load")

    def _choose(self) -> TrialQuery:
        return self.store.query(**self.query) if self.chosen is None else self.chosen

    @abstractmethod
    def _rows(self, trials: Iterable[TrialData]) -> Iterator[_Columns]:
        """Yield rows of trials."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of this worker's trials."""
        worker = get_worker_info()
        if worker is not None and self.store.path == ":memory:":
            raise ConfigurationError("a store in memory stays in its process: num_workers=0, or use a file")
        chosen = self._choose()
        infos = chosen.infos
        # A worker is a copy that was made for this iteration; what differs between them is torch's seed.
        rng = np.random.default_rng(
            (self.seed or 0, self.epoch, 0 if worker is None else worker.seed - worker.id)
        )
        if self.seed is not None:
            infos = _reorder(infos, rng)
        self.epoch += 1
        mine = replace(chosen, infos=infos if worker is None else infos[worker.id :: worker.num_workers])
        size = self.batch_size or max(self.shuffle, 1)
        for columns in _batches(_mix(self._rows(mine), self.shuffle, rng), size):
            tensors = {name: _tensors(column) for name, column in columns.items()}
            tensors |= {name: tensors[name].float() for name in ("rewards", "returns") if name in tensors}
            if self.batch_size is not None:
                yield tensors
                continue
            for row in range(_length(columns)):
                yield {name: _row(column, row) for name, column in tensors.items()}


class TransitionDataset(_TrialDataset):
    """Yields steps as dicts of tensors: ``observations, actions, rewards, next_observations...``.

    Rewards are ``float32``. The last step of a trial whose last observation is unknown is left out.

    Args:
        store: A store in a file, its path, or a ``store.query(...)``.
        batch_size: Yield so many steps together; ``None`` for single ones.
        shuffle: Steps at hand to draw from; 0 yields trial by trial.
        seed: Of the order; ``None`` keeps that of the store.
        **query: Chooses trials, as ``TrialStore.query``.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> def batches(path):
        ...     return DataLoader(TransitionDataset(path, batch_size=256), batch_size=None, num_workers=2)
    """

    def __init__(
        self,
        store: TrialStore | str | os.PathLike[str] | TrialQuery,
        *,
        batch_size: int | None = None,
        shuffle: int = 2048,
        seed: int | None = 0,
        **query: Any,
    ) -> None:
        super().__init__(store, batch_size=batch_size, shuffle=shuffle, seed=seed, **query)

    def _rows(self, trials: Iterable[TrialData]) -> Iterator[_Columns]:
        for data in trials:
            if data.observations is None:
                raise ConfigurationError(
                    f"trial {data.trial_id!r} was recorded without observations (record='actions', the "
                    "default for images): choose others, or record with record='full'. rebuild_observations "
                    "of cogment_lab.integrations.unobserved executes a trial again"
                )
            known = with_successors(data)
            yield {name: getattr(known, name) for name in _TRANSITION}


class SequenceDataset(_TrialDataset):
    """Yields stretches of ``length`` steps as dicts of tensors, padded, with a ``mask``.

    Rewards and returns are ``float32``.

    Args:
        store: As for :class:`TransitionDataset`.
        length: Of each.
        stride: See :func:`cogment_lab.store.views.read_sequences`.
        batch_size: Yield so many stretches together; ``None`` for single ones.
        shuffle: Stretches at hand to draw from.
        seed: Of the order.
        **query: Chooses trials.
    """

    def __init__(
        self,
        store: TrialStore | str | os.PathLike[str] | TrialQuery,
        length: int,
        *,
        stride: int | None = None,
        batch_size: int | None = None,
        shuffle: int = 128,
        seed: int | None = 0,
        **query: Any,
    ) -> None:
        super().__init__(store, batch_size=batch_size, shuffle=shuffle, seed=seed, **query)
        self.length = length
        self.stride = stride

    def _rows(self, trials: Iterable[TrialData]) -> Iterator[_Columns]:
        for batch in read_sequences(trials, self.length, stride=self.stride, batch_size=64):
            yield {name: getattr(batch, name) for name in _SEQUENCE}


def _reorder(infos: tuple[TrialInfo, ...], rng: np.random.Generator) -> tuple[TrialInfo, ...]:
    """Return trials in a drawn order; neighbours stay near each other, for they share chunks of the file."""
    ends = np.cumsum([info.n_ticks for info in infos]) // _BLOCK_TICKS
    blocks = np.split(np.arange(len(infos)), np.flatnonzero(np.diff(ends)) + 1)
    order = [row for block in rng.permutation(len(blocks)).tolist() for row in rng.permutation(blocks[block])]
    return tuple(infos[row] for row in order)


def _mix(parts: Iterable[_Columns], at_hand: int, rng: np.random.Generator) -> Iterator[_Columns]:
    """Yield the rows in a drawn order; each is drawn from ``at_hand`` at least, while there are so many."""
    if not at_hand:
        yield from parts
        return
    pool: list[_Columns] = []
    count = 0
    for part in parts:
        pool.append(part)
        count += _length(part)
        if count >= 2 * at_hand:
            mixed = _take(_join(pool), rng)
            yield _cut(mixed, 0, count - at_hand)
            pool, count = [_cut(mixed, count - at_hand, count)], at_hand
    if pool:
        yield _take(_join(pool), rng)


def _batches(parts: Iterable[_Columns], size: int) -> Iterator[_Columns]:
    """Yield the same rows, ``size`` at a time; the last may be fewer."""
    waiting: list[_Columns] = []
    for part in parts:
        waiting.append(part)
        if sum(map(_length, waiting)) < size:
            continue
        joined = _join(waiting)
        whole = _length(joined) // size * size
        for start in range(0, whole, size):
            yield _cut(joined, start, start + size)
        waiting = [_cut(joined, whole, _length(joined))]
    if sum(map(_length, waiting)):
        yield _join(waiting)


def _length(columns: _Columns) -> int:
    return len(columns["rewards"])


def _join(parts: list[_Columns]) -> _Columns:
    return {name: concatenate_columns([part[name] for part in parts]) for name in parts[0]}


def _take(columns: _Columns, rng: np.random.Generator) -> _Columns:
    order = rng.permutation(_length(columns))
    return {name: take_rows(column, order) for name, column in columns.items()}


def _cut(columns: _Columns, start: int, stop: int) -> _Columns:
    rows = np.arange(start, stop)
    return {name: take_rows(column, rows) for name, column in columns.items()}


def _tensors(column: Column) -> Any:
    """Return a column as tensors; what has no fixed size stays a list."""
    if isinstance(column, dict):
        return {key: _tensors(part) for key, part in column.items()}
    if isinstance(column, tuple):
        return tuple(_tensors(part) for part in column)
    if isinstance(column, list):
        return column
    return th.from_numpy(np.array(column))  # a copy: what was read from the store cannot be written


def _row(column: Any, row: int) -> Any:
    if isinstance(column, dict):
        return {key: _row(part, row) for key, part in column.items()}
    if isinstance(column, tuple):
        return tuple(_row(part, row) for part in column)
    return column[row]
