"""Who is at a seat and who waits for one: a process for each session, and a line before the door."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cogment_lab.errors import CogmentLabError
from cogment_lab.studies.definition import Study
from cogment_lab.studies.hosting import Ending, host_session
from cogment_lab.studies.ledger import Participant

__all__ = ["Records", "Sessions"]

_WATCH_SECONDS = 0.25
_AWAY_SECONDS = 15.0  # a page that waits in line asks twice a second
_FORGET_SECONDS = 900.0
_LONGEST_LINE = 1000


class Records(Protocol):
    """Where it is written down what people did."""

    async def look(self, person: Participant) -> Participant:
        """Return where somebody is by now."""

    async def note_trial(self, person: Participant, trial_id: str, phase: str) -> None:
        """Count a trial that is over."""

    async def note_event(self, person: Participant, kind: str, payload: dict[str, Any]) -> None:
        """Record what happened to a session."""


@dataclass(slots=True)
class _Sitting:
    """Somebody in line, at a seat, or just gone from one."""

    person: Participant
    state: str = "waiting"  # then starting, running, ended
    seat: str = ""
    why: str = ""
    heard: float = field(default_factory=time.monotonic)
    active: float = field(default_factory=time.monotonic)
    task: asyncio.Task[None] | None = None
    former: asyncio.Task[None] | None = None  # of the same person


class Sessions:
    """At most ``study.max_sessions`` processes at once; the others wait their turn.

    All methods belong to one event loop.

    Args:
        study: Says how many, and how long somebody may be idle.
        store: Where the trials go.
        records: Told what happens.
        say: Called with a line for the experimenter.
        fps: Ticks per second instead of the environment's, for simulated people; no countdown then.
    """

    def __init__(
        self,
        study: Study,
        store: Path,
        records: Records,
        say: Callable[[str], None],
        fps: float | None = None,
    ) -> None:
        self._study = study
        self._store = store
        self._records = records
        self._say = say
        self._fps = fps
        self._sittings: dict[str, _Sitting] = {}
        self._line: deque[_Sitting] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._watcher: asyncio.Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        """Begin to watch who is idle."""
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        """End all sessions."""
        self._closing = True
        self._line.clear()
        tasks = [*self._tasks, *([] if self._watcher is None else [self._watcher])]
        for task in tasks:
            if not task.cancelling():  # else its process is being ended, and that must not be cut short
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def ask(self, person: Participant) -> None:
        """Give somebody a session, or a place in line; asking again changes nothing.

        When the line is full they get nothing, and may ask again.
        """
        sitting = self._sittings.get(person.pseudonym)
        if self._closing or (sitting is not None and sitting.state != "ended"):
            return
        if len(self._line) >= _LONGEST_LINE:
            return
        former = sitting.task if sitting is not None else None
        sitting = self._sittings[person.pseudonym] = _Sitting(person, former=former)
        self._line.append(sitting)
        self._admit()

    def hear(self, pseudonym: str, idle: float) -> None:
        """Somebody's page was heard of; they touched it ``idle`` seconds ago."""
        sitting = self._sittings.get(pseudonym)
        if sitting is not None:
            sitting.heard = time.monotonic()
            sitting.active = max(sitting.active, sitting.heard - max(idle, 0.0))

    def dismiss(self, pseudonym: str) -> asyncio.Task[None] | None:
        """End somebody's session at once, or take them out of the line; return what ends with the session."""
        sitting = self._sittings.pop(pseudonym, None)
        if sitting is None:
            return None
        with contextlib.suppress(ValueError):
            self._line.remove(sitting)
        if sitting.task is not None and sitting.state != "ended":
            sitting.state, sitting.why = "ended", "left"
            sitting.task.cancel()
        return sitting.task

    def describe(self, pseudonym: str) -> dict[str, Any] | None:
        """Return ``state``, ``place``, ``seat`` and ``why`` of somebody's session, if they asked for one."""
        sitting = self._sittings.get(pseudonym)
        if sitting is None:
            return None
        place = self._line.index(sitting) + 1 if sitting in self._line else 0
        return {"state": sitting.state, "place": place, "seat": sitting.seat, "why": sitting.why}

    @property
    def running(self) -> int:
        """How many processes there are."""
        return len(self._tasks)

    def _admit(self) -> None:
        """Let in whom there is room for."""
        while self._line and not self._closing and self.running < self._study.max_sessions:
            sitting = self._line.popleft()
            sitting.state = "starting"
            sitting.active = time.monotonic()  # who waited patiently was not idle
            sitting.task = asyncio.get_running_loop().create_task(self._host(sitting))
            self._tasks.add(sitting.task)
            sitting.task.add_done_callback(self._leave)

    def _leave(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._admit()

    async def _host(self, sitting: _Sitting) -> None:
        person = sitting.person
        sitting.seat = f"{person.pseudonym}-{secrets.token_hex(3)}"

        async def hear(message: dict[str, Any]) -> None:
            if message["kind"] == "ready":
                sitting.state = "running"
                sitting.active = time.monotonic()
            elif message["kind"] == "trial":
                await self._records.note_trial(person, message["trial_id"], message["phase"])

        begun = time.monotonic()
        ending = Ending("closed")
        try:
            if sitting.former is not None:
                await asyncio.wait([sitting.former])
                sitting.former = None
            person = await self._records.look(person)
            if person.status != "active":  # they left while this began
                ending = Ending("left")
                return
            await self._records.note_event(person, "session_started", {"seat": sitting.seat})
            ending = await host_session(self._config(person, sitting.seat), hear)
        except CogmentLabError as error:  # the record could not be written
            ending = Ending("failed", f"{type(error).__name__}: {error}")
        except asyncio.CancelledError:
            if self._closing:
                raise
            ending = Ending(sitting.why)
        finally:
            sitting.state, sitting.why = "ended", ending.why
            sitting.heard = time.monotonic()
        seconds = round(time.monotonic() - begun, 1)
        payload = {"why": ending.why, "seconds": seconds, "told": ending.told[:2000]}
        self._tell(person, ending, seconds)
        try:
            await self._records.note_event(person, "session_ended", payload)
        except CogmentLabError as error:
            self._say(f"{person.pseudonym}: this could not be recorded: {error}")

    def _config(self, person: Participant, seat: str) -> dict[str, Any]:
        study = self._study
        return {
            "study": {  # as it was read: the file may be changed while the study runs
                "name": study.name,
                "session": study.session,
                "path": str(Path(study.path).absolute()),
                "practice": study.practice,
                "trials": study.trials,
                "seed": study.seed,
                "idle_timeout": study.idle_timeout,
            },
            "store": str(self._store),
            "participant": person.pseudonym,
            "condition": person.condition,
            "done_practice": person.done_practice,
            "done_trials": person.done_trials,
            "seat": seat,
            "fps": self._fps,
        }

    def _tell(self, person: Participant, ending: Ending, seconds: float) -> None:
        texts = {
            "done": "has done all trials",
            "left": "left their session",
            "idle": f"was idle for {self._study.idle_timeout:g} s; the place is free again",
            "failed": f"could not go on: {ending.told}",
            "lost": f"lost their session and may continue: {ending.told}",
        }
        self._say(f"{person.pseudonym} ({person.condition}) {texts[ending.why]} [{seconds:.0f} s]")

    async def _watch(self) -> None:
        """Notice who is idle, who has left the line, and whom to forget."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            now = time.monotonic()
            for sitting in list(self._sittings.values()):
                if sitting.state == "waiting" and now - sitting.heard > _AWAY_SECONDS:
                    with contextlib.suppress(ValueError):
                        self._line.remove(sitting)
                    del self._sittings[sitting.person.pseudonym]
                elif sitting.state == "running" and now - sitting.active > self._study.idle_timeout:
                    assert sitting.task is not None
                    sitting.state = "ended"
                    sitting.why = "idle"
                    sitting.task.cancel()
                elif sitting.state == "ended" and now - sitting.heard > _FORGET_SECONDS:
                    del self._sittings[sitting.person.pseudonym]
