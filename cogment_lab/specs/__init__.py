"""Gymnasium spaces and values <-> protobuf messages and bytes, wire-compatible with Cogment Lab 0.1.5."""

from __future__ import annotations

from cogment_lab.specs.agent_specs import Action, ActionSpace, AgentSpecs, Observation, ObservationSpace
from cogment_lab.specs.arrays import array_from_message, array_to_message
from cogment_lab.specs.config import reset_options_of, seed_of, set_reset_options, set_seed
from cogment_lab.specs.exchange import (
    ReceivedObservation,
    action_from_message,
    action_to_message,
    observation_from_message,
    observation_to_message,
)
from cogment_lab.specs.flat import flat_from_message, flat_to_message
from cogment_lab.specs.spaces import space_from_bytes, space_from_message, space_to_bytes, space_to_message
from cogment_lab.specs.values import value_from_bytes, value_from_message, value_to_bytes, value_to_message

__all__ = [
    "Action",
    "ActionSpace",
    "AgentSpecs",
    "Observation",
    "ObservationSpace",
    "ReceivedObservation",
    "action_from_message",
    "action_to_message",
    "array_from_message",
    "array_to_message",
    "flat_from_message",
    "flat_to_message",
    "observation_from_message",
    "observation_to_message",
    "reset_options_of",
    "seed_of",
    "set_reset_options",
    "set_seed",
    "space_from_bytes",
    "space_from_message",
    "space_to_bytes",
    "space_to_message",
    "value_from_bytes",
    "value_from_message",
    "value_to_bytes",
    "value_to_message",
]
