"""Labels: what people say about a trial afterwards. The trial itself stays as it was recorded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from cogment_lab.errors import AnnotationError, ConfigurationError, CorruptStoreError, SpecError
from cogment_lab.specs.shown import shown
from cogment_lab.specs.tagged_json import from_json, to_json
from cogment_lab.specs.values import value_from_message, value_to_bytes, value_to_message
from cogment_lab.store.agreement import cohen_kappa, krippendorff_alpha
from cogment_lab.store.catalog import TrialCatalog
from cogment_lab.store.database import Database
from cogment_lab.store.label_table import (
    add_version,
    count_labels,
    insert_label,
    select_discards,
    select_labels,
)
from cogment_lab.store.ledger import TRIAL_BITS

__all__ = ["Agreement", "Label", "LabelKind", "Labels", "checked_name", "tidy_name"]

LabelKind: TypeAlias = Literal["rating", "correction", "note", "success", "discard"]

_KINDS: tuple[str, ...] = get_args(LabelKind)
_LONGEST_NOTE = 4000
_LONGEST_NAME = 80
_LONGEST_VALUE = 65_536
_MOST_UNITS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One version of a label.

    Attributes:
        label_id: The same for all versions of a label.
        version: From 1.
        trial_id: The trial.
        agent: Whose ticks.
        start: First tick.
        stop: The tick after the last one.
        kind: ``rating`` (a number), ``correction`` (the action that would have been right), ``note`` (text),
            ``success`` (bool), ``discard`` (bool: whether nobody should learn from these ticks).
        value: What was said.
        annotator: Who said so.
        time: When, unix seconds.
        is_withdrawn: Whether this version takes the label back.
    """

    label_id: int
    version: int
    trial_id: str
    agent: str
    start: int
    stop: int
    kind: LabelKind
    value: Any
    annotator: str
    time: float
    is_withdrawn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How much annotators agree.

    Attributes:
        kind: Of the labels; ``preference`` for a queue's answers.
        annotators: Their names.
        n_units: Ticks that two or more of them labelled; of a queue, queries that they answered.
        alpha: Krippendorff's, see :func:`cogment_lab.store.agreement.krippendorff_alpha`.
        kappa: Cohen's, of exactly two annotators and no ratings, else ``None``.
    """

    kind: LabelKind | Literal["preference"]
    annotators: tuple[str, ...]
    n_units: int
    alpha: float
    kappa: float | None


class Labels:
    """The labels of a store; ``store.labels``.

    Call it to read: ``store.labels(trial_id)``.

    Args:
        database: The store's.
        catalog: Of its trials.
    """

    def __init__(self, database: Database, catalog: TrialCatalog) -> None:
        self._database = database
        self._catalog = catalog

    def __call__(
        self,
        trial_id: str | None = None,
        *,
        kind: LabelKind | None = None,
        annotator: str | None = None,
        history: bool = False,
    ) -> list[Label]:
        """Return labels in the order of their making, by default as they stand now.

        Args:
            trial_id: Of this trial only.
            kind: Of this kind only.
            annotator: Of this person only.
            history: All versions instead, withdrawals too.

        Raises:
            TrialNotFoundError: there is no such trial.
        """
        conditions: list[tuple[str, Any]] = []
        if trial_id is not None:
            conditions.append(("l.trial = ?", self._catalog.row_id(trial_id)))
        if kind is not None:
            conditions.append(("l.kind = ?", kind))
        if annotator is not None:
            conditions.append(("l.annotator = ?", annotator))
        return [_label(row) for row in select_labels(self._database, conditions, history=history)]

    def __iter__(self) -> Iterator[Label]:
        return iter(self())

    def counts(self) -> dict[str, int]:
        """Return how many labels each trial has, by its id; trials without any are left out."""
        return count_labels(self._database)

    def discarded_trials(self) -> set[str]:
        """Return the ids of trials that a label discards from the first tick to the last."""
        return {trial_id for trial_id, _, _, _, is_whole in select_discards(self._database) if is_whole}

    def discarded_ticks(self, agent: str) -> dict[str, list[tuple[int, int]]]:
        """Return the stretches ``(start, stop)`` of an agent's ticks that labels discard, by trial id.

        Labels of whole trials are not among them.
        """
        found: dict[str, list[tuple[int, int]]] = {}
        for trial_id, whose, start, stop, is_whole in select_discards(self._database):
            if whose == agent and not is_whole:
                found.setdefault(trial_id, []).append((start, stop))
        return found

    def get(self, label_id: int) -> Label:
        """Return a label as it stands now.

        Raises:
            AnnotationError: there is none of that id, or it was withdrawn.
        """
        found = select_labels(self._database, [("coalesce(l.label, l.id) = ?", label_id)])
        if not found:
            raise AnnotationError(f"there is no label {label_id} (any more); `store.labels()` lists them")
        return _label(found[0])

    def add(
        self,
        trial_id: str,
        kind: LabelKind,
        value: Any,
        *,
        start: int = 0,
        stop: int | None = None,
        annotator: str = "",
        agent: str | None = None,
        time: float | None = None,
    ) -> Label:
        """Attach a label to the ticks ``start:stop`` of a trial.

        Args:
            trial_id: The trial; it may still run.
            kind: What is said, see :class:`Label`.
            value: A number for a rating, an action of the agent's space for a correction, text for a note,
                a bool for success and discard.
            start: First tick.
            stop: The tick after the last one; the end of the trial by default.
            annotator: Who says so.
            agent: Whose ticks; the trial's first agent by default.
            time: When it was said, unix seconds; now by default.

        Raises:
            TrialNotFoundError: there is no such trial.
            ConfigurationError: no such ticks, agent, or kind, or a value that does not fit the kind.
            AnnotationError: the trial has too many labels.
            StoreError: the store cannot be written.
        """
        info = self._catalog.info(trial_id)
        stop = info.n_ticks if stop is None else stop
        if not (_is_int(start) and _is_int(stop) and 0 <= start < stop <= info.n_ticks):
            raise ConfigurationError(
                f"ticks {start!r} to {stop!r} lie not within trial {trial_id!r} of {info.n_ticks}"
            )
        agent = info.agents[0] if agent is None else agent
        if agent not in info.agents:
            raise ConfigurationError(
                f"trial {trial_id!r} has no agent {agent!r}; choose one of {', '.join(info.agents)}"
            )
        value = self._checked(trial_id, agent, kind, value)
        place = (agent, start, stop)
        trial = self._catalog.row_id(trial_id)
        name = checked_name(annotator, "annotator")
        return self.get(insert_label(self._database, trial, place, kind, _coded(value), name, time))

    def change(self, label: Label, value: Any, *, annotator: str | None = None) -> Label:
        """Say something else instead; the earlier version stays in the history.

        Args:
            label: As it was read.
            value: As in :meth:`add`.
            annotator: Who changes it; the label's annotator by default.

        Raises:
            AnnotationError: somebody has changed or withdrawn it since it was read.
            ConfigurationError: the value does not fit the label's kind.
        """
        value = self._checked(label.trial_id, label.agent, label.kind, value)
        name = label.annotator if annotator is None else checked_name(annotator, "annotator")
        add_version(self._database, label.label_id, label.version, _coded(value), name, withdrawn=False)
        return self.get(label.label_id)

    def withdraw(self, label: Label, *, annotator: str | None = None) -> None:
        """Take a label back; it stays in the history.

        Raises:
            AnnotationError: somebody has changed or withdrawn it since it was read.
        """
        name = label.annotator if annotator is None else checked_name(annotator, "annotator")
        add_version(self._database, label.label_id, label.version, None, name, withdrawn=True)

    def agreement(self, kind: LabelKind, *, trial_id: str | None = None) -> Agreement:
        """Return how much the annotators of all trials, or of one, agree; each tick is a unit.

        Ratings are compared as numbers, everything else as categories. Where one annotator labelled a tick
        more than once, the last one counts.

        Raises:
            ConfigurationError: notes, which cannot be compared, or an unknown kind.
        """
        if kind not in _KINDS or kind == "note":
            comparable = ", ".join(each for each in _KINDS if each != "note")
            raise ConfigurationError(f"agreement on {kind!r} is not defined; choose one of {comparable}")
        labels = self(trial_id, kind=kind)
        annotators, ratings = _table(labels, self._category)
        is_shared = np.sum(~np.isnan(ratings), axis=0) >= 2
        kappa = None
        if len(annotators) == 2 and kind != "rating":
            kappa = cohen_kappa(ratings[0, is_shared], ratings[1, is_shared])
        return Agreement(
            kind=kind,
            annotators=annotators,
            n_units=int(is_shared.sum()),
            alpha=krippendorff_alpha(ratings, "interval" if kind == "rating" else "nominal"),
            kappa=kappa,
        )

    def _checked(self, trial_id: str, agent: str, kind: str, value: Any) -> Any:
        """Return the value as it is stored."""
        if kind not in _KINDS:
            raise ConfigurationError(f"kind={kind!r} is unknown; choose one of {', '.join(_KINDS)}")
        if kind == "correction":
            return _checked_action(self._action_space(trial_id, agent), value)
        return _CHECKS[kind](value)

    def _action_space(self, trial_id: str, agent: str) -> gym.Space[Any]:
        trial = self._catalog.row_id(trial_id)
        return self._catalog.stream(trial >> TRIAL_BITS).layouts[agent].action.space

    def _category(self, correction: Label) -> bytes:
        """Return what is the same of equal actions, however they were written down."""
        try:
            return value_to_bytes(self._action_space(correction.trial_id, correction.agent), correction.value)
        except SpecError:  # stored before corrections were held against their space
            return to_json(correction.value).encode()


def checked_name(name: str, what: str) -> str:
    """Return a name of at most 80 printable characters; spaces around and control characters go.

    Raises:
        ConfigurationError: it is longer, or no text.
    """
    if not isinstance(name, str):
        raise ConfigurationError(f"{what}={name!r} must be text")
    plain = tidy_name(name)
    if len(plain) > _LONGEST_NAME:
        raise ConfigurationError(f"{what}: {len(plain)} characters, at most {_LONGEST_NAME} are kept")
    return plain


def tidy_name(name: str) -> str:
    """Return a name as labels and comparisons keep it: of printable characters and single spaces."""
    return "".join(letter for letter in " ".join(name.split()) if letter.isprintable())


def _checked_action(space: gym.Space[Any], value: Any) -> Any:
    """Return an action as the space's ``sample()`` would, from what JSON makes of one; Discrete as int."""
    if isinstance(space, gym.spaces.Discrete) and isinstance(value, bool):
        raise ConfigurationError(f"the correction {value!r} is no action of {space}")
    try:
        action = value_from_message(space, value_to_message(space, value))
    except SpecError as error:
        raise ConfigurationError(f"the correction {shown(value)} is no action of {space}: {error}") from error
    if not space.contains(action):
        raise ConfigurationError(f"the correction {shown(value)} is no action of {space}")
    return action.item() if isinstance(action, np.generic) else action


def _checked_rating(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise ConfigurationError(f"a rating is a number, and {value!r} is none")
    try:
        number = float(value)
    except (OverflowError, TypeError):
        number = math.inf
    if not math.isfinite(number):
        raise ConfigurationError("a rating is a finite number")
    return number


def _checked_note(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError("a note is text, and not empty")
    if len(value) > _LONGEST_NOTE:
        raise ConfigurationError(f"a note has at most {_LONGEST_NOTE} characters; this one has {len(value)}")
    whole: str = _whole(value)
    return whole


def _whole(value: Any) -> Any:
    """Return a value whose texts UTF-8 can say: JSON may hold half a surrogate pair, no answer can."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_whole(key): _whole(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_whole, value))
    return value


def _checked_flag(value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise ConfigurationError(f"success and discard are True or False, and {value!r} is neither")
    return bool(value)


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "rating": _checked_rating,
    "note": _checked_note,
    "success": _checked_flag,
    "discard": _checked_flag,
}


def _coded(value: Any) -> str:
    coded = to_json(value)
    if len(coded) > _LONGEST_VALUE:
        raise ConfigurationError(f"the value takes {len(coded)} bytes; at most {_LONGEST_VALUE} are kept")
    return coded


def _label(row: tuple[Any, ...]) -> Label:
    label_id, version, trial_id, agent, start, stop, kind, coded, annotator, time, withdrawn = row
    try:
        value = _whole(from_json(coded))
    except SpecError as error:
        raise CorruptStoreError(
            f"label {label_id} of trial {trial_id!r} is damaged: {error}; other trials' labels can be read"
        ) from error
    return Label(
        label_id=label_id,
        version=version,
        trial_id=trial_id,
        agent=agent,
        start=start,
        stop=stop,
        kind=kind,
        value=value,
        annotator=annotator,
        time=time,
        is_withdrawn=bool(withdrawn),
    )


def _is_int(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _table(
    labels: list[Label], category: Callable[[Label], bytes]
) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Return annotators and their ratings ``(n_annotators, n_units)``, nan where one said nothing.

    Ticks between two neighbouring bounds of labels were labelled alike: each is a unit all the same.
    """
    annotators = tuple(sorted({label.annotator for label in labels}))
    offsets: dict[tuple[str, str], int] = {}
    n_units = 0
    for key in {(label.trial_id, label.agent): None for label in labels}:
        offsets[key] = n_units
        n_units += max(label.stop for label in labels if (label.trial_id, label.agent) == key)
    if n_units * len(annotators) > _MOST_UNITS * 20:
        raise ConfigurationError(f"agreement on {n_units} ticks is too much at once; ask trial by trial")
    ratings = np.full((len(annotators), n_units), np.nan)
    codes: dict[bytes, float] = {}
    for label in labels:
        offset = offsets[label.trial_id, label.agent]
        number = (
            float(label.value)
            if label.kind != "correction"
            else codes.setdefault(category(label), float(len(codes)))
        )
        ratings[annotators.index(label.annotator), offset + label.start : offset + label.stop] = number
    return annotators, ratings
