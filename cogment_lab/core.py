"""Environments and actors that can be served; the classes of Cogment Lab 0.1.5."""

from __future__ import annotations

import abc
import copy
import math
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from cogment_lab.session_helpers import ActorSessionHelper, EnvironmentSessionHelper
from cogment_lab.specs import AgentSpecs
from cogment_lab.wire.actor import ActorSession
from cogment_lab.wire.environment import EnvironmentSession
from cogment_lab.wire.events import EventType, RecvEvent

__all__ = [
    "BaseActor",
    "BaseEnv",
    "CogmentActor",
    "CogmentEnv",
    "NativeActor",
    "State",
]

Action = TypeVar("Action")
Observation = TypeVar("Observation")
Actions = dict[str, Any]
Observations = dict[str, Any]
Rewards = dict[str, float]
Dones = dict[str, bool]


class State:
    """What belongs to one trial of a served environment; an attribute that was not set is ``None``."""

    def __getattr__(self, name: str) -> Any:
        return None

    def __setattr__(self, name: str, value: Any) -> None:  # tells the type checker that any name goes
        object.__setattr__(self, name, value)


class BaseEnv(abc.ABC):
    """An environment that can be sent to a process of its own: it is made again there from its arguments.

    Attributes:
        agent_specs: What each agent sees and does.
    """

    agent_specs: dict[str, AgentSpecs]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = copy.deepcopy(args)
        self.kwargs = copy.deepcopy(kwargs)

    async def impl(self, environment_session: EnvironmentSession) -> None:
        """Be the environment of one trial; several may run at once."""
        raise NotImplementedError

    def get_constructor(self) -> Callable[[], BaseEnv]:
        """Return a function that makes this environment again."""
        made = type(self)
        return lambda: made(*self.args, **self.kwargs)


class CogmentEnv(BaseEnv, abc.ABC, Generic[Observation, Action]):
    """An environment written as ``reset`` and ``step`` on a :class:`State` of its own for each trial."""

    session_helper: EnvironmentSessionHelper
    actor_name: str

    async def initialize(self, state: State, environment_session: EnvironmentSession) -> State:
        """Prepare a trial; return its state."""
        state.environment_session = environment_session
        return state

    @abc.abstractmethod
    async def reset(self, state: State) -> tuple[State, Observations]:
        """Begin the trial; return the state and the first observations, as messages by target."""

    @abc.abstractmethod
    async def step(self, state: State, action: Any) -> tuple[State, Observations, Rewards, Dones, Dones, Any]:
        """Return state, observations (messages by target), rewards, terminated, truncated and info."""

    async def end(self, state: State) -> None:
        """Clean up after the trial, however it ended."""

    async def read_actions(self, state: State, event: RecvEvent) -> Any:
        """Return what :meth:`step` is given."""
        action = state.session_helper.get_action(event, state.actor_name)
        return None if action is None else action.value

    async def impl(self, environment_session: EnvironmentSession) -> None:
        """Run a trial: reset, then one step for each set of actions, until every agent is done."""
        state = State()
        try:
            state = await self.initialize(state, environment_session)
            state, observations = await self.reset(state)
            environment_session.start(list(observations.items()))
            async for event in environment_session.all_events():
                if not event.actions:
                    continue
                action = await self.read_actions(state, event)
                state, observations, rewards, terminated, truncated, _ = await self.step(state, action)
                for actor_name in state.actors:
                    reward = rewards.get(
                        actor_name, math.nan
                    )  # NaN: this agent was not rewarded in this tick
                    environment_session.add_reward(float(reward), 1.0, to=[actor_name])
                if all(terminated[name] or truncated[name] for name in terminated):
                    environment_session.end(list(observations.items()))
                else:
                    environment_session.produce_observations(list(observations.items()))
        finally:
            await self.end(state)


class BaseActor(abc.ABC):  # noqa: B024  # impl may be inherited
    """An actor that can be sent to a process of its own: it is made again there from its arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args
        self.kwargs = kwargs

    async def impl(self, actor_session: ActorSession) -> None:
        """Be an actor of one trial; several may run at once."""
        raise NotImplementedError


class NativeActor(BaseActor):
    """An actor that is a coroutine function of its session."""

    def __init__(self, impl: Callable[[ActorSession], Awaitable[None]]) -> None:
        super().__init__(impl)
        self._impl = impl

    async def impl(self, actor_session: ActorSession) -> None:
        """Call the function."""
        await self._impl(actor_session)


class CogmentActor(BaseActor, abc.ABC, Generic[Observation, Action]):
    """An actor written as ``act(observation, rendered_frame) -> action``.

    Each trial is played by a copy of its own, so that attributes set by :meth:`initialize` do not mix.

    Attributes:
        actor_session: The session of the trial.
        session_helper: Its spaces.
        action_space: Its action space.
        current_event: What is being answered.
    """

    actor_session: ActorSession
    session_helper: ActorSessionHelper
    action_space: Any
    current_event: RecvEvent

    async def initialize(self, actor_session: ActorSession) -> None:
        """Prepare for a trial."""
        self.actor_session = actor_session
        actor_session.start()
        self.session_helper = ActorSessionHelper(actor_session, None)
        self.action_space = self.session_helper.get_action_space()

    @abc.abstractmethod
    async def act(self, observation: Observation, rendered_frame: Any = None) -> Action:
        """Return the action that answers ``observation``.

        Args:
            observation: A value of the observation space.
            rendered_frame: ``(height, width, 3) uint8``, ``None`` without rendering.
        """

    async def on_reward(self, rewards: list[Any]) -> None:
        """Receive rewards."""

    async def on_message(self, messages: list[Any]) -> None:
        """Receive messages."""

    async def on_ending(self, observation: Observation, rendered_frame: Any) -> None:
        """Receive the last observation."""

    async def end(self) -> None:
        """Clean up after the trial."""

    async def impl(self, actor_session: ActorSession) -> None:
        """Play one trial."""
        await copy.copy(self)._play(actor_session)

    async def _play(self, actor_session: ActorSession) -> None:
        await self.initialize(actor_session)
        wants_frames = type(self)._wants_frames
        async for event in actor_session.all_events():
            self.current_event = event
            if event.observation is not None:
                observation = self.session_helper.get_observation(event)
                assert observation is not None
                frame = observation.rendered_frame if wants_frames else None
                if event.type is EventType.ENDING:
                    await self.on_ending(observation.value, frame)
                elif event.type is EventType.ACTIVE:
                    action = None
                    if observation.active and observation.alive:
                        action = await self.act(observation.value, frame)
                    actor_session.do_action(self.action_space.create_serialize(action))
            if event.rewards:
                await self.on_reward(event.rewards)
            if event.messages:
                await self.on_message(event.messages)
        await self.end()

    _wants_frames = True
    """Whether frames are decoded for :meth:`act`; a class that never looks at them says ``False``."""
