"""A Gymnasium environment as a PettingZoo environment of a player and somebody who only watches."""

from __future__ import annotations

from typing import Any, ClassVar

from cogment_lab.envs.conversions.teacher import GymTeacherAEC, GymTeacherParallel

__all__ = ["GymObserverAEC", "GymObserverParallel"]


def _as_observer(env: Any) -> None:
    """Turn the teacher of ``env`` into an observer, whose actions have no effect."""
    env.possible_agents = ["gym", "observer"]
    env.observation_spaces["observer"] = env.observation_spaces.pop("teacher")
    del env.action_spaces["teacher"]
    env.action_spaces["observer"] = env.gym_env.action_space


class GymObserverAEC(GymTeacherAEC):
    """First ``"gym"`` acts, then ``"observer"`` sees the observation and the action."""

    metadata: ClassVar[dict[str, Any]] = {
        "render_modes": ["rgb_array"],
        "name": "gym_observer_aec",
        "is_parallelizable": False,
    }

    def __init__(
        self,
        gym_env_name: str,
        gym_make_kwargs: dict[str, Any] | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(gym_env_name, gym_make_kwargs, render_mode)
        _as_observer(self)

    def step(self, action: Any) -> None:
        """Act as ``"gym"``; as ``"observer"`` let the action happen, whatever ``action`` is."""
        if self.agent_selection == "gym" or self.terminations["observer"] or self.truncations["observer"]:
            super().step(action)
            if self.agent_selection == "teacher":
                self.agent_selection = "observer"
        else:
            super().step({"active": 0})


class GymObserverParallel(GymTeacherParallel):
    """``"gym"`` acts while ``"observer"`` sees what it sees."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "name": "gym_observer_parallel"}

    def __init__(
        self,
        gym_env_name: str,
        gym_make_kwargs: dict[str, Any] | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(gym_env_name, gym_make_kwargs, render_mode)
        _as_observer(self)

    def step(self, actions: dict[str, Any]) -> Any:
        """Act as ``"gym"``; the observer's action has no effect."""
        return super().step({"gym": actions["gym"], "teacher": {"active": 0}})
