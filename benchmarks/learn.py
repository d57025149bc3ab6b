"""``learn()`` through recorded trials with an idle teacher seat, against plain Stable-Baselines3.

The teacher is a web seat that nobody sits in (``--simulated`` takes a scripted one that never acts). Keys:
``dqn_ratio, ppo_ratio, sac_ratio`` (steps/s of ours / plain, medians of interleaved pairs, with
``*_spread``), and from the same DQN runs, inside ``learn()``: ``dqn_step_us`` (``env.step`` and callback) and
``dqn_reset_us``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from cogment_lab.integrations.sb3 import TrialCallback
from common import arguments, interleave, median_and_spread, report
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

import cogment_lab  # noqa: F401  # registers the ids
from cogment_lab.humans import SimulatedHuman, WebUI


@dataclass
class Clock:
    """Seconds spent inside the environment, and how often."""

    step_seconds: float = 0.0
    reset_seconds: float = 0.0
    steps: int = 0
    resets: int = 0
    callback_seconds: float = 0.0
    step_us: list[float] = field(default_factory=list)
    reset_us: list[float] = field(default_factory=list)

    def close_run(self) -> None:
        self.step_us.append((self.step_seconds + self.callback_seconds) / self.steps * 1e6)
        self.reset_us.append(self.reset_seconds / self.resets * 1e6)
        self.step_seconds = self.reset_seconds = self.callback_seconds = 0.0
        self.steps = self.resets = 0


class Timed(gym.Wrapper[Any, Any, Any, Any]):
    """Measures both sides in the same way."""

    def __init__(self, env: gym.Env[Any, Any], clock: Clock) -> None:
        super().__init__(env)
        self.clock = clock

    def step(self, action: Any) -> Any:
        begin = time.perf_counter()
        result = self.env.step(action)
        self.clock.step_seconds += time.perf_counter() - begin
        self.clock.steps += 1
        return result

    def reset(self, **kwargs: Any) -> Any:
        begin = time.perf_counter()
        result = self.env.reset(**kwargs)
        self.clock.reset_seconds += time.perf_counter() - begin
        self.clock.resets += 1
        return result


class TimedTrialCallback(TrialCallback):
    """A trial callback whose steps are counted to the cost of ours."""

    clock: Clock

    def _on_step(self) -> bool:
        begin = time.perf_counter()
        go_on = super()._on_step()
        self.clock.callback_seconds += time.perf_counter() - begin
        return go_on


def idle(observation: Any, proposed_action: Any) -> bool:
    return False


def steps_per_second(
    model_class: type[BaseAlgorithm],
    make_env: Callable[[], gym.Env[Any, Any]],
    steps: int,
    kwargs: dict[str, Any],
    callback: BaseCallback | None,
) -> float:
    env = make_env()
    model = model_class("MlpPolicy", env, seed=1, device="cpu", **kwargs)
    begin = time.perf_counter()
    model.learn(steps, callback=callback)
    elapsed = time.perf_counter() - begin
    env.close()
    return steps / elapsed


def compare(
    key: str,
    model_class: type[BaseAlgorithm],
    env_id: str,
    steps: int,
    pairs: int,
    make_teacher: Callable[[], Any],
    clocks: tuple[Clock, Clock] | None = None,
    **kwargs: Any,
) -> dict[str, float]:
    """Return ``{key}_ratio`` and its spread; fill ``clocks`` with (plain, ours) when given."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "learn.db"

        def plain_env() -> gym.Env[Any, Any]:
            env = gym.make(env_id)
            return Timed(env, clocks[0]) if clocks else env

        def our_env() -> gym.Env[Any, Any]:
            env = gym.make(f"cogment_lab/{env_id}", store=str(path), teacher=make_teacher())
            return Timed(env, clocks[1]) if clocks else env

        def plain() -> float:
            speed = steps_per_second(model_class, plain_env, steps, kwargs, None)
            if clocks:
                clocks[0].close_run()
            return speed

        def ours() -> float:
            on_policy = {"on_policy": "relabel"} if model_class is PPO else {}
            callback = TimedTrialCallback(**on_policy) if clocks else TrialCallback(**on_policy)
            if clocks:
                callback.clock = clocks[1]  # type: ignore[attr-defined]
            speed = steps_per_second(model_class, our_env, steps, kwargs, callback)
            if clocks:
                clocks[1].close_run()
            return speed

        plain_speeds, our_speeds = interleave(pairs, plain, ours)
    ratios = [own / bare for bare, own in zip(plain_speeds, our_speeds, strict=True)]
    median, spread = median_and_spread(ratios)
    print(f"{key}: plain {median_and_spread(plain_speeds)[0]:.0f} steps/s, ratio {median:.3f} ± {spread:.3f}")
    sys.stdout.flush()
    return {f"{key}_ratio": median, f"{key}_spread": spread}


def main() -> None:
    scripted = "--simulated" in sys.argv
    if scripted:
        sys.argv.remove("--simulated")
    args = arguments(__doc__, pairs=25)
    torch.set_num_threads(1)
    scale = 0.1 if args.quick else 1.0
    ui = None if scripted else WebUI(port=0)

    def make_teacher() -> Any:
        return SimulatedHuman(lambda observation: 0, gate=idle) if ui is None else ui.seat("teacher")

    results: dict[str, Any] = {}
    try:
        results |= compare("dqn", DQN, "CartPole-v1", int(2_000 * scale), args.pairs, make_teacher)
        results |= compare("ppo", PPO, "CartPole-v1", int(2_048 * scale), args.pairs, make_teacher)
        results |= compare("sac", SAC, "Pendulum-v1", int(120 * scale) + 110, args.pairs, make_teacher)
        clocks = (Clock(), Clock())
        compare("dqn_timed", DQN, "CartPole-v1", int(2_000 * scale), args.pairs, make_teacher, clocks)
    finally:
        if ui is not None:
            ui.close()
    for kind in ("step", "reset"):
        plain, ours = (getattr(clock, f"{kind}_us") for clock in clocks)
        extra = [own - bare for bare, own in zip(plain, ours, strict=True)]
        results[f"dqn_{kind}_us"], results[f"dqn_{kind}_spread_us"] = median_and_spread(extra)
    report(results, args.json)


if __name__ == "__main__":
    main()
