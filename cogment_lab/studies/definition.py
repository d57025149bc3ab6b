"""A study as its YAML file says it; ``docs/studies.md`` explains each key."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from cogment_lab.errors import StudyFileError
from cogment_lab.studies.questions import Question

__all__ = ["PER_PERSON", "Preflight", "Study", "read_study"]

PER_PERSON = "per-person"
"""A ``completion_code`` that is another one for everybody."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_FACTORY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_MOST_BYTES = 1_000_000
_MOST_POINTS = 21
_LONGEST_TEXT = 20_000
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
        completion_code: Shown at the end; :data:`PER_PERSON` makes one for everybody, ``None`` shows none.
        return_url: Where participants go from the last page, ``None`` for nowhere.
        conditions: Between participants.
        seed: Of the assignment, and of the trials' starts.
        session: ``module:function``, see :class:`cogment_lab.studies.Session`.
        max_sessions: How many people play at once.
        idle_timeout: Seconds without a sign of the participant until their place is given to another.
        preflight: What their machine is checked for; ``None`` skips the check.
        path: The file.
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
    thanks: str = "Thank you."
    completion_code: str | None = None
    return_url: str | None = None
    conditions: tuple[str, ...] = ("all",)
    seed: int = 0
    max_sessions: int = 4
    idle_timeout: float = 300.0
    preflight: Preflight = Preflight()

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps that this study has, in order."""
        has = {
            "consent": True,
            "preflight": self.preflight != Preflight(),
            "instructions": bool(self.instructions),
            "practice": self.practice > 0,
            "trials": True,
            "questionnaire": bool(self.questionnaire),
            "thanks": True,
        }
        return tuple(step for step, is_there in has.items() if is_there)


def read_study(path: str | os.PathLike[str]) -> Study:
    """Return the study that a file describes.

    Raises:
        StudyFileError: it cannot be read, or says something that makes no sense; the message names the key,
            its line, and what to write.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise StudyFileError(path, "", None, f"it cannot be read: {error.strerror}") from None
    if len(text) > _MOST_BYTES:
        raise StudyFileError(path, "", None, f"it has more than {_MOST_BYTES} bytes, which no study needs")
    try:
        tree = yaml.compose(text, yaml.SafeLoader)
        content = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = None if mark is None else mark.line + 1
        raise StudyFileError(path, "", line, f"this is no YAML: {getattr(error, 'problem', error)}") from None
    return _Reader(path, tree).study(content)


class _Reader:
    """Takes values out of a file's mapping, and knows the line of each key."""

    def __init__(self, path: Path, tree: Any) -> None:
        self._path = path
        self._lines: dict[str, int] = {}
        self._index(tree, "")

    def study(self, content: Any) -> Study:
        if not isinstance(content, dict):
            raise self._wrong("", "write `name: ...`, `title: ...` and so on, one key a line")
        known = set(Study.__dataclass_fields__) - {"path"}
        self._refuse_unknown(content, known, "")
        name = self._text(content, "name")
        if not _NAME.fullmatch(name):
            raise self._wrong("name", "use letters, digits, `-`, `_` and `.`, at most 64: it names data")
        session = self._text(content, "session")
        if not _FACTORY.fullmatch(session):
            raise self._wrong("session", "write `module:function`, for example `lander_session:session`")
        return Study(
            name=name,
            title=self._text(content, "title", name),
            consent=self._text(content, "consent"),
            instructions=self._texts(content, "instructions"),
            practice=self._whole(content, "practice", 0, 0, 1000),
            trials=self._whole(content, "trials", None, 1, 10_000),
            questionnaire=self._questions(content),
            thanks=self._text(content, "thanks", "Thank you."),
            completion_code=self._text(content, "completion_code", None),
            return_url=self._address(content),
            conditions=self._conditions(content),
            seed=self._whole(content, "seed", 0, 0, 2**32 - 1),
            session=session,
            max_sessions=self._whole(content, "max_sessions", 4, 1, 1000),
            idle_timeout=self._number(content, "idle_timeout", 300.0, 1.0, 86_400.0),
            preflight=self._preflight(content),
            path=self._path,
        )

    # --- parts ---

    def _conditions(self, content: Mapping[str, Any]) -> tuple[str, ...]:
        names = self._texts(content, "conditions", ("all",))
        for each in names:
            if not _NAME.fullmatch(each):
                raise self._wrong("conditions", f"{each!r}: use letters, digits, `-`, `_` and `.`")
        if len(set(names)) < len(names) or not names:
            raise self._wrong("conditions", "write each condition once, for example `[shown, hidden]`")
        return names

    def _address(self, content: Mapping[str, Any]) -> str | None:
        url: str | None = self._text(content, "return_url", None)
        if url is not None:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.netloc:
                raise self._wrong("return_url", "write a whole address, such as `https://example.org/done`")
        return url

    def _preflight(self, content: Mapping[str, Any]) -> Preflight:
        where = "preflight"
        given = content.get(where)
        if given is None:
            return Preflight()
        if not isinstance(given, dict):
            raise self._wrong(where, "write its parts below it: `keys: [...]`, `min_width: 900`...")
        self._refuse_unknown(given, set(Preflight.__dataclass_fields__), where)
        return Preflight(
            keys=self._texts(given, "keys", (), where),
            min_width=self._whole(given, "min_width", 0, 0, 10_000, where),
            min_height=self._whole(given, "min_height", 0, 0, 10_000, where),
            max_round_trip_ms=self._number(given, "max_round_trip_ms", 1000.0, 1.0, 60_000.0, where),
        )

    def _questions(self, content: Mapping[str, Any]) -> tuple[Question, ...]:
        given = content.get("questionnaire") or []
        if not isinstance(given, list):
            raise self._wrong("questionnaire", "write a list: `- key: ...` for each question")
        questions = [self._question(each, f"questionnaire[{index}]") for index, each in enumerate(given)]
        keys = [each.key for each in questions]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise self._wrong(f"questionnaire[{index}].key", f"{key!r} names another question already")
        return tuple(questions)

    def _question(self, given: Any, where: str) -> Question:
        if not isinstance(given, dict):
            raise self._wrong(where, "write `key`, `kind` and `text`")
        kind = self._text(given, "kind", where=where)
        if kind not in _KINDS:
            raise self._wrong(f"{where}.kind", f"{kind!r} is unknown: choose one of {', '.join(_KINDS)}")
        self._refuse_unknown(given, {"key", "kind", "text", "required"} | _OF_KIND[kind], where)
        key = self._text(given, "key", where=where)
        if not _NAME.fullmatch(key):
            raise self._wrong(f"{where}.key", "use letters, digits, `-`, `_` and `.`: it names a column")
        required = given.get("required", False)
        if not isinstance(required, bool):
            raise self._wrong(f"{where}.required", "write true or false")
        options = self._texts(given, "options", (), where)
        if kind == "choice" and (len(options) < 2 or len(set(options)) < len(options)):
            raise self._wrong(f"{where}.options", "write at least two different answers")
        low = self._whole(given, "low", 1, -100, 100, where)
        high = self._whole(given, "high", 7, -100, 100, where)
        if not low < high < low + _MOST_POINTS:
            raise self._wrong(
                f"{where}.high", f"make it larger than low={low}, by at most {_MOST_POINTS - 1}"
            )
        return Question(
            key=key,
            kind=kind,
            text=self._text(given, "text", where=where),
            required=required,
            options=options,
            low=low,
            high=high,
            low_label=self._text(given, "low_label", "", where),
            high_label=self._text(given, "high_label", "", where),
            longest=self._whole(given, "longest", 2000, 1, _LONGEST_TEXT, where),
        )

    # --- values ---

    def _text(self, content: Mapping[str, Any], key: str, default: Any = ..., where: str = "") -> Any:
        value = content.get(key)
        if value is None:
            if default is ...:
                raise self._wrong(_join(where, key), "it is missing, and needed")
            return default
        if isinstance(value, bool | list | dict):
            raise self._wrong(_join(where, key), "write text; in quotes, if YAML takes it for something else")
        text = str(value).strip()
        if len(text) > _LONGEST_TEXT:
            raise self._wrong(_join(where, key), f"at most {_LONGEST_TEXT} characters")
        if not text and default is ...:
            raise self._wrong(_join(where, key), "it is empty, and needed")
        return text

    def _texts(
        self, content: Mapping[str, Any], key: str, default: tuple[str, ...] = (), where: str = ""
    ) -> tuple[str, ...]:
        value = content.get(key)
        if value is None:
            return default
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, list) or not all(isinstance(each, str | int | float) for each in given):
            raise self._wrong(_join(where, key), "write a list of texts, each in quotes if need be")
        if any(isinstance(each, bool) for each in given):
            raise self._wrong(
                _join(where, key), "YAML reads yes, no, on and off as true or false: put in quotes"
            )
        return tuple(str(each).strip() for each in given)

    def _whole(
        self,
        content: Mapping[str, Any],
        key: str,
        default: int | None,
        least: int,
        most: int,
        where: str = "",
    ) -> int:
        value = content.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self._wrong(_join(where, key), f"write a whole number from {least} to {most}")
        return value

    def _number(
        self,
        content: Mapping[str, Any],
        key: str,
        default: float,
        least: float,
        most: float,
        where: str = "",
    ) -> float:
        value = content.get(key, default)
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not is_number or not least <= value <= most:
            raise self._wrong(_join(where, key), f"write a number from {least:g} to {most:g}")
        return float(value)

    # --- errors ---

    def _refuse_unknown(self, content: Mapping[Any, Any], known: set[str], where: str) -> None:
        for key in content:
            if key not in known:
                raise self._wrong(
                    _join(where, str(key)), f"no such key; there are {', '.join(sorted(known))}"
                )

    def _wrong(self, key: str, fix: str) -> StudyFileError:
        line = self._lines.get(key)
        parent = key
        while line is None and parent:
            parent = parent.rpartition(".")[0] or parent.rpartition("[")[0]
            line = self._lines.get(parent)
        return StudyFileError(self._path, key, line, fix)

    def _index(self, node: Any, where: str) -> None:
        """Remember the line of each key."""
        if isinstance(node, yaml.MappingNode):
            seen = set()
            for key, value in node.value:
                name = _join(where, str(key.value))
                self._lines[name] = key.start_mark.line + 1
                if name in seen:
                    raise self._wrong(name, "it stands here twice: keep one")
                seen.add(name)
                self._index(value, name)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self._lines[f"{where}[{index}]"] = value.start_mark.line + 1
                self._index(value, f"{where}[{index}]")


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
