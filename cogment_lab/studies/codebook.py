"""What each column of an exported study means: the one place that says it, for the files and the codebook."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cogment_lab.studies.definition import Study

__all__ = ["TABLES", "Column", "write_codebook"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: Its name.
        type: ``text``, ``integer``, ``number``, ``boolean`` or ``json``.
        meaning: What it says.
        unit: Of a number.
        values: What it may be, where that is a list.
        free: People wrote it: a spreadsheet must not take it for a formula.
    """

    name: str
    type: str
    meaning: str
    unit: str = ""
    values: tuple[str, ...] = ()
    free: bool = False


_WHO = Column("participant", "text", "pseudonym; nothing about the person can be told from it")
_CONDITION = Column("condition", "text", "what the participant was assigned to")
_TRIAL = Column("trial_id", "text", "the trial, as in the store")
_UNIX = "seconds since 1970-01-01 UTC"
_PHASE = Column("phase", "text", "part of the study", values=("practice", "trials"))

TABLES: Mapping[str, Sequence[Column]] = {
    "participants": (
        _WHO,
        Column("external_hash", "text", "HMAC-SHA-256 of the name that they came with; empty without one"),
        _CONDITION,
        Column(
            "status",
            "text",
            "how far they came; abandoned: stopped; withdrawn: stopped, and had all deleted",
            values=("active", "complete", "declined", "abandoned", "withdrawn"),
        ),
        Column("step", "text", "the page they were at last"),
        Column("practice_done", "integer", "practice trials that they finished"),
        Column("trials_done", "integer", "trials that they finished"),
        Column("joined", "number", "when they came first; for who withdrew, when that was", _UNIX),
        Column("last_seen", "number", "when they were heard of last, to some seconds", _UNIX),
        Column("completion_code", "text", "what they were given at the end"),
        Column("left", "number", "when they stopped taking part; empty for who did not", _UNIX),
    ),
    "responses": (
        _WHO,
        _CONDITION,
        Column("question", "text", "key of the question, see below"),
        Column("kind", "text", "kind of the question", values=("scale", "choice", "text")),
        Column("value", "text", "the answer; empty for none", free=True),
        Column("time", "number", "when it was given", _UNIX),
    ),
    "trials": (
        _WHO,
        _CONDITION,
        _PHASE,
        Column("order", "integer", "number of the trial among the participant's of this phase, from 1"),
        Column("counted", "boolean", "whether it was finished, so that it counted for the participant"),
        _TRIAL,
        Column("env_id", "text", "environment"),
        Column("seed", "text", "of the trial's reset; empty where it had none"),
        Column("ticks", "integer", "executed actions"),
        Column("return", "number", "sum of the environment's rewards"),
        Column("takeovers", "integer", "stretches in which the person was in control"),
        Column("helped_ticks", "integer", "actions that were the person's"),
        Column("terminated", "boolean", "the environment reached a terminal state"),
        Column("truncated", "boolean", "it was cut off: time limit, or the person left"),
        Column("end_reason", "text", "why it ended", free=True),
        Column("started", "number", "when it began", _UNIX),
        Column("duration", "number", "from its beginning to its end", "s"),
    ),
    "events": (
        _WHO,
        Column("source", "text", "who recorded it", values=("study", "trial")),
        Column("trial_id", "text", "the trial; empty for events of the study"),
        Column("tick", "integer", "the tick that came next; empty for events of the study"),
        Column("kind", "text", "what happened", free=True),
        Column("data", "json", "what belongs to it", free=True),
        Column("time", "number", "when", _UNIX),
    ),
    "ticks": (
        _WHO,
        _CONDITION,
        _PHASE,
        _TRIAL,
        Column("agent", "text", "whose action; gym where there is one agent"),
        Column("tick", "integer", "number in the trial, from 0"),
        Column("proposed_action", "json", "what the agent wanted"),
        Column("executed_action", "json", "what the environment got"),
        Column("decided_by", "text", "who chose it", values=("player", "teacher", "fallback")),
        Column("control", "text", "phase of control", values=("AUTONOMOUS", "PAUSED", "CORRECTING")),
        Column("reward", "number", "the environment's"),
        Column("terminated", "boolean", "the environment reached a terminal state"),
        Column("truncated", "boolean", "the trial was cut off here"),
        Column("t_shown", "integer", "when the observation was there", "ns, monotonic clock of the machine"),
        Column("t_acted", "integer", "when the action was decided", "ns, monotonic clock of the machine"),
        Column("reaction", "integer", "reaction time, measured in the browser; 0 for none", "ns"),
        Column("feedback", "json", "opinions about this tick: [[seat, value, time in ns], ...]"),
    ),
}


def write_codebook(study: Study, folder: Path, files: Mapping[str, str]) -> None:
    """Write ``codebook.md`` and ``codebook.json``.

    Args:
        study: Whose questions are listed.
        folder: Where.
        files: Name of each table's file.
    """
    content: dict[str, Any] = {
        "study": study.name,
        "title": study.title,
        "conditions": list(study.conditions),
        "tables": {
            name: {"file": files[name], "columns": [asdict(column) for column in columns]}
            for name, columns in TABLES.items()
        },
        "questions": [asdict(question) for question in study.questionnaire],
    }
    (folder / "codebook.json").write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
    (folder / "codebook.md").write_text("\n".join(_markdown(study, files)), encoding="utf-8")


def _markdown(study: Study, files: Mapping[str, str]) -> list[str]:
    lines = [f"# {_cell(study.title)}", ""]
    lines += [f"Study `{study.name}`; conditions: {', '.join(study.conditions)}.", ""]
    lines += [
        "In CSV files, text that people wrote and that begins with `=`, `+`, `-`, `@`, a tab or a line break",
        "has an apostrophe before it, so that no spreadsheet runs it as a formula.",
        "",
    ]
    for name, columns in TABLES.items():
        lines += [f"## {files[name]}", "", "| column | type | unit | meaning |", "| --- | --- | --- | --- |"]
        for column in columns:
            values = f" ({', '.join(column.values)})" if column.values else ""
            lines.append(f"| `{column.name}` | {column.type} | {column.unit} | {column.meaning}{values} |")
        lines.append("")
    lines += ["## Questions", "", "| key | kind | text | answers |", "| --- | --- | --- | --- |"]
    for question in study.questionnaire:
        answers = {
            "scale": f"{question.low} ({question.low_label}) to {question.high} ({question.high_label})",
            "choice": " / ".join(question.options),
            "text": f"up to {question.longest} characters",
        }[question.kind]
        needed = ", required" if question.required else ""
        lines.append(
            f"| `{question.key}` | {question.kind}{needed} | {_cell(question.text)} | {_cell(answers)} |"
        )
    return [*lines, ""]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
