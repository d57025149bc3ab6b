"""A person at our page as an actor of services: the trial elsewhere, played here in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import math
import queue
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from cogment_lab.core import CogmentActor
from cogment_lab.errors import EnvironmentCrashedError, SeatLostError
from cogment_lab.humans.keymaps import KeyMap
from cogment_lab.trial.embedded import EmbeddedTrial
from cogment_lab.trial.rules import TrialRules
from cogment_lab.trial.seat import Seats
from cogment_lab.wire.actor import ActorSession

if TYPE_CHECKING:
    from cogment_lab.humans.web.seat import WebSeat

__all__ = ["HumanPlayer", "key_code"]

_LOG = logging.getLogger(__name__)
_PATIENCE = 600.0
_LOOK_SECONDS = 0.5


class _Over(Exception):
    """The session has ended."""


class _SessionEnv(gym.Env[Any, Any]):
    """The trial elsewhere as an environment here: what the page's trial steps, in its own thread."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012

    def __init__(self, observation_space: Any, action_space: Any, answer: Callable[[Any], None]) -> None:
        self.observation_space = observation_space
        self.action_space = action_space
        self._seen: queue.Queue[tuple[Any, Any, float, bool] | None] = queue.Queue(2)  # the last one, its end
        self._answer = answer
        self._frame: Any = None
        self._first: Any = None

    def show(self, seen: tuple[Any, Any, float, bool] | None) -> None:
        """Hand over an observation, its frame, the reward and whether it is the last; ``None`` ends it all.

        It blocks nobody: what a thread that is gone, or does not look, has left is dropped.
        """
        while True:
            try:
                return self._seen.put_nowait(seen)
            except queue.Full:
                with contextlib.suppress(queue.Empty):
                    self._seen.get_nowait()

    def wait_for_first(self) -> None:
        """Wait for the first observation; only its frame tells whether there are any."""
        self._first, _, _ = self._next()
        self.render_mode = None if self._frame is None else "rgb_array"

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return self._first, {}

    def step(self, action: Any) -> Any:
        self._answer(action)
        observation, reward, is_last = self._next()
        return observation, reward, is_last, False, {}

    def render(self) -> Any:
        return self._frame

    def _next(self) -> tuple[Any, float, bool]:
        try:
            given = self._seen.get(timeout=_PATIENCE)
        except queue.Empty:
            raise _Over(f"nothing came for {_PATIENCE:.0f} s") from None
        if given is None:
            raise _Over
        observation, frame, reward, is_last = given
        if frame is not None:
            self._frame = np.asarray(frame)
        return observation, reward, is_last


class HumanPlayer(CogmentActor[Any, Any]):
    """Whoever sits at the page plays; without anybody there, the trial waits.

    One trial at a time: a second one waits for the seat.

    Args:
        seat: Returns the player's seat on the page, given a key map (``None`` for the environment's own).
        keys: From key to action, empty for the environment's own; ``"no-op"``, or else the first, is done
            while nobody is there for long.
        fps: Ticks per second; 0 waits for a key.
    """

    def __init__(
        self, seat: Callable[[KeyMap | None], WebSeat], keys: Mapping[str, Any], fps: float = 30.0
    ) -> None:
        super().__init__()
        self._make_seat = seat
        self._keys = keys
        self._fps = fps
        self._turn = asyncio.Lock()

    async def impl(self, actor_session: ActorSession) -> None:
        """Play one trial."""
        async with self._turn:
            await super().impl(actor_session)

    async def initialize(self, actor_session: ActorSession) -> None:
        """Begin the page's trial in a thread.

        Raises:
            ConfigurationError: the keys do not fit the action space.
        """
        await super().initialize(actor_session)
        loop = asyncio.get_running_loop()
        self._actions: asyncio.Queue[Any] = asyncio.Queue(1)
        self._reward = 0.0

        def take_in(action: Any) -> None:
            if self._actions.full():  # nobody waits for that one any more
                self._actions.get_nowait()
            self._actions.put_nowait(action)

        def answer(action: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the process ends
                loop.call_soon_threadsafe(take_in, action)

        space = self.action_space.gym_space
        keymap = None
        if self._keys:
            keymap = KeyMap.from_any({key_code(key): each for key, each in self._keys.items()}, space)
            keymap = dataclasses.replace(keymap, turn_based=self._fps <= 0)
        self._seat = self._make_seat(keymap)
        self._env = _SessionEnv(self.session_helper.get_observation_space().gym_space, space, answer)
        self._thread = threading.Thread(
            target=self._run, args=(actor_session.env_name, answer), name="page's trial", daemon=True
        )
        self._thread.start()

    async def act(self, observation: Any, rendered_frame: Any = None) -> Any:
        """Show the observation, and return what the person does, ``None`` where the trial ends before.

        A person may take as long as they like.

        Raises:
            SeatLostError: nobody at the page can answer any more.
        """
        self._show(observation, rendered_frame, is_last=False)
        while True:
            is_played = self._thread.is_alive()
            try:
                action = await asyncio.wait_for(self._actions.get(), _LOOK_SECONDS)
            except TimeoutError:
                if self.actor_session.is_trial_over():
                    return None
                if not is_played:
                    raise SeatLostError(
                        f"the page's trial has ended, since nothing came for {_PATIENCE:g} s"
                    ) from None
                continue
            if isinstance(action, Exception):
                raise action
            return action

    async def on_reward(self, rewards: list[Any]) -> None:
        """Add to what the next observation is shown with."""
        self._reward += sum(reward.value for reward in rewards if not math.isnan(reward.value))

    async def on_ending(self, observation: Any, rendered_frame: Any) -> None:
        """Show the end."""
        self._show(observation, rendered_frame, is_last=True)

    async def end(self) -> None:
        """Leave the page's trial."""
        self._leave()
        await asyncio.to_thread(self._thread.join, 10.0)

    async def _play(self, actor_session: ActorSession) -> None:
        try:
            await super()._play(actor_session)
        finally:
            if hasattr(self, "_env"):
                self._leave()

    def _leave(self) -> None:
        self._env.show(None)
        self._seat.stop_waiting()

    def _show(self, observation: Any, frame: Any, *, is_last: bool) -> None:
        self._env.show((observation, frame, self._reward, is_last))
        self._reward = 0.0

    def _run(self, env_name: str, answer: Callable[[Any], None]) -> None:
        """Be the page's trial; the body of the thread."""
        fps = self._fps if self._fps > 0 else 30.0
        trial = None
        try:
            self._env.wait_for_first()
            trial = EmbeddedTrial(self._env, env_id=env_name, rules=TrialRules(fps=fps), fps=fps)
            trial.remedy = 'start_trial(..., session_config={"render": True})'
            trial.seat(Seats(player=self._seat))
            trial.reset()
            over = False
            while not over:
                _, _, terminated, truncated, _ = trial.step(self._rest())
                over = terminated or truncated
        except (_Over, EnvironmentCrashedError):
            _LOG.debug("the page's trial of %s was ended from elsewhere", env_name)
        except Exception as error:
            answer(error)
        finally:
            if trial is not None:
                trial.abandon()

    def _rest(self) -> Any:
        """Return what is done while nobody is there for long."""
        if not self._keys:
            return self._env.action_space.sample()
        return self._keys.get("no-op", next(iter(self._keys.values())))


def key_code(name: str) -> str:
    """Return the ``KeyboardEvent.code`` for a key that 0.1.5 calls by what it types: ``KeyA`` for ``a``."""
    if len(name) == 1 and name.isascii() and name.isalnum():
        return f"Digit{name}" if name.isdigit() else f"Key{name.upper()}"
    return name
