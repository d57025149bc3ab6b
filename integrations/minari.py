"""Stored trials as Minari datasets, and back."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from cogment_lab.integrations.exchange import (
    ImportedTrial,
    decode_feedback,
    describe_trial,
    encode_feedback,
    find_agents,
    new_path,
    read_description,
    record_sources,
)

from cogment_lab.errors import ConfigurationError, MissingExtraError
from cogment_lab.store.columns import Column, concatenate_columns, take_rows, value_at
from cogment_lab.store.info import decode_info, encode_info
from cogment_lab.store.query import select_rows
from cogment_lab.store.stream_spec import AgentSpec
from cogment_lab.store.trial_data import TrialData, concatenate
from cogment_lab.trial.takeover import DECIDED_BY, Phase

if importlib.util.find_spec("minari") is None:
    raise MissingExtraError('Minari datasets need minari: pip install "cogment_lab[minari]"')

import minari
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage
from minari.namespace import create_namespace, list_local_namespaces
from minari.storage.datasets_root_dir import get_dataset_path

if TYPE_CHECKING:
    from minari import MinariDataset

    from cogment_lab.store import TrialQuery, TrialStore

__all__ = ["from_minari", "to_minari", "to_minari_by_agent"]

_ID = re.compile(r"(?P<head>(?:[\w-]+/)*?[\w-]+?)(?P<version>-v\d+)?$")
_PHASES = tuple(phase.name for phase in Phase)
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
        ConfigurationError: the name is taken or no name, there is nothing to write, the trials were recorded
            without observations, or their spaces differ or are unknown to Minari.
        StoreFullError: the disk is full; nothing is left of the dataset.
    """
    if _ID.fullmatch(dataset_id) is None:
        raise ConfigurationError(
            f"dataset_id={dataset_id!r} is no name for Minari: (namespace/)name-v0 of letters, digits, - "
            "and _"
        )
    path = get_dataset_path(dataset_id)
    if path.exists():
        raise ConfigurationError(
            f"a Minari dataset {dataset_id!r} exists already at {path}: choose another version or name, or "
            "minari.delete_dataset it"
        )
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
    namespace = dataset_id.rpartition("/")[0]
    if namespace and namespace not in list_local_namespaces():
        create_namespace(namespace)
    with new_path(Path(path)) as folder:
        data = folder / "data"
        data.mkdir(parents=True)
        try:
            storage = MinariStorage.new(
                data, spec.observation_space, spec.action_space, env_spec, jpeg_encoding=False
            )
        except (NotImplementedError, ValueError, AssertionError) as error:
            raise ConfigurationError(f"Minari cannot hold the spaces {spec}: {error}") from error
        storage.update_metadata({key: value for key, value in metadata.items() if value is not None})
        details: list[dict[str, Any]] = []
        infos = {info.trial_id: info for info in chosen.infos}
        for part, trial in _readable(chosen):
            info = infos[trial.trial_id]
            begins = not part and (trial.ticks[0] == 0 or len(info.agents) > 1)
            storage.update_episodes([_episode(trial, info.seed if begins else None, structure)])
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
        storage.update_episode_metadata(details)
    return minari.load_dataset(dataset_id)


def to_minari_by_agent(store: TrialStore, dataset_id: str, **options: Any) -> dict[str, MinariDataset]:
    """Write one dataset for each agent of the trials: ``name-<agent>-v0``, or ``dataset_id`` if it is one.

    All are written, or none.

    Raises:
        ConfigurationError: as :func:`to_minari`.
        StoreFullError: as :func:`to_minari`.
    """
    match = _ID.fullmatch(dataset_id)
    head, version = (match["head"], match["version"] or "") if match else (dataset_id, "")
    agents = find_agents(store, env=options.get("env"))
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
    store: TrialStore,
    *,
    env_id: str | None = None,
) -> list[str]:
    """Record the episodes of a Minari dataset as trials; those that came from a store are as they were.

    Args:
        dataset: Or the id of one on this machine, or several: what several agents did in one trial
            (:func:`to_minari_by_agent`) becomes one trial again. Agents have the names that our exports
            noted, ``"gym"`` elsewhere.
        store: Where to record.
        env_id: Name of the environment; by default that which was noted, or the dataset's.

    Returns:
        The ids of the new trials; an id that is taken gets a suffix.

    Raises:
        ConfigurationError: there is no such dataset.
        StoreError: the store cannot be written, or its disk is full; trials before stay.
    """
    given = [dataset] if isinstance(dataset, str) or not isinstance(dataset, Sequence) else dataset
    return record_sources(store, [_Dataset(_open(each), env_id) for each in given])


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


class _Dataset:
    """The episodes of a dataset as trials."""

    def __init__(self, dataset: MinariDataset, env_id: str | None) -> None:
        self.spec = AgentSpec(dataset.observation_space, dataset.action_space)
        self._dataset = dataset
        self._indices: list[int] = dataset.episode_indices.tolist()
        self._metadata = [dict(each) for each in dataset.storage.get_episode_metadata(self._indices)]
        self._env_id = env_id
        self.agent = str(self._metadata[0].get("agent", "gym")) if self._metadata else "gym"
        # The numbers of each trial's first episode, and of those that are further stretches of it.
        self._parts: list[list[int]] = []
        for number, metadata in enumerate(self._metadata):
            if self._parts and metadata.get("part", 0):
                self._parts[-1].append(number)
            else:
                self._parts.append([number])
        self.trial_ids = [self._details(numbers[0])["trial_id"] for numbers in self._parts]

    def read(self, index: int) -> ImportedTrial:
        """Return a trial: an episode, or several that are stretches of it."""
        numbers = self._parts[index]
        raw = self._dataset.storage.get_episodes([self._indices[number] for number in numbers])
        details = self._details(numbers[0])
        spec = self._dataset.env_spec
        noted = self._metadata[numbers[0]].get("env_spec")
        parts = [
            _trial_data(episode, self._metadata[number], self.agent)
            for episode, number in zip(raw, numbers, strict=True)
        ]
        for part in parts[:-1]:
            part.truncated[-1] = False  # Minari's episodes need an end, where the trial went on
        return ImportedTrial(
            data=parts[0] if len(parts) == 1 else concatenate(parts),
            details=details,
            env_id=self._env_id
            or details.get("env_id")
            or (spec.id if spec is not None else str(self._dataset.id)),
            env_spec=noted or (None if spec is None else spec.to_json()),
        )

    def _details(self, number: int) -> dict[str, Any]:
        metadata = self._metadata[number]
        details = read_description(metadata["trial"]) if "trial" in metadata else {}
        details.setdefault("seed", metadata.get("seed"))
        name = details.get("trial_id") or f"{self._dataset.id}-{self._indices[number]}".replace("/", "-")
        return {**details, "trial_id": name}


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
    """Return a zero for each key of the environment's infos whose values are alike wherever they occur."""
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
    return {key: zero for key, zero in found.items() if key not in others and "/" not in key}


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
        "phase": np.array([_PHASES.index(name) for name in data.phase.tolist()], np.int8),
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


def _trial_data(raw: Mapping[str, Any], metadata: Mapping[str, Any], agent: str) -> TrialData:
    """Return an episode as a trial's data; what only our exports say is what a lone player would leave."""
    n = len(raw["rewards"])
    rows = np.arange(n)
    infos = raw["infos"] or {}
    ours = "trial" in metadata
    actions = take_rows(raw["actions"], rows)
    decided_by = infos["decided_by"] if ours else np.zeros(n, np.int64)
    numbers: dict[str, Any] = {
        name: infos[name] if ours else np.zeros(n, np.int64) for name in ("t_shown", "t_acted", "reaction_ns")
    }
    return TrialData(
        trial_id="",
        agent=agent,
        ticks=infos["ticks"] if ours else rows.astype(np.int64),
        observations=take_rows(raw["observations"], rows),
        actions=actions,
        rewards=np.asarray(raw["rewards"], np.float64),
        terminated=np.asarray(raw["terminations"], np.bool_),
        truncated=np.asarray(raw["truncations"], np.bool_),
        proposed_actions=_arranged(infos["proposed_action"], actions) if ours else actions,
        is_intervention=decided_by != 0,
        decided_by=np.array(DECIDED_BY)[decided_by],
        phase=np.array(_PHASES)[infos["phase"] if ours else np.zeros(n, np.int64)],
        feedback=decode_feedback(metadata["feedback"]) if ours else [],
        infos=[decode_info(text) for text in infos["json"]] if ours else _foreign_infos(infos, n),
        last_observation=value_at(raw["observations"], n),
        observed_ticks=rows.astype(np.int64),
        observed_observations=raw["observations"],
        **numbers,
    )


def _arranged(stored: Any, like: Column) -> Column:
    """Return a column that was stored among infos, where HDF5 knows neither tuples nor text."""
    if isinstance(like, tuple):
        return tuple(_arranged(stored[f"_index_{index}"], part) for index, part in enumerate(like))
    if isinstance(like, dict):
        return {key: _arranged(stored[key], part) for key, part in like.items()}
    if isinstance(like, list):
        return [value.decode() if isinstance(value, bytes) else value for value in stored]
    return stored


def _foreign_infos(infos: Mapping[str, Any], n: int) -> list[dict[str, Any]]:
    """Return the infos of each step; a dataset that Minari collected has one more, of the reset."""
    return [
        {
            key: value[row + len(value) - n]
            for key, value in infos.items()
            if isinstance(value, np.ndarray) and len(value) >= n
        }
        for row in range(n)
    ]
