"""Which trials, and which of their steps: a choice that is read trial by trial."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from cogment_lab.errors import ConfigurationError, CorruptStoreError, TrialStateError
from cogment_lab.store.catalog import as_names
from cogment_lab.store.columns import take_rows
from cogment_lab.store.labels import LabelKind
from cogment_lab.store.stream_spec import AgentSpec
from cogment_lab.store.trial_data import Successors, TrialData, concatenate, keep_continuing

if TYPE_CHECKING:
    from cogment_lab.store.store import TrialStore
    from cogment_lab.store.trial_info import TrialInfo

__all__ = ["Only", "TrialQuery", "leave_out", "select_rows", "with_successors"]

Only: TypeAlias = Literal["interventions", "demonstrations", "autonomous"]


@dataclass(frozen=True, eq=False, kw_only=True)
class TrialQuery:
    """Trials of one agent, chosen once; their ticks are read when it is iterated, one trial at a time.

    Made by ``TrialStore.query``. Trials that were not over when the query was made are not in it.

    Attributes:
        store: Where they are.
        agent: Whose ticks.
        infos: The chosen trials, in the order in which they started.
        only: Which steps, or which trials; ``None`` for all.
        discarded: Whether ticks that a label discards are read too.
        damaged: ``"raise"``, or ``"skip"`` what cannot be decoded.
        skipped: What was skipped when last iterated: trial id -> why.
        asked: The arguments of ``TrialStore.query`` that were given.
    """

    store: TrialStore
    agent: str
    infos: tuple[TrialInfo, ...]
    only: Only | None = None
    discarded: bool = False
    damaged: Literal["raise", "skip"] = "raise"
    skipped: dict[str, str] = field(default_factory=dict)
    asked: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.infos)

    def __iter__(self) -> Iterator[TrialData]:
        """Yield each trial's steps; one without any that were asked for is left out.

        Raises:
            CorruptStoreError: a trial cannot be decoded (with ``damaged="raise"``).
        """
        self.skipped.clear()
        discarded = {} if self.discarded else self.store.labels.discarded_ticks(self.agent)
        for info, load in zip(self.infos, self.store.load_each(self.trial_ids), strict=True):
            try:
                data = load()[self.agent]
            except CorruptStoreError as error:
                if self.damaged == "raise":
                    raise
                self.skipped[info.trial_id] = str(error)
                continue
            if self.only in ("interventions", "autonomous"):
                data = select_rows(data, data.is_intervention == (self.only == "interventions"))
            data = leave_out(data, discarded.get(info.trial_id, ()))
            if len(data):
                yield data

    @property
    def trial_ids(self) -> list[str]:
        """Of the chosen trials, in order."""
        return [info.trial_id for info in self.infos]

    def load(self) -> TrialData:
        """Return the steps of all trials as one.

        Raises:
            ConfigurationError: there are none, or some trials have observations and some have none.
        """
        parts = list(self)
        if not parts:
            raise ConfigurationError(
                f"no steps match in {self.store.path}: {self.explain()}; {len(self)} trials were chosen"
            )
        return concatenate(parts)

    def explain(self) -> str:
        """Return what was asked for and what the store has, for whoever got nothing."""
        there = list(self.store.trials())
        if not there:
            return "it has no trials"
        asked = ", ".join(f"{name}={value!r:.200}" for name, value in self.asked.items())
        envs = ", ".join(sorted({info.env_id for info in there}))
        agents = ", ".join(sorted({agent for info in there for agent in info.agents}))
        running = sum(info.state == "RUNNING" for info in there)
        states = [f"{running} still run"]
        if discarded := len(self.store.discarded()):
            states.append(f"{discarded} are discarded")
        if self.skipped:
            states.append(
                f"{len(self.skipped)} of those chosen cannot be read: {next(iter(self.skipped.values()))}"
            )
        return (
            f"it has {len(there)} trials ({', '.join(states)}) of the environments {envs} with the agents "
            f"{agents}, and asked for was {asked}"
        )

    def spaces(self) -> AgentSpec:
        """Return the spaces that all chosen trials share.

        Raises:
            ConfigurationError: nothing was chosen, or they differ.
        """
        found: list[AgentSpec] = []
        env_ids = dict.fromkeys(info.env_id for info in self.infos)
        for env_id in env_ids:
            specs = self.store.agent_specs(env_id=env_id, agent=self.agent)
            found += [spec for spec in specs if spec not in found]
        if not found:
            raise ConfigurationError(f"no trials match in {self.store.path}: {self.explain()}")
        if len(found) > 1:
            listed = "; ".join(f"{spec.observation_space} -> {spec.action_space}" for spec in found)
            raise ConfigurationError(
                f"the chosen trials of {', '.join(env_ids)} have several spaces ({listed}): choose one with "
                "env="
            )
        return found[0]

    def split(self, validation: float = 0.1, *, seed: int) -> tuple[TrialQuery, TrialQuery]:
        """Return training and validation: whole trials, drawn without replacement.

        Args:
            validation: Share of the trials, in (0, 1); at least one on each side.
            seed: Of the draw.

        Raises:
            ConfigurationError: fewer than two trials, or a share that cannot be.
        """
        if not 0.0 < validation < 1.0:
            raise ConfigurationError(f"validation={validation} must be between 0 and 1")
        if len(self) < 2:
            raise ConfigurationError(
                f"{len(self)} trials cannot be split, a split needs two; {self.explain()}"
            )
        count = min(max(round(validation * len(self)), 1), len(self) - 1)
        held = set(np.random.default_rng(seed).permutation(len(self))[:count].tolist())
        sides = (
            tuple(info for index, info in enumerate(self.infos) if (index in held) is side)
            for side in (False, True)
        )
        train, test = (replace(self, infos=infos, skipped={}) for infos in sides)
        return train, test


def one_env(env: str | None, env_id: str | None) -> str | None:
    """Return the environment's name, which goes by either name in a query.

    Raises:
        ConfigurationError: both are given.
    """
    if env is not None and env_id is not None:
        raise ConfigurationError(f"env={env!r} and env_id={env_id!r} are the same argument: give one of them")
    return env_id if env is None else env


def query_trials(
    store: TrialStore,
    *,
    env: str | None,
    properties: Mapping[str, str] | None,
    actor: str | None,
    agent: str,
    min_return: float | None,
    only: Only | None,
    labelled: bool | str | None,
    trial_ids: Collection[str] | None,
    without: Collection[str],
    discarded: bool,
    since: float | None,
    damaged: Literal["raise", "skip"],
) -> TrialQuery:
    """Choose trials; see ``TrialStore.query``."""
    if only is not None and only not in get_args(Only):
        raise ConfigurationError(f"only={only!r} is unknown; choose {', '.join(map(repr, get_args(Only)))}")
    if damaged not in ("raise", "skip"):
        raise ConfigurationError(f"damaged={damaged!r} is unknown; choose 'raise' or 'skip'")
    trial_ids = None if trial_ids is None else as_names(trial_ids)
    without = as_names(without)
    for trial_id in trial_ids or ():
        if trial_id not in store:
            store.info(trial_id)
    with_labels = None if labelled is None else _labelled_trials(store, labelled)
    given = {
        "env": env, "properties": properties, "actor": actor, "agent": agent, "min_return": min_return,
        "only": only, "labelled": labelled, "trial_ids": trial_ids, "without": without or None,
        "since": since,
    }  # fmt: skip
    asked = {name: value for name, value in given.items() if value is not None}
    chosen = []
    discarded = discarded or labelled == "discard"
    if not discarded and trial_ids is None:
        without = store.discarded().union(without)
    found = store.trials(
        env_id=env,
        properties=properties,
        min_return=min_return,
        since=since,
        trial_ids=trial_ids,
        without=without,
    )
    for info in found:
        if info.state == "RUNNING" and trial_ids is not None:
            raise TrialStateError(
                f"trial {info.trial_id!r} still runs: end it, or close its environment, or leave it out of "
                "trial_ids"
            )
        if (
            info.state == "RUNNING"
            or agent not in info.agents
            or (actor is not None and not _has_actor(info, actor))
            or (only == "demonstrations" and not _is_demonstration(info, agent))
            or (only == "interventions" and not info.n_interventions)
            or (with_labels is not None and (info.trial_id in with_labels) is (labelled is False))
        ):
            continue
        chosen.append(info)
    query = TrialQuery(
        store=store,
        agent=agent,
        infos=tuple(chosen),
        only=only,
        discarded=discarded,
        damaged=damaged,
        asked=asked,
    )
    if chosen:
        query.spaces()
    return query


def select_rows(data: TrialData, mask: npt.NDArray[np.bool_]) -> TrialData:
    """Return these ticks of a trial, ``mask`` being ``(n,) bool``; each keeps its own next observation."""
    rows = np.flatnonzero(mask)
    ends_with_last = bool(len(rows)) and rows[-1] == len(data) - 1

    def pick(name: str) -> Any:
        column = getattr(data, name)
        return None if column is None else take_rows(column, rows)

    names = ("ticks", "observations", "actions", "rewards", "terminated", "truncated", "proposed_actions")
    more = ("is_intervention", "decided_by", "phase", "t_shown", "t_acted", "reaction_ns", "infos")
    kept = set(data.ticks[rows].tolist())
    return replace(
        data,
        **{name: pick(name) for name in (*names, *more)},
        feedback=[opinion for opinion in data.feedback if opinion.tick in kept],
        last_observation=data.last_observation if ends_with_last else None,
        successors=Successors(
            observations=pick("next_observations"),
            continues=keep_continuing(data.continues, rows),
            is_known=data.has_successor[rows],
        ),
    )


def leave_out(data: TrialData, stretches: Iterable[tuple[int, int]]) -> TrialData:
    """Return a trial's other ticks than those from each ``start`` up to ``stop``."""
    mask = np.ones(len(data), np.bool_)
    for start, stop in stretches:
        mask &= (data.ticks < start) | (data.ticks >= stop)
    return data if mask.all() else select_rows(data, mask)


def with_successors(data: TrialData) -> TrialData:
    """Return the steps that one can learn from: what followed is known, or the trial terminated there."""
    mask = data.has_successor | data.terminated
    return data if mask.all() else select_rows(data, mask)


def _has_actor(info: TrialInfo, actor: str) -> bool:
    """Return whether somebody of that name or kind took part (``"web"`` is a person at the page)."""
    return actor == info.user_id or actor in dict(info.parameters.get("actors", {})).values()


def _is_demonstration(info: TrialInfo, agent: str) -> bool:
    """Return whether the trial was collected as one, or a person played the agent."""
    actors = dict(info.parameters.get("actors", {}))
    return info.properties.get("purpose") == "demonstration" or "web" in (
        actors.get("player"),
        actors.get(agent),
    )


def _labelled_trials(store: TrialStore, labelled: bool | str) -> set[str]:
    kind = labelled if isinstance(labelled, str) else None
    if kind is not None and kind not in get_args(LabelKind):
        kinds = ", ".join(map(repr, get_args(LabelKind)))
        raise ConfigurationError(f"labelled={kind!r} is no kind of label; choose {kinds}, True or False")
    return {label.trial_id for label in store.labels if kind is None or label.kind == kind}
