"""What the trials of one environment have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import gymnasium as gym

__all__ = ["AgentSpec", "OnFull", "RecordMode", "StreamSpec"]

RecordMode: TypeAlias = Literal["full", "actions", "interventions"]
OnFull: TypeAlias = Literal["continue", "stop"]


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """The spaces of one agent."""

    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """What the trials of one environment have in common.

    Attributes:
        env_id: Its name.
        agents: Each agent's spaces; ``"gym"`` is the agent of a Gymnasium environment.
        record: ``full`` keeps everything; ``actions`` leaves out observations except during takeovers;
            ``interventions`` keeps only the ticks of takeovers.
        env_spec: Gymnasium's spec as JSON, if it has one.
        parameters: Of the trials.
        versions: Of the packages that matter for replaying a trial.
    """

    env_id: str
    agents: Mapping[str, AgentSpec]
    record: RecordMode = "full"
    env_spec: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
