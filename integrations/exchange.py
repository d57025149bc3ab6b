"""What trials carry into other formats and back: their details as text, and their steps as ticks."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cogment_lab.errors import ConfigurationError, StoreError, StoreFullError
from cogment_lab.store import AgentSpec, StreamSpec, TrialData, TrialInfo, TrialStore, TrialStream
from cogment_lab.store.columns import value_at
from cogment_lab.store.info import decode_info, encode_info
from cogment_lab.trial.sample import Feedback, Tick
from cogment_lab.trial.takeover import DECIDED_BY, Phase

__all__ = [
    "decode_feedback",
    "describe_trial",
    "encode_feedback",
    "find_agents",
    "new_path",
    "open_import",
    "read_description",
    "record_trial",
]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No space, no quota, and more than the system lets a file have; some libraries say it in words only."""

_DETAILS = (
    "trial_id", "env_id", "end_reason", "seed", "rng_state", "options", "properties", "user_id", "started",
    "ended", "parameters", "versions",
)  # fmt: skip


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


def find_agents(store: TrialStore, *, env: str | None = None) -> list[str]:
    """Return the agents of a store's trials (of one environment), in order; ``["gym"]`` without trials."""
    return list(dict.fromkeys(name for info in store.trials(env_id=env) for name in info.agents)) or ["gym"]


def open_import(store: TrialStore, env_id: str, agent: str, spec: AgentSpec, **details: Any) -> TrialStream:
    """Return a stream for trials that come from elsewhere; ``details`` are a ``StreamSpec``'s."""
    return store.open_stream(StreamSpec(env_id=env_id, agents={agent: spec}, record="full", **details))


def record_trial(store: TrialStore, stream: TrialStream, data: TrialData, details: Mapping[str, Any]) -> str:
    """Record the steps of a trial that was exported; return its id, a new one where that is taken.

    Raises:
        SpecError: values do not fit the stream's spaces.
        StoreError: the store cannot be written.
    """
    trial_id = details.get("trial_id") or f"import-{secrets.token_hex(5)}"
    if trial_id in store:
        trial_id = f"{trial_id}-{secrets.token_hex(3)}"
    stream.begin(
        trial_id,
        seed=details.get("seed"),
        rng_state=details.get("rng_state"),
        options=details.get("options"),
        properties=details.get("properties") or {},
        user_id=details.get("user_id"),
        started=details.get("started"),
    )
    recorder = stream.recorder(data.agent)
    said: dict[int, list[Feedback]] = {}
    for opinion in data.feedback:
        row = min(int(np.searchsorted(data.ticks, opinion.tick)), len(data) - 1)
        said.setdefault(row, []).append(opinion)
    tick = Tick()
    for row in range(len(data)):
        tick.number = int(data.ticks[row])
        tick.observation = value_at(data.observations, row)
        tick.proposed_action = value_at(data.proposed_actions, row)
        tick.executed_action = value_at(data.actions, row)
        tick.decided_by = DECIDED_BY.index(str(data.decided_by[row]))
        tick.phase = Phase[str(data.phase[row])]
        tick.reward = float(data.rewards[row])
        tick.terminated = bool(data.terminated[row])
        tick.truncated = bool(data.truncated[row])
        tick.info = data.infos[row]
        tick.feedback = said.get(row)
        tick.t_shown = int(data.t_shown[row])
        tick.t_acted = int(data.t_acted[row])
        tick.reaction_ns = int(data.reaction_ns[row])
        recorder.append(tick)
    is_terminal = len(data) > 0 and bool(data.terminated[-1])
    last = {} if data.last_observation is None else {data.agent: data.last_observation}
    stream.end(
        state="ENDED",
        end_reason=details.get("end_reason") or ("terminated" if is_terminal else "truncated"),
        last_observations=last,
        ended=details.get("ended"),
    )
    return trial_id


@contextlib.contextmanager
def new_path(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; it takes its place when all is written, else it is removed.

    Raises:
        ConfigurationError: there is something at ``path`` already, or it cannot be written.
        StoreFullError: the disk is full; nothing is left of what was written.
    """
    if path.exists():
        raise ConfigurationError(f"{path} exists already: choose another name, or remove it first")
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
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
