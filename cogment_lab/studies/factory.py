"""The experimenter's side of a session: a function that says what one person meets under one condition."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import gymnasium as gym

from cogment_lab.errors import StudySessionError, UnknownEnvironmentError
from cogment_lab.humans.web.wishes import check_wishes
from cogment_lab.integrations.gymnasium.registration import check_registered
from cogment_lab.studies.definition import Study

__all__ = ["Session", "SessionFactory", "load_factory", "make_session", "try_sessions"]

_NOBODY = "p-0000000000"
"""A pseudonym that is nobody's, to try a factory with."""
_ALLOWED = {
    "player": frozenset[str](),
    "teacher": frozenset({"take", "release", "feedback"}),
    "evaluator": frozenset({"feedback"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What one person meets: an environment, and whoever else acts in it.

    Attributes:
        env: As in :func:`cogment_lab.make`: an id, a callable that makes one, or an environment.
        role: The person's seat: ``"player"``, ``"teacher"`` or ``"evaluator"``.
        learner: An algorithm class of Stable-Baselines3 (made with ``"MlpPolicy"``), or a callable that
            takes the trial environment and returns a model; it learns while the person is at the seat.
        policy: ``policy(observation) -> action`` of an agent that does not learn. A teacher or an evaluator
            needs a ``learner`` or a ``policy``; a player has neither.
        callback: For ``learner.learn``; a :class:`~cogment_lab.integrations.sb3.TrialCallback` by default.
        total_timesteps: Handed to ``learn``, for schedules; the session ends with the study's trials, sooner
            or later.
        model_path: Where the model is saved when all trials are done; ``None`` for nowhere.
        countdown: Seconds before each trial's first tick, counted when somebody is there.
        keymap: As in :meth:`cogment_lab.humans.WebUI.seat`.
        show_proposal: As in :meth:`cogment_lab.humans.WebUI.seat`.
        allows: What the person may ask for beyond acting, as in :meth:`cogment_lab.humans.WebUI.seat`; by
            default a teacher may take over, hand back and give feedback, an evaluator give feedback, a
            player nothing. The page shows nothing else, and the server refuses it.
        same_starts: The n-th trial of every person begins alike, by the study's seed.
        make: Further keywords of :func:`cogment_lab.make`, and of the environment.
    """

    env: str | Callable[..., gym.Env[Any, Any]] | gym.Env[Any, Any]
    role: Literal["player", "teacher", "evaluator"] = "player"
    learner: Callable[..., Any] | None = None
    policy: Callable[[Any], Any] | None = None
    callback: Any = None
    total_timesteps: int = 100_000
    model_path: str | Path | None = None
    countdown: int = 3
    keymap: Any = None
    show_proposal: bool = True
    allows: Collection[str] | None = None
    same_starts: bool = True
    make: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.role not in _ALLOWED:
            raise StudySessionError(f"role={self.role!r} is unknown; choose one of {', '.join(_ALLOWED)}")
        others = sum(each is not None for each in (self.learner, self.policy))
        if self.role == "player" and others:
            raise StudySessionError("a player acts alone: role='teacher' has a learner or a policy beside it")
        if self.role != "player" and others != 1:
            raise StudySessionError(
                f"role={self.role!r} needs somebody who acts: pass learner=DQN, say, or policy=function, "
                "and not both"
            )
        if not (isinstance(self.env, str | gym.Env) or callable(self.env)):
            raise StudySessionError(
                f"env={self.env!r} is no environment: pass an id like 'CartPole-v1', an environment, or a "
                "callable that makes one"
            )
        if self.allows is not None:
            check_wishes(self.allows)
        reserved = {"player", "teacher", "evaluator", "store", "properties", "user_id"} & set(self.make)
        if reserved:
            raise StudySessionError(f"make={sorted(reserved)}: the study decides these itself")

    @property
    def allowed(self) -> Collection[str]:
        """What the person may ask for."""
        return _ALLOWED[self.role] if self.allows is None else self.allows


SessionFactory: TypeAlias = Callable[[str, str], Session]
"""``session(participant, condition)``: the person's pseudonym, and what the study assigned them to."""


def load_factory(study: Study) -> SessionFactory:
    """Return the function that the study's file names; its module may lie beside the file.

    Raises:
        StudySessionError: there is no such module or function, or importing it failed.
    """
    module_name, _, function_name = study.session.partition(":")
    line = "" if study.session_line is None else f", line {study.session_line}"
    where = f"{study.path}{line}: session: {study.session}"
    folder = str(Path(study.path).absolute().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and module_name.split(".")[0] == error.name.split(".")[0]:
            raise StudySessionError(
                f"{where}: there is no module {module_name!r} in {folder} or installed"
            ) from None
        raise StudySessionError(
            f"{where}: importing it needs {error.name!r}, which is not installed"
        ) from error
    except (Exception, SystemExit) as error:
        raise StudySessionError(f"{where}: importing it raised {type(error).__name__}: {error}") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise StudySessionError(
            f"{where}: module {module_name!r} has no function {function_name!r}: write "
            f"`def {function_name or 'session'}(participant, condition): return Session(env=...)`"
        )
    found: SessionFactory = function
    return found


def try_sessions(study: Study) -> dict[str, Session]:
    """Call the study's factory once for each condition, as for a person, and return what they would meet.

    Raises:
        StudySessionError: as :func:`make_session`, or an environment's id is unknown.
    """
    sessions = {condition: make_session(study, _NOBODY, condition) for condition in study.conditions}
    for condition, session in sessions.items():
        if isinstance(session.env, str):
            try:
                check_registered(session.env)
            except UnknownEnvironmentError as error:
                raise StudySessionError(
                    f"{study.session}({_NOBODY!r}, {condition!r}) returned env={session.env!r}: {error}"
                ) from error
    return sessions


def make_session(study: Study, participant: str, condition: str) -> Session:
    """Call the study's factory for one person.

    Raises:
        StudySessionError: it raised, or returned something else than a :class:`Session`.
    """
    factory = load_factory(study)
    try:
        session = factory(participant, condition)
    except StudySessionError:
        raise
    except (Exception, SystemExit) as error:
        raise StudySessionError(
            f"{study.session}({participant!r}, {condition!r}) raised {type(error).__name__}: {error}"
        ) from error
    if not isinstance(session, Session):
        raise StudySessionError(
            f"{study.session}({participant!r}, {condition!r}) returned {session!r}: return a "
            "cogment_lab.studies.Session"
        )
    return session
