"""The actions of the tick that is going on: who acted, who is late, who will never act again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from cogment_lab.trial.parameters import ActorParameters
from cogment_lab.trial.readiness import ActionSlots
from cogment_lab.wire.generated.common_pb2 import Action
from cogment_lab.wire.generated.environment_pb2 import ActionSet

__all__ = ["Gathering"]


class Gathering:
    """Gathers one action per actor and tick (protocol section 6.5), and has the timers of those who act.

    Args:
        actors: The trial's slots, in order.

    Attributes:
        is_open: Whether actions are taken for the current tick.
        received: Per actor the action it gave in this tick.
        lost: Indices of the actors that are gone for the rest of the trial.
        is_timed: Whether any actor has only so much time to act.
    """

    def __init__(self, actors: Sequence[ActorParameters]) -> None:
        self.is_open = False
        self.received: list[Action | None] = [None] * len(actors)
        self.lost: set[int] = set()
        self.is_timed = any(actor.response_timeout > 0.0 for actor in actors)
        self._actors = actors
        self._slots: ActionSlots[Action] = ActionSlots(actors, (None,) * len(actors))
        self._timers: list[asyncio.TimerHandle | None] = [None] * len(actors)

    @property
    def is_complete(self) -> bool:
        """Whether nobody is waited for."""
        return self._slots.complete

    def start(self, tick: int, *, is_last: bool) -> None:
        """Forget the tick before; take actions for ``tick`` unless it is the last one."""
        self._slots.start(tick)
        self.received = [None] * len(self._actors)
        self.is_open = not is_last

    def act(self, index: int, action: Action) -> bool:
        """Take an action; return ``False`` when it is dropped (wrong tick, second one, gone or too late)."""
        if not self._slots.act(index, action.tick_id, action):
            return False
        self.received[index] = action
        self._stop_timer(index)
        return True

    def lose(self, index: int) -> None:
        """Wait no more for an actor; its action of this tick is dropped."""
        self.lost.add(index)
        self._slots.lose(index)
        self.received[index] = None
        self._stop_timer(index)

    def fill(self, actions: ActionSet) -> tuple[list[int], list[str]]:
        """Put what was received, and defaults for the rest, into ``actions``.

        Returns:
            Indices of the actors whose default action is used, and the names of those who are required and
            gave none: with any of these the trial cannot go on.
        """
        defaulted, unavailable, missing = [], [], []
        for index, action in enumerate(self.received):
            if action is not None:
                actions.actions.append(action.content)
                continue
            actor = self._actors[index]
            if not actor.optional:
                missing.append(actor.name)
            if actor.default_action is None:
                unavailable.append(index)
                actions.actions.append(b"")
            else:
                defaulted.append(index)
                actions.actions.append(actor.default_action)
        actions.unavailable_actors.extend(unavailable)
        return defaulted, missing

    # --- who is late ---

    def start_timers(self, on_late: Callable[[int], None]) -> None:
        """Start the time that actors have to act in this tick; ``on_late`` is called with each index."""
        loop = asyncio.get_running_loop()
        for index, actor in enumerate(self._actors):
            self._stop_timer(index)
            if actor.response_timeout > 0.0 and index not in self.lost:
                late = partial(self._time_out, index, self._slots.tick, on_late)
                self._timers[index] = loop.call_later(actor.response_timeout, late)

    def stop_timers(self) -> None:
        """Let nobody be late any more."""
        for index in range(len(self._timers)):
            self._stop_timer(index)

    def _time_out(self, index: int, tick: int, on_late: Callable[[int], None]) -> None:
        if tick == self._slots.tick and self.is_open:
            self._slots.time_out(index)
            on_late(index)

    def _stop_timer(self, index: int) -> None:
        timer = self._timers[index]
        if timer is not None:
            timer.cancel()
