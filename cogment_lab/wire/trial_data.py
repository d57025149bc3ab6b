"""From the samples of a remote datastore to :class:`cogment_lab.store.TrialData`.

A trial of thousands of ticks is decoded as a few arrays: serialized observations of one length that agree in
everything but their numbers are cut out of one buffer, instead of being parsed one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError
from gymnasium import Space, spaces

from cogment_lab.errors import ServiceError, ServiceTimeoutError, ServiceUnreachableError, TrialNotFoundError
from cogment_lab.specs import action_from_message, observation_from_message, space_from_message
from cogment_lab.specs.generated import data_pb2 as pb
from cogment_lab.store.trial_data import TrialData
from cogment_lab.trial.sample import Feedback
from cogment_lab.trial.takeover import Phase
from cogment_lab.wire.generated.bundle_pb2 import SampleReplies
from cogment_lab.wire.generated.common_pb2 import TrialParams
from cogment_lab.wire.generated.trial_datastore_pb2 import (
    RetrieveSampleReply,
    RetrieveSamplesRequest,
    RetrieveTrialsRequest,
    StoredTrialInfo,
    StoredTrialSample,
)
from cogment_lab.wire.rpc import Stub
from cogment_lab.wire.same_shape import cut_actions, cut_observations
from cogment_lab.wire.stream import BUNDLES, offers_bundles

__all__ = ["OTHER_ROLES", "decode_trial", "find_trial", "load_trial", "read_samples"]

OTHER_ROLES = ("teacher", "evaluator", "observer")
"""Actors beside a player: their actions are their own, whoever decides."""


async def find_trial(stub: Stub, trial_id: str, timeout: float) -> StoredTrialInfo:
    """Return what a datastore knows of a trial, waiting for it to appear.

    Raises:
        TrialNotFoundError: it did not within ``timeout`` seconds.
        ServiceUnreachableError: no datastore answers.
    """
    request = RetrieveTrialsRequest(trial_ids=[trial_id], timeout=int(timeout * 1000), trials_count=1)
    try:
        reply = await stub.RetrieveTrials(request, timeout=timeout + 10.0)
    except grpc.aio.AioRpcError as error:
        raise ServiceUnreachableError(f"no datastore answers: {error.details()}") from error
    if not reply.trial_infos:
        raise TrialNotFoundError(f"no trial {trial_id!r} in the datastore within {timeout:g} s")
    info: StoredTrialInfo = reply.trial_infos[0]
    return info


async def read_samples(stub: Stub, trial_id: str, timeout: float) -> list[StoredTrialSample]:
    """Return the samples of a trial, up to its end.

    Raises:
        ServiceTimeoutError: it did not end within ``timeout`` seconds.
        ServiceError: the datastore failed.
    """
    samples: list[StoredTrialSample] = []
    call = stub.RetrieveSamples(RetrieveSamplesRequest(trial_ids=[trial_id]), metadata=BUNDLES)
    try:
        async with asyncio.timeout(timeout):
            bundled = offers_bundles(await call.initial_metadata())
            async for data in call:
                if bundled:
                    samples += [frame.trial_sample for frame in SampleReplies.FromString(data).frames]
                else:
                    samples.append(RetrieveSampleReply.FromString(data).trial_sample)
    except TimeoutError:
        raise ServiceTimeoutError(
            f"trial {trial_id!r} has not ended within {timeout:g} s ({len(samples)} samples so far)"
        ) from None
    except grpc.aio.AioRpcError as error:
        raise ServiceError(f"the samples of trial {trial_id!r} cannot be read: {error.details()}") from error
    finally:
        call.cancel()
    return samples


async def load_trial(
    stub: Stub,
    trial_id: str,
    agent_specs: Mapping[str, pb.AgentSpecs] | None = None,
    *,
    timeout: float = 600.0,
) -> dict[str, TrialData]:
    """Return a trial's data by agent, once it has ended.

    Args:
        stub: The ``TrialDatastoreSP``.
        trial_id: The trial.
        agent_specs: What each agent sees and does; by default what the trial's parameters say.
        timeout: Seconds to wait for the trial to appear and to end.

    Raises:
        TrialNotFoundError: there is no such trial.
        ServiceTimeoutError: it did not end in time.
        ServiceError: the datastore failed, or the trial's parameters hold no specs.
    """
    info = await find_trial(stub, trial_id, timeout)
    samples = await read_samples(stub, trial_id, timeout)
    return decode_trial(info.params, samples, agent_specs)


def decode_trial(
    params: TrialParams,
    samples: Sequence[StoredTrialSample],
    agent_specs: Mapping[str, pb.AgentSpecs] | None = None,
) -> dict[str, TrialData]:
    """Return the data of each actor of a trial; see :func:`load_trial`."""
    data = {}
    names = [actor.name for actor in params.actors]
    for index, actor in enumerate(params.actors):
        if agent_specs is not None and actor.name in agent_specs:
            specs = agent_specs[actor.name]
        else:
            specs = _specs_in(actor.config.content)
        if not specs.HasField("observation_space"):
            if agent_specs is None:
                raise ServiceError(f"the parameters of the trial hold no specs for {actor.name!r}")
            continue
        data[actor.name] = _decode_actor(index, names, specs, samples)
    return data


def _specs_in(config: bytes) -> pb.AgentSpecs:
    """Return the specs in an actor's configuration, empty ones where that is another application's."""
    try:
        return pb.AgentConfig.FromString(config).agent_specs
    except DecodeError:
        return pb.AgentSpecs()


@dataclass(slots=True)
class Observed:
    """The observations of one actor, one entry per sample.

    Attributes:
        values: ``(n, *shape)`` array, or a list of values where they are no arrays; ``None`` entries for
            none.
        active: Whether it was the actor's turn.
        terminated: Whether the episode terminated, ``None`` where the environment does not say.
        truncated: Likewise.
        rewards: The environment's own, NaN where it does not say.
        infos: The environment's info.
    """

    values: Any
    active: np.ndarray[Any, np.dtype[np.bool_]]
    terminated: list[bool | None]
    truncated: list[bool | None]
    rewards: np.ndarray[Any, np.dtype[np.float64]]
    infos: list[dict[str, Any]]


def _decode_actor(
    index: int, names: Sequence[str], specs: pb.AgentSpecs, samples: Sequence[StoredTrialSample]
) -> TrialData:
    name = names[index]
    observation_space = space_from_message(specs.observation_space)
    action_space = space_from_message(specs.action_space)
    entries = [sample.actor_samples[index] for sample in samples]
    observed = _observe(
        observation_space,
        [
            sample.payloads[entry.observation] if entry.HasField("observation") else None
            for sample, entry in zip(samples, entries, strict=True)
        ],
    )
    n_samples = len(samples)
    decisions = [k for k in range(n_samples - 1) if observed.active[k]]
    actions = _act(
        action_space,
        [
            samples[k].payloads[entries[k].action] if entries[k].HasField("action") else None
            for k in decisions
        ],
    )
    bounds = [*decisions, n_samples - 1]
    per_sample = np.array(
        [entry.reward if entry.HasField("reward") else 0.0 for entry in entries], dtype=np.float64
    )
    exact = observed.rewards[1:]
    np.copyto(per_sample[: n_samples - 1], exact, where=~np.isnan(exact))
    rewards = np.add.reduceat(np.nan_to_num(per_sample[:-1]), decisions) if decisions else np.zeros(0)
    n = len(decisions)
    terminated, truncated = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    infos: list[dict[str, Any]] = []
    for row in range(n):
        after = bounds[row + 1]
        terminated[row] = bool(observed.terminated[after])
        truncated[row] = bool(observed.truncated[after])
        infos.append(observed.infos[after])
    says = n_samples > 0 and observed.terminated[-1] is not None
    if n and not says:  # a service of Cogment Lab 0.1.5: the trial's end is all that is known
        terminated[-1] = True
    elif n and not (terminated[-1] or truncated[-1]):
        truncated[-1] = True
    stamps = np.array([sample.timestamp for sample in samples], dtype=np.uint64).astype(np.int64)
    proposed = actions
    plays = name not in OTHER_ROLES
    overridden = np.array([plays and bool(info.get("is_intervention")) for info in infos], dtype=np.bool_)
    if overridden.any():
        executed = [
            info["executed_action"] if overridden[row] and "executed_action" in info else action
            for row, (info, action) in enumerate(zip(infos, actions, strict=True))
        ]
        actions = _stack(action_space, executed)
    phases = [str(info.get("phase", Phase.AUTONOMOUS.name)).upper() for info in infos]
    last = observed.values[-1] if n_samples else None
    return TrialData(
        trial_id=samples[0].trial_id if samples else "",
        agent=name,
        ticks=np.array(decisions, dtype=np.int64),
        observations=_stack(observation_space, _take(observed.values, decisions)),
        actions=_stack(action_space, actions),
        rewards=rewards,
        terminated=terminated,
        truncated=truncated,
        proposed_actions=_stack(action_space, proposed),
        is_intervention=overridden,
        decided_by=np.where(overridden, "teacher", "player"),
        phase=np.array(phases, dtype=np.str_),
        t_shown=stamps[decisions],
        t_acted=stamps[bounds[1:]] if n else stamps[:0],
        reaction_ns=np.zeros(n, np.int64),
        feedback=_feedback(names, entries, stamps),
        infos=infos,
        last_observation=last,
        observed_ticks=np.zeros(0, np.int64),
        observed_observations=None,
    )


def _feedback(
    names: Sequence[str], entries: Sequence[Any], stamps: np.ndarray[Any, np.dtype[np.int64]]
) -> list[Feedback]:
    """Return what other actors said; the environment's rewards are no opinions."""
    return [
        Feedback(names[said.sender], said.reward, said.confidence, int(stamps[tick]), tick)
        for tick, entry in enumerate(entries)
        for said in entry.received_rewards
        if 0 <= said.sender < len(names)
    ]


def _observe(space: Space[Any], payloads: list[bytes | None]) -> Observed:
    quick = cut_observations(space, payloads)
    if quick is not None:
        return Observed(*quick)
    messages = [pb.Observation.FromString(payload or b"") for payload in payloads]
    said = [observation_from_message(space, message) for message in messages]
    return Observed(
        values=[each.value for each in said],
        active=np.array([each.active and each.value is not None for each in said], dtype=np.bool_),
        terminated=[each.terminated for each in said],
        truncated=[each.truncated for each in said],
        rewards=np.array([np.nan if each.reward is None else each.reward for each in said], dtype=np.float64),
        infos=[each.info for each in said],
    )


def _act(space: Space[Any], payloads: list[bytes | None]) -> Any:
    quick = cut_actions(space, payloads)
    if quick is not None:
        return quick
    return [
        None if payload is None else action_from_message(space, pb.PlayerAction.FromString(payload))
        for payload in payloads
    ]


def _take(values: Any, rows: list[int]) -> Any:
    return values[rows] if isinstance(values, np.ndarray) else [values[row] for row in rows]


def _stack(space: Space[Any], values: Any) -> Any:
    """Return values of ``space`` as one column (see ``TrialData``)."""
    if isinstance(values, np.ndarray):
        return values
    if isinstance(space, spaces.Dict):
        return {key: _stack(part, [value[key] for value in values]) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_stack(part, [value[i] for value in values]) for i, part in enumerate(space.spaces))
    if isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiBinary | spaces.MultiDiscrete):
        shape: tuple[int, ...] = space.shape or ()
        filled = [np.zeros(shape, space.dtype) if value is None else value for value in values]
        return np.array(filled, dtype=space.dtype).reshape((len(values), *shape))
    return list(values)
