"""The trial's side of a web seat: what a person asked for, and what a person is shown."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cogment_lab.errors import InvalidActionError
from cogment_lab.humans.controls import controls_for
from cogment_lab.humans.keymaps import KeyMap, keymap_for
from cogment_lab.humans.web.claim import SERVER_LOCK, Claim, is_locked
from cogment_lab.humans.web.driving import Driving
from cogment_lab.humans.web.farewell import remember, story_of_a_crash
from cogment_lab.humans.web.memory import (
    ACTIVE,
    DRIVING,
    INSIDE,
    SERVER_ALIVE,
    VIEWER_FPS,
    VIEWERS,
    WRITTEN,
    FrameBoard,
    SeatMemory,
    now_ns,
)
from cogment_lab.humans.web.narration import Narration
from cogment_lab.humans.web.reception import Reception
from cogment_lab.trial.pace import Pace
from cogment_lab.trial.sample import Feedback, Tick
from cogment_lab.trial.seat import TrialView
from cogment_lab.trial.takeover import Phase, Request

__all__ = ["WebSeat"]

_LOG = logging.getLogger("cogment_lab.humans")
_STATUS_NS = 50_000_000
_SERVER_SILENT_NS = 200_000_000  # of a server that lives and is busy, too
_SERVER_GONE_NS = 2_000_000_000
_WALL_SHARE = 0.2
_POLL_SECONDS = 0.004
_ALONE_SECONDS = 600.0  # for the first action of a player who alone decides; as long as for an answer


class WebSeat:
    """A chair in the browser.

    Made by :meth:`cogment_lab.humans.WebUI.seat`. It pickles as an address, so it works in the processes of
    vector environments too; whoever attaches first holds it until its environment closes.

    Args:
        folder: The page server's folder for this seat's files.
        name: The seat's name, unique on its page.
        role: ``"teacher"``, ``"player"``, ``"evaluator"`` or ``"observer"``.
        keymap: Anything :meth:`KeyMap.from_any` takes; ``None`` takes the shipped one for the environment.
        patience: Seconds that a turn-based environment, or an empty player's seat, waits for a person before
            the fallback of ``step``; without one it waits for ten minutes.
        show_proposal: Whether the person sees what the player is about to do, until they choose otherwise.
    """

    wants_frames = True
    watches = True
    called = "web"
    """What records call whoever sits here."""

    def __init__(
        self,
        folder: Path,
        name: str,
        role: str,
        keymap: Any = None,
        patience: float = 30.0,
        show_proposal: bool = True,
    ) -> None:
        self.folder = folder
        self.name = name
        self.role = role
        self.patience = patience
        self.show_proposal = show_proposal
        self._given_keymap = keymap
        self._reset()

    def _reset(self) -> None:
        self._claim: Claim | None = None
        self._memory: SeatMemory | None = None
        self._trial: TrialView | None = None
        self._words: Any = None
        self._narration: Narration | None = None
        self._reception: Reception | None = None
        self._board: FrameBoard | None = None
        self._read = 0
        self._viewers = 0
        self._state = "waiting"
        self._driving = False
        self._input: Driving | None = None
        self._pending: list[Request | Pace] = []
        self._next_status = 0
        self._next_frame = 0
        self._waits = True
        self.thread = 0

    # --- the seat's contract ---

    def attach(self, trial: TrialView) -> None:
        """Hold the seat for this environment.

        Raises:
            SeatTakenError: another environment holds it.
            ConfigurationError: the key map does not fit the action space.
        """
        space = trial.action_space
        given = self._given_keymap
        keymap = keymap_for(trial.env_id, space)
        if given is not None:
            keymap = KeyMap.from_any(given, space).with_words_of(keymap)
        claim = Claim(self.folder / f"{self.name}.lock", self.name, trial.env_id)
        self._claim = claim
        self._memory = SeatMemory(self.folder / f"{self.name}.seat")
        self._words = self._memory.words
        self._memory.take()
        self._read = self._words[WRITTEN]
        self._trial = trial
        self._input = Driving(space, keymap, trial.mix)
        self._narration = Narration(trial, keymap, controls_for(space, keymap), self.role)
        self._narration.shows_proposal = self.show_proposal
        self._reception = Reception(self.name, self.role, trial, self._input, self._narration)
        self._publish("waiting")
        remember(self)

    def begin(self, observation: Any, info: Mapping[str, Any]) -> None:
        """Show the first observation."""
        assert self._narration is not None and self._reception is not None
        self.thread = threading.get_ident()
        self._narration.begin(observation, info)
        self._reception.begin()
        self._state = "running"
        if self._viewers:
            self._words[INSIDE] = 1
            self._show_frame(now_ns(), 0)
            self._publish("running")
            self._words[ACTIVE] = now_ns()
            self._words[INSIDE] = 0

    def show(self, proposed_action: Any) -> None:
        """Show what the player is about to do."""
        assert self._narration is not None
        self._narration.propose(proposed_action)
        self._words[INSIDE] = 1

    def poll(self, observation: Any, proposed_action: Any) -> Sequence[Request | Pace] | None:
        """Return what the person asked for since the previous call."""
        words = self._words
        if words[WRITTEN] == self._read and not words[VIEWERS] and not self._viewers:
            return None
        return self._listen()

    def act(self, observation: Any, proposed_action: Any) -> Any:
        """Return the action of what is held (keys, sliders, a form), ``None`` for none."""
        controls = self._input
        assert controls is not None and self._reception is not None
        if self.role == "player" and not self._driving:
            self._wait_for(lambda: self._driving)
        if controls.waits and not controls.has_input:
            self._wait_for(lambda: controls.has_input)
        assert self._narration is not None
        self._narration.is_idle = not controls.waits and not controls.has_input
        action = None
        try:
            action = controls.take(proposed_action)
        except InvalidActionError as error:
            self._reception.refuse(str(error))
        if action is None and proposed_action is None and self.role == "player":
            return self._go_on(controls)
        return action

    def _go_on(self, controls: Driving) -> Any:
        """Return an action where nobody else has one: the last one goes on, and the first is waited for."""
        if controls.waits or controls.last is None:
            self._wait_for(lambda: controls.has_input, _ALONE_SECONDS)
            return controls.take(None)
        return controls.last

    def feedback(self) -> list[Feedback] | None:
        """Return the feedback given since the previous call."""
        assert self._reception is not None
        given = self._reception.feedback
        if given is not None:
            self._reception.feedback = None
        return given

    def watch(self, tick: Tick) -> None:
        """Show the tick, if anybody looks."""
        if not self._viewers:
            return
        assert self._narration is not None
        now = now_ns()
        self._narration.observe(tick)
        if now >= self._next_frame:
            self._show_frame(now, tick.number + 1)
        if now >= self._next_status:
            self._publish("running")
        self._state = "running"
        self._words[INSIDE] = 0
        self._words[ACTIVE] = now_ns()

    def end(self, end_reason: str) -> None:
        """Say that the trial ended."""
        assert self._narration is not None and self._reception is not None
        self._narration.end(end_reason)
        self._reception.end()
        self._state = "between"
        if self._viewers:
            assert self._trial is not None
            self._show_frame(now_ns(), self._trial.tick.number + 1)
            self._publish("between")
        self._words[ACTIVE] = now_ns()
        self._words[INSIDE] = 0

    def detach(self) -> None:
        """Leave: the page says that training is finished, or which error it was that it is left by."""
        if self._claim is None:
            return
        assert self._memory is not None and self._reception is not None
        for message in self._memory.take():  # said of the trial that ended just now
            self._reception.hear(message, [])
        if isinstance(error := sys.exception(), Exception):  # closed by a finally or with
            self.fail(error)
        self.leave()
        if self._board is not None:
            self._board.close()
        self._claim.release()
        self._words.release()
        self._memory.close()
        self._reset()

    # --- beyond the contract ---

    def leave(self) -> None:
        """Say that it is over; the seat stays held."""
        if self._narration is not None:
            assert self._trial is not None
            failed = self._narration.crash or self._trial.failure
            self._publish("lost" if failed else "closed")

    def fail(self, error: BaseException) -> None:
        """Say that the program has stopped by an error, unless it was the environment's, which is said."""
        if self._narration is None or self._trial is None or self._trial.failure is not None:
            return
        self._narration.crash = story_of_a_crash(error)
        self._publish("lost")

    def stop_waiting(self) -> None:
        """Wait for nobody any more, since the trial is over elsewhere; another thread may say so."""
        self._waits = False

    def set_learner(self, learner: Mapping[str, Any]) -> None:
        """Show what the learner reports: steps, steps per second...

        ``explain``, if there is one, is kept to show how sure the learner is: it returns the probability of
        each action of a Discrete space, given an observation, and is called at most 20 times a second.
        """
        if self._narration is None:
            return
        told = dict(learner)
        self._narration.explain = told.pop("explain", self._narration.explain)
        self._narration.learner = told or self._narration.learner

    def ask(self, question: str, choices: Sequence[str], timeout: float = 600.0) -> str:
        """Ask whoever sits here; return their choice, or the first one after ``timeout`` seconds."""
        assert self._narration is not None and self._reception is not None
        reception = self._reception
        identity = str(now_ns())
        reception.answer = None
        self._narration.question = {"id": identity, "text": question, "choices": list(choices)}
        self._publish("between")
        self._wait_for(lambda: reception.answer is not None and reception.answer[0] == identity, timeout)
        self._narration.question = None
        given = reception.answer
        answer = given[1] if given is not None and given[0] == identity else choices[0]
        self._publish("between")
        return answer if answer in choices else choices[0]

    def count_down(self, seconds: int, timeout: float = 600.0) -> None:
        """Wait until somebody sits here, then count down before their first tick."""
        assert self._narration is not None
        self._wait_for(lambda: self._driving, timeout)
        for left in range(seconds, 0, -1):
            self._narration.countdown = left
            self._publish("running")
            self._wait_for(lambda: False, 1.0)
        self._narration.countdown = None
        self._publish("running")

    # --- what came from the page ---

    def _listen(self) -> list[Request | Pace] | None:
        """Take the messages that wait; notice a server that is gone; keep the page up to date."""
        assert self._memory is not None and self._trial is not None and self._reception is not None
        reception = self._reception
        now = now_ns()
        words = self._words
        requests, self._pending = self._pending, []
        if words[WRITTEN] != self._read:
            self._read = words[WRITTEN]
            for message in self._memory.take():
                if message["k"] == "left":
                    self._leave(requests)
                else:
                    reception.hear(message, requests)
        self._see_viewers(now, requests)
        if self._viewers:
            words[ACTIVE] = now
            words[INSIDE] = 1
            if now >= self._next_status:
                self._publish(self._state)
        if reception.reaction_ns:
            self._trial.tick.reaction_ns, reception.reaction_ns = reception.reaction_ns, 0
        return requests or None

    def _see_viewers(self, now: int, requests: list[Request | Pace]) -> None:
        """Notice who came and who left, the server included."""
        reception = self._reception
        assert reception is not None
        words = self._words
        viewers, driving = words[VIEWERS], bool(words[DRIVING])
        silent = now - words[SERVER_ALIVE]
        if (
            viewers
            and silent > _SERVER_SILENT_NS
            and (silent > _SERVER_GONE_NS or not is_locked(self.folder / SERVER_LOCK))
        ):
            _LOG.warning("the page's server of seat %r is gone; the agent goes on alone", self.name)
            words[VIEWERS] = words[DRIVING] = viewers = 0
            driving = False
        if viewers != self._viewers:
            is_first = viewers and not self._viewers
            self._viewers = viewers
            self._next_frame = self._next_status = 0
            if is_first and self._state == "running":  # it may wait for exactly this person
                assert self._trial is not None
                self._show_frame(now, self._trial.tick.number)
        if driving and not self._driving:
            self._driving = True
            if reception.may_pace:
                requests.append(reception.chosen_pace or Pace.LIVE)
        elif self._driving and not driving:
            self._leave(requests)

    def _leave(self, requests: list[Request | Pace]) -> None:
        """Hand control back: nobody sits here any more."""
        assert self._input is not None and self._reception is not None
        self._driving = False
        self._input.let_go()
        requests.append(Request.LOST)
        if self._reception.may_pace:
            requests.append(Pace.MAX)

    def _wait_for(self, condition: Any, timeout: float | None = None) -> None:
        """Listen until ``condition()`` holds, the time (the seat's patience) is over, or control goes."""
        deadline = time.monotonic() + (self.patience if timeout is None else timeout)
        self._words[INSIDE] = 1
        while self._waits and not condition() and time.monotonic() < deadline:
            requests = self._listen()
            if requests is not None:
                self._pending = [*requests, *self._pending]
                gone = {Request.LOST, Request.RELEASE, Request.STOP} & set(requests)
                if gone and self.role == "teacher":
                    return
            time.sleep(_POLL_SECONDS)

    # --- what goes to the page ---

    def _publish(self, state: str) -> None:
        assert self._memory is not None and self._narration is not None
        assert self._input is not None and self._reception is not None
        now = now_ns()
        self._state = state
        self._next_status = now + _STATUS_NS
        self._reception.record_what_is_shown(driving=self._driving)
        self._memory.publish(self._narration.status(state, self._input.pressed(), now))

    def _show_frame(self, now: int, tick: int) -> None:
        """Render at most as often as the fastest viewer can see, and for a fifth of the wall time at most."""
        assert self._trial is not None and self._memory is not None and self._narration is not None
        if not self._trial.renderable:
            return
        frame = self._trial.render()
        if frame is None:
            return
        height, width = frame.shape[:2]
        if self._board is None or self._board.shape != frame.shape:
            if self._board is not None:
                self._board.close()
            self._board = FrameBoard.announce(self._memory, height, width)
        self._board.put(np.ascontiguousarray(frame, np.uint8), tick)
        cost = now_ns() - now
        self._narration.render_ms = cost / 1e6
        live = self._trial.pace is not Pace.MAX
        share = 0.8 if live else _WALL_SHARE
        fastest = 0.0 if live else 1e9 / max(self._words[VIEWER_FPS], 1)
        self._next_frame = now + int(max(cost / share, fastest) * 0.98)
        if self._trial.phase is Phase.CORRECTING:
            self._next_frame = now

    def __getstate__(self) -> dict[str, Any]:
        return {
            "folder": self.folder,
            "name": self.name,
            "role": self.role,
            "keymap": self._given_keymap,
            "patience": self.patience,
            "show_proposal": self.show_proposal,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"WebSeat({self.name!r}, role={self.role!r})"
