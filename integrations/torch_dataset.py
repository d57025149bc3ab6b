"""Stored trials for torch's ``DataLoader``, with workers that open the store themselves."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from cogment_lab.errors import ConfigurationError, MissingExtraError
from cogment_lab.store import TrialStore
from cogment_lab.store.query import with_successors
from cogment_lab.store.trial_data import TrialData
from cogment_lab.store.views import read_sequences

if importlib.util.find_spec("torch") is None:
    raise MissingExtraError('torch datasets need torch: pip install "cogment_lab[sb3]"')

import torch as th
from torch.utils.data import IterableDataset, get_worker_info

__all__ = ["SequenceDataset", "TransitionDataset"]

_TRANSITION = ("observations", "actions", "rewards", "next_observations", "terminated", "truncated")
_SEQUENCE = ("observations", "actions", "rewards", "terminated", "returns", "ticks", "mask")


class _TrialDataset(IterableDataset[dict[str, Any]]):
    """Trials that are shared out among workers, in a new order each time that it is iterated.

    Args:
        store: A store in a file, or its path.
        seed: Of the order; ``None`` keeps that of the store.
        **query: Chooses trials, as ``TrialStore.query``.
    """

    def __init__(self, store: TrialStore | str, *, seed: int | None = 0, **query: Any) -> None:
        self.store = store if isinstance(store, TrialStore) else TrialStore(store)
        self.query = query
        self.seed = seed
        self.epoch = 0
        if not len(self.store.query(**query)):
            raise ConfigurationError(f"no trials match in {self.store.path}: nothing to load")

    def _trials(self) -> Iterator[TrialData]:
        """Yield this worker's trials."""
        worker = get_worker_info()
        if worker is not None and self.store.path == ":memory:":
            raise ConfigurationError("a store in memory stays in its process: num_workers=0, or use a file")
        chosen = self.store.query(**self.query)
        infos = chosen.infos
        if self.seed is not None:
            order = np.random.default_rng((self.seed, self.epoch)).permutation(len(infos))
            infos = tuple(infos[index] for index in order.tolist())
        self.epoch += 1
        yield from replace(chosen, infos=infos if worker is None else infos[worker.id :: worker.num_workers])


class TransitionDataset(_TrialDataset):
    """Yields each step as a dict of tensors: ``observations, actions, rewards, next_observations...``.

    The last step of a trial whose last observation is unknown is left out.
    """

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the steps of this worker's trials, trial by trial."""
        for data in self._trials():
            if data.observations is None:
                raise ConfigurationError(f"trial {data.trial_id!r} was recorded without observations")
            known = with_successors(data)
            columns = {name: getattr(known, name) for name in _TRANSITION}
            for row in range(len(known)):
                yield {name: _tensor(column, row) for name, column in columns.items()}


class SequenceDataset(_TrialDataset):
    """Yields stretches of ``length`` steps as dicts of tensors, padded, with a ``mask``.

    Args:
        store: As for :class:`TransitionDataset`.
        length: Of each.
        stride: See :func:`cogment_lab.store.views.read_sequences`.
        seed: Of the order of trials.
        **query: Chooses trials.
    """

    def __init__(
        self,
        store: TrialStore | str,
        length: int,
        *,
        stride: int | None = None,
        seed: int | None = 0,
        **query: Any,
    ) -> None:
        super().__init__(store, seed=seed, **query)
        self.length = length
        self.stride = stride

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the stretches of this worker's trials."""
        for batch in read_sequences(self._trials(), self.length, stride=self.stride, batch_size=64):
            for row in range(len(batch)):
                yield {name: _tensor(getattr(batch, name), row) for name in _SEQUENCE}


def _tensor(column: Any, row: int) -> Any:
    if isinstance(column, dict):
        return {key: _tensor(part, row) for key, part in column.items()}
    if isinstance(column, tuple):
        return tuple(_tensor(part, row) for part in column)
    return th.as_tensor(column[row])
