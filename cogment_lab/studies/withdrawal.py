"""People who stop taking part: their session ends, and what they gave is kept or deleted, as they wish."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from cogment_lab.errors import CogmentLabError
from cogment_lab.store import TrialStore
from cogment_lab.studies.desk import Desk
from cogment_lab.studies.ledger import Participant, StudyLedger
from cogment_lab.studies.sessions import Sessions

__all__ = ["Departures", "erase"]

_CLOSE_SECONDS = 5.0


class Departures:
    """The way out. All methods belong to one event loop.

    Args:
        desk: Knows the participants.
        sessions: Where they may be playing.
        store: Where their trials are.
        say: Called with a line for the experimenter.
    """

    def __init__(self, desk: Desk, sessions: Sessions, store: Path, say: Callable[[str], None]) -> None:
        self._desk = desk
        self._sessions = sessions
        self._store = store
        self._say = say
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: dict[str, asyncio.Task[None]] = {}  # sessions of those who left, until they are over

    async def leave(self, person: Participant, *, delete: bool) -> None:
        """Let somebody go: that they left is on disk when this returns, their session ends, data follow.

        Args:
            person: Active, or gone already and now asking for deletion.
            delete: Whether what they gave is to be deleted.
        """
        await (self._desk.withdraw(person) if delete else self._desk.abandon(person))
        self._dismiss(person.pseudonym)
        wish = "wants everything deleted" if delete else "and their data stay"
        self._say(f"{person.pseudonym} ({person.condition}) stopped taking part, {wish}")
        if delete:
            task = asyncio.get_running_loop().create_task(self._delete(person.pseudonym))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait a while for what is being deleted; the rest is for the next start."""
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=_CLOSE_SECONDS)

    def _dismiss(self, pseudonym: str) -> None:
        session = self._sessions.dismiss(pseudonym)
        if session is not None:
            self._ending[pseudonym] = session
            session.add_done_callback(lambda task: self._ending.pop(pseudonym, None))

    async def _delete(self, pseudonym: str) -> None:
        session = self._ending.get(pseudonym)
        if session is not None:
            await asyncio.wait([session])  # it writes until its end
        try:
            await asyncio.to_thread(self._forget, pseudonym)
        except CogmentLabError as error:
            self._say(f"{pseudonym}: deleting is tried again when the study is served next: {error}")

    def _forget(self, pseudonym: str) -> None:
        with TrialStore(self._store) as trials:
            trials.forget(pseudonym, scrub=False)  # a scrub would keep others from writing


def erase(ledger: StudyLedger, store: Path, say: Callable[[str], None]) -> None:
    """Remove what people gave who withdrew, and its bytes from the file, where that is still to be done.

    Args:
        ledger: Theirs.
        store: Its file; nobody should be using it.
        say: Called with a line for the experimenter when it cannot be done now.
    """
    if not ledger.has_traces():
        return
    try:
        with TrialStore(store) as trials:
            for pseudonym in ledger.doomed():
                trials.forget(pseudonym, scrub=False)
            trials.scrub()
        ledger.note_erased()
    except CogmentLabError as error:
        say(f"what people gave who withdrew is not wholly deleted yet: {error}")
