"""``cogment_lab/<id>`` for every Gymnasium id."""

from __future__ import annotations

import difflib
import importlib

import gymnasium as gym
from gymnasium.envs.registration import find_highest_version, parse_env_id

from cogment_lab.errors import UnknownEnvironmentError

__all__ = ["ENTRY_POINT", "NAMESPACE", "check_registered", "inner_id", "register_envs", "unknown_environment"]

NAMESPACE = "cogment_lab"
ENTRY_POINT = "cogment_lab.integrations.gymnasium.make:make_registered"
"""What ``gymnasium.make`` calls for them."""


def register_envs() -> int:
    """Register ``cogment_lab/<id>`` for every id without a namespace that Gymnasium knows by now.

    Importing ``cogment_lab`` calls it; call it again after another package registered its environments. Ids
    that carry a namespace already (``ALE/Pong-v5``) go through :func:`cogment_lab.make`.

    Returns:
        How many ids are new.
    """
    new = 0
    for env_id, spec in list(gym.registry.items()):
        ours = f"{NAMESPACE}/{env_id}"
        if "/" in env_id or ours in gym.registry:
            continue
        gym.register(
            ours,
            entry_point=ENTRY_POINT,
            reward_threshold=spec.reward_threshold,
            nondeterministic=spec.nondeterministic,
            order_enforce=False,  # the trial enforces the order of calls
            disable_env_checker=True,  # the environment inside is checked
            kwargs={"env_id": env_id},
        )
        new += 1
    return new


def inner_id(env_id: str) -> str:
    """Return the id of the environment inside: ``cogment_lab/CartPole-v1`` is ``CartPole-v1``."""
    return env_id.removeprefix(f"{NAMESPACE}/")


def check_registered(env_id: str) -> None:
    """Check that :func:`gymnasium.make` knows an environment, without making it.

    ``module:id`` imports the module, and an id without a version means the newest one, as there.

    Raises:
        UnknownEnvironmentError: it does not.
    """
    module, _, name = env_id.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        namespace, bare, version = parse_env_id(name)
        if version is not None or find_highest_version(namespace, bare) is None:
            gym.spec(name)
    except (gym.error.Error, ImportError) as error:
        raise unknown_environment(env_id, error) from None


def unknown_environment(env_id: str, cause: Exception) -> UnknownEnvironmentError:
    """Return an error that suggests the nearest known ids."""
    known = [name for name in gym.registry if not name.startswith(f"{NAMESPACE}/")]
    by_lower = {name.lower(): name for name in known}
    near = [by_lower[match] for match in difflib.get_close_matches(env_id.lower(), by_lower, n=3, cutoff=0.6)]
    suggestion = f" Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
    return UnknownEnvironmentError(
        f"no environment {env_id!r} is registered ({cause}).{suggestion} If another package provides it, "
        "import that package first; for a 'cogment_lab/...' id, then call cogment_lab.register_envs()"
    )
