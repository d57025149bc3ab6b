"""The models of a registry: archived versions on disk, the others in memory."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from cogment_lab.errors import ConfigurationError, StoreReadOnlyError
from cogment_lab.services.model_registry.archive import (
    data_path,
    read_model,
    read_versions,
    write_model,
    write_version,
)
from cogment_lab.wire.generated.model_registry_pb2 import ModelInfo, ModelVersionInfo

__all__ = ["Models", "check_model_id"]

_NAME = re.compile(r"[\w][\w.\- ]*")
_MOST_BYTES = 200
_SPOOL = 16 << 20


def check_model_id(model_id: str) -> str:
    """Return ``model_id``; raise ConfigurationError when it cannot name a folder."""
    if not _NAME.fullmatch(model_id) or len(model_id.encode()) > _MOST_BYTES:
        raise ConfigurationError(
            f"model id {model_id!r}: letters, digits, '_-. ' only, at most {_MOST_BYTES} bytes, not first '.'"
        )
    return model_id


class Models:
    """Every model, by id.

    Args:
        folder: Where models and archived versions are; made when missing.
        cache_max_items: How many other versions are kept.

    Raises:
        StoreReadOnlyError: the folder cannot be made or read.
        NotAStoreError: a file in it holds something else.
    """

    def __init__(self, folder: Path, cache_max_items: int) -> None:
        self._folder = folder
        self._most = cache_max_items
        self._models: dict[str, dict[str, Any]] = {}
        self._infos: dict[str, dict[int, ModelVersionInfo]] = {}
        self._transient: OrderedDict[tuple[str, int], IO[bytes]] = OrderedDict()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in folder.glob("*/*.part"):  # of a registry that was killed
                path.unlink()
            for path in folder.glob("*/*.yaml"):
                if path.stem == path.parent.name:
                    self._load(path.parent)
        except OSError as error:
            raise StoreReadOnlyError(f"models cannot be kept in {str(folder)!r}: {error}") from error

    def __contains__(self, model_id: str) -> bool:
        return model_id in self._models

    def ids(self) -> list[str]:
        """Return the ids, sorted."""
        return sorted(self._models)

    def info(self, model_id: str) -> ModelInfo:
        """Return a model's info."""
        return ModelInfo(model_id=model_id, user_data=self._models[model_id]["user_data"])

    def update(self, info: ModelInfo) -> None:
        """Make a model, or replace its user data."""
        model_id = check_model_id(info.model_id)
        model = {"latest": 0, **self._models.get(model_id, {}), "user_data": dict(info.user_data)}
        write_model(self._folder / model_id, model)
        self._models[model_id] = model
        self._infos.setdefault(model_id, {})

    def delete(self, model_id: str) -> None:
        """Forget a model and its versions."""
        for number in list(self._infos.pop(model_id)):
            file = self._transient.pop((model_id, number), None)
            if file is not None:
                file.close()
        del self._models[model_id]
        shutil.rmtree(self._folder / model_id, ignore_errors=True)

    def versions(self, model_id: str) -> dict[int, ModelVersionInfo]:
        """Return the versions that exist, by number."""
        return self._infos[model_id]

    def resolve(self, model_id: str, number: int) -> ModelVersionInfo | None:
        """Return a version; -1 is the newest that exists, -2 the one before."""
        numbers = sorted(self._infos.get(model_id, {}))
        if number < 0:
            number = numbers[number] if -number <= len(numbers) else 0
        return self._infos.get(model_id, {}).get(number)

    def receive(self, info: ModelVersionInfo) -> IO[bytes]:
        """Return a file for the data of a version of a known model; :meth:`add` or :meth:`discard` it.

        That of an archived version is on the disk where it stays; another one goes to disk when it is big.
        """
        if info.archived:
            return (self._folder / info.model_id / f"{uuid4().hex}.part").open("xb")
        return tempfile.SpooledTemporaryFile(max_size=_SPOOL)

    @staticmethod
    def discard(info: ModelVersionInfo, data: IO[bytes]) -> None:
        """Drop the data of a version that is not added."""
        data.close()
        if info.archived:
            Path(data.name).unlink(missing_ok=True)

    def add(self, info: ModelVersionInfo, data: IO[bytes]) -> ModelVersionInfo:
        """Keep a version under the next number; the file belongs to the registry from here on."""
        folder = self._folder / info.model_id
        model = self._models[info.model_id]
        model["latest"] += 1
        info.version_number = model["latest"]
        write_model(folder, model)
        if info.archived:
            data.close()
            Path(data.name).replace(data_path(folder, info.version_number))
            write_version(folder, info)
        else:
            self._transient[info.model_id, info.version_number] = data
        self._infos[info.model_id][info.version_number] = info
        self._evict()
        return info

    def open(self, info: ModelVersionInfo) -> IO[bytes]:
        """Return the data of a version; a transient one is closed when it is evicted."""
        key = (info.model_id, info.version_number)
        if info.archived:
            return data_path(self._folder / info.model_id, info.version_number).open("rb")
        self._transient.move_to_end(key)
        return self._transient[key]

    def close(self) -> None:
        """Drop the versions that are not archived."""
        for file in self._transient.values():
            file.close()
        self._transient.clear()

    def _load(self, folder: Path) -> None:
        model = read_model(folder)
        infos = {info.version_number: info for info in read_versions(folder)}
        model["latest"] = max(model["latest"], *infos, 0)
        self._models[folder.name] = model
        self._infos[folder.name] = infos

    def _evict(self) -> None:
        newest = {(model_id, max(numbers)) for model_id, numbers in self._infos.items() if numbers}
        for key in list(self._transient):
            if len(self._transient) <= self._most:
                return
            if key not in newest:
                self._transient.pop(key).close()
                del self._infos[key[0]][key[1]]
