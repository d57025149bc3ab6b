"""A person at a Gradio app as an actor of services, by two queues as in Cogment Lab 0.1.5."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import queue
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from cogment_lab.core import CogmentActor
from cogment_lab.errors import MissingExtraError, ServiceCrashedError
from cogment_lab.humans.page_override import plain
from cogment_lab.humans.service import serve_player

__all__ = ["GradioActor", "serve_gradio_ui"]

_MOST_WAITING = 1000
_STOP_SECONDS = 0.5  # within the second that a service has to end


class GradioActor(CogmentActor[Any, Any]):
    """Plays by two queues: observations with frames go out, actions come in.

    Args:
        send: Gets ``(observation, frame)``, the observation as lists and numbers; when it is full, the oldest
            is dropped.
        receive: Gives actions.
    """

    def __init__(self, send: Any, receive: Any) -> None:
        super().__init__()
        self._send = send
        self._receive = receive

    async def act(self, observation: Any, rendered_frame: Any = None) -> Any:
        """Return the app's next action."""
        self._show(observation, rendered_frame)
        while True:
            try:
                return await asyncio.to_thread(self._receive.get, True, 0.5)
            except queue.Empty:
                if self.actor_session.is_trial_over():
                    return None

    async def on_ending(self, observation: Any, rendered_frame: Any) -> None:
        """Hand over the last observation."""
        self._show(observation, rendered_frame)

    def _show(self, observation: Any, frame: Any) -> None:
        """Never wait for an app that looks at nothing: all trials of this process would."""
        try:
            self._send.put_nowait((plain(observation), frame))
        except queue.Full:
            with contextlib.suppress(queue.Empty, queue.Full):
                self._send.get_nowait()
                self._send.put_nowait((plain(observation), frame))


async def serve_gradio_ui(
    announce: Callable[[int], None], app: Callable[..., None], cogment_port: int, log_file: str | None
) -> None:
    """Run a Gradio app in a process of its own, and serve its actor until cancelled, or until the app ends.

    Raises:
        MissingExtraError: the app needs gradio, which is not installed.
        ServiceCrashedError: the app has ended; with its traceback.
    """
    context = multiprocessing.get_context("spawn")
    actions: Any = context.Queue(_MOST_WAITING)
    seen: Any = context.Queue(_MOST_WAITING)
    seen.cancel_join_thread()  # what an app has not looked at keeps no process from ending
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
        process.join(_STOP_SECONDS)
        process.kill()
        process.join()  # which ends the other task too
        await asyncio.gather(serving, ending, return_exceptions=True)


def _run_app(
    app: Callable[..., None], actions: Any, seen: Any, log_file: str | None, report: Connection
) -> None:
    """Run the app, and report how it failed; the body of its process."""
    threading.Thread(target=_end_with_the_service, daemon=True).start()
    try:
        app(actions, seen, log_file)
    except ModuleNotFoundError as error:
        report.send(("missing" if error.name == "gradio" else "failed", traceback.format_exc()))
        raise
    except Exception:
        report.send(("failed", traceback.format_exc()))
        raise


def _end_with_the_service() -> None:
    """Leave no app behind when its service is killed, which can tell nobody."""
    service = multiprocessing.parent_process()
    if service is not None:
        service.join()
        os._exit(1)


def _how_it_ended(report: Connection) -> Exception:
    """Wait until the app's process has ended; return what to raise."""
    try:
        kind, text = report.recv()
    except (EOFError, OSError):
        return ServiceCrashedError("the Gradio app has ended")
    if kind == "missing":
        return MissingExtraError("this app needs gradio: pip install 'cogment_lab[gradio]'")
    return ServiceCrashedError(f"the Gradio app failed:\n{text}")
