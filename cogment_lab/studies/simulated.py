"""A participant as a program: goes through a study by the same requests and the same socket as a browser."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode

import numpy as np

from cogment_lab.errors import SeatError, StudySessionError
from cogment_lab.testing import SeatClient

__all__ = ["SimulatedParticipant"]

_REQUEST_SECONDS = 10.0
_LOOK_SECONDS = 0.2
_HOLD_SECONDS = (0.05, 0.3)
_MOST_SESSIONS = 5


class SimulatedParticipant:
    """Agrees, passes the check, plays by pressing keys at random, answers at random.

    Args:
        base_url: The server's address.
        external_id: Who it is; the same one goes on where it was.
        rng: What it presses and answers.
        timeout: Seconds that it takes at most.
    """

    def __init__(
        self, base_url: str, external_id: str, rng: np.random.Generator, timeout: float = 600.0
    ) -> None:
        self.external_id = external_id
        self._base = base_url.rstrip("/")
        self._rng = rng
        self._timeout = timeout
        self._deadline = 0.0
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._token = ""
        self._sessions = 0
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let it give up, from another thread."""
        self._stopped.set()

    def take_part(self) -> dict[str, Any]:
        """Go through the study; return the last page's state.

        Raises:
            StudySessionError: it could not finish; the message says where it was.
        """
        self._deadline = time.monotonic() + self._timeout
        self._join()
        state = self._follow(self._ask("state"))
        if state["status"] != "complete":
            raise StudySessionError(
                f"{self.external_id} ended as {state['status']!r} at step {state['step']!r}"
            )
        return state

    def _join(self) -> None:
        """Follow the join link, again where too many people do."""
        while not self._token:
            answer = self._ask("join", {"id": self.external_id}, may_wait=True)
            self._token = answer.get("token", "")
            if not self._token:
                self._stopped.wait(answer["retry_after"])
                self._check_time("join")

    def _follow(self, state: dict[str, Any]) -> dict[str, Any]:
        """Do one step after the other until there is none."""
        while state["status"] == "active" and state["step"] != "thanks":
            step = state["step"]
            self._check_time(step)
            if step in ("practice", "trials"):
                state = self._play(state)
            else:
                state = self._ask(f"steps/{step}", {"answers": self._answers(step, state["content"])})
        return state

    # --- the pages ---

    def _answers(self, step: str, content: dict[str, Any]) -> dict[str, Any]:
        if step == "consent":
            return {"agreed": True}
        if step == "preflight":
            size = {"width": content["min_width"], "height": content["min_height"]}
            return {"keys": content["keys"], "round_trip_ms": 0.0, **size}
        if step == "questionnaire":
            return {question["key"]: self._answer(question) for question in content["questions"]}
        return {}

    def _answer(self, question: dict[str, Any]) -> Any:
        if question["kind"] == "scale":
            return int(self._rng.integers(question["low"], question["high"], endpoint=True))
        if question["kind"] == "choice":
            return str(self._rng.choice(question["options"]))
        return f"simulated answer {self._rng.integers(1000)}"[: question["longest"]]

    # --- the trials ---

    def _play(self, state: dict[str, Any]) -> dict[str, Any]:
        """Ask for a session, wait in line, sit down; return the state after the session."""
        session = state["session"]
        if session is None or session["state"] == "ended":
            if session is not None and session["why"] == "failed":
                raise StudySessionError(
                    f"{self.external_id}: the session could not be made at step {state['step']!r}"
                )
            if session is None or session["why"] != "done":
                self._sessions += 1
            if self._sessions > _MOST_SESSIONS:
                raise StudySessionError(f"{self.external_id}: {_MOST_SESSIONS} sessions ended too early")
            state = self._ask("session", {})
        if state["session"] is not None and state["session"]["state"] == "running":
            return self._sit(state)
        self._stopped.wait(_LOOK_SECONDS)
        return self._ask("state")

    def _sit(self, state: dict[str, Any]) -> dict[str, Any]:
        seat = state["session"]["seat"]
        link = f"{self._base}/seat/?{urlencode({'seat': seat, 'token': state['session']['token']})}"
        look = 0.0
        try:
            with SeatClient(link, max_fps=5.0) as client:
                while state["session"] is not None and state["session"]["seat"] == seat:
                    if state["session"]["state"] != "running":
                        break
                    self._act(client)
                    self._stopped.wait(float(self._rng.uniform(*_HOLD_SECONDS)))
                    if time.monotonic() > look:
                        look = time.monotonic() + _LOOK_SECONDS
                        self._check_time(state["step"])
                        state = self._ask("state")
        except SeatError:  # the session ended under it, and the server knows why
            state = self._ask("state")
        return state

    def _act(self, client: SeatClient) -> None:
        """Do something that a person at this seat may do."""
        question = client.status.get("question")
        if question is not None:
            client.answer(question["choices"][0])
            return
        role = client.hello["seat"]["role"]
        if role == "evaluator":
            client.feedback(float(self._rng.choice([-1.0, 1.0])))
            return
        if role == "teacher" and self._rng.random() < 0.3:
            client.request("take" if self._rng.random() < 0.5 else "release")
        bindings = (client.hello.get("keymap") or {}).get("bindings", ())
        if bindings and self._rng.random() < 0.9:
            client.hold(*bindings[int(self._rng.integers(len(bindings)))]["keys"])
        elif bindings:
            client.hold()
        else:
            client.control(self._control(client.hello.get("controls") or {}))

    def _control(self, controls: dict[str, Any]) -> Any:
        """Return an action of a space that has no keys, as the page's controls would send it."""
        kind = controls.get("kind")
        if kind == "discrete":
            return controls["start"] + int(self._rng.integers(controls["n"]))
        if kind == "box":
            return [float(value) for value in self._rng.uniform(controls["low"], controls["high"])]
        if kind == "multi_binary":
            return [int(bit) for bit in self._rng.integers(2, size=controls["n"])]
        if kind == "multi_discrete":
            return [
                start + int(self._rng.integers(n))
                for start, n in zip(controls["starts"], controls["nvec"], strict=True)
            ]
        if kind == "dict":
            return {name: self._control(part) for name, part in controls["parts"].items()}
        if kind == "tuple":
            return [self._control(part) for part in controls["parts"]]
        return None

    # --- requests ---

    def _check_time(self, step: str) -> None:
        if self._stopped.is_set():
            raise StudySessionError(f"{self.external_id} was told to stop at step {step!r}")
        if time.monotonic() > self._deadline:
            raise StudySessionError(
                f"{self.external_id} was not done within {self._timeout:g} s, at step {step!r}"
            )

    def _ask(
        self, path: str, content: dict[str, Any] | None = None, *, may_wait: bool = False
    ) -> dict[str, Any]:
        """Return what the server answers; ``may_wait`` also takes that it asks to come again later."""
        request = urllib.request.Request(
            f"{self._base}/study/api/{path}",
            data=None if content is None else json.dumps(content).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
        )
        try:
            with self._opener.open(request, timeout=_REQUEST_SECONDS) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except HTTPError as error:
            with error:
                told = error.read(2000).decode(errors="replace")
            if may_wait and error.code == 429:
                crowded: dict[str, Any] = json.loads(told)
                return crowded
            raise StudySessionError(
                f"{self.external_id}: {path} was refused ({error.code}): {told}"
            ) from None
        except (URLError, OSError) as error:
            raise StudySessionError(f"{self.external_id}: nobody answers at {self._base}: {error}") from None
