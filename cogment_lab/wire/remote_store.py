"""``TrialStore("grpc://host:port")``: reading the trials of a datastore elsewhere."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError

from cogment_lab.errors import ConfigurationError, ServiceError, SpecError, TrialNotFoundError
from cogment_lab.specs import reset_options_of, seed_of
from cogment_lab.specs.generated import data_pb2 as pb
from cogment_lab.store.labels import Labels
from cogment_lab.store.query import TrialQuery
from cogment_lab.store.store import TrialStore
from cogment_lab.store.stream_spec import AgentSpec, RecordMode
from cogment_lab.store.transitions import Transitions
from cogment_lab.store.trial_data import TrialData
from cogment_lab.store.trial_info import StoreStats, TrialEvent, TrialInfo
from cogment_lab.trial.states import TrialState
from cogment_lab.wire.calls import answer
from cogment_lab.wire.channel import open_channel
from cogment_lab.wire.endpoint import CLIENT, parse
from cogment_lab.wire.generated.trial_datastore_pb2 import RetrieveTrialsRequest, StoredTrialInfo
from cogment_lab.wire.loop_thread import LoopThread
from cogment_lab.wire.rpc import Stub
from cogment_lab.wire.trial_columns import ColumnWriter
from cogment_lab.wire.trial_data import decode_trial, read_samples

__all__ = ["RemoteTrialStore"]

_LOG = logging.getLogger("cogment_lab.wire")
_SECONDS = 60.0
_ASIDE = "labels and comparisons are kept in a store in a file, and the file of a datastore is one"


class _NoLabels(Labels):
    """Labels of trials elsewhere: there are none, and none can be added."""

    def add(self, *label: Any, **about: Any) -> NoReturn:
        """Refuse to label."""
        raise ConfigurationError(f"trials elsewhere are only read: {_ASIDE}")


class RemoteTrialStore(TrialStore):
    """The trials of a datastore, to read; recording goes there through the orchestrator.

    Whatever reads trials that are over (queries, transitions, buffers, exports) reads them from a copy, in a
    temporary file that ends with this handle; each trial crosses the network once. Trials that run, and those
    of applications whose parameters hold no spaces, are listed by :meth:`trials`, their rewards unknown.

    Args:
        path: ``grpc://host:port``.
        max_gb: For files only.
        on_full: Likewise.

    Attributes:
        path: As above.

    Raises:
        ConfigurationError: no such address, or ``max_gb`` is given.
        EndpointError: the address cannot be understood.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, max_gb: float | None = None, on_full: Any = "continue"
    ) -> None:
        self.path = os.fspath(path)
        target = parse(self.path)
        if not isinstance(target, str) or target == CLIENT:
            raise ConfigurationError(f"a remote store is grpc://host:port, not {self.path!r}")
        if max_gb is not None:
            self._refuse(f"max_gb={max_gb!r} bounds a file that is recorded into")
        self.max_gb = None
        self.on_full = on_full
        self._loop = LoopThread(f"cogment_lab store {self.path}")

        async def connect() -> tuple[grpc.aio.Channel, Stub]:
            channel = open_channel(target)
            return channel, Stub(channel, "cogmentAPI.TrialDatastoreSP")

        self._channel, self._stub = self._loop.run(connect(), _SECONDS)
        folder = tempfile.mkdtemp(prefix="cogment-lab-")
        self._remove_folder = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._copy = TrialStore(Path(folder) / "trials.db")
        self._writer = ColumnWriter(self._copy)
        self._copied: dict[str, bool] = {}  # of each trial that was over: whether it could be copied
        self.labels = _NoLabels(self._copy._database, self._copy._catalog)
        self._copying = threading.Lock()

    # --- reading ---

    def trials(
        self,
        *,
        env_id: str | None = None,
        state: str | None = None,
        properties: Mapping[str, str] | None = None,
        seed: int | None = None,
        min_return: float | None = None,
        since: float | None = None,
        record: RecordMode | None = None,
        limit: int | None = None,
        newest_first: bool = False,
        trial_ids: Collection[str] | None = None,
        without: Collection[str] = (),
    ) -> Iterator[TrialInfo]:
        """Yield the trials that match all arguments; see :meth:`cogment_lab.TrialStore.trials`.

        Of a trial that runs, or that has no spaces to be read with, the rewards are not known: they are 0.

        Raises:
            ServiceUnreachableError: no datastore answers.
        """
        copy = self._synced()
        given: dict[str, Any] = {"env_id": env_id, "state": state, "seed": seed, "record": record}
        here = {info.trial_id: info for info in copy.trials(**given, min_return=min_return, since=since)}
        found = self._retrieve(properties=properties or {})
        count = 0
        for raw in reversed(found) if newest_first else found:
            if raw.trial_id in without or (trial_ids is not None and raw.trial_id not in trial_ids):
                continue
            if self._copied.get(raw.trial_id):
                info = here.get(raw.trial_id)
            else:
                info = self._describe(raw)
                is_wanted = all(value in (None, getattr(info, name)) for name, value in given.items())
                if not (
                    is_wanted
                    and (min_return is None or info.total_reward >= min_return)
                    and (since is None or info.started >= since)
                ):
                    info = None
            if info is not None:
                if limit is not None and count >= limit:
                    return
                count += 1
                yield info

    def info(self, trial_id: str) -> TrialInfo:
        """Return what is known of a trial; raise TrialNotFoundError when it is unknown."""
        raw = self._find(trial_id)
        copy = self._synced()
        return copy.info(trial_id) if self._copied.get(trial_id) else self._describe(raw)

    def load(self, trial_id: str) -> dict[str, TrialData]:
        """Return the ticks of a trial by agent, waiting for its end.

        Raises:
            ServiceError: its parameters hold no spaces: it is another application's.
            TrialNotFoundError: there is no trial of that id.
            ServiceTimeoutError: it does not end within a minute.
        """
        if self._copied.get(trial_id):
            return self._copy.load(trial_id)
        return self._load(self._find(trial_id))

    def load_each(self, trial_ids: Sequence[str]) -> Iterator[Callable[[], dict[str, TrialData]]]:
        """Yield what loads each trial; see :meth:`cogment_lab.TrialStore.load_each`."""
        return self._synced().load_each(trial_ids)

    def events(self, trial_id: str) -> list[TrialEvent]:
        """Return what happened between ticks, of which a datastore knows nothing."""
        self._find(trial_id)
        return []

    def transitions(self, **chosen: Any) -> Iterator[Transitions]:
        """Yield transitions; see :meth:`cogment_lab.TrialStore.transitions`."""
        return self._synced().transitions(**chosen)

    def discarded(self) -> set[str]:
        """Return the ids of trials that nobody should learn from."""
        return self._synced().discarded()

    def query(self, **chosen: Any) -> TrialQuery:
        """Choose trials that are over; see :meth:`cogment_lab.TrialStore.query`."""
        return self._synced().query(**chosen)

    def agent_specs(self, **chosen: Any) -> list[AgentSpec]:
        """Return the spaces of an agent; see :meth:`cogment_lab.TrialStore.agent_specs`."""
        return self._synced().agent_specs(**chosen)

    def stats(self) -> StoreStats:
        """Return how much of the datastore is copied here."""
        return self._synced().stats()

    # --- writing, which is refused ---

    @property
    def status(self) -> str:
        """``"not recording"``."""
        return "not recording"

    def flush(self, seconds: float = 10.0) -> None:
        """Return: nothing is recorded through this handle."""

    def open_stream(self, spec: Any) -> NoReturn:
        """Refuse to record."""
        self._refuse("trials get there through the orchestrator (cogment_lab.join, Cogment)")

    def delete(self, trial_ids: Collection[str]) -> NoReturn:
        """Refuse to delete trials."""
        self._refuse("its trials are deleted there: cogmentlab client trial_datastore delete_trials")

    def forget(self, participant: str, *, scrub: bool = True) -> NoReturn:
        """Refuse to forget a person."""
        self._refuse("a person is forgotten where the file is")

    def scrub(self) -> NoReturn:
        """Refuse to write the file anew."""
        self._refuse("its file is scrubbed where it is")

    def label(self, trial_id: str, kind: Any, value: Any, **about: Any) -> NoReturn:
        """Refuse to label."""
        self._refuse(_ASIDE)

    def __getattr__(self, name: str) -> NoReturn:
        if name in ("_database", "_catalog", "_chunks"):  # of a store in a file
            self._refuse(_ASIDE)
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    def _refuse(self, why: str) -> NoReturn:
        raise ConfigurationError(f"{self.path} is only read: {why}")

    # --- the handle ---

    def close(self) -> None:
        """Leave the datastore, and remove the copy; idempotent."""
        if self._loop.is_open:
            self._loop.run(self._channel.close(None), _SECONDS)
            self._loop.close()
        self._copy.close()
        self._remove_folder()

    def __len__(self) -> int:
        return len(self._retrieve())

    def __contains__(self, trial_id: object) -> bool:
        return isinstance(trial_id, str) and bool(self._retrieve(trial_ids=[trial_id]))

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteTrialStore, (self.path,)

    def _synced(self) -> TrialStore:
        """Return the copy, with every trial that is over by now."""
        with self._copying:
            found = {raw.trial_id: raw for raw in self._retrieve()}
            for trial_id, raw in found.items():
                if trial_id not in self._copied and raw.last_state == int(TrialState.ENDED):
                    self._copied[trial_id] = self._take(raw)
            gone = self._copied.keys() - found.keys()
            self._copy.delete([trial_id for trial_id in gone if self._copied.pop(trial_id)])
        return self._copy

    def _take(self, raw: StoredTrialInfo) -> bool:
        """Copy a trial that is over; return whether that is possible."""
        samples = self._loop.run(read_samples(self._stub, raw.trial_id, _SECONDS), 2 * _SECONDS)
        try:
            return self._writer.write(raw.trial_id, raw.user_id, raw.params, samples)
        except (ServiceError, SpecError) as error:
            _LOG.info("trial %s is not copied from %s: %s", raw.trial_id, self.path, error)
            return False

    def _retrieve(self, **wanted: Any) -> list[StoredTrialInfo]:
        request = RetrieveTrialsRequest(**wanted)
        reply = self._loop.run(answer(self._stub.RetrieveTrials, request, "ask the datastore"), _SECONDS)
        return list(reply.trial_infos)

    def _find(self, trial_id: str) -> StoredTrialInfo:
        found = self._retrieve(trial_ids=[trial_id])
        if not found:
            raise TrialNotFoundError(f"there is no trial {trial_id!r} in {self.path}")
        return found[0]

    def _load(self, raw: StoredTrialInfo) -> dict[str, TrialData]:
        samples = self._loop.run(read_samples(self._stub, raw.trial_id, _SECONDS), 2 * _SECONDS)
        return decode_trial(raw.params, samples)

    def _describe(self, raw: StoredTrialInfo) -> TrialInfo:
        """Return what is known of a trial that is not copied: it runs, or is another application's."""
        params = raw.params
        try:
            config = pb.EnvironmentConfig.FromString(params.environment.config.content)
        except DecodeError:  # another application's
            config = pb.EnvironmentConfig()
        return TrialInfo(
            trial_id=raw.trial_id,
            env_id=params.environment.implementation or params.environment.name,
            state="ENDED" if raw.trial_id in self._copied else "RUNNING",
            end_reason=None,
            n_ticks=max(0, raw.samples_count - 1),
            total_reward=0.0,
            n_interventions=0,
            n_takeovers=0,
            seed=seed_of(config),
            rng_state=None,
            options=reset_options_of(config) or None,
            properties=dict(params.properties),
            user_id=raw.user_id or None,
            started=0.0,
            ended=None,
            terminated=False,
            truncated=False,
            record="full",
            agents=(),
            parameters={},
            versions={},
            env_spec=None,
        )
