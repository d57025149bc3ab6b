"""Actors: their session, in a service or joined as a client, and the service."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import grpc

from cogment_lab.errors import ServiceError
from cogment_lab.wire.events import EventType, RecvEvent, RecvObservation, RecvReward
from cogment_lab.wire.generated.common_pb2 import NORMAL, ActorInitialOutput, ActorRunTrialOutput
from cogment_lab.wire.registered import Implementation, choose_actor
from cogment_lab.wire.serving import Sessions, UserServicer, actor_class_of, config_of, read_init
from cogment_lab.wire.session import Session
from cogment_lab.wire.settings import ActorClass, ActorClassList, Settings
from cogment_lab.wire.shortcut import answer_offers
from cogment_lab.wire.stream import FrameStream, actor_side

__all__ = ["ActorClass", "ActorClassList", "ActorServicer", "ActorSession"]


class ActorSession(Session):
    """An actor's part in one trial.

    Args:
        stream: The frames to and from the orchestrator.
        trial_id: The trial.
        name: Name of the actor.
        impl_name: Name of the implementation that runs.
        config: Its configuration message, ``None`` for none.
        actor_class: Its class.
        env_name: Name of the trial's environment.
        joined: The first frame was sent already, to join the trial.

    Attributes:
        actor_class: Name of the class; ``class_name`` is the same.
        class_name: Name of the class.
        env_name: As above.
    """

    _frame = ActorRunTrialOutput
    _may_leave = True

    def __init__(
        self,
        stream: FrameStream[Any, Any],
        trial_id: str,
        name: str,
        impl_name: str,
        config: Any,
        *,
        actor_class: ActorClass,
        env_name: str,
        joined: bool = False,
    ) -> None:
        super().__init__(stream, trial_id, name, impl_name, config)
        self.class_name = self.actor_class = actor_class.name
        self.env_name = env_name
        self._parse = actor_class.observation_space.FromString
        self._joined = joined

    def start(self, auto_done_sending: bool = True) -> None:
        """Take part in the trial.

        Args:
            auto_done_sending: End sending by itself once user code has handled the last observation;
                otherwise it calls :meth:`sending_done`.
        """
        init = ActorRunTrialOutput(state=NORMAL, init_output=ActorInitialOutput())
        self._start(None if self._joined else init, auto_done_sending)

    def do_action(self, action: Any) -> None:
        """Answer the observation received last with a message of the action space; ``None`` is empty."""
        if self._refuses("an action"):
            return
        frame = ActorRunTrialOutput(state=NORMAL)
        sent = frame.action
        sent.tick_id = self._delivered_tick_id
        sent.timestamp = time.time_ns()
        if action is not None:
            sent.content = action.SerializeToString()
        self._send(frame)

    def send_message(self, payload: Any, to: Sequence[str], to_environment: bool | None = None) -> None:
        """Send a message to each of ``to``: names or patterns; ``env_name`` reaches the environment.

        Args:
            payload: A message.
            to: Names or patterns (protocol section 6.8).
            to_environment: Send it to the environment too; deprecated.
        """
        self._send_message(payload, [*to, self.env_name] if to_environment else to)

    def get_active_actors(self) -> Any:
        """Raise: an actor is not told about the others; ask :meth:`Controller.get_actors`.

        Raises:
            ServiceError: always.
        """
        raise ServiceError("an actor does not know the others; use Controller.get_actors(trial_id)")

    def _event(self, frame: Any, event_type: EventType) -> RecvEvent | None:
        event = RecvEvent(event_type)
        kind = frame.WhichOneof("data")
        if kind == "observation":
            observation = frame.observation
            tick_id = self._tick_id = observation.tick_id
            content = self._parse(observation.content)
            event.observation = RecvObservation(tick_id, observation.timestamp, content)
            return event
        if kind == "reward":
            reward = RecvReward(frame.reward)
            self._rewards_received += 1
            self._reward_sum += reward.value
            event.rewards.append(reward)
            return event
        return self._message_event(frame, kind, event)


class ActorServicer(UserServicer):
    """``ServiceActorSP`` for registered actors."""

    def __init__(
        self, settings: Settings, sessions: Sessions, implementations: Mapping[str, Implementation]
    ) -> None:
        super().__init__(settings, sessions)
        self._implementations = implementations

    async def RunTrial(self, requests: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Be an actor of a trial."""
        trial_id = await self._trial_id(context)
        async with self._refusing(context):
            call, bundled = await answer_offers(context)
            stream = actor_side(call)
            init = await read_init(stream, ActorRunTrialOutput)
            stream.bundled = bundled
            if init is None:
                return
            implementation = choose_actor(self._implementations, init.impl_name, init.actor_class)
            actor_class = actor_class_of(self._settings, init.actor_class)
            session = ActorSession(
                stream,
                trial_id,
                init.actor_name,
                implementation.name,
                config_of(init, actor_class.config_type),
                actor_class=actor_class,
                env_name=init.env_name,
            )
            await self._run(context, session, implementation)
