"""``cogment_lab.run``: trials in which every role is filled, without a learner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
from cogment_lab.integrations.gymnasium.environment import TrialEnv
from cogment_lab.integrations.gymnasium.make import make
from cogment_lab.integrations.pettingzoo import is_pettingzoo, run_trials

from cogment_lab.errors import ConfigurationError

if TYPE_CHECKING:
    from cogment_lab.store import TrialStore

__all__ = ["play_trial", "run"]

_AGENT = "gym"
_OF_GAMES = {"properties", "fps"}


def run(
    env_or_id: str | Callable[..., gym.Env[Any, Any]] | gym.Env[Any, Any],
    actors: Mapping[str, Any] | Any,
    trials: int = 1,
    *,
    seed: int | None = None,
    store: TrialStore | str | Path | None = "auto",
    **make_kwargs: Any,
) -> list[str]:
    """Run whole trials and return their ids.

    Args:
        env_or_id: As in :func:`cogment_lab.make`, or a PettingZoo environment (AEC or Parallel).
        actors: For PettingZoo, somebody for each agent. For Gymnasium the player, or ``{"gym": player,
            "teacher": ..., "evaluator": ...}``: policies, Stable-Baselines3 models, actors such as
            ``SB3Actor(path)``, ``"web"``, seats.
        trials: How many.
        seed: Seed of the first trial; the following ones draw from the environment's generator.
        store: As in :func:`cogment_lab.make`.
        **make_kwargs: Passed to :func:`cogment_lab.make`; for PettingZoo, ``properties`` and ``fps``.

    Raises:
        ConfigurationError: no player, or a role or an argument that does not exist.

    Example:
        >>> import cogment_lab
        >>> len(cogment_lab.run("CartPole-v1", lambda observation: 0, trials=3, seed=1, store=None))
        3
    """
    if trials < 1:
        raise ConfigurationError(f"trials={trials}: at least one")
    if is_pettingzoo(env_or_id):
        if others := sorted(set(make_kwargs) - _OF_GAMES):
            raise ConfigurationError(
                f"{', '.join(others)}: an environment of several agents takes "
                f"{' and '.join(sorted(_OF_GAMES))} only; what else make() takes is for Gymnasium's"
            )
        return run_trials(env_or_id, actors, trials, seed=seed, store=store, **make_kwargs)
    roles = dict(actors) if isinstance(actors, Mapping) else {_AGENT: actors}
    player = roles.pop(_AGENT, None)
    unknown = set(roles) - {"teacher", "evaluator"}
    if player is None or unknown:
        raise ConfigurationError(
            f"actors={sorted(actors) if isinstance(actors, Mapping) else actors!r}: a Gymnasium environment "
            "has the roles 'gym' (needed), 'teacher' and 'evaluator'"
        )
    if isinstance(env_or_id, TrialEnv):
        raise ConfigurationError(
            "pass the environment inside the trial, or its id: run() makes the trials itself"
        )
    env = make(env_or_id, player=player, store=store, **roles, **make_kwargs)
    try:
        trial_ids = []
        for number in range(trials):
            play_trial(env, seed=seed if number == 0 else None)
            trial_ids.append(env.trial_id)
        return trial_ids
    finally:
        env.close()


def play_trial(env: TrialEnv, *, seed: int | None = None, countdown: int = 0) -> float:
    """Run one trial of an environment whose player's seat is filled; return its total reward.

    Args:
        env: Made with a ``player``.
        seed: Passed to ``reset``.
        countdown: Seconds that a person who plays gets before the first tick.
    """
    env.reset(seed=seed)
    count_down = getattr(env.trial.player, "count_down", None)
    if countdown and count_down is not None:
        count_down(countdown)
    ended = False
    while not ended:
        _, _, terminated, truncated, _ = env.step(None)
        ended = terminated or truncated
    return env.trial.total_reward
