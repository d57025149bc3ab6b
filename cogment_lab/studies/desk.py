"""The ledger for an event loop: one call at a time, in threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from cogment_lab.studies.ledger import Participant, StudyLedger

__all__ = ["Desk"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Desk:
    """Where the server asks who somebody is and writes down what they did.

    Args:
        ledger: Stays its owner's to close.
    """

    def __init__(self, ledger: StudyLedger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()

    async def join(self, external_id: str | None) -> tuple[Participant, str]:
        """Return who that is, new or known, and their token."""
        return await self._ask(self._ledger.join, external_id)

    async def by_token(self, token: str) -> Participant:
        """Return whose token that is.

        Raises:
            UnknownParticipantError: nobody's.
        """
        return await self._ask(self._ledger.by_token, token)

    async def look(self, person: Participant) -> Participant:
        """Return where somebody is by now."""
        return await self._ask(self._ledger.participant, person.pseudonym)

    async def advance(self, person: Participant, step: str, answers: dict[str, Any] | None) -> None:
        """Move somebody on from a step.

        Raises:
            WrongStepError: they are elsewhere.
            AnswerErrors: their answers do not do; it says which.
        """
        await self._ask(self._ledger.advance, person, step, answers)

    async def abandon(self, person: Participant) -> None:
        """Note that somebody stopped taking part."""
        await self._ask(self._ledger.abandon, person)

    async def withdraw(self, person: Participant) -> None:
        """Note that somebody stopped taking part and wants everything deleted."""
        await self._ask(self._ledger.withdraw, person)

    async def note_trial(self, person: Participant, trial_id: str, phase: str) -> None:
        """Count a trial that is over."""
        await self._ask(self._ledger.note_trial, person, trial_id, phase)

    async def note_event(self, person: Participant, kind: str, payload: dict[str, Any]) -> None:
        """Record something else."""
        await self._ask(self._ledger.record, person, kind, payload)

    async def _ask(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        def work() -> _T:
            with self._lock:
                return call(*args, **kwargs)

        return await asyncio.to_thread(work)
