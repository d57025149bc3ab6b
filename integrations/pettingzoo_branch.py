"""New trials of several agents that begin where a recorded one was at some tick."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cogment_lab.integrations.gymnasium.snapshot import Snapshot
from cogment_lab.integrations.pettingzoo import PettingZooSpec, TrialOrigin
from cogment_lab.integrations.pettingzoo_replay import AgentsTrial, execute, load_agents, make_again
from cogment_lab.integrations.pettingzoo_stage import stage_of
from cogment_lab.integrations.replayed import BRANCH_OF, BRANCH_TICK, check_tick, is_same
from pettingzoo.utils import BaseParallelWrapper, BaseWrapper

from cogment_lab.errors import ConfigurationError, ReplayDivergedError, TrialStateError

if TYPE_CHECKING:
    from cogment_lab.store import TrialStore

__all__ = ["AecBranch", "ParallelBranch", "branch_agents"]


def branch_agents(
    store: TrialStore,
    trial_id: str,
    tick: int,
    *,
    env: Any = None,
    restore: bool = True,
    properties: Mapping[str, str] | None = None,
    render_mode: str | None = None,
    **unknown: Any,
) -> AecBranch | ParallelBranch:
    """Return a PettingZoo environment whose every ``reset`` leads to a tick of a recorded trial.

    See :func:`cogment_lab.integrations.gymnasium.replay.branch`. :func:`cogment_lab.run` fills its roles and
    records its trials in the parent's store, with the properties ``branch_of`` and ``branch_tick``. Rewards
    that come of what was done before the branch belong to the parent, and are not in them.

    Args:
        store: Holds the parent.
        trial_id: The parent.
        tick: Where to branch off: 0 is the parent's start. A tick is one action of one agent (AEC), or one of
            each (Parallel).
        env: As in :func:`~cogment_lab.integrations.gymnasium.replay.replay`.
        restore: Whether a snapshot may be taken; whether it holds is tried with a round of recorded ticks.
        properties: Stored with each new trial.
        render_mode: Of an environment that is made by the recorded spec; ``"rgb_array"`` where a person is to
            play on the web.
        **unknown: Other arguments of :func:`cogment_lab.make`, which trials of several agents do not have.

    Raises:
        ConfigurationError: the tick is not in the trial, or the environment cannot be made again.
        ReplayDivergedError: by ``reset``: the environment did not do again what is recorded.
        TrialStateError: the parent still runs, or ended before that tick.

    Example:
        >>> import cogment_lab
        >>> game = PettingZooSpec("aec", "classic/rps-v2", {"max_cycles": 4})
        >>> actors = dict.fromkeys(("player_0", "player_1"), lambda observation: 0)
        >>> with cogment_lab.TrialStore(":memory:") as store:
        ...     (parent,) = cogment_lab.run(game, actors, seed=1, store=store)
        ...     env = branch_agents(store, parent, 6)
        ...     (child,) = cogment_lab.run(env, actors)
        ...     store.info(child).n_ticks, store.info(child).properties["branch_tick"]
        (2, '6')
    """
    if unknown:
        raise ConfigurationError(
            f"{', '.join(sorted(unknown))}: trial {trial_id!r} has several agents, and its branch takes "
            "properties= and render_mode=; who plays is said to cogment_lab.run(branch(...), actors)"
        )
    trial = load_agents(store, trial_id)
    check_tick(trial_id, tick, trial.info.n_ticks)
    if tick == trial.info.n_ticks and trial.info.end_reason == "terminated":
        raise TrialStateError(f"trial {trial_id!r} terminated before tick {tick}: nothing follows it")
    origin = TrialOrigin(
        store,
        {**(properties or {}), BRANCH_OF: trial_id, BRANCH_TICK: str(tick)},
        env if isinstance(env, PettingZooSpec) else PettingZooSpec.of_trial(trial.info),
    )
    made = make_again(trial, env, render_mode)
    way = _Way(made, trial, int(tick), may_restore=restore)
    return AecBranch(way, origin) if hasattr(made, "agent_iter") else ParallelBranch(way, origin)


class _Way:
    """Leads an environment to a tick of a recorded trial, again and again."""

    def __init__(self, env: Any, trial: AgentsTrial, tick: int, *, may_restore: bool) -> None:
        self.env = env
        self.snapshot: Snapshot | None = None
        self._trial = trial
        self._tick = tick
        self._may_restore = may_restore
        self._observations: Mapping[str, Any] = {}

    def go(self) -> dict[str, Any]:
        """Go to the branch, and return what every agent saw last."""
        if self.snapshot is None:
            self._execute()
            if self._may_restore:
                self._may_restore = False  # one attempt
                self.snapshot = self._take_snapshot()
        else:
            self.snapshot.restore()
        return dict(copy.deepcopy(self._observations))

    def _execute(self) -> None:
        trial_id = self._trial.info.trial_id
        for step in execute(self.env, self._trial, self._tick):
            if step.divergence is not None:
                raise ReplayDivergedError(f"trial {trial_id!r} cannot be executed again; {step.divergence}")
            self._observations = copy.deepcopy(step.observation)  # the environment may go on writing into it
        if not stage_of(self.env).acting():
            last = self._tick - 1
            raise TrialStateError(
                f"trial {trial_id!r} is over after tick {last}: branch off at {last} or before"
            )

    def _take_snapshot(self) -> Snapshot | None:
        """Return a snapshot that two equal rounds have shown to hold, else ``None``, being at the branch."""
        snapshot = Snapshot.take(self.env)
        if snapshot is None or snapshot.is_declared:
            return snapshot
        rounds = []
        for _ in range(2):
            rounds.append(self._try_round())
            snapshot.restore()
        if rounds[0] and is_same(rounds[0], rounds[1]):
            return snapshot
        self._execute()
        return None

    def _try_round(self) -> tuple[Any, ...]:
        """Do recorded ticks until each agent has acted, or none is left; return what was heard.

        An AEC environment may compute nothing before the last agent of a round has acted.
        """
        stage = stage_of(self.env)
        heard: list[Any] = []
        for tick in range(self._tick, self._tick + len(self._trial.data)):
            actions = self._trial.actions(tick)
            if not actions or set(actions) != set(stage.acting()):
                break
            heard.append((*copy.deepcopy(stage.act(actions)), tuple(stage.acting())))
        return tuple(heard)


class AecBranch(BaseWrapper[str, Any, Any]):  # type: ignore[misc]  # pettingzoo is untyped
    """An AEC environment that resets to a tick of a recorded trial; made by :func:`branch_agents`.

    Attributes:
        trial_origin: What :func:`cogment_lab.run` records of where its trials come from.
    """

    def __init__(self, way: _Way, origin: TrialOrigin) -> None:
        super().__init__(way.env)
        self.trial_origin = origin
        self._way = way

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Go to the branch; ``seed`` and ``options`` are the record's."""
        self._way.go()


class ParallelBranch(BaseParallelWrapper[str, Any, Any]):  # type: ignore[misc]
    """A Parallel environment that resets to a tick of a recorded trial; made by :func:`branch_agents`.

    Attributes:
        trial_origin: What :func:`cogment_lab.run` records of where its trials come from.
    """

    def __init__(self, way: _Way, origin: TrialOrigin) -> None:
        super().__init__(way.env)
        self.trial_origin = origin
        self._way = way

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Go to the branch; ``seed`` and ``options`` are the record's."""
        observations = self._way.go()
        return {agent: observations[agent] for agent in self.agents}, {agent: {} for agent in self.agents}
