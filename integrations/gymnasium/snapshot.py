"""The state of an environment, taken out and put back."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import gymnasium as gym
    from pettingzoo import AECEnv, ParallelEnv

    Env: TypeAlias = gym.Env[Any, Any] | AECEnv[Any, Any, Any] | ParallelEnv[Any, Any, Any]

__all__ = ["Snapshot"]

_INSIDE = ("env", "aec_env")  # where wrappers keep what they wrap


class Snapshot:
    """What an environment and its wrappers were at one moment.

    An environment declares that its state can be restored by having, on ``env.unwrapped``, either
    ``get_state()`` and ``set_state(state)``, or ALE's ``clone_state(include_rng=True)`` and
    ``restore_state(state)``; the state may be kept for long and be restored often. Its generator,
    ``np_random``, is restored beside it, where it has one. Of others the attributes are copied deeply, which
    serves for environments in plain Python (classic control, toy text, board games) and fails for those with
    a simulator behind them (Box2D, MuJoCo). Wrappers' own attributes are always copied.

    Args:
        env: Whose state.
        put_back: Restores what is not a wrapper's.
        is_declared: Whether the environment declares that it can.
    """

    def __init__(self, env: Env, put_back: Callable[[], None], *, is_declared: bool) -> None:
        self.is_declared = is_declared
        self._put_back = put_back
        self._wrappers = [
            (wrapper, _copy_attributes(wrapper, without=set(_INSIDE))) for wrapper in _wrappers_of(env)
        ]

    @classmethod
    def take(cls, env: Env) -> Self | None:
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


def _wrappers_of(env: Any) -> list[Any]:
    found = []
    while env is not env.unwrapped:
        found.append(env)
        env = _inside(env)
    return found


def _inside(wrapper: Any) -> Any:
    """Return what a wrapper wraps, of Gymnasium or PettingZoo; ``None`` of what is no wrapper."""
    if wrapper is wrapper.unwrapped:
        return None
    return next(vars(wrapper)[name] for name in _INSIDE if name in vars(wrapper))


def _by_methods(base: Any, state: Any, set_state: Callable[[Any], Any]) -> Callable[[], None]:
    found = getattr(base, "np_random", None)
    generator = copy.deepcopy(found.bit_generator.state) if isinstance(found, np.random.Generator) else None

    def put_back() -> None:
        set_state(copy.deepcopy(state))
        if generator is not None:
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
    return {id(each): each for each in (owner, _inside(owner), owner.unwrapped) if each is not None}
