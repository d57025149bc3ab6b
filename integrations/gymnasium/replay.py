"""Replay of recorded trials: the same start and the same actions again, compared tick by tick."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from cogment_lab.integrations.gymnasium.make import make
from cogment_lab.integrations.gymnasium.snapshot import Snapshot
from cogment_lab.integrations.pettingzoo_replay import replay_agents
from cogment_lab.integrations.replayed import (
    BRANCH_OF,
    BRANCH_TICK,
    Divergence,
    Rendered,
    ReplayedTick,
    ancestry,
    check_over,
    check_tick,
    compare,
    is_rendered,
    is_same,
    recorded_observation,
)

from cogment_lab.errors import ConfigurationError, ReplayDivergedError, TrialStateError

if TYPE_CHECKING:
    from cogment_lab.store import TrialData, TrialInfo, TrialStore

__all__ = ["Divergence", "ReplayedTick", "branch", "check_replay", "replay"]

Env: TypeAlias = "gym.Env[Any, Any]"
EnvSource: TypeAlias = "Env | Callable[[], Env] | str | None"  # or PettingZoo's

_AGENT = "gym"


@dataclass(frozen=True, slots=True, eq=False)
class _Script:
    """What to do again: how the first of a line of branches began, and the actions that led to a trial."""

    start: TrialInfo
    before: tuple[Any, ...]


def replay(
    store: TrialStore, trial_id: str, *, render: Rendered = False, env: EnvSource = None
) -> Iterator[ReplayedTick]:
    """Yield the reset, then each step, of a trial that is executed again.

    It goes on beyond a divergence, to the last recorded action or to where the environment now ends. A
    branch is reached by what led to it in its parents. Trials with several agents (PettingZoo's, AEC and
    Parallel) are executed again likewise, until agents act in another order than recorded.

    Args:
        store: Holds the trial; recorded with ``record="full"`` or ``"actions"``.
        trial_id: Which.
        render: Render each observation, or those that these ticks acted on: ``range(20, 40)``.
        env: An environment, or what makes one; by default the recorded spec (of Gymnasium, or a
            ``PettingZooSpec``). One that is given stays open, and with ``render`` must have
            ``render_mode="rgb_array"``.

    Raises:
        ConfigurationError: the environment cannot be made again, takes other actions, or actions are missing.
        TrialNotFoundError: there is no such trial.
        TrialStateError: it still runs.
    """
    if store.info(trial_id).agents != (_AGENT,):
        yield from replay_agents(store, trial_id, render=render, env=env)
        return
    info, data = _load(store, trial_id)
    script = _script(store, info)
    with _environment(info, env, "rgb_array" if render is not False else None) as inner:
        _check_actions(store, trial_id, inner)
        observation = _start(inner, script)
        wanted = recorded_observation(data, 0)
        found = compare(-1, (("observation", wanted, observation),))
        yield ReplayedTick(
            -1, observation, 0.0, False, False, _picture(inner, is_rendered(render, -1)), found
        )
        for tick in range(len(data)):
            observation, reward, terminated, truncated, _ = inner.step(data.executed_action(tick))
            is_last = tick == len(data) - 1
            pairs: list[tuple[str, Any, Any]] = [
                ("observation", recorded_observation(data, tick + 1), observation),
                ("reward", float(data.rewards[tick]), float(reward)),
                ("terminated", bool(data.terminated[tick]), bool(terminated)),
            ]
            if not is_last or info.end_reason == "truncated":  # else the record was cut, not the environment
                pairs.append(("truncated", bool(data.truncated[tick]), bool(truncated)))
            yield ReplayedTick(
                tick,
                observation,
                float(reward),
                bool(terminated),
                bool(truncated),
                _picture(inner, is_rendered(render, tick)),
                compare(tick, pairs),
            )
            if terminated or truncated:
                return


def check_replay(store: TrialStore, trial_id: str, *, env: EnvSource = None) -> Divergence | None:
    """Return where the trial first differs when it is executed again, ``None`` if nowhere.

    Raises:
        ConfigurationError: as :func:`replay`.
        TrialStateError: as :func:`replay`.
    """
    for step in replay(store, trial_id, env=env):
        if step.divergence is not None:
            return step.divergence
    return None


def branch(
    store: TrialStore,
    trial_id: str,
    tick: int,
    *,
    env: EnvSource = None,
    restore: bool = True,
    **make_kwargs: Any,
) -> Any:
    """Return an environment whose every ``reset`` leads to what tick ``tick`` of a trial acted on.

    Of a Gymnasium environment's trial it is a trial environment
    (:class:`~cogment_lab.integrations.gymnasium.environment.TrialEnv`). Of a trial with several agents it is
    a PettingZoo environment, AEC or Parallel as the recorded one, for :func:`cogment_lab.run`
    (:func:`~cogment_lab.integrations.pettingzoo_branch.branch_agents`).

    The way there is executed again and compared with the record; it belongs to the parent, so that the new
    trial counts from tick 0. Its properties ``branch_of`` and ``branch_tick`` name where it comes from.

    The first ``reset`` takes a snapshot there, which later ones restore, where the environment can
    (:class:`~cogment_lab.integrations.gymnasium.snapshot.Snapshot` says how); others execute the way again.

    Args:
        store: Holds the parent; also where the new trials are recorded, for a branch is replayed by what
            led to it.
        trial_id: The parent.
        tick: Where to branch off: 0 is the parent's start, its length the state after its last step.
        env: As in :func:`replay`.
        restore: Whether a snapshot may be taken; whether it holds is tried with a step and a step back.
        **make_kwargs: Of :func:`cogment_lab.make`: ``teacher``, ``player``, ``pace``... Of several agents'
            trials, ``properties`` and ``render_mode``.

    Raises:
        ConfigurationError: the tick is not in the trial, or as :func:`replay`.
        ReplayDivergedError: by ``reset``: the environment did not do again what is recorded.
        TrialStateError: the parent still runs, or ended before that tick.

    Example:
        >>> import cogment_lab
        >>> with cogment_lab.TrialStore(":memory:") as store:
        ...     (trial_id,) = cogment_lab.run("CartPole-v1", lambda observation: 0, seed=1, store=store)
        ...     env = branch(store, trial_id, 3)
        ...     observation, info = env.reset()
        ...     bool((observation == store.load(trial_id)["gym"].observations[3]).all())
        True
    """
    if store.info(trial_id).agents != (_AGENT,):
        from cogment_lab.integrations.pettingzoo_branch import branch_agents

        return branch_agents(store, trial_id, tick, env=env, restore=restore, **make_kwargs)
    info, data = _load(store, trial_id)
    check_tick(trial_id, tick, len(data))
    if tick and data.terminated[tick - 1]:
        raise TrialStateError(f"trial {trial_id!r} terminated before tick {tick}: nothing follows it")
    script = _script(store, info)
    render_mode = make_kwargs.pop("render_mode", "rgb_array" if _is_watched(make_kwargs) else None)
    lineage = {BRANCH_OF: trial_id, BRANCH_TICK: str(tick)}
    properties = {**(make_kwargs.pop("properties", None) or {}), **lineage}
    made = _make(info, env, render_mode)
    with contextlib.ExitStack() as unless_complete:
        if made is not env:
            unless_complete.callback(made.close)
        _check_actions(store, trial_id, made)
        inner = _BranchEnv(made, script, trial_id, data, tick, restore)
        branched = make(inner, store=store, properties=properties, **make_kwargs)
        unless_complete.pop_all()
    return branched


class _BranchEnv(gym.Wrapper[Any, Any, Any, Any]):
    """Resets to a tick of a recorded trial."""

    def __init__(
        self, env: Env, script: _Script, trial_id: str, data: TrialData, tick: int, restore: bool
    ) -> None:
        super().__init__(env)
        self.snapshot: Snapshot | None = None
        self._may_restore = restore
        self._observation: Any = None
        self._script = script
        self._trial_id = trial_id
        self._data = data
        self._tick = tick

    @property
    def spec(self) -> gym.envs.registration.EnvSpec | None:  # type: ignore[override]  # Wrapper's has none
        """The environment's own: what led to the branch is named by properties, and replayed from there."""
        return self.env.spec

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Go to the branch; ``seed`` and ``options`` are the record's."""
        if self.snapshot is None:
            self._observation = self._execute()
            if self._may_restore:
                self._may_restore = False  # one attempt
                self.snapshot = self._take_snapshot()
        else:
            self.snapshot.restore()
        return copy.deepcopy(self._observation), {}

    def _take_snapshot(self) -> Snapshot | None:
        """Return a snapshot that two equal steps have shown to hold, else ``None``, being at the branch."""
        snapshot = Snapshot.take(self.env)
        if snapshot is None:
            return None
        if snapshot.is_declared:
            return snapshot
        tick = min(self._tick, len(self._data) - 1)
        action = self._data.executed_action(tick)
        steps = []
        for _ in range(2):
            steps.append(self.env.step(action)[:4])
            snapshot.restore()
        if is_same(tuple(steps[0]), tuple(steps[1])):
            return snapshot
        self._observation = self._execute()
        return None

    def _execute(self) -> Any:
        """Execute the recorded actions up to the branch; return the observation there."""
        observation = _start(self.env, self._script)
        self._compare(-1, observation)
        for tick in range(self._tick):
            observation, reward, terminated, truncated, _ = self.env.step(self._data.executed_action(tick))
            self._compare(tick, observation, float(reward))
            if terminated or truncated:
                raise TrialStateError(
                    f"trial {self._trial_id!r} is over after tick {tick}: branch off at {tick} or before"
                )
        return copy.deepcopy(observation)  # the environment may go on writing into it

    def _compare(self, tick: int, observation: Any, reward: float | None = None) -> None:
        pairs = [("observation", recorded_observation(self._data, tick + 1), observation)]
        if reward is not None:
            pairs.append(("reward", float(self._data.rewards[tick]), reward))
        found = compare(tick, pairs)
        if found is not None:
            raise ReplayDivergedError(f"trial {self._trial_id!r} cannot be executed again; {found}")


def _load(store: TrialStore, trial_id: str) -> tuple[TrialInfo, TrialData]:
    """Return a trial that is over, and all its actions."""
    info = store.info(trial_id)
    check_over(info)
    data = store.load(trial_id)[_AGENT]
    if not np.array_equal(data.ticks, np.arange(info.n_ticks)):
        raise ConfigurationError(
            f"trial {trial_id!r} has {len(data)} of its {info.n_ticks} actions (record={info.record!r}, "
            f"{info.state}): replay needs record='full' or 'actions'"
        )
    return info, data


def _script(store: TrialStore, info: TrialInfo) -> _Script:
    """Return how a trial began; for a branch, how its parents did and what was done in them."""
    start, before = info, list[Any]()
    for parent, tick in ancestry(store, info):
        _, data = _load(store, parent.trial_id)
        before[:0] = [data.executed_action(index) for index in range(tick)]
        start = parent
    return _Script(start, tuple(before))


def _start(env: Env, script: _Script) -> Any:
    """Reset an environment as it was, and return the observation after ``script.before``."""
    info = script.start
    if info.rng_state is not None:
        generator = getattr(np.random, info.rng_state["bit_generator"])()
        generator.state = dict(info.rng_state)
        env.unwrapped.np_random = np.random.Generator(generator)
    options = None if info.options is None else dict(info.options)
    observation, _ = env.reset(seed=info.seed, options=options)
    for action in script.before:
        observation = env.step(action)[0]
    return observation


@contextlib.contextmanager
def _environment(info: TrialInfo, source: EnvSource, render_mode: str | None) -> Iterator[Env]:
    """Give an environment, and close it unless it was given."""
    env = _make(info, source, render_mode)
    try:
        yield env
    finally:
        if env is not source:
            env.close()


def _make(info: TrialInfo, source: EnvSource, render_mode: str | None) -> Env:
    if isinstance(source, gym.Env):
        return source
    if callable(source):
        return source()
    if source is None and info.env_spec is None:
        raise ConfigurationError(
            f"trial {info.trial_id!r} of {info.env_id!r} was recorded without a Gymnasium spec: pass env=, a "
            "function that makes its environment"
        )
    try:
        spec = gym.envs.registration.EnvSpec.from_json(info.env_spec or "") if source is None else source
        overrides: dict[str, Any] = {} if render_mode is None else {"render_mode": render_mode}
        return gym.make(spec, **overrides)
    except (gym.error.Error, ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"the environment {info.env_id!r} of trial {info.trial_id!r} cannot be made here "
            f"({type(error).__name__}: {error}): install and import the package that provides it, or pass "
            "env="
        ) from error


def _check_actions(store: TrialStore, trial_id: str, env: Env) -> None:
    """Check that recorded actions mean something to an environment.

    Raises:
        ConfigurationError: its action space is another one.
    """
    (spec,) = store.agent_specs(trial_id=trial_id, agent=_AGENT)
    if env.action_space != spec.action_space:
        raise ConfigurationError(
            f"trial {trial_id!r} has actions of {spec.action_space}, and {env} takes {env.action_space}: "
            "pass the environment that it was recorded with"
        )


def _is_watched(make_kwargs: dict[str, Any]) -> bool:
    roles = [make_kwargs.get(name) for name in ("player", "teacher", "evaluator", "observers")]
    return any(role not in (None, (), []) for role in roles)


def _picture(env: Env, is_wanted: bool) -> npt.NDArray[np.uint8] | None:
    if not is_wanted:
        return None
    frame = env.render() if env.render_mode == "rgb_array" else None
    if not isinstance(frame, np.ndarray):
        raise ConfigurationError(
            f"{env} renders no arrays (render_mode={env.render_mode!r}): make it with render_mode='rgb_array'"
        )
    return frame.astype(np.uint8, copy=True)
