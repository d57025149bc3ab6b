"""What an environment and its actors exchange each tick: ``Observation`` and ``PlayerAction`` messages.

Both carry the value flattened, which is all that Cogment Lab 0.1.5 reads, and exactly where that loses
something.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeGuard

from gymnasium import Space, spaces

from cogment_lab.errors import SpecError
from cogment_lab.specs.arrays import holds_array
from cogment_lab.specs.flat import flat_from_message, flat_is_exact, flat_to_message
from cogment_lab.specs.generated import data_pb2 as pb
from cogment_lab.specs.generated import ndarray_pb2 as nd_pb
from cogment_lab.specs.structure import dict_items
from cogment_lab.specs.tagged_json import from_json, to_json
from cogment_lab.specs.values import value_from_message, value_to_message

__all__ = [
    "ReceivedObservation",
    "action_from_message",
    "action_to_message",
    "observation_from_message",
    "observation_to_message",
]


@dataclass(frozen=True, slots=True)
class ReceivedObservation:
    """What an ``Observation`` message says.

    Attributes:
        value: The observation, or None: agents that are not active may have none.
        active: It is this agent's turn.
        alive: The agent is still part of the episode.
        rendered_frame: An encoded image, or None.
        terminated: The episode reached a terminal state; None if the peer (0.1.5) does not say.
        truncated: The episode was cut; None if the peer does not say.
        reward: The environment's own reward of the step that led here; None if the peer does not say.
        info: The environment's info.
    """

    value: Any
    active: bool
    alive: bool
    rendered_frame: bytes | None
    terminated: bool | None
    truncated: bool | None
    reward: float | None
    info: dict[str, Any]


def observation_to_message(
    space: Space[Any],
    value: Any,
    *,
    active: bool = True,
    alive: bool | None = None,
    rendered_frame: bytes | None = None,
    terminated: bool = False,
    truncated: bool = False,
    reward: float | None = None,
    info: dict[str, Any] | None = None,
    compatible: bool = True,
) -> pb.Observation:
    """Return the message of an observation.

    Args:
        space: The agent's observation space.
        value: A value of it, or None.
        active: It is this agent's turn.
        alive: The agent is still part of the episode; by default, until it terminates or is truncated.
        rendered_frame: An encoded image.
        terminated: The episode reached a terminal state.
        truncated: The episode was cut.
        reward: The environment's own reward of the step that led here.
        info: The environment's info; what JSON cannot hold becomes text.
        compatible: Also write what Cogment Lab 0.1.5 reads, which can be much larger than the exact value.

    Raises:
        SpecError: The value does not fit the space.
    """
    message = pb.Observation(
        active=active,
        alive=not (terminated or truncated) if alive is None else alive,
        rendered_frame=rendered_frame,
        terminated=terminated,
        truncated=truncated,
        reward=reward,
        info_json=to_json(info, lossy=True) if info else "",
    )
    if value is not None:
        _write_value(message, space, value, _flat_observation(space, value) if compatible else None)
    return message


def observation_from_message(space: Space[Any], message: pb.Observation) -> ReceivedObservation:
    """Return what a message of this package or of Cogment Lab 0.1.5 says.

    Raises:
        SpecError: The message does not fit the space.
    """
    info = from_json(message.info_json) if message.info_json else {}
    if not isinstance(info, dict):
        raise SpecError(f"info_json must hold an object, not {type(info).__name__}")
    return ReceivedObservation(
        value=_read_observation(space, message),
        active=message.active,
        alive=message.alive,
        rendered_frame=message.rendered_frame if message.HasField("rendered_frame") else None,
        terminated=message.terminated if message.HasField("terminated") else None,
        truncated=message.truncated if message.HasField("truncated") else None,
        reward=message.reward if message.HasField("reward") else None,
        info=info,
    )


def action_to_message(space: Space[Any], value: Any, *, compatible: bool = True) -> pb.PlayerAction:
    """Return the message of an action.

    Args:
        space: The agent's action space; for a teacher, the Dict of ``active`` and ``action``.
        value: A value of it, or None.
        compatible: Also write what Cogment Lab 0.1.5 reads.

    Raises:
        SpecError: The value does not fit the space.
    """
    message = pb.PlayerAction()
    if value is not None:
        _write_value(message, space, value, flat_to_message(space, value) if compatible else None)
    return message


def action_from_message(space: Space[Any], message: pb.PlayerAction) -> Any:
    """Return the action of a message of this package or of Cogment Lab 0.1.5, or None if it holds none.

    Raises:
        SpecError: The message does not fit the space.
    """
    if message.HasField("exact_value"):
        return value_from_message(space, message.exact_value)
    return flat_from_message(space, message.value) if holds_array(message.value) else None


def _write_value(
    message: pb.Observation | pb.PlayerAction, space: Space[Any], value: Any, flat: nd_pb.Array | None
) -> None:
    if flat is not None:
        message.value.CopyFrom(flat)
    if flat is None or not flat_is_exact(space):
        message.exact_value.CopyFrom(value_to_message(space, value))


def _is_masked(space: Space[Any]) -> TypeGuard[spaces.Dict]:
    """Return whether this is PettingZoo's Dict with an action mask; 0.1.5 sends its observation only."""
    return isinstance(space, spaces.Dict) and space.spaces.keys() == {"observation", "action_mask"}


def _flat_observation(space: Space[Any], value: Any) -> nd_pb.Array | None:
    if not _is_masked(space):
        return flat_to_message(space, value)
    observed = dict(zip(space.spaces, dict_items(space, value), strict=True))
    return flat_to_message(space.spaces["observation"], observed["observation"])


def _read_observation(space: Space[Any], message: pb.Observation) -> Any:
    if message.HasField("exact_value"):
        return value_from_message(space, message.exact_value)
    if not holds_array(message.value):
        return None
    if _is_masked(space):
        raise SpecError(
            "the peer (0.1.5) sent an observation without its action_mask; remove it from the space"
        )
    return flat_from_message(space, message.value)
