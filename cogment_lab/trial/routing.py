"""Who receives a reward or a message, and what several rewards add up to (protocol sections 6.7 and 6.8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cogment_lab.trial.parameters import ActorParameters

__all__ = ["RewardSource", "RewardTable", "aggregate_rewards", "receivers"]


@dataclass(frozen=True, slots=True)
class RewardSource:
    """One sender's part of a reward.

    Attributes:
        sender: Name of the actor or environment it came from.
        value: The reward, as a 32-bit float on the wire.
        confidence: Its weight; 0 or less is kept in the record and does not count.
    """

    sender: str
    value: float
    confidence: float = 1.0


def receivers(pattern: str, actors: Sequence[ActorParameters]) -> tuple[int, ...]:
    """Return the indices of the actors that ``pattern`` names, in order; empty when it names nobody.

    The first rule that matches wins: an exact name, ``*`` (everybody, the sender included), ``class.*``,
    ``class.name``. The environment is no receiver of rewards; ``*.*`` is not a pattern.
    """
    for index, actor in enumerate(actors):
        if actor.name == pattern:
            return (index,)
    if pattern == "*":
        return tuple(range(len(actors)))
    actor_class, dot, name = pattern.partition(".")
    if not dot:
        return ()
    return tuple(
        index
        for index, actor in enumerate(actors)
        if actor.actor_class == actor_class and name in ("*", actor.name)
    )


def aggregate_rewards(sources: Sequence[RewardSource]) -> float:
    """Return the confidence-weighted mean of ``sources`` in 32-bit arithmetic; 0 when none counts."""
    value = weight = np.float32(0.0)
    for source in sources:
        if source.confidence > 0.0:
            confidence = np.float32(source.confidence)
            value += np.float32(source.value) * confidence
            weight += confidence
    return float(value / weight) if weight > 0.0 else 0.0


@dataclass(slots=True)
class RewardTable:
    """The rewards that wait for the next dispatch: per receiver and tick, in order of arrival."""

    pending: dict[int, dict[int, list[RewardSource]]] = field(default_factory=dict)

    def add(self, receiver: int, tick: int, sources: Sequence[RewardSource]) -> None:
        """Keep ``sources`` for ``receiver`` (an actor index) under ``tick``."""
        self.pending.setdefault(receiver, {}).setdefault(tick, []).extend(sources)

    def take(self, receiver: int) -> list[tuple[int, float, list[RewardSource]]]:
        """Return and forget what waits for ``receiver``: ``(tick, aggregate, sources)`` by tick."""
        waiting = self.pending.pop(receiver, {})
        return [(tick, aggregate_rewards(waiting[tick]), waiting[tick]) for tick in sorted(waiting)]
