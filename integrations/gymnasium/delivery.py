"""Errors of a trial in a worker process, raised where its learner is.

A worker of Stable-Baselines3's ``SubprocVecEnv`` dies of an error, and the learner hears of a closed pipe
(``EOFError``). All that reaches the learner is what ``step`` and ``reset`` return, pickled; so a trial there
returns its error as something that raises it where it is unpickled.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import TYPE_CHECKING, Any, Never

from cogment_lab.errors import CogmentLabError

if TYPE_CHECKING:
    from cogment_lab.integrations.gymnasium.environment import TrialEnv

__all__ = ["deliver_errors", "is_in_worker"]

_WORKER_MODULE = "stable_baselines3.common.vec_env.subproc_vec_env"
_PATIENCE = 10.0
"""Seconds that are waited for the answers of the other workers."""


def is_in_worker() -> bool:
    """Return whether the caller is called by a worker process of ``SubprocVecEnv``."""
    if _WORKER_MODULE not in sys.modules:
        return False
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "_worker" and frame.f_globals.get("__name__") == _WORKER_MODULE:
            return True
        frame = frame.f_back
    return False


def deliver_errors(env: TrialEnv) -> None:
    """From now on, let ``reset`` and ``step`` of an environment return their errors, and the worker live."""
    reset, step = env.reset, env.step

    def answer_reset(**arguments: Any) -> tuple[Any, dict[str, Any]]:
        try:
            return reset(**arguments)
        except CogmentLabError as error:
            return env.observation_space.sample(), {"error": _RaisedOnArrival(error)}

    def answer_step(action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        try:
            return step(action)
        except CogmentLabError as error:
            return env.observation_space.sample(), 0.0, False, False, {"error": _RaisedOnArrival(error)}

    env.reset, env.step = answer_reset, answer_step  # type: ignore[method-assign]


class _RaisedOnArrival:
    """Raises an error where it is unpickled."""

    def __init__(self, error: CogmentLabError) -> None:
        self._error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrive, (self._error,)


def _arrive(error: CogmentLabError) -> Never:
    _receive_the_rest(sys._getframe(1))
    raise error


def _receive_the_rest(frame: FrameType | None) -> None:
    """Receive what the workers after this one have answered.

    Else ``SubprocVecEnv.close()`` would wait, without end, for answers that it has got already.
    """
    connection: Any = None
    while frame is not None:
        owner = frame.f_locals.get("self")
        if connection is None and frame.f_code.co_name == "recv":
            connection = owner
        elif isinstance(owner, sys.modules[_WORKER_MODULE].SubprocVecEnv) and connection in owner.remotes:
            for remote in owner.remotes[owner.remotes.index(connection) + 1 :]:
                if remote.poll(_PATIENCE):
                    remote.recv()
            owner.waiting = False
            return
        frame = frame.f_back
