"""A person at a Gradio app as an actor of services, by two queues as in Cogment Lab 0.1.5."""

from __future__ import annotations

import asyncio
import multiprocessing
import queue
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from cogment_lab.core import CogmentActor
from cogment_lab.errors import MissingExtraError, ServiceCrashedError
from cogment_lab.humans.page_override import plain
from cogment_lab.humans.service import serve_player

__all__ = ["GradioActor", "serve_gradio_ui"]


class GradioActor(CogmentActor[Any, Any]):
    """Plays by two queues: observations with frames go out, actions come in.

    Args:
        send: Gets ``(observation, frame)``, the observation as lists and numbers.
        receive: Gives actions.
    """

    def __init__(self, send: Any, receive: Any) -> None:
        super().__init__()
        self._send = send
        self._receive = receive

    async def act(self, observation: Any, rendered_frame: Any = None) -> Any:
        """Return the app's next action."""
        self._send.put((plain(observation), rendered_frame))
        while True:
            try:
                return await asyncio.to_thread(self._receive.get, True, 0.5)
            except queue.Empty:
                if self.actor_session.is_trial_over():
                    return None

    async def on_ending(self, observation: Any, rendered_frame: Any) -> None:
        """Hand over the last observation."""
        self._send.put((plain(observation), rendered_frame))


async def serve_gradio_ui(
    announce: Callable[[int], None], app: Callable[..., None], cogment_port: int, log_file: str | None
) -> None:
    """Run a Gradio app in a process of its own, and serve its actor until cancelled, or until the app ends.

    Raises:
        MissingExtraError: the app needs gradio, which is not installed.
        ServiceCrashedError: the app has ended; with its traceback.
    """
    context = multiprocessing.get_context("spawn")
    actions: Any = context.Queue(1000)
    seen: Any = context.Queue(1000)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run_app, args=(app, actions, seen, log_file, theirs))
    process.start()
    theirs.close()
    serving = asyncio.create_task(serve_player(GradioActor(seen, actions), "gradio", cogment_port, announce))
    ending = asyncio.create_task(asyncio.to_thread(_how_it_ended, ours))
    try:
        await asyncio.wait((serving, ending), return_when="FIRST_COMPLETED")
        if serving.done():
            return await serving
        raise await ending
    finally:
        serving.cancel()
        process.terminate()
        process.join(5.0)  # which ends the other task too
        await asyncio.gather(serving, ending, return_exceptions=True)


def _run_app(
    app: Callable[..., None], actions: Any, seen: Any, log_file: str | None, report: Connection
) -> None:
    """Run the app, and report how it failed; the body of its process."""
    try:
        app(actions, seen, log_file)
    except ModuleNotFoundError as error:
        report.send(("missing" if error.name == "gradio" else "failed", traceback.format_exc()))
        raise
    except Exception:
        report.send(("failed", traceback.format_exc()))
        raise


def _how_it_ended(report: Connection) -> Exception:
    """Wait until the app's process has ended; return what to raise."""
    try:
        kind, text = report.recv()
    except (EOFError, OSError):
        return ServiceCrashedError("the Gradio app has ended")
    if kind == "missing":
        return MissingExtraError("this app needs gradio: pip install 'cogment_lab[gradio]'")
    return ServiceCrashedError(f"the Gradio app failed:\n{text}")
