"""PettingZoo's two ways of taking part, AEC and Parallel, seen as one: who acts, and what they hear of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

__all__ = ["AecStage", "Heard", "ParallelStage", "Stage", "stage_of"]


class Heard(NamedTuple):
    """What an agent learned: of its own action, or, when its turn comes, of everybody's since."""

    agent: str
    observation: Any
    reward: float
    terminated: bool
    truncated: bool


class Stage(Protocol):
    """An environment in which a tick is one action of one agent (AEC), or one of each (Parallel).

    Attributes:
        observations: What each agent saw last.
    """

    observations: dict[str, Any]

    def begin(self, seed: int | None, options: Mapping[str, Any] | None) -> None:
        """Reset the environment."""

    def acting(self) -> list[str]:
        """Return whose actions the next tick takes; nobody's when the environment is over."""

    def act(self, actions: Mapping[str, Any]) -> list[Heard]:
        """Run one tick; ``actions`` are those of who is ``acting``."""


class ParallelStage:
    """A Parallel environment."""

    def __init__(self, env: Any) -> None:
        self._env = env
        self.observations: dict[str, Any] = {}

    def begin(self, seed: int | None, options: Mapping[str, Any] | None) -> None:
        """Reset the environment."""
        self.observations, _ = self._env.reset(seed=seed, options=_own(options))

    def acting(self) -> list[str]:
        """Return who is there."""
        return list(self._env.agents)

    def act(self, actions: Mapping[str, Any]) -> list[Heard]:
        """Run one tick; everybody who acts hears of it."""
        seen, rewards, terminations, truncations, _ = self._env.step(dict(actions))
        self.observations = seen
        return [
            Heard(
                agent,
                seen[agent],
                float(rewards[agent]),
                bool(terminations[agent]),
                bool(truncations[agent]),
            )
            for agent in actions
        ]


class AecStage:
    """An AEC environment; agents that are done take their last turn, which is no tick, by themselves."""

    def __init__(self, env: Any) -> None:
        self._env = env
        self.observations: dict[str, Any] = {}

    def begin(self, seed: int | None, options: Mapping[str, Any] | None) -> None:
        """Reset the environment."""
        self._env.reset(seed=seed, options=_own(options))
        self.observations = {agent: self._env.observe(agent) for agent in self._env.agents}

    def acting(self) -> list[str]:
        """Return whose turn it is."""
        return [self._env.agent_selection] if self._env.agents else []

    def act(self, actions: Mapping[str, Any]) -> list[Heard]:
        """Run one tick; who is next hears of it, and who is done."""
        (action,) = actions.values()
        self._env.step(action)
        heard = []
        while self._env.agents:
            agent = self._env.agent_selection
            observation, reward, terminated, truncated, _ = self._env.last()
            self.observations[agent] = observation
            heard.append(Heard(agent, observation, float(reward), bool(terminated), bool(truncated)))
            if not (terminated or truncated):
                break
            self._env.step(None)
        return heard


def stage_of(env: Any) -> Stage:
    """Return a PettingZoo environment as a stage."""
    return AecStage(env) if hasattr(env, "agent_iter") else ParallelStage(env)


def _own(options: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if options is None else dict(options)
