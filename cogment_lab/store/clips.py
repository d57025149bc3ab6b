"""Stretches of trials that are shown as clips, and where their pictures come from."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cogment_lab.errors import CogmentLabError, ConfigurationError
from cogment_lab.store.drawn import draw_values, numbers_of
from cogment_lab.store.film import fits_picture

if TYPE_CHECKING:
    from cogment_lab.store.store import TrialStore
    from cogment_lab.store.trial_data import TrialData

__all__ = ["Segment", "describe_segment", "pictures_of"]

Picture: TypeAlias = "npt.NDArray[np.uint8]"

_LOG = logging.getLogger("cogment_lab.store")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Segment:
    """A stretch of a trial that is shown as a clip.

    Attributes:
        trial_id: The trial it comes from.
        start: First tick.
        stop: The tick after the last one.
        frames: ``(h, w, 3) uint8`` each, 1 to 600, kept as they are now. ``None`` takes them from the store:
            observations that are pictures, else a re-execution of the trial (as long as it takes to come to
            ``stop``), else curves of the observations, where the environment shows nothing.
        fps: How fast it is shown.
        agent: Whose ticks; the trial's first agent by default.
    """

    trial_id: str
    start: int
    stop: int
    frames: Sequence[npt.NDArray[np.uint8]] | None = field(default=None, repr=False)
    fps: float = 30.0
    agent: str | None = None


def describe_segment(segment: Segment) -> Mapping[str, Any]:
    """Return what is kept of a segment beside its pictures.

    Raises:
        ConfigurationError: it has no ticks, or cannot be played so fast.
    """
    if not 0 <= segment.start < segment.stop:
        raise ConfigurationError(f"a segment from {segment.start} to {segment.stop} has no ticks")
    if not 0 < segment.fps <= 240:
        raise ConfigurationError(f"fps={segment.fps!r} lies outside 0 to 240")
    return {
        "trial_id": str(segment.trial_id),
        "start": int(segment.start),
        "stop": int(segment.stop),
        "fps": float(segment.fps),
        "agent": segment.agent,
    }


def pictures_of(store: TrialStore, segment: Segment) -> Sequence[Picture]:
    """Return the pictures of a segment that came without.

    Raises:
        ConfigurationError: the trial has no such ticks or agent, or nothing of it can be shown.
        TrialNotFoundError: there is no such trial.
    """
    info = store.info(segment.trial_id)
    if segment.stop > info.n_ticks:
        raise ConfigurationError(
            f"trial {segment.trial_id!r} has {info.n_ticks} ticks; the segment ends at {segment.stop}"
        )
    agent = segment.agent if segment.agent is not None else info.agents[0]
    data = store.load(segment.trial_id)
    if agent not in data:
        raise ConfigurationError(f"trial {segment.trial_id!r} has no agent {agent!r}")
    rows = _rows(data[agent], segment)
    observations = data[agent].observations
    if isinstance(observations, np.ndarray) and fits_picture(observations.shape[1:], observations.dtype):
        return list(observations[rows])
    pictures, why = _executed_again(store, segment)
    if pictures:
        return pictures
    try:
        names, values = numbers_of(observations)
    except ConfigurationError:
        raise ConfigurationError(
            f"trial {segment.trial_id!r} cannot be rendered again ({why}), and its observations are no "
            "numbers, or were not recorded: give frames=[env.render(), ...] with the segment"
        ) from None
    _LOG.warning("the clip of trial %s shows curves of its observations: %s", segment.trial_id, why)
    return list(draw_values(names, values[rows], range(len(rows))))


def _rows(data: TrialData, segment: Segment) -> npt.NDArray[np.intp]:
    rows = np.flatnonzero((data.ticks >= segment.start) & (data.ticks < segment.stop))
    if not len(rows):
        raise ConfigurationError(
            f"agent {data.agent!r} of trial {segment.trial_id!r} has no ticks from {segment.start} to "
            f"{segment.stop}"
        )
    return rows


def _executed_again(store: TrialStore, segment: Segment) -> tuple[list[Picture], str]:
    """Return the pictures of a re-execution; none, and why, where there is none to be trusted."""
    pictures = []
    try:
        for step in store.replay(segment.trial_id, render=range(segment.start, segment.stop)):
            if step.divergence is not None:
                return [], f"its re-execution differs: {step.divergence}"
            if step.frame is not None:
                pictures.append(step.frame)
            if len(pictures) == segment.stop - segment.start:
                return pictures, ""
    except CogmentLabError as error:
        return [], str(error.args[0])
    except Exception as error:  # the environment's own
        return [], f"{type(error).__name__}: {error}"
    return [], "its re-execution ended too early"
