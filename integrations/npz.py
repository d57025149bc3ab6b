"""Stored trials as one ``.npz`` archive that holds nothing pickled, and back."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from cogment_lab.integrations.exchange import (
    ImportedTrial,
    decode_feedback,
    describe_trial,
    encode_feedback,
    new_path,
    read_description,
    record_sources,
)
from cogment_lab.integrations.tables import ROWS, check_count, leaves, path_of
from gymnasium import spaces

from cogment_lab.errors import CogmentLabError, ConfigurationError
from cogment_lab.specs.spaces import space_from_bytes, space_to_bytes
from cogment_lab.store.columns import Column
from cogment_lab.store.info import decode_info, encode_info
from cogment_lab.store.stream_spec import AgentSpec
from cogment_lab.store.trial_data import Successors, TrialData

if TYPE_CHECKING:
    from cogment_lab.store import TrialQuery, TrialStore

__all__ = ["from_npz", "to_npz"]

_COLUMNS = ("observations", "actions", "proposed_actions")


def to_npz(query: TrialQuery, path: Path) -> int:
    """Write each trial's arrays as ``<number>/<name>.npy`` in one archive; text as the bytes of a JSON list.

    Beside them are ``spaces`` and, for each trial, ``about``: JSON of what is known of it, its infos and
    feedback. Of a choice of ticks there are ``next_observations``, ``continues`` and ``has_successor`` too.

    Returns:
        How many trials were written.

    Raises:
        ConfigurationError: nothing to write, the file exists, or values without a fixed size other than text.
        StoreFullError: the disk is full; nothing is left of the file.
    """
    infos = {info.trial_id: info for info in query.infos}
    spec = query.spaces()
    count = 0
    with new_path(path) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, True) as file:
        packed = [space_to_bytes(spec.observation_space), space_to_bytes(spec.action_space)]
        for name, space in zip(("observation_space", "action_space"), packed, strict=True):
            _put(file, name, np.frombuffer(space, np.uint8))
        for data in query:
            about = {
                "trial": describe_trial(infos[data.trial_id]),
                "env_spec": infos[data.trial_id].env_spec,
                "feedback": encode_feedback(data),
                "infos": [encode_info(info) for info in data.infos],
                "agent": data.agent,
                "has_last": data.last_observation is not None,
                "has_successors": data.successors is not None,
            }
            _put(file, f"{count}/about", np.frombuffer(encode_info(about).encode(), np.uint8))
            for name in ROWS:
                _put(file, f"{count}/{name}", getattr(data, name))
            for name in _COLUMNS if data.successors is None else (*_COLUMNS, "next_observations"):
                for key, leaf in leaves(_given(data, name)):
                    _put(file, f"{count}/{name}{key}", leaf)
            if data.successors is not None:
                _put(file, f"{count}/continues", data.continues)
                _put(file, f"{count}/has_successor", data.has_successor)
            if data.last_observation is not None:
                for key, leaf in leaves(data.last_observation):
                    _put(file, f"{count}/last{key}", [leaf] if isinstance(leaf, str) else np.asarray(leaf))
            count += 1
        check_count(query, count)
    return count


def from_npz(path: Path | Sequence[Path], store: TrialStore | str | Path) -> list[str]:
    """Record the trials of archives that :func:`to_npz` wrote; an id that is taken gets a suffix.

    Args:
        path: One, or one for each agent of the trials, which are joined again.
        store: Where to record; a store, or its path.

    Returns:
        The ids of the new trials.

    Raises:
        ConfigurationError: the file is not there, or something else.
        StoreError: the store cannot be written, or its disk is full; trials before stay.
    """
    with contextlib.ExitStack() as stack:
        paths = [path] if isinstance(path, Path) else path
        return record_sources(store, [_Archive(each, stack) for each in paths])


class _Archive:
    """The trials of a file."""

    def __init__(self, path: Path, stack: contextlib.ExitStack) -> None:
        self.path = path
        with self._explained():
            self._file = stack.enter_context(np.load(path, allow_pickle=False))
            self.spec = AgentSpec(
                space_from_bytes(self._file["observation_space"].tobytes()),
                space_from_bytes(self._file["action_space"].tobytes()),
            )
            self.trial_ids: list[str] = []
            self.agent = ""
            while f"{len(self.trial_ids)}/about" in self._file:
                about = self._about(len(self.trial_ids))
                self.agent = about["agent"]
                self.trial_ids.append(str(read_description(about["trial"])["trial_id"]))

    def read(self, index: int) -> ImportedTrial:
        """Return a trial.

        Raises:
            ConfigurationError: the file is damaged.
        """
        with self._explained():
            about = self._about(index)
            details = read_description(about["trial"])
            return ImportedTrial(
                data=_trial_data(self._file, index, about, self.spec),
                details=details,
                env_id=details["env_id"],
                env_spec=about["env_spec"],
            )

    def _about(self, index: int) -> dict[str, Any]:
        return decode_info(self._file[f"{index}/about"].tobytes())

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except CogmentLabError:
            raise
        except (OSError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ConfigurationError(
                f"{self.path} is no archive of trials, as `cogmentlab export --to npz` writes them: {error}"
            ) from error


def _given(data: TrialData, name: str) -> Column:
    column = getattr(data, name)
    if column is None:
        raise ConfigurationError(
            f"trial {data.trial_id!r} was recorded without {name} (record='actions'): leave it out"
        )
    return column


def _put(file: zipfile.ZipFile, name: str, value: Any) -> None:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = np.frombuffer(json.dumps(value).encode(), np.uint8)
    if isinstance(value, list) or np.asarray(value).dtype.hasobject:
        raise ConfigurationError(
            f"{name.partition('/')[2]} has values without a fixed size (Sequence, Graph or OneOf), which "
            ".npz cannot hold"
        )
    buffer = io.BytesIO()
    np.lib.format.write_array(
        buffer, np.ascontiguousarray(value).reshape(np.shape(value)), allow_pickle=False
    )
    file.writestr(f"{name}.npy", buffer.getvalue())


def _trial_data(file: Mapping[str, Any], number: int, about: Mapping[str, Any], spec: AgentSpec) -> TrialData:
    observations = _nested(file, f"{number}/observations", spec.observation_space)
    rows = {name: file[f"{number}/{name}"] for name in ROWS}
    last = None
    if about["has_last"]:
        last = _nested(file, f"{number}/last", spec.observation_space, is_one=True)
    successors = None
    if about.get("has_successors"):
        successors = Successors(
            observations=_nested(file, f"{number}/next_observations", spec.observation_space),
            continues=file[f"{number}/continues"],
            is_known=file[f"{number}/has_successor"],
        )
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
        successors=successors,
        **rows,
    )


def _nested(file: Mapping[str, Any], name: str, space: spaces.Space[Any], is_one: bool = False) -> Column:
    if isinstance(space, spaces.Dict):
        return {
            key: _nested(file, f"{name}{path_of(key)}", part, is_one) for key, part in space.spaces.items()
        }
    if isinstance(space, spaces.Tuple):
        return tuple(
            _nested(file, f"{name}{path_of(index)}", part, is_one) for index, part in enumerate(space.spaces)
        )
    if isinstance(space, spaces.Text):
        texts = json.loads(file[name].tobytes())
        return texts[0] if is_one else texts
    return file[name]
