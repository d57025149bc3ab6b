"""A trial as a file to keep."""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cogment_lab.errors import ConfigurationError, MissingExtraError
from cogment_lab.humans.web.lookback.films import Film, Films
from cogment_lab.humans.web.lookback.reading import agent_of, plain
from cogment_lab.store import TrialStore

__all__ = ["download"]

_KINDS = ("json", "minari", "mp4", "webp")
_FPS = 30.0
_MOST_TICKS = 200_000
_MOST_ANIMATED = 300
_EXPORT_SECONDS = 120.0


def download(store: TrialStore, films: Films, trial_id: str, agent: str, kind: str) -> tuple[str, str, bytes]:
    """Return file name, media type, and content.

    Args:
        store: Holds the trial.
        films: Hold its pictures, for ``mp4`` and ``webp``.
        trial_id: The trial.
        agent: Whose pictures; the first agent's where it is empty.
        kind: ``json`` (all agents' ticks, infos, events and labels), ``minari`` (a data set with this one
            episode, zipped), ``mp4`` or ``webp`` (the film).

    Raises:
        AnnotationError: the pictures were not loaded.
        ConfigurationError: an unknown kind, a trial too long for JSON, or one that Minari cannot hold.
        MissingExtraError: mp4 needs the ``video`` extra.
        TrialNotFoundError: there is no such trial.
    """
    if kind not in _KINDS:
        raise ConfigurationError(f"there is no download as {kind!r}; choose one of {', '.join(_KINDS)}")
    info = store.info(trial_id)
    name = f"{_file_name(trial_id)}.{kind}"
    if kind == "json":
        return name, "application/json", _as_json(store, trial_id)
    if kind == "minari":
        agent = agent_of(info, agent)
        return f"{_file_name(trial_id)}.zip", "application/zip", _as_minari(store, trial_id, agent)
    film = films.ready(trial_id, agent_of(info, agent))
    fps = float(info.parameters.get("fps") or _FPS)
    if kind == "mp4":
        return name, "video/mp4", _as_mp4(film, fps)
    return name, "image/webp", _as_webp(film, fps)


def _file_name(trial_id: str) -> str:
    """Return a name that is one harmless word on every system."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", trial_id).strip("_")[:80] or "trial"


def _as_json(store: TrialStore, trial_id: str) -> bytes:
    info = store.info(trial_id)
    if info.n_ticks > _MOST_TICKS:
        raise ConfigurationError(
            f"{info.n_ticks} ticks are too many for JSON (at most {_MOST_TICKS}); `cogmentlab export` writes "
            "other formats"
        )
    agents = {}
    for name, data in store.load(trial_id).items():
        agents[name] = {
            field: getattr(data, field)
            for field in (
                "ticks", "observations", "actions", "proposed_actions", "rewards", "terminated", "truncated",
                "is_intervention", "decided_by", "phase", "infos", "last_observation",
            )
        } | {"feedback": [asdict(each) for each in data.feedback]}  # fmt: skip
    content = {
        "trial": asdict(info),
        "agents": agents,
        "events": [each._asdict() for each in store.events(trial_id)],
        "labels": [asdict(label) for label in store.labels(trial_id, history=True)],
    }
    return json.dumps(plain(content), separators=(",", ":")).encode()


def _as_minari(store: TrialStore, trial_id: str, agent: str) -> bytes:
    """Return a zipped data set; written by the command, for Minari's folder is its process's."""
    with tempfile.TemporaryDirectory(prefix="cogment_lab-minari-") as folder:
        name = f"{_file_name(trial_id)}-v0"
        command = [
            *(sys.executable, "-m", "cogment_lab.cli.main", "export", store.path, "--to", "minari"),
            *("--id", name, "--agent", agent, "--query", f"trial={trial_id}"),
        ]
        environment = {**os.environ, "MINARI_DATASETS_PATH": folder}
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=_EXPORT_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise ConfigurationError(
                f"writing the data set takes more than {_EXPORT_SECONDS:.0f} s: use `cogmentlab export`"
            ) from None
        if done.returncode:
            raise ConfigurationError(f"the trial cannot be a Minari data set: {done.stderr.strip()[-500:]}")
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            root = Path(folder) / name
            for path in sorted(each for each in root.rglob("*") if each.is_file()):
                archive.write(path, path.relative_to(folder))
        return buffer.getvalue()


def _decoded(pictures: Sequence[bytes]) -> list[Image.Image]:
    return [Image.open(io.BytesIO(each)).convert("RGB") for each in pictures]


def _as_mp4(film: Film, fps: float) -> bytes:
    try:
        ffmpeg: Any = importlib.import_module("imageio_ffmpeg")
    except ImportError as error:
        raise MissingExtraError(
            "mp4 needs imageio-ffmpeg: pip install 'cogment_lab[video]'; WebP needs nothing"
        ) from error
    with tempfile.TemporaryDirectory(prefix="cogment_lab-mp4-") as folder:
        target = Path(folder) / "film.mp4"
        size = Image.open(io.BytesIO(film.pictures[0])).size
        writer = ffmpeg.write_frames(str(target), size, fps=fps, quality=7, macro_block_size=2)
        writer.send(None)
        try:
            for picture in film.pictures:
                image = Image.open(io.BytesIO(picture)).convert("RGB")
                writer.send(np.ascontiguousarray(image).tobytes())
        finally:
            writer.close()
        return target.read_bytes()


def _as_webp(film: Film, fps: float) -> bytes:
    step = -(-len(film.pictures) // _MOST_ANIMATED)
    first, *others = _decoded(film.pictures[::step])
    buffer = io.BytesIO()
    first.save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=others,
        duration=max(1, round(1000 * step / fps)),
        quality=70,
        method=0,
    )
    return buffer.getvalue()
