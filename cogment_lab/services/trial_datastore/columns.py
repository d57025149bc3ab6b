"""The ended trials of a datastore's file as the columns of a :class:`~cogment_lab.TrialStore`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cogment_lab.errors import CogmentLabError, StoreError
from cogment_lab.specs import reset_options_of, seed_of, space_from_message
from cogment_lab.specs.generated import data_pb2 as pb
from cogment_lab.store.copying import write_trial
from cogment_lab.store.store import TrialStore
from cogment_lab.store.stream import TrialStream
from cogment_lab.store.stream_spec import AgentSpec, StreamSpec
from cogment_lab.wire.generated.common_pb2 import TrialParams
from cogment_lab.wire.generated.trial_datastore_pb2 import StoredTrialSample
from cogment_lab.wire.trial_data import OTHER_ROLES, decode_trial

__all__ = ["Columns"]

_LOG = logging.getLogger(__name__)
_MOST_STREAMS = 16
_SECONDS = 60.0


class Columns:
    """Writes trials into a store, one after the other, in a thread of its own.

    Trials of services whose parameters hold no specs (those of other applications) have no columns; they are
    read over gRPC as before.

    Args:
        path: The file.

    Raises:
        StoreError: it is something else, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._store = TrialStore(path)
        self._streams: dict[tuple[str, bytes], TrialStream] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cogment_lab columns")

    def known(self) -> set[str]:
        """Return the ids of the trials that have columns."""
        return {info.trial_id for info in self._store.trials()}

    async def write(self, trial_id: str, user_id: str, params: TrialParams, samples: Sequence[bytes]) -> None:
        """Write a trial, from its encoded samples; what cannot be written is logged."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._write, trial_id, user_id, params, samples)

    async def delete(self, trial_ids: Collection[str]) -> None:
        """Forget trials; unknown ids do not matter."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._delete, trial_ids)

    async def close(self) -> None:
        """Finish what was begun and let go of the file."""
        await asyncio.to_thread(self._thread.shutdown)
        await asyncio.to_thread(self._store.close)

    def _write(self, trial_id: str, user_id: str, params: TrialParams, samples: Sequence[bytes]) -> None:
        try:
            if trial_id not in self._store:
                self._copy(trial_id, user_id, params, samples)
        except CogmentLabError as error:
            _LOG.info("trial %s gets no columns in the store: %s", trial_id, error)
        except Exception:  # messages of other applications have parsers of their own
            _LOG.warning("trial %s gets no columns in the store", trial_id, exc_info=True)

    def _copy(self, trial_id: str, user_id: str, params: TrialParams, samples: Sequence[bytes]) -> None:
        decoded = decode_trial(params, [StoredTrialSample.FromString(sample) for sample in samples])
        data = {name: each for name, each in decoded.items() if name not in OTHER_ROLES and len(each)}
        if not data:
            return
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

    def _delete(self, trial_ids: Collection[str]) -> None:
        try:
            self._store.delete([trial_id for trial_id in trial_ids if trial_id in self._store])
        except StoreError as error:
            _LOG.error("trials %s stay in the store: %s", sorted(trial_ids), error)
