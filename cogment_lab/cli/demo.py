"""``cogmentlab demo``: train an agent while somebody helps."""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
import webbrowser
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from cogment_lab.cli.counting import counted
from cogment_lab.errors import ConfigurationError, MissingExtraError
from cogment_lab.integrations.gymnasium.collect import collect
from cogment_lab.integrations.gymnasium.environment import TrialEnv
from cogment_lab.integrations.gymnasium.make import make
from cogment_lab.integrations.gymnasium.recording import default_store_path
from cogment_lab.integrations.gymnasium.registration import inner_id

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

__all__ = ["run_demo"]

_DEMONSTRATIONS = 5
_SCRIPTED_HELP = 7_000  # ticks that the scripted human helps, about the first 100 LunarLander trials
_LAST_TRIALS = 20
_LOOK_SECONDS = 0.5


def run_demo(
    env_id: str,
    *,
    algo: str,
    human: str,
    steps: int,
    store: Path | None,
    seed: int | None,
    headless: bool,
    port: int,
) -> None:
    """Train, and end with a table of what happened; Ctrl-C ends the training and prints the table as well."""
    try:
        from cogment_lab.integrations.sb3 import TrialCallback
    except ImportError as error:
        raise MissingExtraError(
            "the demo trains with Stable-Baselines3: pip install 'cogment_lab[sb3,envs]'"
        ) from error
    from cogment_lab.cli.progress import ProgressCallback

    console = Console()
    env_id = inner_id(env_id)
    path = store or default_store_path(env_id)
    board = path.parent / "tb"
    with ExitStack() as stack:
        teacher, url = _teacher(human, env_id, path, port, console, stack)
        env = make(env_id, teacher=teacher, store=path, properties={"purpose": "demo", "algo": algo})
        stack.callback(env.close)
        model = build_model(algo, env, seed=seed, tensorboard_log=str(board))
        if algo == "dqfd" and human != "none":
            _demonstrate(model, env_id, path, seed, console)
        if url is not None and not headless:
            webbrowser.open(url)  # not before: whoever comes sees it fly at once
        console.print(escape(f"trials      {path}"), highlight=False, soft_wrap=True)
        command = f"tensorboard --logdir {shlex.quote(str(board))}"
        console.print(escape(f"TensorBoard {board}    ({command})"), highlight=False, soft_wrap=True)
        progress = stack.enter_context(_progress(console))
        callbacks = [
            TrialCallback(
                on_policy="mask" if algo == "ppo" else None, save_path=str(path.with_suffix(".model.zip"))
            ),
            ProgressCallback(progress, steps),
        ]
        begin = time.perf_counter()
        interrupted = False
        try:
            model.learn(steps, callback=callbacks, log_interval=4)
        except KeyboardInterrupt:
            interrupted = True
        seconds = time.perf_counter() - begin
        progress.stop()
        _print_summary(console, env, seconds, interrupted, path)


def build_model(algo: str, env: TrialEnv, *, seed: int | None, tensorboard_log: str) -> BaseAlgorithm:
    """Return the learner of that name for ``env``.

    Raises:
        ConfigurationError: the algorithm cannot act in that action space; the message names ones that can.
    """
    discrete = isinstance(env.action_space, gym.spaces.Discrete)
    if algo in ("dqfd", "dqn") and not discrete:
        raise ConfigurationError(
            f"{algo} needs a Discrete action space, not {env.action_space}: use sac or ppo"
        )
    if algo in ("sac", "td3") and not isinstance(env.action_space, gym.spaces.Box):
        raise ConfigurationError(f"{algo} needs a Box action space, not {env.action_space}: use dqfd or ppo")
    policy = "MultiInputPolicy" if isinstance(env.observation_space, gym.spaces.Dict) else "MlpPolicy"
    common: Mapping[str, Any] = {"seed": seed, "tensorboard_log": tensorboard_log, "device": "cpu"}
    if algo == "dqfd":
        from cogment_lab.algorithms.dqfd import DQfD

        return DQfD(policy, env, **common)
    if algo == "ppo":
        from stable_baselines3 import PPO

        from cogment_lab.integrations.sb3 import MaskedRolloutBuffer

        return PPO(policy, env, rollout_buffer_class=MaskedRolloutBuffer, **common)
    from stable_baselines3 import DQN, SAC, TD3

    learners: dict[str, type[DQN] | type[SAC] | type[TD3]] = {"dqn": DQN, "sac": SAC, "td3": TD3}
    return learners[algo](policy, env, learning_starts=1_000, **common)


def _teacher(
    human: str, env_id: str, store: Path, port: int, console: Console, stack: ExitStack
) -> tuple[Any, str | None]:
    """Return who helps, and the address of a person's page."""
    if human == "none":
        return None, None
    if human == "scripted":
        from cogment_lab.humans.scripted import scripted_human

        return scripted_human(env_id, budget=_SCRIPTED_HELP), None
    from cogment_lab.humans import WebUI

    ui = stack.enter_context(WebUI(port=port, store=store))
    seat = ui.seat("teacher")
    stack.callback(_stay, ui, console)
    url = ui.link(seat) if ui.is_joined else ui.url
    console.print(f"your seat   [link={url}]{url}[/link]", highlight=False, soft_wrap=True)
    return seat, url


def _stay(ui: Any, console: Console) -> None:
    """Keep the page for those who look at it: it leads to the trials. An error is told at once instead."""
    if sys.exception() is not None or ui.is_joined or not any(seat["viewers"] for seat in ui.seats()):
        return
    console.print("The page stays open, with its trials; Ctrl-C ends it.", highlight=False)
    with contextlib.suppress(KeyboardInterrupt):
        while ui.is_running():
            time.sleep(_LOOK_SECONDS)


def _demonstrate(model: Any, env_id: str, path: Path, seed: int | None, console: Console) -> None:
    """Give the learner a few scripted demonstrations, where a scripted human knows the environment."""
    from cogment_lab.humans.scripted import scripted_environments, scripted_policy
    from cogment_lab.store import TrialStore

    if env_id not in scripted_environments():
        return
    kept = collect(env_id, scripted_policy(env_id), _DEMONSTRATIONS, store=path, seed=seed)
    with TrialStore(path) as store:
        transitions = model.add_demonstrations(store, trial_ids=kept)
    console.print(
        f"demos       {counted(len(kept), 'scripted demonstration')}, {counted(transitions, 'transition')}, "
        "to start with",
        highlight=False,
    )


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("learning   "),
        BarColumn(),
        TextColumn("{task.completed:>7.0f} steps"),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=console,
    )


def _print_summary(console: Console, env: TrialEnv, seconds: float, interrupted: bool, path: Path) -> None:
    trial = env.trial
    last = list(trial.returns)[-_LAST_TRIALS:]
    table = Table(title="interrupted" if interrupted else "done", show_header=False)
    table.add_row("steps/s", f"{trial.all_ticks / seconds:.0f}")
    table.add_row("trials", str(trial.trial_number + 1))
    table.add_row("takeovers", str(trial.all_takeovers))
    table.add_row("intervention rate", f"{trial.all_helped_ticks / max(trial.all_ticks, 1):.1%}")
    mean = f"{sum(last) / len(last):.1f}" if last else "none ended"
    table.add_row(f"mean return of the last {counted(len(last), 'trial')}", mean)
    console.print(table)
    look = f"look at the trials with: cogmentlab trials ls {shlex.quote(str(path))}"
    console.print(escape(look), highlight=False, soft_wrap=True)  # in one line, to be copied
