"""The rewards that wait for their receivers' next dispatch (protocol section 6.7)."""

from __future__ import annotations

from collections.abc import Container, Sequence

from cogment_lab.trial.parameters import ActorParameters
from cogment_lab.trial.routing import aggregate_rewards, receivers
from cogment_lab.wire.generated import common_pb2 as common
from cogment_lab.wire.generated.common_pb2 import ActorRunTrialInput, Reward

__all__ = ["WaitingRewards"]


class WaitingRewards:
    """Per actor and tick, the rewards that it was not sent yet, those of one tick in one message.

    Args:
        actors: The trial's slots, in order.
    """

    def __init__(self, actors: Sequence[ActorParameters]) -> None:
        self._actors = actors
        self._waiting: list[dict[int, Reward]] = [{} for _ in actors]

    def add(self, reward: Reward, tick: int, lost: Container[int]) -> bool:
        """Keep a reward of ``tick`` for its receivers; return whether it names any.

        Args:
            reward: It names its receivers.
            tick: The tick it is for.
            lost: Indices of the actors that are not there to get it.
        """
        found = receivers(reward.receiver_name, self._actors)
        for index in found:
            if index in lost:
                continue
            waiting = self._waiting[index].get(tick)
            if waiting is None:
                name = self._actors[index].name
                waiting = self._waiting[index][tick] = Reward(tick_id=tick, receiver_name=name)
            waiting.sources.extend(reward.sources)
        return bool(found)

    def take(self, index: int) -> list[ActorRunTrialInput]:
        """Return and forget what waits for an actor, by tick."""
        waiting = self._waiting[index]
        frames = []
        if waiting:
            for tick in sorted(waiting):
                reward = waiting[tick]
                sources = reward.sources
                alone = len(sources) == 1 and sources[0].confidence == 1.0
                reward.value = sources[0].value if alone else aggregate_rewards(sources)  # type: ignore[arg-type]
                frames.append(ActorRunTrialInput(state=common.NORMAL, reward=reward))
            waiting.clear()
        return frames

    def clear(self) -> None:
        """Discard everything."""
        for waiting in self._waiting:
            waiting.clear()
