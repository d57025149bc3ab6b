"""The files of archived models, in the format of the official registry.

``<model>/<model>.yaml`` describes a model, ``<model>/<model>-v000001.yaml`` a version and
``<model>/<model>-v000001.data`` holds its data. The keys ``latest`` and ``creation_timestamp_ns`` are ours:
the official registry ignores them, and its archives lack them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from cogment_lab.errors import NotAStoreError
from cogment_lab.wire.generated.model_registry_pb2 import ModelVersionInfo

__all__ = ["data_path", "read_model", "read_versions", "write_model", "write_version"]


def data_path(folder: Path, number: int) -> Path:
    """Return where the data of a version is, in its model's folder."""
    return folder / f"{folder.name}-v{number:06d}.data"


def read_model(folder: Path) -> dict[str, Any]:
    """Return the ``user_data`` of a model, and ``latest``, the last number that it gave.

    Raises:
        NotAStoreError: the file holds something else.
    """
    path = folder / f"{folder.name}.yaml"
    content = _read(path)
    try:
        return {"user_data": _texts(content), "latest": int(content.get("latest", 0))}
    except (AttributeError, TypeError, ValueError) as error:
        raise NotAStoreError(f"{str(path)!r} describes no model: {error}") from error


def write_model(folder: Path, model: Mapping[str, Any]) -> None:
    """Write what :func:`read_model` reads."""
    folder.mkdir(exist_ok=True)
    _write(folder / f"{folder.name}.yaml", {"model_id": folder.name, **model})


def read_versions(folder: Path) -> Iterator[ModelVersionInfo]:
    """Yield the archived versions of a model whose data is there.

    Raises:
        NotAStoreError: a file holds something else.
    """
    for path in folder.glob("*-v*.yaml"):
        number = path.stem.rpartition("-v")[2]
        if not number.isdecimal() or not path.with_suffix(".data").exists():
            continue
        content = _read(path)
        try:
            yield ModelVersionInfo(
                model_id=folder.name,
                version_number=int(number),
                creation_timestamp=_nanoseconds(content),
                archived=True,
                data_hash=content["data_hash"],
                data_size=content["data_size"],
                user_data=_texts(content),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise NotAStoreError(f"{str(path)!r} describes no version: {error!r}") from error


def write_version(folder: Path, info: ModelVersionInfo) -> None:
    """Write the description of a version, whose data is there already."""
    made = datetime.fromtimestamp(info.creation_timestamp / 1e9, UTC)
    content = {
        "model_id": info.model_id,
        "version_number": info.version_number,
        "creation_timestamp": made.replace(tzinfo=None),
        "creation_timestamp_ns": info.creation_timestamp,
        "data_hash": info.data_hash,
        "data_size": info.data_size,
        "user_data": dict(info.user_data),
    }
    _write(data_path(folder, info.version_number).with_suffix(".yaml"), content)


def _texts(content: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in (content.get("user_data") or {}).items()}


def _nanoseconds(content: Mapping[str, Any]) -> int:
    if "creation_timestamp_ns" in content:
        return int(content["creation_timestamp_ns"])
    made: datetime = content["creation_timestamp"]
    return int((made if made.tzinfo else made.replace(tzinfo=UTC)).timestamp() * 1e6) * 1000


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise NotAStoreError(f"{str(path)!r} cannot be read: {error}") from error


def _write(path: Path, content: Mapping[str, Any]) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(yaml.safe_dump(dict(content)), encoding="utf-8")
    part.replace(path)
