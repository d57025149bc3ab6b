"""Sessions in terms of Gymnasium spaces; the names of Cogment Lab 0.1.5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cogment_lab.errors import ServiceError
from cogment_lab.specs import Action, ActionSpace, AgentSpecs, Observation, ObservationSpace
from cogment_lab.wire.actor import ActorSession
from cogment_lab.wire.environment import EnvironmentSession
from cogment_lab.wire.events import RecvEvent

__all__ = ["ActorSessionHelper", "EnvironmentSessionHelper"]


class ActorSessionHelper:
    """What an actor's configuration says of its spaces.

    Args:
        actor_session: The session; its config is an ``AgentConfig``.
        model_registry: Kept for the actor's use.

    Raises:
        ServiceError: the configuration holds no specs.
    """

    def __init__(self, actor_session: ActorSession, model_registry: Any = None) -> None:
        config = actor_session.config
        if config is None or not config.HasField("agent_specs"):
            raise ServiceError(f"actor {actor_session.name!r} has no agent_specs in its configuration")
        self.actor_session = actor_session
        self.agent_specs = AgentSpecs.deserialize(config.agent_specs)
        self.action_space = self.agent_specs.get_action_space(seed=config.seed or None)
        self.observation_space = self.agent_specs.get_observation_space()
        self.model_registry = model_registry

    def get_action_space(self) -> ActionSpace:
        """Return the actor's action space."""
        return self.action_space

    def get_observation_space(self) -> ObservationSpace:
        """Return the actor's observation space."""
        return self.observation_space

    def get_observation(self, event: RecvEvent) -> Observation | None:
        """Return the observation of an event, ``None`` without one."""
        if event.observation is None:
            return None
        return self.observation_space.deserialize(event.observation.observation)


class EnvironmentSessionHelper:
    """The actors of a trial by name, each with its spaces.

    Args:
        environment_session: The session.
        agent_specs: What each actor may see and do; the trial's actors must be among them.

    Raises:
        ServiceError: an actor of the trial is none of them.
    """

    def __init__(
        self, environment_session: EnvironmentSession, agent_specs: Mapping[str, AgentSpecs] | AgentSpecs
    ) -> None:
        self.actor_infos = environment_session.get_active_actors()
        self.actors = [info.actor_name for info in self.actor_infos]
        self.actor_idxs = {name: index for index, name in enumerate(self.actors)}
        if isinstance(agent_specs, AgentSpecs):
            agent_specs = dict.fromkeys(self.actors, agent_specs)
        unknown = [name for name in self.actors if name not in agent_specs]
        if unknown:
            raise ServiceError(f"the environment has no agents {unknown}; it has {sorted(agent_specs)}")
        config = environment_session.config
        width = config.render_width if config is not None else 0
        self.agent_specs = {name: agent_specs[name] for name in self.actors}
        self.observation_spaces = {
            name: specs.get_observation_space(width) for name, specs in self.agent_specs.items()
        }
        self.action_spaces = {name: specs.get_action_space() for name, specs in self.agent_specs.items()}

    def get_observation_space(self, actor_name: str) -> ObservationSpace:
        """Return the observation space of an actor."""
        return self.observation_spaces[actor_name]

    def get_action_space(self, actor_name: str) -> ActionSpace:
        """Return the action space of an actor."""
        return self.action_spaces[actor_name]

    def get_action(self, tick_data: RecvEvent, actor_name: str) -> Action | None:
        """Return what an actor did, ``None`` when it did nothing.

        Raises:
            ServiceError: nobody is called so.
        """
        if not tick_data.actions:
            return None
        if actor_name not in self.actor_idxs:
            raise ServiceError(f"no actor {actor_name!r} in this trial; there are {self.actors}")
        message = tick_data.actions[self.actor_idxs[actor_name]].action
        return None if message is None else self.action_spaces[actor_name].deserialize(message)

    def get_player_actions(self, tick_data: RecvEvent, actor_name: str) -> Action | None:
        """Return what :meth:`get_action` returns; its other name."""
        return self.get_action(tick_data, actor_name)
