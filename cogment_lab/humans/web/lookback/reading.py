"""What the trials page shows: the list, and the ticks of one trial, as plain values."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from cogment_lab.errors import ConfigurationError
from cogment_lab.humans.keymaps import keymap_for
from cogment_lab.store import TrialEvent, TrialInfo, TrialStore
from cogment_lab.store.columns import value_at
from cogment_lab.trial.sample import VERDICT, VERDICTS

__all__ = ["Filter", "agent_of", "list_trials", "plain", "show_labels", "show_trial"]

_PAGE = 50
_MOST_LISTED = 10_000
"""The newest so many are searched and sorted."""
_MOST_TICKS = 5000
"""Of one trial in one answer."""
_LONGEST_TEXT = 300
_MOST_CHOICES = 64
_MOST_IDS = 1000
_SAID = ("note", "message", *VERDICTS)

_SORTS: Mapping[str, Callable[[TrialInfo], Any]] = {
    "started": lambda info: info.started,
    "n_ticks": lambda info: info.n_ticks,
    "total_reward": lambda info: -math.inf if math.isnan(info.total_reward) else info.total_reward,
    "helped": lambda info: info.n_interventions / max(1, info.n_ticks),
    "env_id": lambda info: info.env_id,
    "trial_id": lambda info: info.trial_id,
    "person": lambda info: _person(info).casefold(),
}


@dataclass(frozen=True, slots=True)
class Filter:
    """Which trials are listed; empty texts ask for nothing.

    Attributes:
        search: A part of the trial's id, environment, person, or a property's name or value.
        env: The environment.
        state: The state.
        verdict: What a person said of how it went.
        labelled: ``yes`` for those with labels, ``no`` for those without.
    """

    search: str = ""
    env: str = ""
    state: str = ""
    verdict: str = ""
    labelled: str = ""

    def fits(self, info: TrialInfo, n_labels: int) -> bool:
        """Return whether a trial is listed."""
        if (self.env and info.env_id != self.env) or (self.state and info.state != self.state):
            return False
        if self.verdict and info.properties.get(VERDICT) != self.verdict:
            return False
        if self.labelled and (self.labelled == "yes") != (n_labels > 0):
            return False
        words = (info.trial_id, info.env_id, info.user_id or "", *itertools.chain(*info.properties.items()))
        return any(self.search.casefold() in str(word).casefold() for word in words)


def list_trials(store: TrialStore, wanted: Filter, sort: str, down: bool, page: int) -> dict[str, Any]:
    """Return one page of the trials that fit, and the ids of the first thousand.

    Raises:
        ConfigurationError: they cannot be sorted by that.
    """
    if sort not in (*_SORTS, "labels"):
        known = ", ".join([*_SORTS, "labels"])
        raise ConfigurationError(f"trials cannot be sorted by {sort!r}; choose one of {known}")
    labels = store.labels.counts()
    every = list(itertools.islice(store.trials(newest_first=True), _MOST_LISTED))
    found = [info for info in every if wanted.fits(info, labels.get(info.trial_id, 0))]
    found.sort(key=_SORTS.get(sort, lambda info: labels.get(info.trial_id, 0)), reverse=down)
    return {
        "trials": [
            _summary(info) | {"labels": labels.get(info.trial_id, 0)}
            for info in found[page * _PAGE : (page + 1) * _PAGE]
        ],
        "ids": [info.trial_id for info in found[:_MOST_IDS]],
        "total": len(found),
        "stored": len(store),
        "searched": len(every),
        "pages": math.ceil(len(found) / _PAGE),
        "page": page,
        "envs": sorted({info.env_id for info in every}),
    }


def show_trial(store: TrialStore, trial_id: str, agent: str, start: int) -> dict[str, Any]:
    """Return a trial with up to 5000 of its ticks, from tick number ``start`` of those recorded."""
    info = store.info(trial_id)
    agent = agent_of(info, agent)
    data = store.load(trial_id)[agent]
    stop = min(len(data), start + _MOST_TICKS)
    rows = slice(min(start, len(data)), stop)
    indices = range(*rows.indices(len(data)))
    helped = data.is_intervention[rows]
    space = _space(store, info, agent)
    word = _wording(info.env_id, space)
    return {
        **_summary(info),
        "agent": agent,
        "agents": info.agents,
        "end_reason": info.end_reason,
        "n_takeovers": info.n_takeovers,
        "record": info.record,
        "recorded_ticks": len(data),
        "from": rows.start,
        "ticks": data.ticks[rows],
        "rewards": data.rewards[rows],
        "return_before": float(np.nansum(data.rewards[: rows.start])),
        "phase": data.phase[rows],
        "decided_by": data.decided_by[rows],
        "executed": [word(value_at(data.actions, row)) for row in indices],
        "proposed": [
            word(value_at(data.proposed_actions, row)) if is_helped else None
            for row, is_helped in zip(indices, helped.tolist(), strict=True)
        ],
        "feedback": [
            {"tick": each.tick, "value": each.value, "source": each.source} for each in data.feedback
        ],
        "said": [_said(event) for event in store.events(trial_id) if event.kind in _SAID][:_MOST_TICKS],
        "fps": info.parameters.get("fps"),
        "action_space": _text(space),
        "actions": _choices(space, word),
    }


def show_labels(store: TrialStore, trial_id: str) -> dict[str, Any]:
    """Return a trial's labels, and how much people agree in them."""
    labels = store.labels(trial_id)
    agreement = {}
    for kind in ("rating", "correction", "success", "discard"):
        found = store.labels.agreement(kind, trial_id=trial_id)
        if found.n_units:
            agreement[kind] = {"alpha": found.alpha, "ticks": found.n_units, "people": len(found.annotators)}
    return {"labels": [asdict(label) for label in labels], "agreement": agreement}


def agent_of(info: TrialInfo, agent: str) -> str:
    """Return the agent, the trial's first where none is named.

    Raises:
        ConfigurationError: it has none of that name.
    """
    if agent and agent not in info.agents:
        raise ConfigurationError(f"trial {info.trial_id!r} has no agent {agent!r}")
    return agent or info.agents[0]


def plain(value: Any) -> Any:
    """Return what JSON can say; what is not finite becomes null."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else repr(value)


def _space(store: TrialStore, info: TrialInfo, agent: str) -> Any:
    specs = store.agent_specs(env_id=info.env_id, agent=agent)
    return specs[-1].action_space if specs else ""


def _wording(env_id: str, space: Any) -> Callable[[Any], str]:
    """Return what writes an action out: ``"main engine"`` where the environment's actions have words."""
    if not isinstance(space, gym.spaces.Discrete):
        return _text
    label = functools.cache(keymap_for(env_id, space).label)
    return lambda action: label(int(action))


def _said(event: TrialEvent) -> dict[str, Any]:
    """Return what a person said at their seat: a note or a message, or how the trial went."""
    data = event.data
    tick = data.get("tick", event.tick)
    return {
        "kind": event.kind,
        "text": _text(data.get("text", "")),
        "seat": _text(data.get("seat", "")),
        "tick": tick,
    }


def _choices(space: Any, word: Callable[[Any], str]) -> list[tuple[int, str]]:
    """Return the actions that one can choose from, with their words; none where they are too many."""
    if not isinstance(space, gym.spaces.Discrete) or space.n > _MOST_CHOICES:
        return []
    return [(int(action), word(action)) for action in range(space.start, space.start + space.n)]


def _person(info: TrialInfo) -> str:
    """Return who took part: of a study by their pseudonym, which is a property there."""
    return str(info.user_id or info.properties.get("participant", ""))


def _summary(info: TrialInfo) -> dict[str, Any]:
    return {
        "trial_id": info.trial_id,
        "env_id": info.env_id,
        "state": info.state,
        "n_ticks": info.n_ticks,
        "total_reward": info.total_reward,
        "n_interventions": info.n_interventions,
        "started": info.started,
        "ended": info.ended,
        "person": _person(info),
        "seed": info.seed,
        "properties": info.properties,
    }


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        text = np.array2string(value, precision=3, threshold=12, separator=", ")
    else:
        text = str(value)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
