"""Trials of a datastore as the columns of a :class:`~cogment_lab.TrialStore`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cogment_lab.specs import reset_options_of, seed_of, space_from_message
from cogment_lab.specs.generated import data_pb2 as pb
from cogment_lab.store.copying import write_trial
from cogment_lab.store.store import TrialStore
from cogment_lab.store.stream import TrialStream
from cogment_lab.store.stream_spec import AgentSpec, StreamSpec
from cogment_lab.wire.generated.common_pb2 import TrialParams
from cogment_lab.wire.generated.trial_datastore_pb2 import StoredTrialSample
from cogment_lab.wire.trial_data import OTHER_ROLES, decode_trial

__all__ = ["ColumnWriter"]

_MOST_STREAMS = 16
_SECONDS = 60.0


class ColumnWriter:
    """Writes ended trials into a store, one after the other.

    Args:
        store: Gets them.
    """

    def __init__(self, store: TrialStore) -> None:
        self._store = store
        self._streams: dict[tuple[str, bytes], TrialStream] = {}

    def write(
        self, trial_id: str, user_id: str, params: TrialParams, samples: Sequence[StoredTrialSample]
    ) -> bool:
        """Write a trial, and return whether it had any tick to write.

        Raises:
            ServiceError: its parameters hold no specs: it is another application's.
            StoreError: the store cannot be written.
        """
        decoded = decode_trial(params, samples)
        data = {name: each for name, each in decoded.items() if name not in OTHER_ROLES and len(each)}
        if not data:
            return False
        config = pb.EnvironmentConfig.FromString(params.environment.config.content)
        write_trial(
            self._stream(params, data),
            trial_id,
            data,
            seed=seed_of(config),
            options=reset_options_of(config) or None,
            properties=dict(params.properties),
            user_id=user_id or None,
            started=min(int(each.t_shown[0]) for each in data.values()) / 1e9,
            ended=max(int(each.t_acted[-1]) for each in data.values()) / 1e9,
        )
        self._store.flush(_SECONDS)
        return True

    def _stream(self, params: TrialParams, names: Collection[str]) -> TrialStream:
        """Return the stream of an environment's trials with these agents."""
        specs = {
            actor.name: pb.AgentConfig.FromString(actor.config.content).agent_specs
            for actor in params.actors
            if actor.name in names
        }
        env_id = params.environment.implementation or params.environment.name
        coded = b"".join(
            name.encode() + spec.SerializeToString(deterministic=True) for name, spec in specs.items()
        )
        stream = self._streams.pop((env_id, coded), None)
        if stream is None:
            agents = {
                name: AgentSpec(
                    space_from_message(spec.observation_space), space_from_message(spec.action_space)
                )
                for name, spec in specs.items()
            }
            stream = self._store.open_stream(StreamSpec(env_id, agents))
        self._streams[env_id, coded] = stream
        if len(self._streams) > _MOST_STREAMS:
            self._streams.pop(next(iter(self._streams))).close()
        return stream
