"""``cogment_lab.make``: a trial environment from an id, a callable or an environment."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import gymnasium as gym
from cogment_lab.integrations.gymnasium.checks import check_choice, check_not_negative, check_properties
from cogment_lab.integrations.gymnasium.environment import TrialConfig, TrialEnv
from cogment_lab.integrations.gymnasium.process import ProcessEnv
from cogment_lab.integrations.gymnasium.recording import default_store_path
from cogment_lab.integrations.gymnasium.registration import (
    ENTRY_POINT,
    NAMESPACE,
    inner_id,
    unknown_environment,
)
from cogment_lab.integrations.gymnasium.seating import Seating
from gymnasium.envs.registration import EnvSpec, load_env_creator

from cogment_lab.errors import ConfigurationError
from cogment_lab.trial.mixing import ActionMix, RewardMixing
from cogment_lab.trial.pace import Pace
from cogment_lab.trial.rules import TrialRules

if TYPE_CHECKING:
    from cogment_lab.store import TrialStore

__all__ = ["make", "make_registered"]


def make(
    env_id: str | Callable[..., gym.Env[Any, Any]] | gym.Env[Any, Any],
    player: Any = None,
    teacher: Any = None,
    evaluator: Any = None,
    observers: Any = (),
    store: TrialStore | str | Path | None = "auto",
    record: Literal["auto", "full", "actions", "interventions"] | None = "auto",
    pace: Literal["max", "live", "slow", "half", "quarter", "step"] | None = None,
    fps: float | None = None,
    properties: Mapping[str, str] | None = None,
    watch: Literal["always", "sampled"] = "always",
    watch_every: int = 10,
    mix: ActionMix = "replace",
    teacher_order: Literal["after_player"] = "after_player",
    fallback: Literal["agent", "repeat"] = "agent",
    max_pause: float = 600.0,
    reward_mixing: RewardMixing | None = None,
    feedback_weight: float = 1.0,
    on_unacknowledged: Literal["raise", "warn", "ignore"] = "raise",
    info_keys: Literal["all", "fixed"] = "all",
    user_id: str | None = None,
    process: bool = False,
    **env_kwargs: Any,
) -> TrialEnv:
    """Return an environment whose episodes are trials.

    Args:
        env_id: A Gymnasium id (with or without the ``cogment_lab/`` prefix), a callable that returns an
            environment, or an environment.
        player: ``None``: whoever calls ``step``. Otherwise a seat, ``"web"``, ``policy(observation) ->
            action``, a model with Stable-Baselines3's ``predict`` (asked for its best action), or an actor
            (:class:`cogment_lab.actors.SB3Actor`); ``step``'s action is only used where that gives none.
        teacher: Who may override the player: ``"web"``, a seat, or as above, always in control.
        evaluator: Who gives feedback: ``"web"``, a seat, or ``function(tick) -> value | None``; or a list.
        observers: Who only watches: ``"web"``, a seat, or a list.
        store: A store, its path, or ``None`` to record nothing. ``"auto"`` is ``$COGMENT_LAB_STORE`` or
            ``./runs/<env>.db``.
        record: ``"full"``; ``"actions"``, everything but observations outside takeovers; ``"interventions"``,
            takeovers only; ``None``. ``"auto"`` is ``"actions"`` for image observations, ``"full"``
            otherwise.
        pace: Fixes the pace, whether or not anybody is there; ``None`` runs at ``max`` until somebody who can
            take over is there. ``"slow"`` is another name of ``"half"``. ``"step"`` waits for a person at
            each tick, so a player or a teacher has to be ``"web"`` or a seat.
        fps: Ticks per second at pace ``live``; the environment's ``render_fps`` (or 30) by default.
        properties: Stored with each trial, for finding it again.
        watch: ``"sampled"`` paces one trial in ``watch_every`` for those who watch and runs the others at
            ``max``.
        watch_every: See ``watch``.
        mix: How a teacher's Box action meets the player's: ``"replace"``, ``"touched"`` (NaN leaves a
            dimension to the player) or ``"add"``.
        teacher_order: The teacher sees what the player proposes before it decides. ``"simultaneous"`` is for
            trials of services, as :class:`cogment_lab.envs.conversions.GymTeacherParallel`.
        fallback: What is executed while the teacher is in control and gives no usable action: ``"agent"``,
            the player's, or ``"repeat"``, the teacher's previous one. Either is told as an intervention with
            ``is_fallback``, and nothing of it is imitated.
        max_pause: Seconds, 0 or more, after which a pause ends by itself.
        reward_mixing: ``"add"`` or ``"replace"`` lets feedback into the reward that ``step`` returns.
        feedback_weight: Weight of the feedback there.
        on_unacknowledged: When a takeover is executed under a learner that would not learn from it.
        info_keys: ``"fixed"`` leaves out the keys that only some steps have. ``TrialCallback`` obeys *stop*
            and *save* all the same; others ask ``env.get_wrapper_attr("take_requests")()``.
        user_id: Stored with each trial.
        process: Run the environment in a process of its own: its crash is an error here, and not the end.
        **env_kwargs: Passed to ``gymnasium.make`` (or to the callable); ``max_episode_steps`` applies inside.

    Raises:
        UnknownEnvironmentError: no such id; the message suggests near ones.
        ConfigurationError: a parameter, or a combination of them, cannot work.

    Example:
        >>> import cogment_lab
        >>> env = cogment_lab.make("CartPole-v1", store=None)
        >>> observation, info = env.reset(seed=1)
        >>> observation, reward, terminated, truncated, info = env.step(0)
        >>> info["executed_action"], info["is_intervention"]
        (0, False)
    """
    arguments = locals()
    seating = Seating(
        player=player,
        teacher=teacher,
        evaluators=_each(evaluator),
        observers=_each(observers),
    )
    _check_teacher_order(teacher_order)
    check_choice("fallback", fallback, ("agent", "repeat"))
    check_choice("reward_mixing", reward_mixing, ("add", "replace", None))
    check_choice("on_unacknowledged", on_unacknowledged, ("raise", "warn", "ignore"))
    check_choice("info_keys", info_keys, ("all", "fixed"))
    check_not_negative("max_pause", max_pause)
    name, build = _builder(env_id, env_kwargs, seating.wants_frames)
    if process:
        build = functools.partial(ProcessEnv, build)
    rules = TrialRules(
        pace=_parse_pace(pace, seating),
        fps=fps,
        watch_every=_parse_watch(watch, watch_every),
        mix=mix,
        fallback=fallback,
        max_pause=max_pause,
        reward_mixing=reward_mixing,
        feedback_weight=feedback_weight,
        on_unacknowledged=on_unacknowledged,
        fixed_info=info_keys == "fixed",
        properties=check_properties(properties),
        user_id=user_id,
    )
    where = default_store_path(name) if isinstance(store, str) and store == "auto" else store
    env = TrialEnv(
        TrialConfig(env_id=name, build=build, rules=rules, seating=seating, store=where, record=record)
    )
    env.spec = _spec(env, name, arguments)
    return env


def make_registered(env_id: str, **arguments: Any) -> TrialEnv:
    """Return what ``gymnasium.make("cogment_lab/<id>", ...)`` is asked for.

    Gymnasium keeps ``max_episode_steps`` to itself, for a ``TimeLimit`` around what is made. A trial knows
    nothing of that, and ends at the limit inside: so it gets the same one.
    """
    limit = _limit_asked_for()
    if limit is not None:
        arguments["max_episode_steps"] = limit
    return make(env_id, **arguments)


def _limit_asked_for() -> int | None:
    """Return the ``max_episode_steps`` of the ``gymnasium.make`` that is under way."""
    frame = sys._getframe(1)
    while frame.f_code is not gym.make.__code__:
        if frame.f_back is None:
            return None
        frame = frame.f_back
    asked: int | None = frame.f_locals["max_episode_steps"]
    return frame.f_locals["env_spec"].max_episode_steps if asked is None else asked


def _each(occupants: Any) -> tuple[Any, ...]:
    """Return one, several or no occupants of a role as a tuple."""
    several = occupants if isinstance(occupants, list | tuple) else (occupants,)
    return tuple(each for each in several if each is not None)


def _builder(
    env_id: str | Callable[..., gym.Env[Any, Any]] | gym.Env[Any, Any],
    env_kwargs: dict[str, Any],
    wants_frames: bool,
) -> tuple[str, Callable[[], gym.Env[Any, Any]]]:
    """Return the environment's name and a picklable function that makes it."""
    if isinstance(env_id, str):
        env_id = inner_id(env_id)
        if wants_frames and "render_mode" not in env_kwargs and _renders_rgb(env_id):
            env_kwargs = {**env_kwargs, "render_mode": "rgb_array"}
        return env_id, functools.partial(_gym_make, env_id, env_kwargs)
    if isinstance(env_id, gym.Env):
        if env_kwargs:
            raise ConfigurationError(
                f"{sorted(env_kwargs)} cannot be passed to an environment that is made already: pass its id"
            )
        name = env_id.spec.id if env_id.spec is not None else type(env_id.unwrapped).__name__
        return name, functools.partial(_given, env_id)
    if callable(env_id):
        name = getattr(env_id, "__name__", type(env_id).__name__)
        return name, functools.partial(env_id, **env_kwargs)
    raise ConfigurationError(
        f"env_id={env_id!r} is neither an id nor a callable nor a gymnasium.Env; an old gym.Env can be "
        "wrapped with shimmy"
    )


def _gym_make(env_id: str, env_kwargs: dict[str, Any]) -> gym.Env[Any, Any]:
    try:
        return gym.make(env_id, **env_kwargs)
    except (gym.error.UnregisteredEnv, gym.error.DeprecatedEnv) as error:
        raise unknown_environment(env_id, error) from None


def _given(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    return env


def _renders_rgb(env_id: str) -> bool:
    """Return whether the environment of that id offers ``rgb_array``."""
    try:
        entry_point = gym.spec(env_id).entry_point
    except gym.error.Error:
        return False
    creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    metadata = getattr(creator, "metadata", None)
    return isinstance(metadata, dict) and "rgb_array" in metadata.get("render_modes", ())


def _parse_pace(pace: str | None, seating: Seating) -> Pace | None:
    try:
        parsed = None if pace is None else Pace.parse(pace)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    if parsed is Pace.STEP and not seating.may_step:
        raise ConfigurationError(
            f"pace={pace!r} waits at each tick until the player or the teacher asks for it, and neither is a "
            "person: pass teacher='web' (or player='web', or a seat), or another pace"
        )
    return parsed


def _check_teacher_order(order: str) -> None:
    if order == "simultaneous":
        raise ConfigurationError(
            "teacher_order='simultaneous' exists in trials of services only (serve "
            "cogment_lab.envs.conversions.GymTeacherParallel with Cogment): here the teacher sees the "
            "player's proposal first, teacher_order='after_player'"
        )
    check_choice("teacher_order", order, ("after_player",))


def _parse_watch(watch: str, watch_every: int) -> int:
    check_choice("watch", watch, ("always", "sampled"))
    if watch_every < 1:
        raise ConfigurationError(f"watch_every={watch_every}: at least 1")
    return watch_every if watch == "sampled" else 1


def _spec(env: TrialEnv, name: str, arguments: dict[str, Any]) -> EnvSpec | None:
    """Return a spec whose ``make`` gives this trial environment again; ``None`` where that is impossible."""
    inner = env.env.spec
    if inner is None or not isinstance(arguments["env_id"], str):
        return None
    defaults = inspect.signature(make).parameters
    kwargs = {
        key: value
        for key, value in arguments.items()
        if key != "env_kwargs" and value is not defaults[key].default
    }
    return EnvSpec(
        id=f"{NAMESPACE}/{name.replace('/', '-')}",
        entry_point=ENTRY_POINT,
        reward_threshold=inner.reward_threshold,
        nondeterministic=inner.nondeterministic,
        order_enforce=False,
        disable_env_checker=True,
        kwargs={**arguments["env_kwargs"], **kwargs, "env_id": name},
    )
