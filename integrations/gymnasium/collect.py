"""``cogment_lab.collect``: demonstrations, without a learner."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import gymnasium as gym
import numpy as np
from cogment_lab.integrations.gymnasium.make import make
from cogment_lab.integrations.gymnasium.recording import as_store, default_store_path
from cogment_lab.integrations.gymnasium.registration import inner_id
from cogment_lab.integrations.gymnasium.run import play_trial

from cogment_lab.errors import ConfigurationError

if TYPE_CHECKING:
    from cogment_lab.store import TrialStore

__all__ = ["collect"]

_DISCARD, _REDO = "discard", "redo"
_CHOICES = ("keep", _DISCARD, _REDO)


def collect(
    env_id: str | Callable[..., gym.Env[Any, Any]],
    player: Any = "web",
    trials: int = 1,
    *,
    store: TrialStore | str | Path | None = "auto",
    keep: Literal["asked", "all"] = "asked",
    seed: int | None = None,
    countdown: int = 3,
    on_progress: Callable[[int, int, float], None] | None = None,
    **make_kwargs: Any,
) -> list[str]:
    """Record demonstrations until ``trials`` of them are kept; return their ids.

    A person plays on the web page: a countdown, the trial, then *keep*, *discard* or *redo* (play the same
    start again). Discarded trials are deleted from the store. A player who is no person is never asked.

    Args:
        env_id: As in :func:`cogment_lab.make`.
        player: ``"web"``, a seat or a policy.
        trials: How many to keep.
        store: As in :func:`cogment_lab.make`; ``None`` is refused.
        keep: ``"all"`` keeps every finished trial without asking.
        seed: Seed of the first trial; the following ones derive from it.
        countdown: Seconds before each trial, for a person.
        on_progress: Called as ``(kept, trials, total_reward)`` after each kept trial.
        **make_kwargs: Passed to :func:`cogment_lab.make`.

    Raises:
        ConfigurationError: a parameter cannot work.
    """
    if keep not in ("asked", "all"):
        raise ConfigurationError(f"keep={keep!r} is unknown; choose 'asked' or 'all'")
    if trials < 1:
        raise ConfigurationError(f"trials={trials}: at least one")
    if store is None:
        raise ConfigurationError("demonstrations need a store: pass store='demos.db'")
    name = inner_id(env_id) if isinstance(env_id, str) else getattr(env_id, "__name__", "environment")
    records = as_store(default_store_path(name) if store == "auto" else store)
    properties = {"purpose": "demonstration", **make_kwargs.pop("properties", {})}
    env = make(env_id, player=player, store=records, properties=properties, **make_kwargs)
    kept: list[str] = []
    starts = np.random.default_rng(seed)
    start = seed if seed is not None else int(starts.integers(2**31))
    try:
        while len(kept) < trials:
            total_reward = play_trial(env, seed=start, countdown=countdown)
            answer = _ask(env.trial.player, len(kept), trials) if keep == "asked" else "keep"
            if answer != _REDO:
                start = int(starts.integers(2**31))
            if answer in (_DISCARD, _REDO):
                records.delete([env.trial_id])
                continue
            kept.append(env.trial_id)
            if on_progress is not None:
                on_progress(len(kept), trials, total_reward)
        return kept
    finally:
        env.close()
        if records is not store:
            records.close()


def _ask(player: Any, kept: int, trials: int) -> str:
    """Ask whoever played whether to keep the trial; a script keeps all."""
    ask = getattr(player, "ask", None)
    if ask is None:
        return "keep"
    return str(ask(f"{kept} of {trials} kept. Keep this one?", _CHOICES))
