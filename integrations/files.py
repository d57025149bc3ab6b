"""Stored trials as one file: ``.npz`` (and back), ``.parquet`` or ``.csv``."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from cogment_lab.integrations.exchange import (
    decode_feedback,
    describe_trial,
    encode_feedback,
    new_path,
    open_import,
    read_description,
    record_trial,
)

from cogment_lab.errors import CogmentLabError, ConfigurationError, MissingExtraError
from cogment_lab.specs.spaces import space_from_bytes, space_to_bytes
from cogment_lab.store.columns import Column
from cogment_lab.store.info import decode_info, encode_info
from cogment_lab.store.stream_spec import AgentSpec
from cogment_lab.store.trial_data import TrialData

if TYPE_CHECKING:
    from cogment_lab.store import TrialQuery, TrialStore

__all__ = ["from_npz", "to_csv", "to_npz", "to_parquet"]

Array: TypeAlias = npt.NDArray[Any]

_ROWS = (
    "ticks", "rewards", "terminated", "truncated", "is_intervention", "decided_by", "phase", "t_shown",
    "t_acted", "reaction_ns",
)  # fmt: skip
_COLUMNS = ("observations", "actions", "proposed_actions")


def to_npz(query: TrialQuery, path: Path) -> int:
    """Write each trial's arrays as ``<number>/<name>.npy`` in one archive; it holds nothing pickled.

    Beside them are ``spaces`` and, for each trial, ``about``: JSON of what is known of it, its infos and
    feedback.

    Returns:
        How many trials were written.

    Raises:
        ConfigurationError: nothing to write, the file exists, or values without a fixed size.
        StoreFullError: the disk is full; nothing is left of the file.
    """
    infos = {info.trial_id: info for info in query.infos}
    spec = query.spaces()
    count = 0
    with new_path(path) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, True) as file:
        spaces = [space_to_bytes(spec.observation_space), space_to_bytes(spec.action_space)]
        for name, space in zip(("observation_space", "action_space"), spaces, strict=True):
            _put(file, name, np.frombuffer(space, np.uint8))
        for data in query:
            about = {
                "trial": describe_trial(infos[data.trial_id]),
                "env_spec": infos[data.trial_id].env_spec,
                "feedback": encode_feedback(data),
                "infos": [encode_info(info) for info in data.infos],
                "agent": data.agent,
                "has_last": data.last_observation is not None,
            }
            _put(file, f"{count}/about", np.frombuffer(encode_info(about).encode(), np.uint8))
            for name in _ROWS:
                _put(file, f"{count}/{name}", getattr(data, name))
            for name in _COLUMNS:
                for key, leaf in _leaves(_given(data, name)):
                    _put(file, f"{count}/{name}{key}", leaf)
            if data.last_observation is not None:
                for key, leaf in _leaves(data.last_observation):
                    _put(file, f"{count}/last{key}", np.asarray(leaf))
            count += 1
        _check_count(query, count)
    return count


def from_npz(path: Path, store: TrialStore) -> list[str]:
    """Record the trials of an archive that :func:`to_npz` wrote; an id that is taken gets a suffix.

    Raises:
        ConfigurationError: the file is not there, or something else.
        StoreError: the store cannot be written, or its disk is full; trials before stay.
    """
    found = []
    try:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(np.load(path, allow_pickle=False))
            spec = AgentSpec(
                space_from_bytes(file["observation_space"].tobytes()),
                space_from_bytes(file["action_space"].tobytes()),
            )
            streams: dict[tuple[Any, ...], Any] = {}
            number = 0
            while f"{number}/about" in file:
                about = decode_info(file[f"{number}/about"].tobytes())
                details = read_description(about["trial"])
                key = details["env_id"], about["agent"], about["env_spec"], str(details["parameters"])
                if key not in streams:
                    streams[key] = stack.enter_context(
                        contextlib.closing(
                            open_import(
                                store, *key[:2], spec,
                                env_spec=about["env_spec"],
                                parameters=details["parameters"] or {},
                                versions=details["versions"] or {},
                            )
                        )
                    )  # fmt: skip
                data = _trial_data(file, number, about, spec)
                found.append(record_trial(store, streams[key], data, details))
                number += 1
            store.flush()  # while the streams are open: a full disk is an error here
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, CogmentLabError):
            raise
        raise ConfigurationError(f"{path} is no archive of trials: {error}") from error
    return found


def to_csv(query: TrialQuery, path: Path) -> int:
    """Write one line for each step; numbers are written so that they read back as the same.

    Returns:
        How many steps were written.

    Raises:
        ConfigurationError: nothing to write, or the file exists.
        StoreFullError: the disk is full; nothing is left of the file.
    """
    count = 0
    with new_path(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for table in _tables(query):
            if not count:
                writer.writerow(table)
            rows = [
                column.tolist() if isinstance(column, np.ndarray) else column for column in table.values()
            ]
            writer.writerows(zip(*rows, strict=True))
            count += len(table["trial_id"])
        _check_count(query, count)
    return count


def to_parquet(query: TrialQuery, path: Path) -> int:
    """Write one row for each step, a row group for each trial; needs pyarrow.

    Returns:
        How many steps were written.

    Raises:
        ConfigurationError: as :func:`to_csv`.
        MissingExtraError: pyarrow is not installed.
        StoreFullError: as :func:`to_csv`.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingExtraError('Parquet files need pyarrow: pip install "cogment_lab[minari]"')
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = 0
    with new_path(path) as unfinished, contextlib.ExitStack() as stack:
        writer = None
        for columns in _tables(query):
            table = pa.table(columns)
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(unfinished, table.schema))
            writer.write_table(table)
            count += len(table)
        _check_count(query, count)
    return count


def _tables(query: TrialQuery) -> Iterator[dict[str, Any]]:
    """Yield each trial's steps as flat columns of equal length."""
    for data in query:
        table: dict[str, Any] = {"trial_id": [data.trial_id] * len(data)}
        table.update({name: getattr(data, name) for name in _ROWS})
        for name in _COLUMNS:
            column = getattr(data, name)
            for key, leaf in _leaves(column) if column is not None else ():
                if isinstance(leaf, list):
                    table[f"{name}{key}"] = [str(value) for value in leaf]
                    continue
                flat = leaf.reshape(len(leaf), -1)
                for index in range(flat.shape[1]):
                    table[f"{name}{key}.{index}" if leaf.ndim > 1 else f"{name}{key}"] = flat[:, index]
        table["info"] = [encode_info(info) for info in data.infos]
        yield table


def _check_count(query: TrialQuery, count: int) -> None:
    if not count:
        raise ConfigurationError(
            f"no steps match in {query.store.path}, nothing to export: {query.explain()}"
        )


def _given(data: TrialData, name: str) -> Column:
    column = getattr(data, name)
    if column is None:
        raise ConfigurationError(
            f"trial {data.trial_id!r} was recorded without {name} (record='actions'): leave it out"
        )
    return column


def _leaves(column: Column) -> Iterator[tuple[str, Any]]:
    """Yield a path like ``.position.0``, empty for a lone array, and each array of a nested column."""
    parts: Iterable[tuple[Any, Any]]
    if isinstance(column, dict):
        parts = column.items()
    elif isinstance(column, tuple):
        parts = enumerate(column)
    else:
        yield "", column
        return
    for name, part in parts:
        for key, leaf in _leaves(part):
            yield f".{name}{key}", leaf


def _put(file: zipfile.ZipFile, name: str, value: Any) -> None:
    if isinstance(value, list) or np.asarray(value).dtype.hasobject:
        raise ConfigurationError(f"{name} has values without a fixed size: .npz cannot hold them")
    buffer = io.BytesIO()
    np.lib.format.write_array(
        buffer, np.ascontiguousarray(value).reshape(np.shape(value)), allow_pickle=False
    )
    file.writestr(f"{name}.npy", buffer.getvalue())


def _trial_data(file: Mapping[str, Any], number: int, about: Mapping[str, Any], spec: AgentSpec) -> TrialData:
    observations = _nested(file, f"{number}/observations", spec.observation_space)
    rows = {name: file[f"{number}/{name}"] for name in _ROWS}
    last = _nested(file, f"{number}/last", spec.observation_space) if about["has_last"] else None
    return TrialData(
        trial_id="",
        agent=about["agent"],
        observations=observations,
        actions=_nested(file, f"{number}/actions", spec.action_space),
        proposed_actions=_nested(file, f"{number}/proposed_actions", spec.action_space),
        feedback=decode_feedback(about["feedback"]),
        infos=[decode_info(text) for text in about["infos"]],
        last_observation=last,
        observed_ticks=rows["ticks"],
        observed_observations=observations,
        **rows,
    )


def _nested(file: Mapping[str, Any], name: str, space: Any) -> Column:
    spaces = getattr(space, "spaces", None)
    if isinstance(spaces, dict):
        return {key: _nested(file, f"{name}.{key}", part) for key, part in spaces.items()}
    if isinstance(spaces, tuple | list):
        return tuple(_nested(file, f"{name}.{index}", part) for index, part in enumerate(spaces))
    return file[name]
