"""Stored trials as Minari datasets, and back."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import io
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from cogment_lab.integrations.exchange import (
    describe_trial,
    encode_feedback,
    find_agents,
    new_path,
    record_sources,
)
from cogment_lab.integrations.minari_source import PHASES, MinariSource

from cogment_lab.errors import ConfigurationError, MissingExtraError
from cogment_lab.store.columns import concatenate_columns, take_rows
from cogment_lab.store.info import encode_info
from cogment_lab.store.query import select_rows
from cogment_lab.store.trial_data import TrialData
from cogment_lab.trial.takeover import DECIDED_BY

if importlib.util.find_spec("minari") is None:
    raise MissingExtraError('Minari datasets need minari: pip install "cogment_lab[minari]"')

import minari
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage
from minari.namespace import NAMESPACE_METADATA_FILENAME
from minari.storage.datasets_root_dir import get_dataset_path

if TYPE_CHECKING:
    from minari import MinariDataset

    from cogment_lab.store import TrialQuery, TrialStore

__all__ = ["from_minari", "to_minari", "to_minari_by_agent"]

_ID = re.compile(r"(?P<head>(?:(?P<namespace>[\w-]+(?:/[\w-]+)*)/)?[\w-]+)(?P<version>-v\d+)")
_STEPS_AT_ONCE = 2048
_METADATA = (
    "author", "author_email", "algorithm_name", "code_permalink", "description", "ref_min_score",
    "ref_max_score",
)  # fmt: skip
_EXACT = ("ticks", "t_shown", "t_acted", "reaction_ns")


def to_minari(
    store: TrialStore,
    dataset_id: str,
    *,
    agent: str = "gym",
    author: str | None = None,
    author_email: str | None = None,
    algorithm_name: str | None = None,
    code_permalink: str | None = None,
    description: str | None = None,
    ref_min_score: float | None = None,
    ref_max_score: float | None = None,
    **query: Any,
) -> MinariDataset:
    """Write trials as a local Minari dataset, one episode for each, and one for each stretch of chosen ticks.

    Actions are those that were executed; images are kept as they are. All episodes have infos of one
    structure: ``is_intervention``, ``proposed_action``, ``decided_by``, ``phase``, ``ticks`` and the clocks
    of each step, and of the environment's info whatever is a number or an array of one shape wherever it
    occurs, ``env_<key>`` with ``has_<key>``. The last step of a trial whose last observation is unknown (an
    interrupted one) is left out.

    Args:
        store: Holds the trials.
        dataset_id: Such as ``"lunar/human-v0"``.
        agent: Whose steps.
        author: Of the dataset, like the other metadata.
        author_email: See Minari.
        algorithm_name: See Minari.
        code_permalink: See Minari.
        description: See Minari.
        ref_min_score: Return of a random policy.
        ref_max_score: Return of an expert.
        **query: Chooses trials, as ``TrialStore.query``.

    Returns:
        The dataset; ``minari.load_dataset(dataset_id)`` finds it from now on.

    Raises:
        ConfigurationError: the name is taken or none that Minari finds again, there is nothing to write, the
            trials were recorded without observations, or their spaces differ or are unknown to Minari.
        StoreFullError: the disk is full; nothing is left of the dataset.
    """
    path = _new_dataset_path(dataset_id)
    chosen = store.query(agent=agent, **query)
    spec = chosen.spaces()
    structure = _info_structure(_readable(chosen))
    env_spec = _env_spec(chosen)
    metadata = {
        "dataset_id": dataset_id,
        "minari_version": importlib.metadata.version("minari"),
        "author": None if author is None else {author},
        "author_email": None if author_email is None else {author_email},
        "algorithm_name": algorithm_name,
        "code_permalink": code_permalink,
        "description": description,
        "ref_min_score": ref_min_score,
        "ref_max_score": ref_max_score,
    }
    with new_path(path) as folder, _namespaces(path, dataset_id.count("/")):
        data = folder / "data"
        data.mkdir(parents=True)
        try:
            storage = MinariStorage.new(
                data, spec.observation_space, spec.action_space, env_spec, jpeg_encoding=False
            )
        except (NotImplementedError, ValueError, AssertionError) as error:
            raise ConfigurationError(f"Minari cannot hold the spaces {spec}: {error}") from error
        storage.update_metadata({key: value for key, value in metadata.items() if value is not None})
        with _forgiving(storage) as file:
            details: list[dict[str, Any]] = []
            waiting: list[EpisodeBuffer] = []
            infos = {info.trial_id: info for info in chosen.infos}
            for part, trial in _readable(chosen):
                info = infos[trial.trial_id]
                begins = not part and (trial.ticks[0] == 0 or len(info.agents) > 1)
                waiting.append(_episode(trial, info.seed if begins else None, structure))
                if sum(len(episode.rewards) for episode in waiting) >= _STEPS_AT_ONCE:
                    storage.update_episodes(waiting)
                    file.check()
                    waiting = []
                details.append(
                    {
                        "trial": describe_trial(info),
                        "part": part,
                        "agent": agent,
                        "env_spec": info.env_spec or "",
                        "feedback": encode_feedback(trial),
                    }
                )
            if not details:
                raise ConfigurationError(
                    f"no complete step matches in {store.path}, nothing to export: {chosen.explain()}"
                )
            storage.update_episodes(waiting)
            storage.update_episode_metadata(details)
    return minari.load_dataset(dataset_id)


def to_minari_by_agent(store: TrialStore, dataset_id: str, **options: Any) -> dict[str, MinariDataset]:
    """Write one dataset for each agent of the trials: ``name-<agent>-v0``, or ``dataset_id`` if it is one.

    Agents without a step that was chosen are left out. All are written, or none.

    Raises:
        ConfigurationError: as :func:`to_minari`.
        StoreFullError: as :func:`to_minari`.
    """
    head, version = _match(dataset_id).group("head", "version")
    agents = find_agents(store, {name: each for name, each in options.items() if name not in _METADATA})
    if len(agents) == 1:
        return {agents[0]: to_minari(store, dataset_id, agent=agents[0], **options)}
    written: dict[str, MinariDataset] = {}
    with contextlib.ExitStack() as unless_complete:
        for name in agents:
            written[name] = to_minari(store, f"{head}-{name}{version}", agent=name, **options)
            unless_complete.callback(shutil.rmtree, get_dataset_path(str(written[name].id)))
        unless_complete.pop_all()
    return written


def from_minari(
    dataset: MinariDataset | str | Sequence[MinariDataset | str],
    store: TrialStore | str | Path,
    *,
    env_id: str | None = None,
) -> list[str]:
    """Record the episodes of a Minari dataset as trials; those that came from a store are as they were.

    Args:
        dataset: Or the id of one on this machine, or several: what several agents did in one trial
            (:func:`to_minari_by_agent`) becomes one trial again. Agents have the names that our exports
            noted, ``"gym"`` elsewhere.
        store: Where to record; a store, or its path.
        env_id: Name of the environment; by default that which was noted, or the dataset's.

    Returns:
        The ids of the new trials; an id that is taken gets a suffix.

    Raises:
        ConfigurationError: there is no such dataset.
        StoreError: the store cannot be written, or its disk is full; trials before stay.
    """
    given = [dataset] if isinstance(dataset, str) or not isinstance(dataset, Sequence) else dataset
    return record_sources(store, [MinariSource(_open(each), env_id) for each in given])


def _match(dataset_id: str) -> re.Match[str]:
    """Return the parts of an id under which Minari finds a dataset, and lists it.

    Raises:
        ConfigurationError: it is none.
    """
    match = _ID.fullmatch(dataset_id)
    namespace = match["namespace"] if match is not None else None
    if match is None or (namespace is not None and (len(namespace) < 2 or "data" in namespace.split("/"))):
        raise ConfigurationError(
            f"dataset_id={dataset_id!r} is no name for Minari: take one like lunar/human-v0, that is "
            "(namespace/)name-v0 of letters, digits, - and _; a namespace has two of them at least, and none "
            "is called data"
        )
    return match


def _new_dataset_path(dataset_id: str) -> Path:
    """Return where a dataset will be.

    Raises:
        ConfigurationError: the id is none, it is taken, or the folder of the datasets cannot be made.
    """
    _match(dataset_id)
    try:
        path = Path(get_dataset_path(dataset_id))
    except OSError as error:
        raise ConfigurationError(f"the folder of Minari's datasets cannot be made: {error}") from error
    if os.path.exists(path):
        raise ConfigurationError(
            f"a Minari dataset {dataset_id!r} exists already at {path}: choose another version or name, or "
            "minari.delete_dataset it"
        )
    for parent in path.parents[: dataset_id.count("/")]:
        if (parent / "data").exists():
            raise ConfigurationError(f"{parent} is a Minari dataset, no namespace: choose another name")
    return path


@contextlib.contextmanager
def _namespaces(path: Path, count: int) -> Iterator[None]:
    """Make the folders above a dataset namespaces of Minari's after the block; all, or none."""
    files = [parent / NAMESPACE_METADATA_FILENAME for parent in path.parents[:count]]
    new = [file for file in files if not file.exists()]
    yield
    try:
        for file in new:
            file.write_text("{}", encoding="utf-8")
    except OSError:
        for file in new:
            file.unlink(missing_ok=True)
        raise


class _ForgivingFile(io.FileIO):
    """A file that takes whatever HDF5 writes, and tells of the first error only when it is asked.

    HDF5 cannot close a file that it failed to write: it crashes the process in trying again. What comes
    after the error is dropped.
    """

    error: OSError | None = None

    def write(self, content: Any) -> int:
        done = size = len(content)
        try:
            if self.error is None:
                done = super().write(content)
            while done < size:
                done += super().write(memoryview(content)[done:])
        except OSError as error:
            self.error = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            if self.error is None:
                return super().truncate(size)
        except OSError as error:
            self.error = error
        return self.tell() if size is None else size

    def check(self) -> None:
        """Raise the first error, if there was one."""
        if self.error is not None:
            raise self.error


@contextlib.contextmanager
def _forgiving(storage: MinariStorage) -> Iterator[_ForgivingFile]:
    """Let a storage write its HDF5 file, which is empty yet, so that a full disk is an ``OSError``."""
    with _ForgivingFile(storage._file_path, "r+") as file:
        storage._file_path = file
        try:
            yield file
        finally:
            file.check()


def _open(dataset: MinariDataset | str) -> MinariDataset:
    if not isinstance(dataset, str):
        return dataset
    try:
        return minari.load_dataset(dataset)
    except (FileNotFoundError, ValueError) as error:
        there = sorted(minari.list_local_datasets())
        raise ConfigurationError(
            f"there is no Minari dataset {dataset!r} here; there are {', '.join(there) or 'none'}. `minari "
            "download` gets those that others made"
        ) from error


def _readable(trials: Iterable[TrialData]) -> Iterator[tuple[int, TrialData]]:
    """Yield stretches of consecutive steps with the observation after each, numbered within their trial.

    Usually that is a whole trial. Left out is a last step whose next observation is unknown.
    """
    for data in trials:
        if data.observations is None:
            raise ConfigurationError(
                f"trial {data.trial_id!r} was recorded without observations (record='actions'): leave it "
                "out, or record with record='full'"
            )
        known = data
        if not data.has_successor.all():
            known = replace(select_rows(data, data.has_successor), feedback=data.feedback)
        ends = np.flatnonzero(~known.continues) + 1
        if len(ends) == 1:
            yield 0, known
            continue
        rows = np.arange(len(known))
        for part, (start, end) in enumerate(zip((0, *ends), ends, strict=False)):
            yield part, select_rows(known, (rows >= start) & (rows < end))


def _info_structure(trials: Iterable[tuple[int, TrialData]]) -> dict[str, np.ndarray[Any, Any]]:
    """Return a zero for each key of the environment's infos whose values are alike wherever they occur.

    Left out are keys that cannot name a dataset of HDF5.
    """
    found: dict[str, np.ndarray[Any, Any]] = {}
    others = set()
    for _, data in trials:
        for info in data.infos:
            for key, value in info.items():
                if isinstance(value, bool | int | float | np.generic | np.ndarray):
                    array = np.asarray(value)
                    known = found.setdefault(key, np.zeros_like(array))
                    if array.dtype.kind in "biuf" and known.shape == array.shape:
                        if known.dtype != array.dtype:
                            found[key] = np.zeros(array.shape, np.result_type(known, array))
                        continue
                others.add(key)
    return {key: zero for key, zero in found.items() if key not in others and _is_name(key)}


def _is_name(key: Any) -> bool:
    return isinstance(key, str) and key.isprintable() and "/" not in key


def _env_spec(chosen: TrialQuery) -> gym.envs.registration.EnvSpec | None:
    """Return the Gymnasium spec of the trials, ``None`` where they have none or several."""
    texts = {info.env_spec for info in chosen.infos}
    text = texts.pop() if len(texts) == 1 else None
    if text is None:
        return None
    try:
        return gym.envs.registration.EnvSpec.from_json(text)
    except (AttributeError, ImportError, KeyError, TypeError, ValueError):
        # Its package is not here, or another Gymnasium wrote it: the spaces are enough.
        return None


def _episode(
    data: TrialData, seed: int | None, structure: Mapping[str, np.ndarray[Any, Any]]
) -> EpisodeBuffer:
    last = np.array([len(data) - 1])
    truncated = data.truncated.copy()
    truncated[-1] |= not data.terminated[-1]
    infos: dict[str, Any] = {
        "is_intervention": data.is_intervention,
        "proposed_action": data.proposed_actions,
        "decided_by": np.array([DECIDED_BY.index(name) for name in data.decided_by.tolist()], np.int8),
        "phase": np.array([PHASES.index(name) for name in data.phase.tolist()], np.int8),
        **{name: getattr(data, name) for name in _EXACT},
        "json": [encode_info(info) for info in data.infos],
    }
    for key, zero in structure.items():
        infos[f"env_{key}"] = np.array([info.get(key, zero) for info in data.infos], zero.dtype)
        infos[f"has_{key}"] = np.array([key in info for info in data.infos], np.bool_)
    return EpisodeBuffer(
        seed=None if seed is None or not -(2**63) <= seed < 2**63 else seed,
        observations=concatenate_columns([data.observations, take_rows(data.next_observations, last)]),
        actions=data.actions,
        rewards=data.rewards,
        terminations=data.terminated,
        truncations=truncated,
        infos=infos,
    )
