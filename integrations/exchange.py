"""What trials carry into other formats and back: their details as text, and their steps as ticks."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cogment_lab.errors import ConfigurationError, StoreError, StoreFullError
from cogment_lab.store import AgentSpec, StreamSpec, TrialData, TrialInfo, TrialQuery, TrialStore, TrialStream
from cogment_lab.store.copying import write_trial
from cogment_lab.store.given import store_to_write
from cogment_lab.store.info import decode_info, encode_info
from cogment_lab.trial.sample import Feedback

__all__ = [
    "ImportedTrial",
    "TrialSource",
    "decode_feedback",
    "describe_trial",
    "encode_feedback",
    "find_agents",
    "new_path",
    "query_agents",
    "read_description",
    "record_sources",
]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No space, no quota, and more than the system lets a file have; some libraries say it in words only."""

_DETAILS = (
    "trial_id", "env_id", "end_reason", "seed", "rng_state", "options", "properties", "user_id", "started",
    "ended", "parameters", "versions",
)  # fmt: skip

_OF_TRIAL = ("seed", "rng_state", "options", "properties", "user_id", "end_reason", "started", "ended")


def describe_trial(info: TrialInfo) -> str:
    """Return what is known of a trial, beside its ticks, as JSON."""
    return encode_info({name: getattr(info, name) for name in _DETAILS})


def read_description(text: str | bytes) -> dict[str, Any]:
    """Return what :func:`describe_trial` was given.

    Raises:
        ConfigurationError: the text was not written by it.
    """
    try:
        found = decode_info(text)
    except ValueError as error:
        raise ConfigurationError(f"the description of a trial cannot be read: {error}") from error
    return {name: found.get(name) for name in _DETAILS}


def encode_feedback(data: TrialData) -> str:
    """Return the feedback of a trial as JSON."""
    rows = [(each.source, each.value, each.confidence, each.time, each.tick) for each in data.feedback]
    return encode_info({"feedback": [list(row) for row in rows]})


def decode_feedback(text: str | bytes) -> list[Feedback]:
    """Return what :func:`encode_feedback` was given."""
    return [Feedback(*row) for row in decode_info(text)["feedback"]]


def query_agents(store: TrialStore, query: Mapping[str, Any]) -> list[TrialQuery]:
    """Return the choice of trials of each agent that has some, in the order of the agents.

    Args:
        store: Holds the trials.
        query: Arguments of ``TrialStore.query`` but ``agent``.

    Raises:
        ConfigurationError: as ``TrialStore.query``.
    """
    names = dict.fromkeys(name for info in store.trials() for name in info.agents)
    found = (store.query(agent=name, **query) for name in names)
    return [chosen for chosen in found if len(chosen)]


def find_agents(store: TrialStore, query: Mapping[str, Any]) -> list[str]:
    """Return the agents with steps that match, in order; the first of those without where no step does.

    Args:
        store: Holds the trials.
        query: Arguments of ``TrialStore.query`` but ``agent``.

    Raises:
        ConfigurationError: as ``TrialStore.query``.
        CorruptStoreError: trials cannot be decoded (with ``damaged="raise"``).
    """
    chosen = query_agents(store, query)
    found = [each.agent for each in chosen if next(iter(each), None) is not None]
    there = (name for info in store.trials() for name in info.agents)
    return found or [chosen[0].agent if chosen else next(there, "gym")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedTrial:
    """One agent's part of a trial that comes from elsewhere.

    Attributes:
        data: Its steps.
        details: What :func:`read_description` found, and what else is known of the trial.
        env_id: Name of the environment.
        env_spec: Gymnasium's spec as JSON, if there is one.
    """

    data: TrialData
    details: Mapping[str, Any]
    env_id: str
    env_spec: str | None


class TrialSource(Protocol):
    """Where trials of one agent come from: a file, or a dataset."""

    @property
    def agent(self) -> str:
        """Whose steps these are."""

    @property
    def spec(self) -> AgentSpec:
        """The agent's spaces."""

    @property
    def trial_ids(self) -> list[str]:
        """Of the trials, in order."""

    def read(self, index: int) -> ImportedTrial:
        """Return one of them."""


def record_sources(store: TrialStore | str | os.PathLike[str], sources: Sequence[TrialSource]) -> list[str]:
    """Record the trials of one or several sources; what several agents did in one trial becomes one again.

    Returns:
        The ids of the new trials; an id that is taken gets a suffix.

    Raises:
        ConfigurationError: ``store`` is neither a store nor the path of one.
        SpecError: values do not fit the spaces.
        StoreError: the store cannot be written, or its disk is full; trials before stay.
    """
    found = []
    with store_to_write(store) as store, contextlib.ExitStack() as stack:
        streams: dict[tuple[Any, ...], TrialStream] = {}
        for trial_id, parts in _join(sources):
            trials = {source.agent: source.read(index) for source, index in parts}
            first = next(iter(trials.values()))
            parameters = first.details.get("parameters") or {}
            versions = first.details.get("versions") or {}
            key = (first.env_id, first.env_spec, *(source for source, _ in parts), encode_info(parameters))
            if key not in streams:
                spec = StreamSpec(
                    env_id=first.env_id,
                    agents={source.agent: source.spec for source, _ in parts},
                    record="full",
                    env_spec=first.env_spec,
                    parameters=parameters,
                    versions=versions,
                )
                streams[key] = stack.enter_context(contextlib.closing(store.open_stream(spec)))
            new_id = f"{trial_id}-{secrets.token_hex(3)}" if trial_id in store else trial_id
            data = {agent: trial.data for agent, trial in trials.items()}
            details = {name: first.details.get(name) for name in _OF_TRIAL}
            write_trial(streams[key], new_id, data, **details)
            found.append(new_id)
        store.flush()  # while the streams are open: a full disk is an error here
    return found


def _join(sources: Sequence[TrialSource]) -> list[tuple[str, list[tuple[TrialSource, int]]]]:
    """Return the trials in order, each with the sources that have a part of it."""
    found: dict[tuple[str, int], list[tuple[TrialSource, int]]] = {}
    for source in sources:
        for index, trial_id in enumerate(source.trial_ids):
            for copy in itertools.count():
                parts = found.setdefault((trial_id, copy), [])
                if all(other.agent != source.agent for other, _ in parts):
                    parts.append((source, index))
                    break
    return [(trial_id, parts) for (trial_id, _), parts in found.items()]


@contextlib.contextmanager
def new_path(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; it takes its place when all is written, else it is removed.

    Folders that were made for it go with it.

    Raises:
        ConfigurationError: there is something at ``path`` already, or it cannot be written.
        StoreFullError: the disk is full; nothing is left of what was written.
    """
    unfinished = path.parent / f".{path.name[:40]}.{secrets.token_hex(4)}.part"
    new_folders: list[Path] = []
    try:
        if path.exists():
            raise ConfigurationError(f"{path} exists already: choose another name, or remove it first")
        new_folders = [folder for folder in path.parents if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        os.replace(unfinished, path)
    except StoreError:
        raise
    except OSError as error:
        if error.errno in _FULL or any(os.strerror(number) in str(error) for number in _FULL):
            raise StoreFullError(f"the disk is full: {path} was not written ({error})") from error
        raise ConfigurationError(f"{path} cannot be written: {error}") from error
    finally:
        if unfinished.is_dir():
            shutil.rmtree(unfinished, ignore_errors=True)
        else:
            unfinished.unlink(missing_ok=True)
        for folder in new_folders:
            with contextlib.suppress(OSError):  # what is not empty stays
                folder.rmdir()
