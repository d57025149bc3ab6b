"""What an agent sees and does, and its values as messages; the names of Cogment Lab 0.1.5."""

from __future__ import annotations

import functools
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from cogment_lab.specs.exchange import (
    action_from_message,
    action_to_message,
    observation_from_message,
    observation_to_message,
)
from cogment_lab.specs.frames import decode_frame, encode_frame
from cogment_lab.specs.generated import data_pb2 as pb
from cogment_lab.specs.spaces import space_from_message, space_to_message

__all__ = ["Action", "ActionSpace", "AgentSpecs", "Observation", "ObservationSpace"]


class Action:
    """An action, decoded when it is looked at.

    Args:
        gym_space: Its space.
        pb_action: The message it comes from, or
        value: the action itself.
    """

    def __init__(self, gym_space: gym.Space[Any], pb_action: Any = None, value: Any = None) -> None:
        self._space = gym_space
        self._message = pb_action
        if pb_action is None:
            self.value = value

    @functools.cached_property
    def value(self) -> Any:
        """The action, ``None`` for none."""
        return action_from_message(self._space, self._message)

    @property
    def flat_value(self) -> npt.NDArray[Any] | None:
        """The action as Gymnasium flattens it, ``None`` for none."""
        return None if self.value is None else np.asarray(gym.spaces.flatten(self._space, self.value))


class ActionSpace:
    """An action space whose values become messages.

    Args:
        gym_space: The space.
        seed: Of its samples.
    """

    def __init__(self, gym_space: gym.Space[Any], seed: int | None = None) -> None:
        self.gym_space = gym_space
        if seed is not None:
            gym_space.seed(int(seed))

    def create(self, value: Any = None) -> Action:
        """Return an action."""
        return Action(self.gym_space, value=value)

    def sample(self, mask: Any = None) -> Action:
        """Return a random action."""
        return Action(self.gym_space, value=self.gym_space.sample(mask=mask))

    def serialize(self, action: Action) -> pb.PlayerAction:
        """Return the message of an action."""
        return action_to_message(self.gym_space, action.value)

    def deserialize(self, pb_action: pb.PlayerAction) -> Action:
        """Return the action of a message."""
        return Action(self.gym_space, pb_action=pb_action)

    def create_serialize(self, value: Any = None) -> pb.PlayerAction:
        """Return the message of ``value``, of no action for ``None``."""
        return action_to_message(self.gym_space, value)


class Observation:
    """An observation, decoded when it is looked at.

    Args:
        gym_space: Its space.
        pb_observation: The message it comes from.
    """

    def __init__(self, gym_space: gym.Space[Any], pb_observation: pb.Observation) -> None:
        self._space = gym_space
        self._message = pb_observation
        self.active = pb_observation.active
        self.alive = pb_observation.alive

    @functools.cached_property
    def _said(self) -> Any:
        return observation_from_message(self._space, self._message)

    @property
    def value(self) -> Any:
        """What is seen, ``None`` for nothing."""
        return self._said.value

    @property
    def flat_value(self) -> npt.NDArray[Any] | None:
        """The same as Gymnasium flattens it."""
        return None if self.value is None else np.asarray(gym.spaces.flatten(self._space, self.value))

    @functools.cached_property
    def rendered_frame(self) -> npt.NDArray[Any] | None:
        """``(height, width, 3) uint8``, ``None`` for no frame."""
        data = self._message.rendered_frame
        return decode_frame(data) if data else None

    @property
    def info(self) -> dict[str, Any]:
        """The environment's info."""
        info: dict[str, Any] = self._said.info
        return info

    def __repr__(self) -> str:
        return f"Observation({self.value!r}, active={self.active}, alive={self.alive})"


class ObservationSpace:
    """An observation space whose values become messages.

    Args:
        space: The space.
        render_width: Longest side of frames in pixels; 0 and less keep their size.
    """

    def __init__(self, space: gym.Space[Any], render_width: int = 0) -> None:
        self.gym_space = space
        self.render_width = render_width

    def deserialize(self, pb_observation: pb.Observation) -> Observation:
        """Return the observation of a message."""
        return Observation(self.gym_space, pb_observation)

    def create_serialize(
        self,
        value: Any = None,
        active: bool = True,
        alive: bool = True,
        rendered_frame: npt.NDArray[Any] | None = None,
        **said: Any,
    ) -> pb.Observation:
        """Return the message of ``value``.

        Args:
            value: What is seen, ``None`` for nothing.
            active: It is this agent's turn.
            alive: The agent is still part of the episode.
            rendered_frame: ``(height, width, 3) uint8``.
            **said: ``terminated, truncated, reward, info`` of
                :func:`~cogment_lab.specs.exchange.observation_to_message`.
        """
        frame = None if rendered_frame is None else encode_frame(rendered_frame, self.render_width)
        return observation_to_message(
            self.gym_space, value, active=active, alive=alive, rendered_frame=frame, **said
        )


class AgentSpecs:
    """The spaces of an agent.

    Args:
        agent_specs_pb: Their message; see :meth:`create_homogeneous`.
    """

    def __init__(self, agent_specs_pb: pb.AgentSpecs) -> None:
        self._pb = agent_specs_pb

    @classmethod
    def create_homogeneous(
        cls, observation_space: gym.Space[Any], action_space: gym.Space[Any], serialization_format: Any = None
    ) -> AgentSpecs:
        """Return the specs of an agent with these spaces; the format has no effect any more."""
        return cls(
            pb.AgentSpecs(
                observation_space=space_to_message(observation_space),
                action_space=space_to_message(action_space),
            )
        )

    @classmethod
    def deserialize(cls, agent_specs_pb: pb.AgentSpecs) -> AgentSpecs:
        """Return the specs of a message."""
        return cls(agent_specs_pb)

    def serialize(self) -> pb.AgentSpecs:
        """Return their message."""
        return self._pb

    def get_observation_space(self, render_width: int = 0) -> ObservationSpace:
        """Return the observation space."""
        return ObservationSpace(space_from_message(self._pb.observation_space), render_width)

    def get_action_space(self, seed: int | None = None) -> ActionSpace:
        """Return the action space, its samples seeded when ``seed`` is given."""
        return ActionSpace(space_from_message(self._pb.action_space), seed)
