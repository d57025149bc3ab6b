"""``cogmentlab study check``, ``status``, ``export``, ``forget``: a study's file, its people, their data."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cogment_lab.cli.counting import counted
from cogment_lab.cli.trials import open_existing
from cogment_lab.errors import UnknownParticipantError
from cogment_lab.studies.definition import read_study
from cogment_lab.studies.export import export_study
from cogment_lab.studies.factory import try_sessions
from cogment_lab.studies.ledger import StudyLedger

__all__ = ["check_study", "export_data", "forget_participant", "show_progress"]

_STATUSES = ("active", "complete", "declined", "abandoned", "withdrawn")


def check_study(file: Path) -> None:
    """Say what a study's file means, or what is wrong with it; its function is called for each condition.

    Raises:
        StudyFileError: the file cannot be used; it names the key.
        StudySessionError: the function that the file names cannot be loaded, or fails.
    """
    study = read_study(file)
    sessions = try_sessions(study)
    table = Table(show_header=False, title=f"{study.title} ({study.name})")
    table.add_row("steps", " > ".join(study.steps))
    table.add_row("trials", f"{study.practice} for practice, {study.trials} that count")
    table.add_row("conditions", ", ".join(study.conditions))
    table.add_row("questions", ", ".join(question.key for question in study.questionnaire) or "none")
    table.add_row(
        "at once", f"{counted(study.max_sessions, 'person', 'people')}; idle after {study.idle_timeout:g} s"
    )
    for condition, session in sessions.items():
        name = "session" if len(sessions) == 1 else f"session: {condition}"
        table.add_row(name, f"{session.role} of {_name(session.env)}")
    Console().print(table)


def _name(env: Any) -> str:
    return env if isinstance(env, str) else getattr(env, "__name__", type(env).__name__)


def show_progress(file: Path, store: Path) -> None:
    """Say how many people are where in a study.

    Raises:
        StudyFileError: the file cannot be used.
        StoreError: the store does not exist, or cannot be read.
    """
    study = read_study(file)
    with open_existing(store), closing(StudyLedger(store, study)) as ledger:
        people = ledger.people()
        counts = ledger.overview()
    table = Table("condition", *_STATUSES, title=f"{study.title} ({study.name})")
    for condition, statuses in counts.items():
        table.add_row(condition, *(str(statuses.get(each, 0)) for each in _STATUSES))
    console = Console()
    console.print(table)
    waiting = Counter(person.step for person in people if person.status == "active")
    steps = ", ".join(f"{waiting[step]} at {step}" for step in study.steps if waiting[step])
    console.print(
        f"{counted(len(people), 'person', 'people')}; of the active ones {steps or 'nobody is left'}",
        highlight=False,
    )


def export_data(file: Path, store: Path, folder: Path) -> None:
    """Write a study's tables, and say how many rows they have.

    Raises:
        StudyFileError: the file cannot be used.
        ConfigurationError: the folder exists already.
        StoreError: the store cannot be read, or the disk is full.
    """
    study = read_study(file)
    console = Console()
    with open_existing(store) as trials, closing(StudyLedger(store, study)) as ledger:
        counts = export_study(ledger, trials, folder)
    for name, count in counts.items():
        console.print(f"{name:<18}{count:>9,} rows", highlight=False)
    if "ticks.csv" in counts:
        console.print("ticks are CSV because pyarrow is missing: pip install pyarrow", highlight=False)
    console.print(f"{folder}/codebook.md says what each column means", highlight=False)


def forget_participant(store: Path, name: str) -> None:
    """Remove a person from a store, and say what was removed.

    Raises:
        UnknownParticipantError: the store holds nothing of that name.
        TrialStateError: one of their trials still runs.
    """
    with open_existing(store) as trials:
        found = trials.forget(name)
    if not (found.trials or found.events or found.labels or found.answers):
        raise UnknownParticipantError(f"{store} holds nothing of {name!r}")
    Console().print(
        f"removed {counted(len(found.trials), 'trial')}, {counted(found.responses, 'answer')}, "
        f"{counted(found.events, 'event')}, {counted(found.labels, 'label')} and "
        f"{counted(found.answers, 'comparison')}; delete what you exported before as well",
        highlight=False,
    )
