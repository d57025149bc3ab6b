"""The models of a registry: archived versions on disk, the others in memory."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

import yaml

from cogment_lab.errors import ConfigurationError
from cogment_lab.wire.generated.model_registry_pb2 import ModelInfo, ModelVersionInfo

__all__ = ["Models", "check_model_id"]

_NAME = re.compile(r"[\w][\w.\- ]{0,199}")
_SPOOL = 16 << 20


def check_model_id(model_id: str) -> str:
    """Return ``model_id``; raise ConfigurationError when it cannot name a folder."""
    if not _NAME.fullmatch(model_id) or model_id in (".", ".."):
        raise ConfigurationError(
            f"model id {model_id!r}: letters, digits, '_-. ' only, at most 200, not first '.'"
        )
    return model_id


class Models:
    """Every model, by id.

    Args:
        folder: Where models and archived versions are.
        cache_max_items: How many other versions are kept.
    """

    def __init__(self, folder: Path, cache_max_items: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._most = cache_max_items
        self._models: dict[str, dict[str, Any]] = {}
        self._infos: dict[str, dict[int, ModelVersionInfo]] = {}
        self._transient: OrderedDict[tuple[str, int], IO[bytes]] = OrderedDict()
        for path in sorted(folder.glob("*/*.yaml")):
            if path.stem == path.parent.name:
                content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
                self._models[path.stem] = {"user_data": {}, "latest": 0, **content}
                self._infos[path.stem] = self._read_archived(path.stem)
                numbers = self._infos[path.stem]
                latest = max(self._models[path.stem]["latest"], *numbers, 0)
                self._models[path.stem]["latest"] = latest

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
        model = self._models.setdefault(model_id, {"user_data": {}, "latest": 0})
        model["user_data"] = dict(info.user_data)
        self._infos.setdefault(model_id, {})
        self._save(model_id)

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

    def add(self, info: ModelVersionInfo, data: IO[bytes]) -> ModelVersionInfo:
        """Keep a version under the next number; the file belongs to the registry from here on."""
        model_id = info.model_id
        model = self._models[model_id]
        model["latest"] += 1
        info.version_number = model["latest"]
        self._save(model_id)
        if info.archived:
            path = self._path(model_id, info.version_number)
            part = path.with_suffix(".part")
            with part.open("wb") as file:
                data.seek(0)
                shutil.copyfileobj(data, file)
            data.close()
            part.replace(path)
            fields = {
                "creation_timestamp": info.creation_timestamp,
                "data_hash": info.data_hash,
                "data_size": info.data_size,
                "user_data": dict(info.user_data),
            }
            path.with_suffix(".yaml").write_text(yaml.safe_dump(fields), encoding="utf-8")
        else:
            self._transient[model_id, info.version_number] = data
        self._infos[model_id][info.version_number] = info
        self._evict()
        return info

    def open(self, info: ModelVersionInfo) -> IO[bytes]:
        """Return the data of a version, at its beginning; a transient one stays open."""
        key = (info.model_id, info.version_number)
        if info.archived:
            return self._path(*key).open("rb")
        self._transient.move_to_end(key)
        file = self._transient[key]
        file.seek(0)
        return file

    @staticmethod
    def spool() -> IO[bytes]:
        """Return a file for data that arrives: in memory while small, then on disk."""
        return tempfile.SpooledTemporaryFile(max_size=_SPOOL)

    def close(self) -> None:
        """Drop the versions that are not archived."""
        for file in self._transient.values():
            file.close()
        self._transient.clear()

    def _evict(self) -> None:
        newest = {(model_id, max(numbers)) for model_id, numbers in self._infos.items() if numbers}
        for key in list(self._transient):
            if len(self._transient) <= self._most:
                return
            if key not in newest:
                self._transient.pop(key).close()
                del self._infos[key[0]][key[1]]

    def _path(self, model_id: str, number: int) -> Path:
        return self._folder / model_id / f"{model_id}-v{number:06d}.data"

    def _save(self, model_id: str) -> None:
        folder = self._folder / model_id
        folder.mkdir(exist_ok=True)
        part = folder / f"{model_id}.part"
        part.write_text(yaml.safe_dump(self._models[model_id]), encoding="utf-8")
        part.replace(folder / f"{model_id}.yaml")

    def _read_archived(self, model_id: str) -> dict[int, ModelVersionInfo]:
        infos = {}
        for path in (self._folder / model_id).glob(f"{model_id}-v*.yaml"):
            fields = yaml.safe_load(path.read_text(encoding="utf-8"))
            number = int(path.stem.rpartition("-v")[2])
            infos[number] = ModelVersionInfo(
                model_id=model_id, version_number=number, archived=True, **fields
            )
        return infos
