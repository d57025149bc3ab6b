"""Trials with several agents: PettingZoo environments, AEC and Parallel, with every role filled."""

from __future__ import annotations

import secrets
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from cogment_lab.integrations.gymnasium.checks import check_properties
from cogment_lab.integrations.gymnasium.recording import as_store, default_store_path, versions
from cogment_lab.integrations.gymnasium.seating import Seating, name_occupant

from cogment_lab.errors import ConfigurationError, EnvironmentCrashedError, InvalidActionError
from cogment_lab.trial.actions import action_copier
from cogment_lab.trial.keeping import keep
from cogment_lab.trial.mixing import ActionMix
from cogment_lab.trial.pace import Pace, Pacer
from cogment_lab.trial.sample import Tick
from cogment_lab.trial.takeover import Phase

if TYPE_CHECKING:
    from pettingzoo import AECEnv, ParallelEnv

    from cogment_lab.store import TrialInfo, TrialStore
    from cogment_lab.trial.recorder import Recorder
    from cogment_lab.trial.seat import Seat

__all__ = ["PettingZooSpec", "TrialOrigin", "is_pettingzoo", "run_trials"]


@dataclass(frozen=True, slots=True)
class PettingZooSpec:
    """How a PettingZoo environment is made: ``run`` takes it, and its trials can be replayed without more.

    PettingZoo's environments do not know how they were made, as Gymnasium's do by their ``spec``.

    Args:
        kind: ``"aec"`` or ``"parallel"``.
        id: Of PettingZoo's registry, such as ``"classic/rps-v2"``.
        kwargs: Of the environment; numbers, text and lists.

    Example:
        >>> spec = PettingZooSpec("parallel", "classic/rps-v2", {"max_cycles": 4})
        >>> spec.make().possible_agents
        ['player_0', 'player_1']
    """

    kind: Literal["aec", "parallel"]
    id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def make(self, **more: Any) -> Any:
        """Return the environment; ``more`` are further arguments of it.

        Raises:
            ConfigurationError: it cannot be made here.
        """
        try:
            import pettingzoo

            return pettingzoo.make(self.kind, self.id, **self.kwargs, **more)
        except Exception as error:  # pettingzoo's own errors, and whatever an environment's package raises
            raise ConfigurationError(
                f"the environment {self.id!r} cannot be made here ({type(error).__name__}: {error}): install "
                "the package that provides it, or pass env="
            ) from error

    @classmethod
    def of_trial(cls, info: TrialInfo) -> PettingZooSpec | None:
        """Return the spec that a trial was recorded with, ``None`` if there was none."""
        noted = info.parameters.get("pettingzoo")
        return None if noted is None else cls(noted["kind"], noted["id"], dict(noted["kwargs"]))


@dataclass(frozen=True, slots=True)
class TrialOrigin:
    """Where the trials of an environment come from; it is found as the environment's ``trial_origin``.

    Attributes:
        store: Where they are recorded unless another store is named.
        properties: Stored with each trial.
        spec: How the environment is made, ``None`` where nobody knows.
    """

    store: TrialStore
    properties: Mapping[str, str]
    spec: PettingZooSpec | None


def is_pettingzoo(env: object) -> bool:
    """Return whether ``env`` has PettingZoo's API, of either kind, or says how to make one that has."""
    if isinstance(env, PettingZooSpec):
        return True
    if "pettingzoo" not in sys.modules:
        return False
    from pettingzoo import AECEnv, ParallelEnv

    return isinstance(env, AECEnv | ParallelEnv)


@dataclass(slots=True)
class AgentTrial:
    """One agent's side of a trial, as its seat sees it (:class:`cogment_lab.trial.seat.TrialView`)."""

    env_id: str
    agent: str
    action_space: gym.Space[Any]
    observation_space: gym.Space[Any]
    fps: float
    properties: Mapping[str, str]
    renderable: bool
    draw: Callable[[], Any]
    trial_id: str = ""
    trial_number: int = -1
    seed: int | None = None
    pace: Pace = Pace.MAX
    phase: Phase = Phase.AUTONOMOUS
    tick: Tick = field(default_factory=Tick)
    total_reward: float = 0.0
    takeovers: int = 0
    helped_ticks: int = 0
    all_takeovers: int = 0
    all_helped_ticks: int = 0
    all_ticks: int = 0
    returns: deque[float] = field(default_factory=lambda: deque(maxlen=100))
    acknowledged_by: str | None = "cogment_lab.run"
    recording_failure: str | None = None
    mix: ActionMix = "replace"
    failure: str | None = None
    remedy: str = '.env(render_mode="rgb_array")'
    recorder: Recorder | None = None

    def event(self, kind: str, data: Mapping[str, Any], trial_id: str | None = None) -> None:
        """Keep something that the seat was told in the trial's record."""
        if self.recorder is not None:
            self.recorder.event(max(self.tick.number, 0), kind, data, trial_id)

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Return the current frame, ``(height, width, 3) uint8``, or ``None`` without ``rgb_array``."""
        return self.draw() if self.renderable else None


class Role:
    """An agent with whoever plays it: it acts, and its decisions are recorded."""

    def __init__(self, view: AgentTrial, seat: Seat, recorder: Recorder | None) -> None:
        self.view = view
        self.seat = seat
        self._record = recorder.recorder(view.agent) if recorder is not None else None
        view.recorder = recorder
        self._pacer = Pacer(view.fps)
        self._copy = action_copier(view.action_space)
        self._waiting = False
        self._shown_at = 0

    def begin(self, trial_id: str, seed: int | None, observation: Any, info: Mapping[str, Any]) -> None:
        """Start a trial."""
        view = self.view
        view.trial_id, view.seed, view.total_reward = trial_id, seed, 0.0
        view.trial_number += 1
        view.tick.number = -1
        self._waiting = False
        self._pacer.forget()
        if view.pace is not Pace.MAX:
            self._note_pace(0)
        self.seat.begin(observation, info)

    def decide(self, tick_number: int, observation: Any) -> Any:
        """Return the agent's action; its tick stays open until :meth:`complete`."""
        view, tick = self.view, self.view.tick
        tick.t_shown = time.monotonic_ns()
        if view.pace is not Pace.MAX:
            self.seat.show(None)
            remaining = self._pacer.due(time.monotonic_ns(), view.pace) - time.monotonic_ns()
            if remaining > 0:
                time.sleep(remaining / 1e9)
        for request in self.seat.poll(observation, None) or ():
            if isinstance(request, Pace) and request is not view.pace:
                view.pace = request
                self._note_pace(tick_number)
        action = self.seat.act(observation, None)
        if action is None or not view.action_space.contains(action):
            raise InvalidActionError(
                f"agent {view.agent!r} of trial {view.trial_id} was given {action!r}, which is no action of "
                f"{view.action_space}"
            )
        tick.number, tick.observation = tick_number, keep(observation)  # it is recorded after the step
        tick.proposed_action = tick.executed_action = self._copy(action)
        tick.t_acted = time.monotonic_ns()
        self._waiting = True
        return action

    def _note_pace(self, tick_number: int) -> None:
        view = self.view
        if view.recorder is not None:
            view.recorder.event(tick_number, "pace", {"pace": view.pace.name.lower(), "seat": self.seat.name})

    def complete(
        self,
        observation: Any,
        reward: float,
        terminated: bool,
        truncated: bool,
        info: dict[str, Any],
    ) -> None:
        """Close the open tick with what came of it; without an open tick there is nothing to do."""
        if not self._waiting:
            return
        self._waiting = False
        view, tick = self.view, self.view.tick
        tick.reward, tick.terminated, tick.truncated = reward, terminated, truncated
        tick.info, tick.next_observation = info, observation
        view.total_reward += reward
        view.all_ticks += 1
        self.seat.watch(tick)
        tick.feedback = self.seat.feedback()
        if self._record is not None:
            self._record.append(tick)


def run_trials(
    env: AECEnv[str, Any, Any] | ParallelEnv[str, Any, Any] | PettingZooSpec,
    actors: Mapping[str, Any],
    trials: int,
    *,
    seed: int | None = None,
    store: Any = "auto",
    properties: Mapping[str, str] | None = None,
    fps: float | None = None,
) -> list[str]:
    """Run whole trials of a PettingZoo environment and return their ids.

    Args:
        env: AEC or Parallel; of a spec, the environment is made, and closed in the end.
        actors: For each of ``env.possible_agents`` a policy, a model, an actor, a seat or ``"web"``, as
            :func:`cogment_lab.make` takes for its player.
        trials: How many.
        seed: Seed of the first trial.
        store: As in :func:`cogment_lab.make`; by default that of a branch is its parent's. An agent's arrays
            hold its own decisions; in AEC trials with the rewards summed since its previous one.
        properties: Stored with each trial.
        fps: Ticks per second while a person plays.

    Raises:
        ConfigurationError: an agent without an actor, or an actor without an agent.
        InvalidActionError: an actor gave no action, or one outside the space.
        EnvironmentCrashedError: the environment raised.
    """
    if not isinstance(actors, Mapping):
        agents = getattr(env, "possible_agents", None)
        raise ConfigurationError(
            f"actors={actors!r} is one for several agents: pass a dict of somebody for each of "
            f"{sorted(agents) if agents else 'env.possible_agents'}"
        )
    spec = env if isinstance(env, PettingZooSpec) else None
    is_own = spec is not None
    if isinstance(env, PettingZooSpec):
        watched = any(isinstance(actor, str) for actor in actors.values())
        env = env.make(**({"render_mode": "rgb_array"} if watched else {}))
    origin: TrialOrigin | None = getattr(env, "trial_origin", None)
    properties = check_properties(properties)
    if origin is not None:
        spec = spec or origin.spec
        properties.update(origin.properties)
        store = origin.store if isinstance(store, str) and store == "auto" else store
    agents = list(env.possible_agents)
    if set(actors) != set(agents):
        raise ConfigurationError(f"actors={sorted(actors)}: this environment has the agents {sorted(agents)}")
    metadata = getattr(env, "metadata", {})
    env_id = str(metadata.get("name", type(env).__name__))
    rate = fps if fps is not None else float(metadata.get("render_fps") or 30.0)
    with ExitStack() as stack:
        if is_own:
            stack.callback(env.close)
        seats = _seats(actors, agents, stack)
        recorder = _open_recorder(env, env_id, actors, store, rate, spec)
        if recorder is not None:
            stack.callback(recorder.close)
        roles: dict[str, Role] = {}
        for agent, seat in seats.items():
            view = AgentTrial(
                env_id=env_id,
                agent=agent,
                action_space=env.action_space(agent),
                observation_space=env.observation_space(agent),
                fps=rate,
                properties=properties,
                renderable=getattr(env, "render_mode", None) == "rgb_array",
                draw=env.render,
            )
            seat.attach(view)
            stack.callback(seat.detach)
            roles[agent] = Role(view, seat, recorder)
        prefix = secrets.token_hex(5)
        trial_ids = []
        for number in range(trials):
            trial_id = f"{prefix}-{number}"
            trial_seed = seed if number == 0 and seed is not None else secrets.randbits(31)
            _run_trial(env, roles, recorder, trial_id, trial_seed, properties)
            trial_ids.append(trial_id)
        return trial_ids


def _seats(actors: Mapping[str, Any], agents: list[str], stack: ExitStack) -> dict[str, Seat]:
    """Return a seat for each agent; agents played on the web share one page."""
    ui = None
    if any(isinstance(actor, str) and actor == "web" for actor in actors.values()):
        from cogment_lab.humans import WebUI

        ui = stack.enter_context(WebUI.on_free_port())
        print(f"cogment_lab: take your seats at {ui.url}", flush=True)
    seats: dict[str, Seat] = {}
    for agent in agents:
        actor = actors[agent]
        if ui is not None and isinstance(actor, str):
            actor = ui.seat("player", name=agent)
        seat = Seating(player=actor).seat("player", actor)
        assert seat is not None
        seats[agent] = seat
    return seats


def _open_recorder(
    env: Any,
    env_id: str,
    actors: Mapping[str, Any],
    store: Any,
    fps: float,
    spec: PettingZooSpec | None,
) -> Recorder | None:
    if store is None:
        return None
    from cogment_lab.store import AgentSpec, StreamSpec

    parameters: dict[str, Any] = {
        "fps": fps,
        "actors": {agent: name_occupant(actors[agent]) for agent in env.possible_agents},
    }
    if spec is not None:
        parameters["pettingzoo"] = {"kind": spec.kind, "id": spec.id, "kwargs": dict(spec.kwargs)}
    records = as_store(default_store_path(env_id) if isinstance(store, str) and store == "auto" else store)
    return records.open_stream(
        StreamSpec(
            env_id=env_id,
            agents={
                agent: AgentSpec(
                    observation_space=env.observation_space(agent), action_space=env.action_space(agent)
                )
                for agent in env.possible_agents
            },
            record="full",
            env_spec=None,
            parameters=parameters,
            versions=versions(),
        )
    )


def _run_trial(
    env: Any,
    roles: Mapping[str, Role],
    recorder: Recorder | None,
    trial_id: str,
    seed: int,
    properties: Mapping[str, str],
) -> None:
    """Play one trial; whatever stops it is in the record."""
    if recorder is not None:
        recorder.begin(trial_id, seed=seed, rng_state=None, options=None, properties=properties)
    play = _play_aec if hasattr(env, "agent_iter") else _play_parallel
    last: dict[str, Any] = {}
    end_reason = "interrupted"
    try:
        end_reason = play(env, roles, trial_id, seed, last)
    except EnvironmentCrashedError as error:
        end_reason = "environment_crashed"
        if recorder is not None:
            recorder.event(0, "environment_crashed", {"error": str(error)})
        raise
    finally:
        if recorder is not None:
            recorder.end(state="ENDED", end_reason=end_reason, last_observations=last)
        for role in roles.values():
            role.view.returns.append(role.view.total_reward)
            role.seat.end(end_reason)


def _play_parallel(
    env: Any, roles: Mapping[str, Role], trial_id: str, seed: int, last: dict[str, Any]
) -> str:
    observations, infos = _guarded(trial_id, env.reset, seed=seed)
    last.update(observations)
    for agent, role in roles.items():
        role.begin(trial_id, seed, observations.get(agent), infos.get(agent, {}))
    tick = 0
    truncated = False
    while env.agents:
        actions = {agent: roles[agent].decide(tick, last[agent]) for agent in env.agents}
        observations, rewards, terminations, truncations, infos = _guarded(trial_id, env.step, actions)
        last.update(observations)
        for agent in actions:
            roles[agent].complete(
                observations[agent],
                rewards[agent],
                terminations[agent],
                truncations[agent],
                infos.get(agent, {}),
            )
        truncated = any(truncations.values())
        tick += 1
    return "truncated" if truncated else "terminated"


def _play_aec(env: Any, roles: Mapping[str, Role], trial_id: str, seed: int, last: dict[str, Any]) -> str:
    _guarded(trial_id, env.reset, seed=seed)
    last.update({agent: env.observe(agent) for agent in env.agents})  # in a branch, some may be gone
    for agent, role in roles.items():
        role.begin(trial_id, seed, last.get(agent), env.infos.get(agent, {}))
    tick = 0
    any_truncated = False
    for agent in env.agent_iter():
        observation, reward, terminated, truncated, info = env.last()
        last[agent] = observation
        roles[agent].complete(observation, reward, terminated, truncated, info)
        any_truncated |= truncated
        if terminated or truncated:
            _guarded(trial_id, env.step, None)
        else:
            _guarded(trial_id, env.step, roles[agent].decide(tick, observation))
            tick += 1
    return "truncated" if any_truncated else "terminated"


def _guarded(trial_id: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return call(*args, **kwargs)
    except Exception as error:
        raise EnvironmentCrashedError(
            f"the environment raised {type(error).__name__}: {error} in trial {trial_id}; the trial is ended "
            "and recorded"
        ) from error
