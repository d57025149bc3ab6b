"""Environments: their session and the service."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import grpc

from cogment_lab.errors import ProtocolError, ServiceError
from cogment_lab.wire.events import ActorInfo, ActorStatus, EventType, RecvAction, RecvEvent
from cogment_lab.wire.generated.common_pb2 import LAST, NORMAL
from cogment_lab.wire.generated.environment_pb2 import EnvInitialOutput, EnvRunTrialOutput
from cogment_lab.wire.registered import Implementation, choose_environment
from cogment_lab.wire.serving import Sessions, UserServicer, actor_class_of, config_of, read_init
from cogment_lab.wire.session import Session
from cogment_lab.wire.settings import ActorClass, Settings
from cogment_lab.wire.shortcut import answer_offers
from cogment_lab.wire.stream import FrameStream, env_side

__all__ = ["EnvironmentServicer", "EnvironmentSession", "Observations"]

Observations = Sequence[tuple[str, Any]]
"""Who observes what: ``[("*", message)]``, or a name, ``class.*`` or ``class.name`` with its message each."""


class EnvironmentSession(Session):
    """An environment's part in one trial.

    Args:
        stream: The frames to and from the orchestrator.
        trial_id: The trial.
        name: Name of the environment.
        impl_name: Name of the implementation that runs.
        config: Its configuration message, ``None`` for none.
        actors: Name and class of every actor, in the trial's order.
    """

    _frame = EnvRunTrialOutput

    def __init__(
        self,
        stream: FrameStream[Any, Any],
        trial_id: str,
        name: str,
        impl_name: str,
        config: Any,
        *,
        actors: Sequence[tuple[str, ActorClass]],
    ) -> None:
        super().__init__(stream, trial_id, name, impl_name, config)
        self._actors = [ActorInfo(actor_name, actor_class.name) for actor_name, actor_class in actors]
        self._parsers = [actor_class.action_space.FromString for _, actor_class in actors]
        self._indices: dict[str, tuple[int, ...]] = {}

    def start(self, observations: Observations | None = None, auto_done_sending: bool = True) -> None:
        """Take part in the trial, with its first observations unless they follow later.

        Args:
            observations: What the actors see first; see :meth:`produce_observations`.
            auto_done_sending: End sending with the last observations; otherwise user code calls
                :meth:`sending_done`.
        """
        first = None if observations is None else self._pack(observations)
        init = EnvRunTrialOutput(state=NORMAL, init_output=EnvInitialOutput())
        self._start(init, auto_done_sending)
        if first is not None:
            self._send(first)

    def produce_observations(self, observations: Observations) -> None:
        """Begin the next tick; when the trial is ending, these are the last.

        Args:
            observations: Target and message pairs that give each actor exactly one observation. Targets are
                ``*`` (alone), names, ``class.*`` or ``class.name``. One message object for several actors
                is sent once.

        Raises:
            ServiceError: an actor has no observation, or two.
        """
        frame = self._pack(observations)
        if self._refuses("an observation"):
            return
        self._send(frame)
        if self._ending and self._auto_ack:
            self._acknowledge()

    def end(self, final_observations: Observations) -> None:
        """End the trial with its last observations (see :meth:`produce_observations`)."""
        frame = self._pack(final_observations)
        if self._refuses("an end"):
            return
        if not self._ending:
            self._ending = True
            self._send(EnvRunTrialOutput(state=LAST))
        self._send(frame)
        if self._auto_ack:
            self._acknowledge()

    def send_message(self, payload: Any, to: Sequence[str], to_environment: bool | None = None) -> None:
        """Send a message to each of ``to``: actor names or patterns.

        Args:
            payload: A message.
            to: Names or patterns (protocol section 6.8).
            to_environment: Has no effect; deprecated.
        """
        self._send_message(payload, to)

    def get_active_actors(self) -> list[ActorInfo]:
        """Return the trial's actors, in order."""
        return self._actors

    def _pack(self, observations: Observations) -> EnvRunTrialOutput:
        seen: list[Any] = [None] * len(self._actors)
        for target, message in observations:
            for index in self._targets(target):
                if seen[index] is not None:
                    raise ServiceError(f"actor {self._actors[index].actor_name!r} is given two observations")
                seen[index] = message
        frame = EnvRunTrialOutput(state=NORMAL)
        packed = frame.observation_set
        packed.tick_id = -1
        packed.timestamp = time.time_ns()
        places: dict[int, int] = {}
        for index, message in enumerate(seen):
            place = places.get(id(message))
            if place is None:
                if message is None:
                    targets = [target for target, _ in observations]
                    raise ServiceError(
                        f"actor {self._actors[index].actor_name!r} is given no observation by {targets}"
                    )
                place = places[id(message)] = len(places)
                packed.observations.append(message.SerializeToString())
            packed.actors_map.append(place)
        return frame

    def _targets(self, target: str) -> tuple[int, ...]:
        """Return the indices of the actors that ``target`` names; a name that is nobody's names none."""
        indices = self._indices.get(target)
        if indices is None:
            if not isinstance(target, str) or target.count(".") > 1:
                raise ServiceError(f"{target!r} is neither an actor's name nor class.name, class.* or *")
            actor_class, dot, name = target.rpartition(".")
            indices = self._indices[target] = tuple(
                index
                for index, actor in enumerate(self._actors)
                if target in ("*", "*.*")
                or (name in ("*", actor.actor_name) and (not dot or actor_class == actor.actor_class_name))
            )
        return indices

    def _event(self, frame: Any, event_type: EventType) -> RecvEvent | None:
        event = RecvEvent(event_type)
        kind = frame.WhichOneof("data")
        if kind != "action_set":
            return self._message_event(frame, kind, event)
        received = frame.action_set
        tick_id, timestamp = received.tick_id, received.timestamp
        if len(received.actions) != len(self._parsers):
            raise ProtocolError(f"{len(received.actions)} actions for {len(self._parsers)} actors")
        unavailable = set(received.unavailable_actors) if received.unavailable_actors else ()
        for index, content in enumerate(received.actions):
            if index in unavailable:
                action = RecvAction(tick_id, index, ActorStatus.UNAVAILABLE, 0, None)
            else:
                action = RecvAction(
                    tick_id, index, ActorStatus.ACTIVE, timestamp, self._parsers[index](content)
                )
            event.actions.append(action)
        self._tick_id = tick_id
        return event


class EnvironmentServicer(UserServicer):
    """``EnvironmentSP`` for registered environments."""

    def __init__(
        self, settings: Settings, sessions: Sessions, implementations: Mapping[str, Implementation]
    ) -> None:
        super().__init__(settings, sessions)
        self._implementations = implementations

    def statuses(self) -> Mapping[str, str]:
        """Return the machine's load, the number of sessions, and what the implementations tell."""
        told = dict(super().statuses())
        for implementation in self._implementations.values():
            told |= implementation.statuses
        return told

    async def RunTrial(self, requests: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Be the environment of a trial."""
        trial_id = await self._trial_id(context)
        async with self._refusing(context):
            call, bundled = await answer_offers(context)
            stream = env_side(call)
            init = await read_init(stream, EnvRunTrialOutput)
            stream.bundled = bundled
            if init is None:
                return
            implementation = choose_environment(self._implementations, init.impl_name)
            session = EnvironmentSession(
                stream,
                trial_id,
                init.name,
                implementation.name,
                config_of(init, self._settings.environment.config_type),
                actors=[
                    (actor.name, actor_class_of(self._settings, actor.actor_class))
                    for actor in init.actors_in_trial
                ],
            )
            await self._run(context, session, implementation)
