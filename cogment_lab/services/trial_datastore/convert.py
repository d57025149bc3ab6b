"""From what the orchestrator logs to what the datastore keeps (protocol section 9.1)."""

from __future__ import annotations

from collections.abc import Sequence

from cogment_lab.trial.routing import aggregate_rewards, receivers
from cogment_lab.wire.generated.common_pb2 import ActorParams, Reward, RewardSource, TrialParams
from cogment_lab.wire.generated.datalog_pb2 import DatalogSample
from cogment_lab.wire.generated.trial_datastore_pb2 import StoredTrialActorSample, StoredTrialSample

__all__ = ["Converter"]

_NO_ACTION = -2
_ENVIRONMENT = -1


class Converter:
    """Converts the samples of one trial.

    Args:
        trial_id: The trial.
        params: Its parameters: the actors' names and classes give meaning to patterns.
        user_id: Whose trial it is.
    """

    def __init__(self, trial_id: str, params: TrialParams, user_id: str = "") -> None:
        self._trial_id = trial_id
        self._user_id = user_id
        self._actors: Sequence[ActorParams] = list(params.actors)
        self._indices = {actor.name: index for index, actor in enumerate(params.actors)}

    def convert(self, sample: DatalogSample) -> StoredTrialSample:
        """Return the stored form of ``sample``; an absent ``info`` reads as tick 0."""
        stored = StoredTrialSample(
            user_id=self._user_id,
            trial_id=self._trial_id,
            tick_id=sample.info.tick_id,
            timestamp=sample.info.timestamp,
            state=sample.info.state,
        )
        observations = sample.observations
        payloads = list(observations.observations)
        places = observations.actors_map
        defaulted = set(sample.default_actors) if sample.default_actors else ()
        unavailable = set(sample.unavailable_actors) if sample.unavailable_actors else ()
        for index, actor in enumerate(self._actors):
            entry = stored.actor_samples.add(actor=index)
            if index < len(places):
                entry.observation = places[index]
            if index in unavailable:
                continue
            if index in defaulted:
                entry.action = len(payloads)
                payloads.append(actor.default_action.content)
            elif index < len(sample.actions) and sample.actions[index].tick_id != _NO_ACTION:
                entry.action = len(payloads)
                payloads.append(sample.actions[index].content)
        if sample.rewards:
            self._add_rewards(stored, sample.rewards, payloads)
        if sample.messages:
            self._add_messages(stored, sample, payloads)
        stored.payloads.extend(payloads)
        return stored

    def merge_late(self, stored: StoredTrialSample, late: DatalogSample) -> None:
        """Add the rewards of an out-of-sync sample to the stored sample of its tick."""
        payloads: list[bytes] = list(stored.payloads)
        self._add_rewards(stored, late.rewards, payloads)
        del stored.payloads[:]
        stored.payloads.extend(payloads)

    def _add_rewards(
        self, stored: StoredTrialSample, rewards: Sequence[Reward], payloads: list[bytes]
    ) -> None:
        touched: set[int] = set()
        for reward in rewards:
            found = self._receivers(reward.receiver_name)
            for source in reward.sources:
                data = None
                if source.HasField("user_data"):
                    data = len(payloads)
                    payloads.append(source.user_data.SerializeToString())
                sender = self._indices.get(source.sender_name, _ENVIRONMENT)
                for receiver in found:
                    touched.add(receiver)
                    entry = stored.actor_samples[receiver]
                    entry.received_rewards.add(
                        sender=sender,
                        receiver=receiver,
                        reward=source.value,
                        confidence=source.confidence,
                        user_data=data,
                    )
                    if sender != _ENVIRONMENT:
                        stored.actor_samples[sender].sent_rewards.add(
                            sender=sender,
                            receiver=receiver,
                            reward=source.value,
                            confidence=source.confidence,
                            user_data=data,
                        )
        for receiver in touched:
            entry = stored.actor_samples[receiver]
            entry.reward = _aggregate(entry)

    def _add_messages(self, stored: StoredTrialSample, sample: DatalogSample, payloads: list[bytes]) -> None:
        for message in sample.messages:
            payload = len(payloads)
            payloads.append(message.payload.SerializeToString())
            sender = self._indices.get(message.sender_name, _ENVIRONMENT)
            found = self._receivers(message.receiver_name) or (_ENVIRONMENT,)
            for receiver in found:
                if receiver != _ENVIRONMENT:
                    stored.actor_samples[receiver].received_messages.add(
                        sender=sender, receiver=receiver, payload=payload
                    )
                if sender != _ENVIRONMENT:
                    stored.actor_samples[sender].sent_messages.add(
                        sender=sender, receiver=receiver, payload=payload
                    )

    def _receivers(self, pattern: str) -> tuple[int, ...]:
        index = self._indices.get(pattern)
        if index is not None:
            return (index,)
        return receivers("*" if pattern == "*.*" else pattern, self._actors)  # type: ignore[arg-type]


def _aggregate(entry: StoredTrialActorSample) -> float:
    received = entry.received_rewards
    if len(received) == 1 and received[0].confidence == 1.0:
        return received[0].reward
    return aggregate_rewards(
        [RewardSource(value=each.reward, confidence=each.confidence) for each in received]  # type: ignore[misc]
    )
