"""``TrialStore("grpc://host:port")``: reading the trials of a datastore elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import grpc

from cogment_lab.errors import ConfigurationError, TrialNotFoundError
from cogment_lab.specs import reset_options_of, seed_of
from cogment_lab.specs.generated import data_pb2 as pb
from cogment_lab.store.trial_data import TrialData
from cogment_lab.store.trial_info import TrialInfo
from cogment_lab.trial.states import TrialState
from cogment_lab.wire.calls import answer
from cogment_lab.wire.channel import open_channel
from cogment_lab.wire.endpoint import CLIENT, parse
from cogment_lab.wire.generated.trial_datastore_pb2 import RetrieveTrialsRequest, StoredTrialInfo
from cogment_lab.wire.loop_thread import LoopThread
from cogment_lab.wire.rpc import Stub
from cogment_lab.wire.trial_data import OTHER_ROLES, decode_trial, read_samples

__all__ = ["RemoteTrialStore"]

_SECONDS = 60.0


class RemoteTrialStore:
    """The trials of a datastore, to read; recording goes there through the orchestrator.

    Args:
        path: ``grpc://host:port``.

    Attributes:
        path: As above.

    Raises:
        EndpointError: the address cannot be understood.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        target = parse(self.path)
        if not isinstance(target, str) or target == CLIENT:
            raise ConfigurationError(f"a remote store is grpc://host:port, not {self.path!r}")
        self._loop = LoopThread(f"cogment_lab store {self.path}")

        async def connect() -> tuple[grpc.aio.Channel, Stub]:
            channel = open_channel(target)
            return channel, Stub(channel, "cogmentAPI.TrialDatastoreSP")

        self._channel, self._stub = self._loop.run(connect(), _SECONDS)

    def trials(
        self,
        *,
        env_id: str | None = None,
        state: str | None = None,
        properties: Mapping[str, str] | None = None,
        seed: int | None = None,
        min_return: float | None = None,
        since: float | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[TrialInfo]:
        """Yield the trials that match all arguments; see :meth:`cogment_lab.TrialStore.trials`.

        A running trial's ticks are not counted; every other one is read, for its return.

        Raises:
            ServiceUnreachableError: no datastore answers.
        """
        found = self._retrieve(properties=properties or {})
        count = 0
        for raw in reversed(found) if newest_first else found:
            if env_id is not None and raw.params.environment.implementation != env_id:
                continue
            info = self._describe(raw)
            if (
                (state is None or info.state == state)
                and (seed is None or info.seed == seed)
                and (min_return is None or info.total_reward >= min_return)
                and (since is None or info.started >= since)
            ):
                if limit is not None and count >= limit:
                    return
                count += 1
                yield info

    def info(self, trial_id: str) -> TrialInfo:
        """Return what is known of a trial; raise TrialNotFoundError when it is unknown."""
        return self._describe(self._find(trial_id))

    def load(self, trial_id: str) -> dict[str, TrialData]:
        """Return the ticks of a trial by agent, waiting for its end.

        Raises:
            TrialNotFoundError: there is no trial of that id.
            ServiceTimeoutError: it does not end within a minute.
        """
        return self._load(self._find(trial_id))

    def close(self) -> None:
        """Leave the datastore; idempotent."""
        if self._loop.is_open:
            self._loop.run(self._channel.close(None), _SECONDS)
            self._loop.close()

    def __len__(self) -> int:
        return len(self._retrieve())

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[TrialInfo]:
        return self.trials()

    def __contains__(self, trial_id: object) -> bool:
        return isinstance(trial_id, str) and bool(self._retrieve(trial_ids=[trial_id]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"TrialStore({self.path!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteTrialStore, (self.path,)

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
        params = raw.params
        config = pb.EnvironmentConfig.FromString(params.environment.config.content)
        ended = raw.last_state == int(TrialState.ENDED)
        data = self._load(raw) if ended else {}
        agents = {name: each for name, each in data.items() if name not in OTHER_ROLES}
        first = next(iter(agents.values()), None)
        played = first is not None and len(first) > 0
        terminated = played and any(bool(each.terminated[-1]) for each in agents.values() if len(each))
        truncated = played and not terminated
        return TrialInfo(
            trial_id=raw.trial_id,
            env_id=params.environment.implementation or params.environment.name,
            state="ENDED" if ended else "RUNNING",
            end_reason=("terminated" if terminated else "truncated") if ended else None,
            n_ticks=max(0, raw.samples_count - 1),
            total_reward=float(sum(each.rewards.sum() for each in agents.values())),
            n_interventions=int(sum(each.is_intervention.sum() for each in agents.values())),
            n_takeovers=sum(_stretches(each.is_intervention) for each in agents.values()),
            seed=seed_of(config),
            rng_state=None,
            options=reset_options_of(config) or None,
            properties=dict(params.properties),
            user_id=raw.user_id or None,
            started=float(first.t_shown[0]) / 1e9 if played and first is not None else 0.0,
            ended=float(first.t_acted[-1]) / 1e9 if played and first is not None else None,
            terminated=bool(terminated),
            truncated=bool(truncated),
            record="full",
            agents=tuple(agents),
            parameters={},
            versions={},
            env_spec=None,
        )


def _stretches(flags: Any) -> int:
    """Return how many stretches of true flags there are."""
    return int((flags[1:] & ~flags[:-1]).sum() + bool(len(flags) and flags[0]))
