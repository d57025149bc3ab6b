"""The process of an environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cogment_lab.core import BaseEnv
from cogment_lab.utils.serving import serve
from cogment_lab.wire.context import Context
from cogment_lab.wire.endpoint import Endpoint
from cogment_lab.wire.env_specs import status_name, status_text
from cogment_lab.wire.settings import LAB_SETTINGS

__all__ = ["role_specs", "serve_env"]


async def serve_env(
    announce: Callable[[int], None],
    env_class: type[BaseEnv],
    env_args: tuple[Any, ...],
    env_kwargs: dict[str, Any],
    env_name: str,
    port: int,
    directory: str = "",
) -> None:
    """Make an environment and serve it until cancelled.

    Args:
        announce: Called with the port once it is served.
        env_class: What to make, from
        env_args: these arguments, and
        env_kwargs: these.
        env_name: Name of the implementation.
        port: Port to serve; 0 takes a free one.
        directory: Where it registers, so that others find it by name; empty for nowhere.
    """
    env = env_class(*env_args, **env_kwargs)
    if hasattr(env, "learn_specs"):
        env.learn_specs()
    specs = {name: each.serialize() for name, each in {**env.agent_specs, **role_specs(env)}.items()}
    context = Context(
        user_id="cogment_lab",
        cog_settings=LAB_SETTINGS,
        directory_endpoint=Endpoint(directory) if directory else None,
    )
    context.register_environment(
        impl=env.impl, impl_name=env_name, statuses={status_name(env_name): status_text(specs)}
    )
    await serve(context, announce, port)


def role_specs(env: BaseEnv) -> dict[str, Any]:
    """Return the specs of an environment's teacher, evaluator and observer, where it knows such roles."""
    roles: dict[str, Any] = getattr(env, "role_specs", {})
    return roles
