"""Many environments for one learner, with the people in one of them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gymnasium as gym
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

import cogment_lab
from cogment_lab.errors import ConfigurationError

if TYPE_CHECKING:
    from cogment_lab.store import TrialStore

__all__ = ["make_trial_vec_env"]


def make_trial_vec_env(
    env_id: str | Callable[..., gym.Env[Any, Any]],
    n_envs: int = 1,
    *,
    human_index: int = 0,
    teacher: Any = None,
    evaluator: Any = None,
    observers: Sequence[Any] = (),
    store: TrialStore | str | os.PathLike[str] | None = "auto",
    seed: int | None = None,
    vec_env_cls: type[DummyVecEnv] | type[SubprocVecEnv] = DummyVecEnv,
    vec_env_kwargs: Mapping[str, Any] | None = None,
    wrapper_class: Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]] | None = None,
    wrapper_kwargs: Mapping[str, Any] | None = None,
    monitor_dir: str | None = None,
    monitor_kwargs: Mapping[str, Any] | None = None,
    **make_kwargs: Any,
) -> VecEnv:
    """Return a vector environment of trials; whoever is named sits in one of them.

    As Stable-Baselines3's ``make_vec_env``: each environment is wrapped in a ``Monitor``, then in
    ``wrapper_class``. All trials are recorded in the same store.

    Args:
        env_id: As in :func:`cogment_lab.make`; not an environment that is made already.
        n_envs: How many.
        human_index: Where teacher, evaluator and observers sit.
        teacher: As in :func:`cogment_lab.make`. With ``SubprocVecEnv`` it travels to another process, so it
            must pickle.
        evaluator: As in :func:`cogment_lab.make`.
        observers: As in :func:`cogment_lab.make`.
        store: As in :func:`cogment_lab.make`.
        seed: Of the first environment; the others count up.
        vec_env_cls: ``DummyVecEnv`` or ``SubprocVecEnv``. In the former all wait for a trial at human pace.
        vec_env_kwargs: Passed to it.
        wrapper_class: Wraps each environment outside the trial; must not change actions.
        wrapper_kwargs: Passed to it.
        monitor_dir: Folder of the monitors' files; none are written by default.
        monitor_kwargs: Passed to ``Monitor``.
        **make_kwargs: Passed to :func:`cogment_lab.make`.

    Raises:
        ConfigurationError: ``env_id``, ``n_envs`` or ``human_index`` cannot work.

    Example:
        >>> from cogment_lab.integrations.sb3 import make_trial_vec_env
        >>> envs = make_trial_vec_env("CartPole-v1", 4, teacher=lambda observation: 0, store=None)
        >>> envs.get_attr("has_teacher")
        [True, False, False, False]
    """
    if isinstance(env_id, gym.Env):
        raise ConfigurationError("each environment is made anew: pass an id or a function that makes one")
    if n_envs < 1:
        raise ConfigurationError(f"n_envs={n_envs}: at least one")
    if not 0 <= human_index < n_envs:
        raise ConfigurationError(f"human_index={human_index} is none of the {n_envs} environments")
    people = {"teacher": teacher, "evaluator": evaluator, "observers": observers}
    makers: list[Callable[[], gym.Env[Any, Any]]] = [
        functools.partial(
            _make_one,
            env_id,
            {"store": store, **make_kwargs, **(people if rank == human_index else {})},
            None if seed is None else seed + rank,
            functools.partial(wrapper_class, **(wrapper_kwargs or {})) if wrapper_class is not None else None,
            os.path.join(monitor_dir, str(rank)) if monitor_dir is not None else None,
            dict(monitor_kwargs or {}),
        )
        for rank in range(n_envs)
    ]
    vec_env = vec_env_cls(makers, **(vec_env_kwargs or {}))
    vec_env.seed(seed)
    return vec_env


def _make_one(
    env_id: str | Callable[..., gym.Env[Any, Any]],
    make_kwargs: dict[str, Any],
    seed: int | None,
    wrap: Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]] | None,
    monitor_file: str | None,
    monitor_kwargs: dict[str, Any],
) -> gym.Env[Any, Any]:
    env: gym.Env[Any, Any] = cogment_lab.make(env_id, **make_kwargs)
    if seed is not None:
        env.action_space.seed(seed)
    if monitor_file is not None:
        os.makedirs(os.path.dirname(monitor_file), exist_ok=True)
    env = Monitor(env, filename=monitor_file, **monitor_kwargs)
    return env if wrap is None else wrap(env)
