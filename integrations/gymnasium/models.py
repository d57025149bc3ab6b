"""Models and actors of services in the seats of a trial: each is asked as a policy is."""

from __future__ import annotations

import copy
import inspect
import zlib
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import gymnasium as gym
import numpy as np

from cogment_lab.errors import ConfigurationError
from cogment_lab.humans.simulated import SimulatedHuman
from cogment_lab.specs import ActionSpace

if TYPE_CHECKING:
    from cogment_lab.core import CogmentActor
    from cogment_lab.trial.seat import TrialView

__all__ = ["MindSeat", "is_actor", "is_model", "seat_of"]


class _Mind(Protocol):
    """What acts in a :class:`MindSeat`, knowing the trial."""

    def attach(self, trial: TrialView, role: str) -> None:
        """Meet the environment."""

    def begin(self) -> None:
        """Start a trial."""

    def act(self, observation: Any) -> Any:
        """Return the action."""


class MindSeat(SimulatedHuman):
    """A model or an actor in a seat, always in control."""

    def __init__(self, mind: _Mind, role: str, name: str) -> None:
        super().__init__(mind.act, role=role, name=name)
        self._mind = mind

    def attach(self, trial: TrialView) -> None:
        """Sit down."""
        super().attach(trial)
        self._mind.attach(trial, self.role)

    def begin(self, observation: Any, info: Mapping[str, Any]) -> None:
        """Start a trial, of which a model with a memory remembers nothing yet."""
        super().begin(observation, info)
        self._mind.begin()


def is_model(occupant: Any) -> bool:
    """Return whether this is a model as Stable-Baselines3's are: asked by ``predict``.

    Its policies are callable as well, but answer that with tensors for a batch of observations.
    """
    predict = getattr(occupant, "predict", None)
    if not callable(predict) or isinstance(occupant, type):
        return False
    return not callable(occupant) or "deterministic" in inspect.signature(predict).parameters


def is_actor(occupant: Any) -> bool:
    """Return whether this is an actor that could be served, as :class:`cogment_lab.actors.RandomActor`."""
    if isinstance(occupant, type) or not inspect.iscoroutinefunction(getattr(occupant, "act", None)):
        return False
    from cogment_lab.core import CogmentActor

    return isinstance(occupant, CogmentActor)


def seat_of(occupant: Any, role: str) -> MindSeat:
    """Return a seat for a model or an actor."""
    mind: _Mind = _Model(occupant) if is_model(occupant) else _Actor(occupant)
    return MindSeat(mind, role, type(occupant).__name__)


class _Model:
    """Does what a model finds best, as :class:`cogment_lab.actors.SB3Actor` does."""

    def __init__(self, model: Any) -> None:
        self._model = model
        parameters = inspect.signature(model.predict).parameters
        takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
        options = ("state", "episode_start", "deterministic")
        self._options = [name for name in options if takes_all or name in parameters]
        self._state: Any = None
        self._is_first = True

    def attach(self, trial: TrialView, role: str) -> None:
        space = getattr(self._model, "action_space", None)
        if isinstance(space, gym.Space) and space != trial.action_space:
            raise ConfigurationError(
                f"{role}: this {type(self._model).__name__} was made for the actions {space}, and those of "
                f"{trial.env_id} are {trial.action_space}"
            )

    def begin(self) -> None:
        self._state, self._is_first = None, True

    def act(self, observation: Any) -> Any:
        values = {
            "state": self._state,
            "episode_start": np.array([self._is_first]),
            "deterministic": True,
        }
        action, self._state = self._model.predict(
            observation, **{name: values[name] for name in self._options}
        )
        self._is_first = False
        return _without_dimension(action)


class _Actor:
    """Lets an actor of services play; as there, each trial gets a copy of its own."""

    def __init__(self, actor: CogmentActor[Any, Any]) -> None:
        from cogment_lab.core import CogmentActor

        if type(actor).initialize is not CogmentActor.initialize:
            raise ConfigurationError(
                f"{type(actor).__name__} prepares itself for each trial of a service (it has an initialize() "
                "of its own): serve it, with Cogment.run_actor(...)"
            )
        self._actor = self._playing = actor
        self._wants_frames = type(actor)._wants_frames
        self._trial: TrialView | None = None
        self._space: ActionSpace | None = None
        self._role = ""

    def attach(self, trial: TrialView, role: str) -> None:
        self._trial, self._role = trial, role
        self._space = ActionSpace(copy.deepcopy(trial.action_space))

    def begin(self) -> None:
        assert self._trial is not None and self._space is not None
        if self._trial.seed is not None:
            # Nobody's luck is that of the environment, or of who sits beside.
            who = zlib.crc32(f"{self._trial.agent}/{self._role}".encode())
            (seed,) = np.random.SeedSequence([self._trial.seed, who]).generate_state(1)
            self._space.gym_space.seed(int(seed))
        self._playing = copy.copy(self._actor)
        self._playing.action_space = self._space

    def act(self, observation: Any) -> Any:
        assert self._trial is not None
        frame = self._trial.render() if self._wants_frames and self._trial.renderable else None
        return _without_dimension(_finish(self._playing.act(observation, frame)))


def _finish(call: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that waits for nothing, without an event loop: the caller may be inside one."""
    try:
        call.send(None)
    except StopIteration as done:
        return done.value
    call.close()
    raise ConfigurationError(
        "this actor's act() waits for something: only a service can, see Cogment.run_actor(...)"
    )


def _without_dimension(action: Any) -> Any:
    """Return a number for an array ``()``, as models give for Discrete: environments look actions up."""
    return action[()] if isinstance(action, np.ndarray) and action.ndim == 0 else action
