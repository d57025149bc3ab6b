"""Scripted policies and gates for well-known environments: humans who never tire.

Each policy is a pure function of the observation; each gate says when a careful teacher would grab the
controls.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from cogment_lab.errors import ConfigurationError
from cogment_lab.humans.simulated import SimulatedHuman

__all__ = ["HoldGate", "scripted_environments", "scripted_gate", "scripted_human", "scripted_policy"]

Observation = npt.NDArray[np.floating[Any]]
Policy = Callable[[Any], Any]
Gate = Callable[[Any, Any], bool]


def cartpole(observation: Observation) -> int:
    """Balance by linear state feedback; return 500 from nearly every start."""
    position, velocity, angle, angular_velocity = observation
    return int(0.1 * position + 0.2 * velocity + angle + 0.4 * angular_velocity > 0.0)


def mountain_car(observation: Observation) -> int:
    """Push in the direction of motion; return about -118."""
    return 2 if observation[1] >= 0.0 else 0


def mountain_car_continuous(observation: Observation) -> npt.NDArray[np.float32]:
    """Push in the direction of motion."""
    return np.array([1.0 if observation[1] >= 0.0 else -1.0], dtype=np.float32)


def pendulum(observation: Observation) -> npt.NDArray[np.float32]:
    """Pump energy until the pole is near the top, then hold it there by PD control."""
    cosine, sine, velocity = (float(value) for value in observation)
    if cosine > 0.85:
        torque = -(12.0 * np.arctan2(sine, cosine) + 3.0 * velocity)
    else:
        # E = w^2/6 + 5 cos(theta) for the environment's rod (m = l = 1, g = 10); 5 at the top.
        energy = velocity * velocity / 6.0 + 5.0 * cosine
        torque = 2.0 * np.sign(velocity if velocity else 1.0) * np.sign(5.0 - energy)
    return np.array([np.clip(torque, -2.0, 2.0)], dtype=np.float32)


def acrobot(observation: Observation) -> int:
    """Pump energy by pushing with the second joint's motion against the first's."""
    return 2 if observation[4] < 0.0 else 0


def lunar_lander(observation: Observation) -> int:
    """Land by Gymnasium's own heuristic (discrete engines); return about 250."""
    return int(_lander_heuristic(False, observation))


def lunar_lander_continuous(observation: Observation) -> npt.NDArray[np.float32]:
    """Land by Gymnasium's own heuristic (continuous engines)."""
    return np.asarray(_lander_heuristic(True, observation), dtype=np.float32)


def _lander_heuristic(continuous: bool, observation: Observation) -> Any:
    from gymnasium.envs.box2d.lunar_lander import heuristic

    env = SimpleNamespace(unwrapped=SimpleNamespace(continuous=continuous))
    return heuristic(env, observation)  # type: ignore[no-untyped-call]


class HoldGate:
    """A gate that stays open for some ticks after each danger: people do not let go at once.

    Args:
        danger: ``danger(observation) -> bool``.
        hold: Ticks for which control is kept after the last danger.
    """

    def __init__(self, danger: Callable[[Any], bool], hold: int) -> None:
        self.danger = danger
        self.hold = hold
        self._left = 0

    def __call__(self, observation: Any, proposed_action: Any) -> bool:
        """Return whether to be in control."""
        if self.danger(observation):
            self._left = self.hold
        elif self._left:
            self._left -= 1
        return self._left > 0


def _lander_danger(observation: Observation) -> bool:
    x, _, _, vertical, angle, angular, *_ = observation
    return bool(abs(angle) > 0.4 or vertical < -0.7 or abs(angular) > 0.6 or abs(x) > 0.6)


def _cartpole_danger(observation: Observation) -> bool:
    return bool(abs(observation[2]) > 0.1 or abs(observation[0]) > 1.2)


def _pendulum_danger(observation: Observation) -> bool:
    return bool(observation[0] < 0.85)


def _always(observation: Any) -> bool:
    return True


_POLICIES: dict[str, tuple[Policy, Callable[[Any], bool], int]] = {
    "CartPole-v0": (cartpole, _cartpole_danger, 5),
    "CartPole-v1": (cartpole, _cartpole_danger, 5),
    "MountainCar-v0": (mountain_car, _always, 1),
    "MountainCarContinuous-v0": (mountain_car_continuous, _always, 1),
    "Pendulum-v1": (pendulum, _pendulum_danger, 10),
    "Acrobot-v1": (acrobot, _always, 1),
    "LunarLander-v3": (lunar_lander, _lander_danger, 20),
    "LunarLanderContinuous-v3": (lunar_lander_continuous, _lander_danger, 20),
}


def scripted_environments() -> tuple[str, ...]:
    """Return the ids for which a scripted human is shipped."""
    return tuple(_POLICIES)


def scripted_policy(env_id: str) -> Policy:
    """Return ``policy(observation) -> action`` for that environment.

    Raises:
        ConfigurationError: none is shipped for it; the message lists the ones that are.
    """
    return _lookup(env_id)[0]


def scripted_gate(env_id: str) -> Gate:
    """Return a new gate that opens when that environment gets dangerous."""
    _, danger, hold = _lookup(env_id)
    return HoldGate(danger, hold)


def scripted_human(env_id: str, *, gated: bool = True, **limits: Any) -> SimulatedHuman:
    """Return a simulated human who knows that environment.

    Args:
        env_id: A Gymnasium id.
        gated: Take over in danger only; ``False`` is always in control.
        **limits: ``reaction_ticks, error_rate, budget, rng, role, name`` of :class:`SimulatedHuman`.

    Example:
        >>> from cogment_lab.humans.scripted import scripted_human
        >>> teacher = scripted_human("LunarLander-v3", budget=7000)
    """
    return SimulatedHuman(scripted_policy(env_id), scripted_gate(env_id) if gated else None, **limits)


def _lookup(env_id: str) -> tuple[Policy, Callable[[Any], bool], int]:
    try:
        return _POLICIES[env_id]
    except KeyError:
        raise ConfigurationError(
            f"no scripted human is shipped for {env_id!r} (there are {', '.join(_POLICIES)}); pass "
            "SimulatedHuman(policy) with a policy of yours"
        ) from None
