"""Reading stored samples one by one, as Cogment Lab 0.1.5 does: what the store's reader is compared with.

Its ``cogment_lab.utils.trial_utils.format_data_multiagent`` gets a trial's samples from a datastore, parses
the messages of each, decodes its observation and its action, appends them to lists, and stacks these in the
end. Here the samples lie in memory: what it would have waited for the network is left out.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import gymnasium as gym
import numpy as np

from cogment_lab.specs import (
    action_from_message,
    action_to_message,
    observation_from_message,
    observation_to_message,
)
from cogment_lab.specs.generated import data_pb2 as pb
from cogment_lab.store import TrialData
from cogment_lab.wire.generated.trial_datastore_pb2 import StoredTrialSample

__all__ = ["encode_samples", "read_samples"]


def encode_samples(
    trials: Iterable[TrialData], observations: gym.Space[Any], actions: gym.Space[Any]
) -> list[bytes]:
    """Return the samples that a datastore would hold of these trials, serialized."""
    samples = []
    for data in trials:
        for row in range(len(data)):
            sample = StoredTrialSample(trial_id=data.trial_id, tick_id=row, timestamp=time.time_ns())
            entry = sample.actor_samples.add(
                actor=0, reward=float(data.rewards[row]), observation=0, action=1
            )
            assert entry.observation == 0
            sample.payloads.append(
                observation_to_message(observations, data.observations[row]).SerializeToString()
            )
            sample.payloads.append(action_to_message(actions, data.actions[row]).SerializeToString())
            samples.append(sample.SerializeToString())
    return samples


def read_samples(
    samples: Iterable[bytes], observations: gym.Space[Any], actions: gym.Space[Any]
) -> list[np.ndarray[Any, Any]]:
    """Return observations, actions and rewards as arrays, having decoded each sample by itself."""
    seen, acted, rewarded = [], [], []
    for data in samples:
        sample = StoredTrialSample.FromString(data)
        for entry in sample.actor_samples:
            observation = pb.Observation.FromString(sample.payloads[entry.observation])
            seen.append(observation_from_message(observations, observation).value)
            acted.append(
                action_from_message(actions, pb.PlayerAction.FromString(sample.payloads[entry.action]))
            )
            rewarded.append(entry.reward)
    return [np.stack(seen), np.stack(acted), np.array(rewarded)]
