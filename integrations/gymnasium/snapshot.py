"""The state of an environment, taken out and put back."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Self

import gymnasium as gym

__all__ = ["Snapshot"]


class Snapshot:
    """What an environment and its wrappers were at one moment.

    An environment declares that its state can be restored by having, on ``env.unwrapped``, either
    ``get_state()`` and ``set_state(state)``, or ALE's ``clone_state(include_rng=True)`` and
    ``restore_state(state)``; the state may be kept for long and be restored often. Its generator,
    ``np_random``, is restored beside it. Of others the attributes are copied deeply, which serves for
    environments in plain Python (classic control, toy text) and fails for those with a simulator behind them
    (Box2D, MuJoCo). Wrappers' own attributes are always copied.

    Args:
        env: Whose state.
        put_back: Restores what is not a wrapper's.
        is_declared: Whether the environment declares that it can.
    """

    def __init__(self, env: gym.Env[Any, Any], put_back: Callable[[], None], *, is_declared: bool) -> None:
        self.is_declared = is_declared
        self._put_back = put_back
        self._wrappers = [
            (wrapper, _copy_attributes(wrapper, without={"env"})) for wrapper in _wrappers_of(env)
        ]

    @classmethod
    def take(cls, env: gym.Env[Any, Any]) -> Self | None:
        """Return a snapshot, ``None`` where the environment's state cannot be copied."""
        base: Any = env.unwrapped
        try:
            if hasattr(base, "get_state") and hasattr(base, "set_state"):
                return cls(env, _by_methods(base, base.get_state(), base.set_state), is_declared=True)
            if hasattr(base, "clone_state") and hasattr(base, "restore_state"):
                state = base.clone_state(include_rng=True)
                return cls(env, _by_methods(base, state, base.restore_state), is_declared=True)
            return cls(env, _by_attributes(base), is_declared=False)
        except Exception:
            # Whatever a foreign object raises when it is copied: it cannot be, and the way there is executed.
            return None

    def restore(self) -> None:
        """Put everything back."""
        self._put_back()
        for wrapper, attributes in self._wrappers:
            vars(wrapper).update(copy.deepcopy(attributes, _known(wrapper)))


def _wrappers_of(env: gym.Env[Any, Any]) -> list[Any]:
    found = []
    while isinstance(env, gym.Wrapper):
        found.append(env)
        env = env.env
    return found


def _by_methods(base: Any, state: Any, set_state: Callable[[Any], Any]) -> Callable[[], None]:
    generator = copy.deepcopy(base.np_random.bit_generator.state)

    def put_back() -> None:
        set_state(copy.deepcopy(state))
        base.np_random.bit_generator.state = copy.deepcopy(generator)

    return put_back


def _by_attributes(base: Any) -> Callable[[], None]:
    attributes = _copy_attributes(base, without=set())

    def put_back() -> None:
        current = vars(base)
        for name in current.keys() - attributes.keys():
            del current[name]
        current.update(copy.deepcopy(attributes, _known(base)))

    return put_back


def _copy_attributes(owner: Any, *, without: set[str]) -> dict[str, Any]:
    kept = {name: value for name, value in vars(owner).items() if name not in without}
    return copy.deepcopy(kept, _known(owner))


def _known(owner: Any) -> dict[int, Any]:
    """Return deepcopy's memo: what refers to the environment goes on doing so."""
    inner = owner.env if isinstance(owner, gym.Wrapper) else None
    return {id(each): each for each in (owner, inner, owner.unwrapped) if each is not None}
