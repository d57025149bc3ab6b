"""A study as its YAML file says it; ``docs/studies.md`` explains each key."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cogment_lab.studies.key_codes import KEY_CODES, similar_code
from cogment_lab.studies.questions import Question
from cogment_lab.studies.values import LONGEST_TEXT, YamlValues

__all__ = ["ALL_STEPS", "CODE_PLACE", "PER_PERSON", "Preflight", "Study", "read_study"]

ALL_STEPS = ("consent", "preflight", "instructions", "practice", "trials", "questionnaire", "thanks")
"""What a study may consist of, in order."""

PER_PERSON = "per-person"
"""A ``completion_code`` that is another one for everybody."""

CODE_PLACE = "{code}"
"""Where a ``return_url`` has the completion code."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_FACTORY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_THANKS = "Thank you."
_FAREWELL = "Thank you for the time that you gave."
_MOST_POINTS = 21
_KINDS = ("scale", "choice", "text")
_OF_KIND = {"scale": {"low", "high", "low_label", "high_label"}, "choice": {"options"}, "text": {"longest"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """What a participant's machine is checked for.

    Attributes:
        keys: ``KeyboardEvent.code`` of keys to press, such as ``"ArrowLeft"`` or ``"Space"``.
        min_width: Of the window, CSS pixels.
        min_height: Of the window, CSS pixels.
        max_round_trip_ms: To the server and back, the median of some pings.
    """

    keys: tuple[str, ...] = ()
    min_width: int = 0
    min_height: int = 0
    max_round_trip_ms: float = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One study.

    Attributes:
        name: Its name in the data.
        title: Its name on the page.
        consent: What participants agree to.
        instructions: Pages of text.
        practice: Trials that do not count.
        trials: Trials that do.
        questionnaire: What is asked at the end.
        thanks: Said at the very end.
        farewell: Said to who stops taking part before that, such as whom to write to.
        completion_code: Shown at the end; :data:`PER_PERSON` makes one for everybody, ``None`` shows none.
        return_url: Where participants go from the last page, ``None`` for nowhere; :data:`CODE_PLACE` in it
            stands for their completion code.
        conditions: Between participants.
        seed: Of the assignment, and of the trials' starts.
        session: ``module:function``, see :class:`cogment_lab.studies.Session`.
        max_sessions: How many people play at once.
        idle_timeout: Seconds without a sign of the participant until their place is given to another.
        preflight: What their machine is checked for; ``None`` skips the check.
        path: The file.
        session_line: Where ``session`` stands in it, from 1.
    """

    name: str
    title: str
    consent: str
    trials: int
    session: str
    path: Path
    instructions: tuple[str, ...] = ()
    practice: int = 0
    questionnaire: tuple[Question, ...] = ()
    thanks: str = _THANKS
    farewell: str = _FAREWELL
    completion_code: str | None = None
    return_url: str | None = None
    conditions: tuple[str, ...] = ("all",)
    seed: int = 0
    max_sessions: int = 4
    idle_timeout: float = 300.0
    preflight: Preflight = Preflight()
    session_line: int | None = None

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps that this study has, in order."""
        missing = {
            "preflight": self.preflight == Preflight(),
            "instructions": not self.instructions,
            "practice": self.practice == 0,
            "questionnaire": not self.questionnaire,
        }
        return tuple(step for step in ALL_STEPS if not missing.get(step, False))


def read_study(path: str | os.PathLike[str]) -> Study:
    """Return the study that a file describes.

    Raises:
        StudyFileError: it cannot be read, or says something that makes no sense; the message names the key,
            its line, and what to write.
    """
    reader = _Reader(Path(path))
    return reader.study(reader.content)


class _Reader(YamlValues):
    """Makes a study of a file's values."""

    def study(self, content: Any) -> Study:
        if not isinstance(content, dict):
            raise self.wrong("", "write `name: ...`, `title: ...` and so on, one key a line")
        known = set(Study.__dataclass_fields__) - {"path", "session_line"}
        self.refuse_unknown(content, known, "")
        name = self.text(content, "name")
        if not _NAME.fullmatch(name):
            raise self.wrong("name", "use letters, digits, `-`, `_` and `.`, at most 64: it names data")
        session = self.text(content, "session")
        if not _FACTORY.fullmatch(session):
            raise self.wrong("session", "write `module:function`, for example `lander_session:session`")
        return Study(
            name=name,
            title=self.text(content, "title", name),
            consent=self.text(content, "consent"),
            instructions=self.texts(content, "instructions"),
            practice=self.whole(content, "practice", 0, 0, 1000),
            trials=self.whole(content, "trials", None, 1, 10_000),
            questionnaire=self._questions(content),
            thanks=self.text(content, "thanks", _THANKS),
            farewell=self.text(content, "farewell", _FAREWELL),
            completion_code=self.text(content, "completion_code", None),
            return_url=self._address(content),
            conditions=self._conditions(content),
            seed=self.whole(content, "seed", 0, 0, 2**32 - 1),
            session=session,
            max_sessions=self.whole(content, "max_sessions", 4, 1, 1000),
            idle_timeout=self.number(content, "idle_timeout", 300.0, 1.0, 86_400.0),
            preflight=self._preflight(content),
            path=self.path,
            session_line=self.line_of("session"),
        )

    def _conditions(self, content: Mapping[str, Any]) -> tuple[str, ...]:
        names = self.texts(content, "conditions", ("all",))
        for each in names:
            if not _NAME.fullmatch(each):
                raise self.wrong("conditions", f"{each!r}: use letters, digits, `-`, `_` and `.`")
        if len(set(names)) < len(names) or not names:
            raise self.wrong("conditions", "write each condition once, for example `[shown, hidden]`")
        return names

    def _address(self, content: Mapping[str, Any]) -> str | None:
        url: str | None = self.text(content, "return_url", None)
        if url is not None:
            try:
                parts = urlsplit(url)
                is_whole = parts.scheme in ("http", "https") and bool(parts.hostname)
            except ValueError:
                is_whole = False
            if not is_whole:
                raise self.wrong("return_url", "write a whole address, such as `https://example.org/done`")
            if CODE_PLACE in url and content.get("completion_code") is None:
                raise self.wrong(
                    "return_url", f"{CODE_PLACE} stands for the completion code: write a `completion_code`"
                )
        return url

    def _preflight(self, content: Mapping[str, Any]) -> Preflight:
        where = "preflight"
        given = content.get(where)
        if given is None:
            return Preflight()
        if not isinstance(given, dict):
            raise self.wrong(where, "write its parts below it: `keys: [...]`, `min_width: 900`...")
        self.refuse_unknown(given, set(Preflight.__dataclass_fields__), where)
        keys = self.texts(given, "keys", (), where)
        for each in keys:
            if each not in KEY_CODES:
                meant = similar_code(each)
                hint = f"did you mean {meant}?" if meant else "write such as Space, ArrowLeft, KeyA, Digit1"
                raise self.wrong(f"{where}.keys", f"no browser calls a key {each!r}: {hint}")
        return Preflight(
            keys=keys,
            min_width=self.whole(given, "min_width", 0, 0, 10_000, where),
            min_height=self.whole(given, "min_height", 0, 0, 10_000, where),
            max_round_trip_ms=self.number(given, "max_round_trip_ms", 1000.0, 1.0, 60_000.0, where),
        )

    def _questions(self, content: Mapping[str, Any]) -> tuple[Question, ...]:
        given = content.get("questionnaire") or []
        if not isinstance(given, list):
            raise self.wrong("questionnaire", "write a list: `- key: ...` for each question")
        questions = [self._question(each, f"questionnaire[{index}]") for index, each in enumerate(given)]
        keys = [each.key for each in questions]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise self.wrong(f"questionnaire[{index}].key", f"{key!r} names another question already")
        return tuple(questions)

    def _question(self, given: Any, where: str) -> Question:
        if not isinstance(given, dict):
            raise self.wrong(where, "write `key`, `kind` and `text`")
        kind = self.text(given, "kind", where=where)
        if kind not in _KINDS:
            raise self.wrong(f"{where}.kind", f"{kind!r} is unknown: choose one of {', '.join(_KINDS)}")
        self.refuse_unknown(given, {"key", "kind", "text", "required"} | _OF_KIND[kind], where)
        key = self.text(given, "key", where=where)
        if not _NAME.fullmatch(key):
            raise self.wrong(f"{where}.key", "use letters, digits, `-`, `_` and `.`: it names a column")
        required = given.get("required", False)
        if not isinstance(required, bool):
            raise self.wrong(f"{where}.required", "write true or false")
        options = self.texts(given, "options", (), where)
        if kind == "choice" and (len(options) < 2 or len(set(options)) < len(options)):
            raise self.wrong(f"{where}.options", "write at least two different answers")
        low = self.whole(given, "low", 1, -100, 100, where)
        high = self.whole(given, "high", 7, -100, 100, where)
        if not low < high < low + _MOST_POINTS:
            raise self.wrong(f"{where}.high", f"make it larger than low={low}, by at most {_MOST_POINTS - 1}")
        return Question(
            key=key,
            kind=kind,
            text=self.text(given, "text", where=where),
            required=required,
            options=options,
            low=low,
            high=high,
            low_label=self.text(given, "low_label", "", where),
            high_label=self.text(given, "high_label", "", where),
            longest=self.whole(given, "longest", 2000, 1, LONGEST_TEXT, where),
        )
