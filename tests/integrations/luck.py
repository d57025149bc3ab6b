"""A game of several agents for tests: what they see is drawn, and they leave one after the other."""

from typing import Any

import gymnasium as gym
import numpy as np
import pettingzoo

import cogment_lab
from cogment_lab.store import TrialStore


def play(store: TrialStore, env: Any, trials: int = 2, **options: Any) -> list[str]:
    """Let agents act at random, differently in each trial."""
    rng = np.random.default_rng(1)
    spaces = [gym.spaces.Discrete(3)] * 2
    actors = {
        f"player_{index}": (lambda observation, n=space.n: int(rng.integers(n)))
        for index, space in enumerate(spaces)
    }
    return cogment_lab.run(env, actors, trials, seed=3, store=store, **options)


class Luck(pettingzoo.ParallelEnv[str, Any, Any]):
    """Observations are drawn; one agent leaves after three ticks, the other after five."""

    metadata = {"name": "luck_v0", "render_modes": ["rgb_array"]}  # noqa: RUF012
    possible_agents = ["player_0", "player_1"]  # noqa: RUF012
    render_mode = "rgb_array"
    broken_at: int | None = None

    def observation_space(self, agent: str) -> gym.Space[Any]:
        return gym.spaces.Box(0, 10, (2,), np.float32)

    def action_space(self, agent: str) -> gym.Space[Any]:
        return gym.spaces.Discrete(3)

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.rng, self.tick = np.random.default_rng(seed), 0
        self.agents = list(self.possible_agents)
        return self._see(), {agent: {} for agent in self.agents}

    def _see(self) -> dict[str, Any]:
        drawn = {agent: self.rng.uniform(0, 9, 2).astype(np.float32) for agent in self.agents}
        if self.tick == self.broken_at:
            drawn["player_1"][0] += 1
        return drawn

    def step(self, actions: Any) -> Any:
        self.tick += 1
        seen = self._see()
        ends = {"player_0": self.tick == 3, "player_1": self.tick == 5}
        rewards = {agent: float(seen[agent][0]) + action for agent, action in actions.items()}
        over = {agent: ends[agent] for agent in self.agents}
        never = dict.fromkeys(self.agents, False)
        infos: dict[str, Any] = {agent: {} for agent in self.agents}
        self.agents = [agent for agent in self.agents if not ends[agent]]
        return seen, rewards, over, never, infos

    def render(self) -> Any:
        return np.full((16, 24, 3), self.tick, np.uint8)

    def close(self) -> None:
        pass


def as_aec(env: Any) -> Any:
    from pettingzoo.utils.conversions import parallel_to_aec

    return parallel_to_aec(env)
