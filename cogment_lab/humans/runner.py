"""People as actors of services: a web page or a Gradio app in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import multiprocessing
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from cogment_lab.core import CogmentActor
from cogment_lab.errors import EnvironmentCrashedError, InvalidActionError
from cogment_lab.humans.page_override import serve_page
from cogment_lab.humans.web import WebUI
from cogment_lab.trial.embedded import EmbeddedTrial
from cogment_lab.trial.rules import TrialRules
from cogment_lab.trial.seat import Seats
from cogment_lab.utils.serving import serve
from cogment_lab.wire.actor import ActorSession
from cogment_lab.wire.context import Context
from cogment_lab.wire.settings import LAB_SETTINGS

__all__ = ["GradioActor", "HumanPlayer", "serve_gradio_ui", "serve_web_ui"]

_LOG = logging.getLogger(__name__)
_BLACK = np.zeros((240, 320, 3), np.uint8)
_PATIENCE = 600.0


class _Over(Exception):
    """The session has ended."""


class _SessionEnv(gym.Env[Any, Any]):
    """The trial elsewhere as an environment here: what the page's trial steps, in its own thread."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012

    def __init__(self, observation_space: Any, action_space: Any, answer: Callable[[Any], None]) -> None:
        self.observation_space = observation_space
        self.action_space = action_space
        self.render_mode = "rgb_array"
        self.seen: queue.Queue[tuple[Any, Any, float, bool] | None] = queue.Queue()
        self._answer = answer
        self._frame = _BLACK

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        observation, _, _ = self._next()
        return observation, {}

    def step(self, action: Any) -> Any:
        self._answer(action)
        observation, reward, is_last = self._next()
        return observation, reward, is_last, False, {}

    def render(self) -> Any:
        return self._frame

    def _next(self) -> tuple[Any, float, bool]:
        try:
            given = self.seen.get(timeout=_PATIENCE)
        except queue.Empty:
            raise _Over(f"nothing came for {_PATIENCE:.0f} s") from None
        if given is None:
            raise _Over
        observation, frame, reward, is_last = given
        if frame is not None:
            self._frame = np.asarray(frame)
        return observation, reward, is_last


class HumanPlayer(CogmentActor[Any, Any]):
    """Whoever sits at the page plays; without anybody there, ``default`` is done.

    One trial at a time: a second one waits for the seat.

    Args:
        seat: The player's seat on the page.
        default: Action without a person; ``None`` samples.
        fps: Ticks per second.
    """

    def __init__(self, seat: Any, default: Any = None, fps: float = 30.0) -> None:
        super().__init__(seat, default, fps)
        self._seat = seat
        self._default = default
        self._fps = fps if fps > 0 else 30.0
        self._turn = asyncio.Lock()

    async def impl(self, actor_session: ActorSession) -> None:
        """Play one trial."""
        async with self._turn:
            await super().impl(actor_session)

    async def initialize(self, actor_session: ActorSession) -> None:
        """Begin the page's trial in a thread."""
        await super().initialize(actor_session)
        loop = asyncio.get_running_loop()
        self._actions: asyncio.Queue[Any] = asyncio.Queue()
        self._reward = 0.0

        def answer(action: Any) -> None:
            loop.call_soon_threadsafe(self._actions.put_nowait, action)

        seen = self.session_helper.get_observation_space().gym_space
        self._env = _SessionEnv(seen, self.action_space.gym_space, answer)
        self._thread = threading.Thread(
            target=self._run, args=(actor_session.env_name,), name="page's trial", daemon=True
        )
        self._thread.start()

    async def act(self, observation: Any, rendered_frame: Any = None) -> Any:
        """Show the observation, and return what the person does."""
        self._show(observation, rendered_frame, is_last=False)
        return await self._actions.get()

    async def on_reward(self, rewards: list[Any]) -> None:
        """Add to what the next observation is shown with."""
        self._reward += sum(reward.value for reward in rewards if not math.isnan(reward.value))

    async def on_ending(self, observation: Any, rendered_frame: Any) -> None:
        """Show the end."""
        self._show(observation, rendered_frame, is_last=True)

    async def end(self) -> None:
        """Leave the page's trial."""
        self._env.seen.put(None)
        await asyncio.to_thread(self._thread.join, 10.0)

    async def _play(self, actor_session: ActorSession) -> None:
        try:
            await super()._play(actor_session)
        finally:
            if hasattr(self, "_env"):
                self._env.seen.put(None)

    def _show(self, observation: Any, frame: Any, *, is_last: bool) -> None:
        self._env.seen.put((observation, frame, self._reward, is_last))
        self._reward = 0.0

    def _run(self, env_name: str) -> None:
        """Be the page's trial; the body of the thread."""
        trial = EmbeddedTrial(self._env, env_id=env_name, rules=TrialRules(fps=self._fps), fps=self._fps)
        with contextlib.suppress(_Over, EnvironmentCrashedError):
            trial.seat(Seats(player=self._seat))
            trial.reset()
            over = False
            while not over:
                try:
                    _, _, terminated, truncated, _ = trial.step(None)
                except InvalidActionError:  # nobody is there
                    fallback = self._default if self._default is not None else self._env.action_space.sample()
                    _, _, terminated, truncated, _ = trial.step(fallback)
                over = terminated or truncated
        trial.abandon()


async def serve_web_ui(
    announce: Callable[[int], None],
    app_port: int,
    cogment_port: int,
    keys: Mapping[str, Any],
    fps: float,
    page: str | None,
) -> None:
    """Serve the page and its actor until cancelled.

    Args:
        announce: Called with the actor's port.
        app_port: Port of the page.
        cogment_port: Port of the actor.
        keys: From key to action; the first one is what happens without a person.
        fps: Ticks per second.
        page: HTML to serve instead of our page; it speaks 0.1.5's socket.
    """
    default = next(iter(keys.values()), None)
    async with contextlib.AsyncExitStack() as stack:
        if page is not None:
            actor: Any = await stack.enter_async_context(serve_page(page, app_port, keys, fps))
        else:
            ui = stack.enter_context(WebUI(port=app_port))
            held = {key: action for key, action in keys.items() if key != "no-op"}
            actor = HumanPlayer(ui.seat("player", keymap=held or None), default, fps)
            print(f"play at {ui.url}", flush=True)
        await _serve(actor, "web_ui", cogment_port, announce)


class GradioActor(CogmentActor[Any, Any]):
    """Plays by two queues: observations with frames go out, actions come in.

    Args:
        send: Gets ``(observation, frame)``.
        receive: Gives actions.
    """

    def __init__(self, send: Any, receive: Any) -> None:
        super().__init__(send, receive)
        self._send = send
        self._receive = receive

    async def act(self, observation: Any, rendered_frame: Any = None) -> Any:
        """Return the app's next action."""
        self._send.put((observation, rendered_frame))
        while True:
            try:
                return await asyncio.to_thread(self._receive.get, True, 0.5)
            except queue.Empty:
                if self.actor_session.is_trial_over():
                    return None

    async def on_ending(self, observation: Any, rendered_frame: Any) -> None:
        """Hand over the last observation."""
        self._send.put((observation, rendered_frame))


async def serve_gradio_ui(
    announce: Callable[[int], None], app: Callable[..., None], cogment_port: int, log_file: str | None
) -> None:
    """Run a Gradio app in a process of its own, and serve its actor until cancelled."""
    context = multiprocessing.get_context("spawn")
    actions: Any = context.Queue(1000)
    seen: Any = context.Queue(1000)
    process = context.Process(target=app, args=(actions, seen, log_file))
    process.start()
    try:
        await _serve(GradioActor(seen, actions), "gradio", cogment_port, announce)
    finally:
        process.terminate()
        process.join(5.0)


async def _serve(actor: Any, name: str, port: int, announce: Callable[[int], None]) -> None:
    context = Context(user_id="cogment_lab", cog_settings=LAB_SETTINGS)
    context.register_actor(impl=actor.impl, impl_name=name, actor_classes=["player"])
    await serve(context, announce, port)
