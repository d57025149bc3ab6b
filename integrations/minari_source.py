"""The episodes of a Minari dataset as trials; those that came from a store are as they were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from cogment_lab.integrations.exchange import ImportedTrial, decode_feedback, read_description

from cogment_lab.store.columns import Column, take_rows, value_at
from cogment_lab.store.info import decode_info
from cogment_lab.store.stream_spec import AgentSpec
from cogment_lab.store.trial_data import TrialData, concatenate
from cogment_lab.trial.takeover import DECIDED_BY, Phase

if TYPE_CHECKING:
    from minari import MinariDataset

__all__ = ["PHASES", "MinariSource"]

PHASES = tuple(phase.name for phase in Phase)
"""By the number that stands for each in infos."""


class MinariSource:
    """The episodes of a dataset as trials."""

    def __init__(self, dataset: MinariDataset, env_id: str | None) -> None:
        self.spec = AgentSpec(dataset.observation_space, dataset.action_space)
        self._dataset = dataset
        self._indices: list[int] = dataset.episode_indices.tolist()
        self._metadata = [dict(each) for each in dataset.storage.get_episode_metadata(self._indices)]
        self._env_id = env_id
        self.agent = str(self._metadata[0].get("agent", "gym")) if self._metadata else "gym"
        # The numbers of each trial's first episode, and of those that are further stretches of it.
        self._parts: list[list[int]] = []
        self.trial_ids: list[str] = []
        before = 0
        for number, metadata in enumerate(self._metadata):
            trial_id, part = self._details(number)["trial_id"], int(metadata.get("part", 0))
            if self.trial_ids[-1:] == [trial_id] and part > before:
                self._parts[-1].append(number)
            else:
                self._parts.append([number])
                self.trial_ids.append(trial_id)
            before = part

    def read(self, index: int) -> ImportedTrial:
        """Return a trial: an episode, or several that are stretches of it."""
        numbers = self._parts[index]
        raw = self._dataset.storage.get_episodes([self._indices[number] for number in numbers])
        details = self._details(numbers[0])
        spec = self._dataset.env_spec
        noted = self._metadata[numbers[0]].get("env_spec")
        parts = [
            _trial_data(episode, self._metadata[number], self.agent)
            for episode, number in zip(raw, numbers, strict=True)
        ]
        for part in parts[:-1]:
            part.truncated[-1] = False  # Minari's episodes need an end, where the trial went on
        return ImportedTrial(
            data=parts[0] if len(parts) == 1 else concatenate(parts),
            details=details,
            env_id=self._env_id
            or details.get("env_id")
            or (spec.id if spec is not None else str(self._dataset.id)),
            env_spec=noted or (None if spec is None else spec.to_json()),
        )

    def _details(self, number: int) -> dict[str, Any]:
        metadata = self._metadata[number]
        details = read_description(metadata["trial"]) if "trial" in metadata else {}
        details.setdefault("seed", metadata.get("seed"))
        name = details.get("trial_id") or f"{self._dataset.id}-{self._indices[number]}".replace("/", "-")
        return {**details, "trial_id": name}


def _trial_data(raw: Mapping[str, Any], metadata: Mapping[str, Any], agent: str) -> TrialData:
    """Return an episode as a trial's data; what only our exports say is what a lone player would leave."""
    n = len(raw["rewards"])
    rows = np.arange(n)
    infos = raw["infos"] or {}
    ours = "trial" in metadata
    actions = take_rows(raw["actions"], rows)
    decided_by = infos["decided_by"] if ours else np.zeros(n, np.int64)
    numbers: dict[str, Any] = {
        name: infos[name] if ours else np.zeros(n, np.int64) for name in ("t_shown", "t_acted", "reaction_ns")
    }
    return TrialData(
        trial_id="",
        agent=agent,
        ticks=infos["ticks"] if ours else rows.astype(np.int64),
        observations=take_rows(raw["observations"], rows),
        actions=actions,
        rewards=np.asarray(raw["rewards"], np.float64),
        terminated=np.asarray(raw["terminations"], np.bool_),
        truncated=np.asarray(raw["truncations"], np.bool_),
        proposed_actions=_arranged(infos["proposed_action"], actions) if ours else actions,
        is_intervention=decided_by != 0,
        decided_by=np.array(DECIDED_BY)[decided_by],
        phase=np.array(PHASES)[infos["phase"] if ours else np.zeros(n, np.int64)],
        feedback=decode_feedback(metadata["feedback"]) if ours else [],
        infos=[decode_info(text) for text in infos["json"]] if ours else _foreign_infos(infos, n),
        last_observation=value_at(raw["observations"], n),
        observed_ticks=rows.astype(np.int64),
        observed_observations=raw["observations"],
        **numbers,
    )


def _arranged(stored: Any, like: Column) -> Column:
    """Return a column that was stored among infos, where HDF5 knows neither tuples nor text."""
    if isinstance(like, tuple):
        return tuple(_arranged(stored[f"_index_{index}"], part) for index, part in enumerate(like))
    if isinstance(like, dict):
        return {key: _arranged(stored[key], part) for key, part in like.items()}
    if isinstance(like, list):
        return [value.decode() if isinstance(value, bytes) else value for value in stored]
    return stored


def _foreign_infos(infos: Mapping[str, Any], n: int) -> list[dict[str, Any]]:
    """Return the infos of each step; a dataset that Minari collected has one more, of the reset."""
    return [
        {
            key: value[row + len(value) - n]
            for key, value in infos.items()
            if isinstance(value, np.ndarray) and len(value) >= n
        }
        for row in range(n)
    ]
