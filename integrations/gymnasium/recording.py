"""Where and how the trials of an environment are recorded."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import gymnasium as gym
import numpy as np

from cogment_lab.errors import ConfigurationError

if TYPE_CHECKING:
    from cogment_lab.integrations.gymnasium.environment import TrialConfig

    from cogment_lab.store import TrialStore
    from cogment_lab.trial.recorder import Recorder

__all__ = ["RecordMode", "as_store", "choose_record", "default_store_path", "open_recorder", "store_file"]

RecordMode = Literal["full", "actions", "interventions"]
_LOG = logging.getLogger("cogment_lab")
_LARGE_IMAGE = 4096


def default_store_path(env_id: str) -> Path:
    """Return ``$COGMENT_LAB_STORE``, or ``./runs/<env id>.db``."""
    configured = os.environ.get("COGMENT_LAB_STORE")
    return Path(configured) if configured else Path("runs") / f"{env_id.replace('/', '-')}.db"


def as_store(store: Any) -> TrialStore:
    """Return a store for a path; a store passes."""
    from cogment_lab.store import TrialStore

    return store if isinstance(store, TrialStore) else TrialStore(store)


def store_file(store: Any) -> Path | None:
    """Return the file behind a store (or its address), ``None`` for memory, another machine, or nothing."""
    address = os.fspath(store) if isinstance(store, str | os.PathLike) else str(getattr(store, "path", ""))
    return Path(address) if address and address != ":memory:" and "://" not in address else None


def choose_record(record: str | None, space: gym.Space[Any]) -> RecordMode | None:
    """Return the record mode; ``"auto"`` is ``"actions"`` for images (replay rebuilds them), else ``"full"``.

    Raises:
        ConfigurationError: for an unknown mode.
    """
    if record == "auto":
        return "actions" if _is_image(space) else "full"
    if record is None or record in get_args(RecordMode):
        return cast("RecordMode | None", record)
    raise ConfigurationError(
        f"record={record!r} is unknown; choose 'full', 'actions', 'interventions' or None"
    )


def _is_image(space: gym.Space[Any]) -> bool:
    if isinstance(space, gym.spaces.Dict):
        return any(_is_image(part) for part in space.values())
    if isinstance(space, gym.spaces.Tuple):
        return any(_is_image(part) for part in space.spaces)
    return (
        isinstance(space, gym.spaces.Box)
        and space.dtype == np.uint8
        and len(space.shape) >= 2
        and int(np.prod(space.shape)) >= _LARGE_IMAGE
    )


def open_recorder(config: TrialConfig, record: RecordMode, env: gym.Env[Any, Any], fps: float) -> Recorder:
    """Open a stream of the configured store for the trials of ``env``."""
    from cogment_lab.store import AgentSpec, StreamSpec

    store = as_store(config.store)
    rules = config.rules
    _announce(str(store.path))
    return store.open_stream(
        StreamSpec(
            env_id=config.env_id,
            agents={"gym": AgentSpec(observation_space=env.observation_space, action_space=env.action_space)},
            record=record,
            env_spec=_spec_json(env),
            parameters={
                "pace": rules.pace.name.lower() if rules.pace is not None else None,
                "fps": fps,
                "mix": rules.mix,
                "fallback": rules.fallback,
                "reward_mixing": rules.reward_mixing,
                "feedback_weight": rules.feedback_weight,
                "teacher_order": "after_player",
                "actors": config.seating.describe(),
            },
            versions=versions(),
        )
    )


@cache
def _announce(path: str) -> None:
    _LOG.info("trials are recorded in %s", path)


def _spec_json(env: gym.Env[Any, Any]) -> str | None:
    """Return the inner environment's spec as JSON, ``None`` where it has none or it holds live objects."""
    if env.spec is None:
        return None
    try:
        return env.spec.to_json()
    except (TypeError, ValueError):
        return None


@cache
def versions() -> dict[str, str]:
    """Return the versions of what a trial depends on."""
    from cogment_lab._version import __version__

    found = {"python": platform.python_version(), "cogment_lab": __version__}
    for package in ("gymnasium", "numpy", "box2d", "pettingzoo", "mujoco", "ale_py"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
