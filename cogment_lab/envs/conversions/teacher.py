"""A Gymnasium environment as a PettingZoo environment of a player and a teacher."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from pettingzoo import AECEnv, ParallelEnv

__all__ = ["GymTeacherAEC", "GymTeacherParallel"]

_BORDER = 5
_RED = (255, 0, 0)


class _Inside:
    """The environment inside, and what its picture looks like while the teacher acts."""

    def __init__(
        self, gym_env_name: str, gym_make_kwargs: dict[str, Any] | None, render_mode: str | None
    ) -> None:
        self.env = gym.make(gym_env_name, render_mode=render_mode, **(gym_make_kwargs or {}))
        self.override = False

    def teacher_action_space(self) -> spaces.Dict:
        return spaces.Dict({"active": spaces.Discrete(2), "action": self.env.action_space})

    def step(self, proposed: Any, teacher: dict[str, Any]) -> Any:
        self.override = bool(teacher["active"])
        return self.env.step(teacher["action"] if self.override else proposed)

    def render(self) -> Any:
        picture = self.env.render()
        if self.override and isinstance(picture, np.ndarray):
            picture = picture.copy()
            picture[:_BORDER] = picture[-_BORDER:] = _RED
            picture[:, :_BORDER] = picture[:, -_BORDER:] = _RED
        return picture


class GymTeacherAEC(AECEnv):  # type: ignore[misc]  # PettingZoo is untyped
    """First ``"gym"`` proposes, then ``"teacher"`` sees the proposal and may override it.

    Args:
        gym_env_name: A Gymnasium id.
        gym_make_kwargs: Passed to ``gymnasium.make``.
        render_mode: Likewise.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "render_modes": ["rgb_array"],
        "name": "gym_teacher_aec",
        "is_parallelizable": False,
    }

    def __init__(
        self,
        gym_env_name: str,
        gym_make_kwargs: dict[str, Any] | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__()
        self._inside = _Inside(gym_env_name, gym_make_kwargs, render_mode)
        self.gym_env = self._inside.env
        self.render_mode = render_mode
        self.possible_agents = ["gym", "teacher"]
        seen, done = self.gym_env.observation_space, self.gym_env.action_space
        self.observation_spaces = {
            "gym": seen,
            "teacher": spaces.Dict({"observation": seen, "action": done}),
        }
        self.action_spaces = {"gym": done, "teacher": self._inside.teacher_action_space()}

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Reset the environment inside."""
        self.agents = self.possible_agents[:]
        self.agent_selection = "gym"
        self._inside.override = False
        self._seen, info = self.gym_env.reset(seed=seed, options=options)
        self._proposed: Any = None
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos = {agent: dict(info) for agent in self.agents}

    def step(self, action: Any) -> None:
        """Take the player's proposal, or the teacher's ``{"active", "action"}`` and act."""
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self._was_dead_step(action)
            return
        self._cumulative_rewards[agent] = 0.0
        self.rewards = dict.fromkeys(self.agents, 0.0)
        if agent == "gym":
            self._proposed = action
            self.agent_selection = "teacher"
            return
        self._seen, reward, terminated, truncated, info = self._inside.step(self._proposed, action)
        self.rewards = dict.fromkeys(self.agents, float(reward))
        self.terminations = dict.fromkeys(self.agents, bool(terminated))
        self.truncations = dict.fromkeys(self.agents, bool(truncated))
        self.infos = {name: dict(info) for name in self.agents}
        self._accumulate_rewards()
        self.agent_selection = "gym"

    def observe(self, agent: str) -> Any:
        """Return the observation; the teacher also sees the proposed action."""
        if agent == "gym":
            return self._seen
        proposed = self.gym_env.action_space.sample() if self._proposed is None else self._proposed
        return {"observation": self._seen, "action": proposed}

    def render(self) -> Any:
        """Render the environment inside, with a red border while the teacher acts."""
        return self._inside.render()

    def close(self) -> None:
        """Close the environment inside."""
        self.gym_env.close()

    def observation_space(self, agent: str) -> Any:
        """Return what an agent sees."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Any:
        """Return what an agent does."""
        return self.action_spaces[agent]


class GymTeacherParallel(ParallelEnv):  # type: ignore[misc]  # PettingZoo is untyped
    """``"gym"`` and ``"teacher"`` act at once; the teacher's action counts while it is active.

    Args:
        gym_env_name: A Gymnasium id.
        gym_make_kwargs: Passed to ``gymnasium.make``.
        render_mode: Likewise.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "name": "gym_teacher_parallel"}

    def __init__(
        self,
        gym_env_name: str,
        gym_make_kwargs: dict[str, Any] | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__()
        self._inside = _Inside(gym_env_name, gym_make_kwargs, render_mode)
        self.gym_env = self._inside.env
        self.render_mode = render_mode
        self.possible_agents = ["gym", "teacher"]
        self.observation_spaces = dict.fromkeys(self.possible_agents, self.gym_env.observation_space)
        self.action_spaces = {
            "gym": self.gym_env.action_space,
            "teacher": self._inside.teacher_action_space(),
        }

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Reset the environment inside."""
        self.agents = self.possible_agents[:]
        self._inside.override = False
        seen, info = self.gym_env.reset(seed=seed, options=options)
        return dict.fromkeys(self.agents, seen), {agent: dict(info) for agent in self.agents}

    def step(self, actions: dict[str, Any]) -> Any:
        """Act."""
        seen, reward, terminated, truncated, info = self._inside.step(actions["gym"], actions["teacher"])
        agents = self.agents
        if terminated or truncated:
            self.agents = []
        return (
            dict.fromkeys(agents, seen),
            dict.fromkeys(agents, float(reward)),
            dict.fromkeys(agents, bool(terminated)),
            dict.fromkeys(agents, bool(truncated)),
            {agent: dict(info) for agent in agents},
        )

    def render(self) -> Any:
        """Render the environment inside, with a red border while the teacher acts."""
        return self._inside.render()

    def close(self) -> None:
        """Close the environment inside."""
        self.gym_env.close()

    def observation_space(self, agent: str) -> Any:
        """Return what an agent sees."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Any:
        """Return what an agent does."""
        return self.action_spaces[agent]
