"""From what ``make`` is told (``"web"``, a policy, a seat) to seats of a trial."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import gymnasium as gym
from cogment_lab.integrations.gymnasium.models import is_actor, is_model, seat_of

from cogment_lab.errors import ConfigurationError
from cogment_lab.trial.seat import Seat, Seats

if TYPE_CHECKING:
    from cogment_lab.humans import WebUI

__all__ = ["Seating", "name_occupant"]

_SEAT_METHODS = ("attach", "poll", "act", "watch", "detach")


@dataclass(slots=True)
class Seating:
    """Who sits in the trials of one environment, as ``make`` was told.

    Attributes:
        player: ``None`` for the caller of ``step``; otherwise a seat, ``"web"``, a policy, a model with
            Stable-Baselines3's ``predict``, or an actor of services.
        teacher: Who may override the player.
        evaluators: Who may give feedback.
        observers: Who only watches.
        announce: Whether a page of our own prints its address.
    """

    player: Any = None
    teacher: Any = None
    evaluators: Sequence[Any] = ()
    observers: Sequence[Any] = ()
    announce: bool = True
    _own_ui: WebUI | None = field(default=None, repr=False)
    _store: Path | None = field(default=None, repr=False)
    _seated: Seats = field(default_factory=Seats, repr=False)

    def __post_init__(self) -> None:
        for role, occupant in self._occupants():
            if isinstance(occupant, type) and (hasattr(occupant, "act") or hasattr(occupant, "predict")):
                name = occupant.__name__
                raise ConfigurationError(f"{role}={name} is a class: pass one of its kind, {name}(...)")
            if _has_mind(role, occupant):
                seat_of(occupant, role)  # tells an actor that cannot play here
                continue
            if _is_web(occupant) or callable(occupant) or _is_seat(occupant):
                continue
            raise ConfigurationError(
                f"{role}={occupant!r} cannot sit in a trial: pass 'web', a seat (WebUI(...).seat({role!r}), "
                "SimulatedHuman(...)), a policy(observation) -> action, a model with Stable-Baselines3's "
                "predict, or an actor (SB3Actor(path), RandomActor())"
            )

    def _occupants(self) -> list[tuple[str, Any]]:
        occupants = [("player", self.player), ("teacher", self.teacher)]
        occupants += [("evaluator", each) for each in self.evaluators]
        occupants += [("observer", each) for each in self.observers]
        return [(role, occupant) for role, occupant in occupants if occupant is not None]

    @property
    def wants_frames(self) -> bool:
        """Whether anybody who sits here looks at frames."""
        return any(
            _is_web(occupant) or bool(getattr(occupant, "wants_frames", False))
            for _, occupant in self._occupants()
        )

    @property
    def may_step(self) -> bool:
        """Whether somebody who acts could ask for single ticks: at a page, or in a seat that is no script."""
        from cogment_lab.humans.simulated import SimulatedHuman

        return any(
            _is_web(each) or (_is_seat(each) and not isinstance(each, SimulatedHuman))
            for each in (self.player, self.teacher)
        )

    def describe(self) -> dict[str, str]:
        """Return who sits where, for the record."""
        return {role: name_occupant(each) for role, each in self._occupants()}

    def seats(self, env: gym.Env[Any, Any], store: Path | None = None) -> Seats:
        """Make (or return) the seats.

        Where ``"web"`` was asked for, that is on the running page of ``store``, or on one of our own.
        """
        self._store = store
        if self.wants_frames and env.render_mode != "rgb_array":
            modes = env.metadata.get("render_modes", [])
            remedy = (
                "pass render_mode='rgb_array'"
                if "rgb_array" in modes
                else f"the environment offers render modes {modes}"
            )
            warnings.warn(
                f"{env} renders no rgb_array, so the page shows its observations as a table; {remedy}",
                stacklevel=2,
            )
        self._seated = Seats(
            player=self.seat("player", self.player),
            teacher=self.seat("teacher", self.teacher),
            evaluators=tuple(seat for each in self.evaluators if (seat := self.seat("evaluator", each))),
            observers=tuple(seat for each in self.observers if (seat := self.seat("observer", each))),
        )
        return self._seated

    def seat(self, role: str, occupant: Any) -> Seat | None:
        """Return a seat for whoever was named.

        A seat passes; a policy, a model or an actor is wrapped; ``"web"`` opens a page.
        """
        if occupant is None:
            return None
        if _is_seat(occupant):
            return cast("Seat", occupant)
        if _is_web(occupant):
            from cogment_lab.humans import WebUI

            if self._own_ui is None:
                self._own_ui = WebUI.on_free_port(self._store)
                if self.announce and not self._own_ui.is_joined:
                    print(f"cogment_lab: take your seat at {self._own_ui.url}", flush=True)
            seat = self._own_ui.seat(role)
            if self.announce and self._own_ui.is_joined:
                print(f"cogment_lab: take your seat at {self._own_ui.link(seat)}", flush=True)
            return seat
        if _has_mind(role, occupant):
            return seat_of(occupant, role)
        from cogment_lab.humans.simulated import SimulatedEvaluator, SimulatedHuman

        if role == "evaluator":
            return SimulatedEvaluator(occupant)
        return SimulatedHuman(occupant, role=role)

    def tell(self, learner: dict[str, Any]) -> None:
        """Hand what the learner reports to every seat that shows it."""
        for seat in self._seated.all():
            show = getattr(seat, "set_learner", None)
            if show is not None:
                show(learner)

    def release(self) -> None:
        """Close a page that was started here."""
        self._seated = Seats()
        if self._own_ui is not None:
            self._own_ui.close()
            self._own_ui = None

    def __getstate__(self) -> tuple[Any, ...]:
        return (self.player, self.teacher, tuple(self.evaluators), tuple(self.observers), self.announce)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.player, self.teacher, self.evaluators, self.observers, self.announce = state
        self._own_ui = self._store = None
        self._seated = Seats()


def name_occupant(occupant: Any) -> str:
    """Return what records call whoever takes part: ``"web"`` for a person at a page, or a class."""
    return "web" if _is_web(occupant) else str(getattr(occupant, "called", type(occupant).__name__))


def _is_web(occupant: Any) -> bool:
    return isinstance(occupant, str) and occupant == "web"


def _has_mind(role: str, occupant: Any) -> bool:
    if role not in ("player", "teacher") or _is_seat(occupant):
        return False
    return is_model(occupant) or is_actor(occupant)


def _is_seat(occupant: Any) -> bool:
    return all(hasattr(occupant, name) for name in _SEAT_METHODS)
