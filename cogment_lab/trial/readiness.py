"""When a tick is complete: every available actor acted or ran out of time (protocol section 6.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cogment_lab.trial.parameters import ActorParameters

__all__ = ["ActionSlots", "TickOutcome"]

Action = TypeVar("Action")


@dataclass(frozen=True, slots=True)
class TickOutcome(Generic[Action]):
    """The actions of a complete tick.

    Attributes:
        actions: One per actor, in order; ``None`` for an actor without action.
        defaulted: Indices of the actors whose default action is used.
        unavailable: Indices of the actors without action, ascending.
        missing_required: Names of the required actors among those; the trial ends hard when there are any.
    """

    actions: tuple[Action | None, ...]
    defaulted: tuple[int, ...]
    unavailable: tuple[int, ...]
    missing_required: tuple[str, ...]


@dataclass(slots=True)
class ActionSlots(Generic[Action]):
    """The actions of the tick that is being gathered.

    Args:
        actors: The trial's slots, in order.
        defaults: Per actor its default action, or ``None``.
    """

    actors: Sequence[ActorParameters]
    defaults: Sequence[Action | None]
    tick: int = 0
    _acted: dict[int, Action] = field(default_factory=dict)
    _timed_out: set[int] = field(default_factory=set)
    _gone: set[int] = field(default_factory=set)

    def start(self, tick: int) -> None:
        """Begin gathering ``tick``; an actor that ran out of time before may act again."""
        self.tick = tick
        self._acted.clear()
        self._timed_out.clear()

    def act(self, actor: int, tick: int, action: Action) -> bool:
        """Take an action; return ``False`` when it is dropped (wrong tick, second one, gone or too late).

        Args:
            actor: Index of the actor.
            tick: The tick it answers; -1 is the current one.
            action: The action.
        """
        late = actor in self._timed_out or actor in self._gone
        if tick not in (-1, self.tick) or actor in self._acted or late:
            return False
        self._acted[actor] = action
        return True

    def time_out(self, actor: int) -> None:
        """Note that ``actor`` gave no action in time, in this tick."""
        if actor not in self._acted:
            self._timed_out.add(actor)

    def lose(self, actor: int) -> None:
        """Note that ``actor`` is gone for the rest of the trial; its action of this tick is dropped."""
        self._gone.add(actor)
        self._acted.pop(actor, None)

    @property
    def complete(self) -> bool:
        """Whether nobody is waited for."""
        return len(self._acted) + len(self._timed_out - self._gone) >= len(self.actors) - len(self._gone)

    def outcome(self) -> TickOutcome[Action]:
        """Return what the environment is sent."""
        actions = tuple(self._acted.get(index, default) for index, default in enumerate(self.defaults))
        silent = [index for index in range(len(self.actors)) if index not in self._acted]
        return TickOutcome(
            actions=actions,
            defaulted=tuple(index for index in silent if self.defaults[index] is not None),
            unavailable=tuple(index for index in silent if self.defaults[index] is None),
            missing_required=tuple(
                self.actors[index].name for index in silent if not self.actors[index].optional
            ),
        )
