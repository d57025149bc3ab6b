"""An environment that runs in a process of its own, stepped over a pipe."""

from __future__ import annotations

import multiprocessing
import pickle
import select
import struct
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import gymnasium as gym
import numpy as np
from cogment_lab.integrations.gymnasium.streamline import streamline

from cogment_lab.errors import ConfigurationError, EnvironmentCrashedError

__all__ = ["ProcessEnv"]

_START_SECONDS = 120.0
_STOP_SECONDS = 5.0
_PICKLED, _INT, _INT64, _STEP = b"p", b"i", b"I", b"s"
"""First byte of a message: pickled, an action that is a number, the result of a step in the short form."""

_ACTION, _RESULT = struct.Struct("<q"), struct.Struct("<d??")
_SEEN = 1 + _RESULT.size
_FACTS = ("observation_space", "action_space", "metadata", "render_mode", "spec")


class ProcessEnv(gym.Env[Any, Any]):
    """Runs an environment in a child process, so that neither its crash nor its memory is yours.

    Like ``multiprocessing``, it starts the child by *spawn*: the module that starts it must be importable
    (scripts guard their body with ``if __name__ == "__main__":``). The child ends when its pipe closes, be it
    by :meth:`close` or by the death of the parent. A step costs one round trip over the pipe.

    Args:
        build: Picklable function that returns the environment.
        timeout: Seconds to wait for any answer of the environment.

    Raises:
        ConfigurationError: ``build`` cannot be pickled, or raised in the child.
    """

    def __init__(self, build: Callable[[], gym.Env[Any, Any]], timeout: float = 600.0) -> None:
        try:
            packed = pickle.dumps(build)
        except Exception as error:
            raise ConfigurationError(
                f"{build!r} cannot be sent to another process ({error}): pass an environment's id, or a "
                "function that is defined in an importable module"
            ) from error
        self._timeout = timeout
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, packed), name="cogment_lab environment", daemon=True
        )
        self._process.start()
        theirs.close()
        self._poller = _poller(self._pipe)
        try:
            facts = self._receive(_START_SECONDS)
        except EnvironmentCrashedError as error:
            self.close()
            raise ConfigurationError(f"the environment could not be made: {error}") from error
        for name, value in facts.items():
            setattr(self, name, value)

    @property
    def pid(self) -> int | None:
        """Id of the child process, ``None`` once it is closed."""
        return self._process.pid if self._process.is_alive() else None

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step the environment; raise EnvironmentCrashedError when it raises, dies, or does not answer."""
        kind = type(action)
        if kind is int or kind is np.int64:
            self._write((_INT if kind is int else _INT64) + _ACTION.pack(action))
        else:
            self._send("step", (action,))
        result: tuple[Any, float, bool, bool, dict[str, Any]] = self._receive(self._timeout)
        return result

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment; raise as :meth:`step`."""
        self._send("reset", (seed, options))
        result: tuple[Any, dict[str, Any]] = self._receive(self._timeout)
        return result

    def render(self) -> Any:
        """Render the environment in its process."""
        self._send("render", ())
        return self._receive(self._timeout)

    def close(self) -> None:
        """End the child; kill it when it does not end within five seconds."""
        self._pipe.close()
        self._process.join(_STOP_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(_STOP_SECONDS)

    @property
    def np_random(self) -> Any:
        """A copy of the environment's generator."""
        return self._get("np_random")

    @np_random.setter
    def np_random(self, value: Any) -> None:
        self._send("set", ("np_random", value))
        self._receive(self._timeout)

    @property
    def _np_random(self) -> Any:  # type: ignore[override]  # Gymnasium declares a plain attribute
        return self._get("_np_random")

    @property
    def np_random_seed(self) -> int:
        """The seed of that generator, -1 where it is unknown."""
        seed: int = self._get("np_random_seed")
        return seed

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "_process" not in self.__dict__:
            raise AttributeError(name)
        return self._get(name)

    def _get(self, name: str) -> Any:
        self._send("get", (name,))
        return self._receive(self._timeout)

    def _send(self, call: str, arguments: tuple[Any, ...]) -> None:
        self._write(_PICKLED + pickle.dumps((call, arguments), protocol=5))

    def _write(self, data: bytes) -> None:
        try:
            self._pipe.send_bytes(data)
        except OSError as error:
            raise self._died() from error

    def _receive(self, timeout: float) -> Any:
        try:
            if not self._poller(timeout * 1000.0):
                raise EnvironmentCrashedError(f"the environment's process gave no answer in {timeout:g} s")
            data = self._pipe.recv_bytes()
        except (EOFError, OSError) as error:
            raise self._died() from error
        if data[:1] == _STEP:
            reward, terminated, truncated = _RESULT.unpack_from(data, 1)
            space: Any = self.observation_space
            seen = np.frombuffer(data, space.dtype, offset=_SEEN).reshape(space.shape).copy()
            return seen, reward, terminated, truncated, {}
        outcome, value = pickle.loads(data[1:])
        if outcome == "attribute":
            raise AttributeError(value)
        if outcome == "error":
            raise EnvironmentCrashedError(value)
        return value

    def _died(self) -> EnvironmentCrashedError:
        self._process.join(_STOP_SECONDS)
        code = self._process.exitcode
        return EnvironmentCrashedError(f"the environment's process is gone (exit code {code})")


def _poller(pipe: Connection) -> Callable[[float], Any]:
    """Return a function that waits some milliseconds; Connection.poll makes a selector each time."""
    if not hasattr(select, "poll"):  # Windows
        return lambda milliseconds: pipe.poll(milliseconds / 1000.0)
    poller = select.poll()
    poller.register(pipe.fileno(), select.POLLIN)
    return poller.poll


def _plain(space: gym.Space[Any], result: tuple[Any, ...]) -> bytes | None:
    """Return an everyday result of ``step`` in the short form, ``None`` when it has to be pickled."""
    seen, reward, terminated, truncated, info = result
    if (
        type(space) is gym.spaces.Box
        and type(seen) is np.ndarray
        and seen.dtype == space.dtype
        and seen.shape == space.shape
        and type(reward) is float
        and type(terminated) is bool
        and type(truncated) is bool
        and not info
    ):
        return _STEP + _RESULT.pack(reward, terminated, truncated) + seen.tobytes()
    return None


def _serve(pipe: Connection, packed: bytes) -> None:
    """Answer calls until the pipe closes; the body of the child process."""
    try:
        env = pickle.loads(packed)()
        facts = {name: getattr(env, name) for name in _FACTS}
        pipe.send_bytes(_PICKLED + pickle.dumps(("value", facts)))
    except Exception:
        pipe.send_bytes(_PICKLED + pickle.dumps(("error", traceback.format_exc())))
        return
    space = env.observation_space
    checked = streamlined = False
    try:
        while True:
            data = pipe.recv_bytes()
            kind = data[:1]
            if kind == _PICKLED:
                call, arguments = pickle.loads(data[1:])
            else:
                (number,) = _ACTION.unpack_from(data, 1)
                call, arguments = "step", (number if kind == _INT else np.int64(number),)
            try:
                if call == "step":
                    checked = True
                    value = env.step(*arguments)
                    plain = _plain(space, value)
                    if plain is not None:
                        pipe.send_bytes(plain)
                        continue
                elif call == "reset":
                    if checked and not streamlined:
                        streamlined = True
                        env = streamline(env)
                    seed, options = arguments
                    value = env.reset(seed=seed, options=options)
                elif call == "render":
                    value = env.render()
                elif call == "get":
                    value = env.get_wrapper_attr(*arguments)
                else:
                    value = env.set_wrapper_attr(*arguments)
                answer = _PICKLED + pickle.dumps(("value", value), protocol=5)
            except AttributeError as error:
                kind_of_error = "attribute" if call == "get" else "error"
                answer = _PICKLED + pickle.dumps((kind_of_error, str(error)))
            except Exception:
                answer = _PICKLED + pickle.dumps(("error", traceback.format_exc()))
            pipe.send_bytes(answer)
    except (EOFError, OSError, KeyboardInterrupt):
        env.close()
