"""Values out of a YAML file, each with what to write instead where it makes no sense."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cogment_lab.errors import StudyFileError

__all__ = ["LONGEST_TEXT", "YamlValues", "join"]

LONGEST_TEXT = 20_000
"""Characters of one text in a file."""

_MOST_BYTES = 1_000_000
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


class YamlValues:
    """Takes values out of a file's mapping, and knows the line of each key.

    Attributes:
        content: What the file holds.
        path: The file.

    Raises:
        StudyFileError: the file cannot be read, or is no YAML.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: dict[str, int] = {}
        try:
            with path.open("rb") as file:
                text = file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise self.wrong("", f"it cannot be read: {error.strerror}") from None
        if len(text) > _MOST_BYTES:
            raise self.wrong("", f"it has more than {_MOST_BYTES} bytes, which no study needs")
        try:
            tree = yaml.compose(text, yaml.SafeLoader)
            self.content: Any = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2026-02-31
            mark = getattr(error, "problem_mark", None)
            line = None if mark is None else mark.line + 1
            why = getattr(error, "problem", error)
            raise StudyFileError(path, "", line, f"this is no YAML: {why}") from None
        except RecursionError:
            raise self.wrong("", "this is no YAML of a study: it is nested too deeply") from None
        self._index(tree, "", set())

    def text(self, content: Mapping[str, Any], key: str, default: Any = ..., where: str = "") -> Any:
        """Return a text, stripped; ``default`` may be ``None``, and without one it is needed."""
        value = content.get(key)
        if value is None:
            if default is ...:
                raise self.wrong(join(where, key), "it is missing, and needed")
            return default
        if isinstance(value, bool | list | dict):
            raise self.wrong(join(where, key), "write text; in quotes, if YAML takes it for something else")
        text = self._whole_characters(join(where, key), str(value).strip())
        if len(text) > LONGEST_TEXT:
            raise self.wrong(join(where, key), f"at most {LONGEST_TEXT} characters")
        if not text and default is ...:
            raise self.wrong(join(where, key), "it is empty, and needed")
        return text

    def texts(
        self, content: Mapping[str, Any], key: str, default: tuple[str, ...] = (), where: str = ""
    ) -> tuple[str, ...]:
        """Return a list of texts; a single one may stand without brackets."""
        value = content.get(key)
        if value is None:
            return default
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, list) or not all(isinstance(each, str | int | float) for each in given):
            raise self.wrong(join(where, key), "write a list of texts, each in quotes if need be")
        if any(isinstance(each, bool) for each in given):
            raise self.wrong(
                join(where, key), "YAML reads yes, no, on and off as true or false: put in quotes"
            )
        return tuple(self._whole_characters(join(where, key), str(each).strip()) for each in given)

    def whole(
        self,
        content: Mapping[str, Any],
        key: str,
        default: int | None,
        least: int,
        most: int,
        where: str = "",
    ) -> int:
        """Return a whole number within bounds."""
        value = content.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.wrong(join(where, key), f"write a whole number from {least} to {most}")
        return value

    def number(
        self,
        content: Mapping[str, Any],
        key: str,
        default: float,
        least: float,
        most: float,
        where: str = "",
    ) -> float:
        """Return a number within bounds."""
        value = content.get(key, default)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not least <= value <= most:
            raise self.wrong(join(where, key), f"write a number from {least:g} to {most:g}")
        return float(value)

    def refuse_unknown(self, content: Mapping[Any, Any], known: set[str], where: str) -> None:
        """Refuse keys that mean nothing: they are typing errors."""
        for key in content:
            if key not in known:
                close = difflib.get_close_matches(str(key), known, n=1)
                meant = f"did you mean {close[0]!r}? " if close else ""
                raise self.wrong(
                    join(where, str(key)), f"no such key; {meant}there are {', '.join(sorted(known))}"
                )

    def wrong(self, key: str, fix: str) -> StudyFileError:
        """Return the error for a key, with its line or that of what it stands in."""
        return StudyFileError(self.path, key, self.line_of(key), fix)

    def line_of(self, key: str) -> int | None:
        """Return the line of a key, or of what it stands in, from 1."""
        line = self._lines.get(key)
        parent = key
        while line is None and parent:
            parent = parent.rpartition(".")[0] or parent.rpartition("[")[0]
            line = self._lines.get(parent)
        return line

    def _whole_characters(self, key: str, text: str) -> str:
        if _HALF_CHARACTER.search(text):
            raise self.wrong(key, "it has half a character (\\ud800 to \\udfff): write the character itself")
        return text

    def _index(self, node: Any, where: str, seen: set[int]) -> None:
        """Remember the line of each key; what aliases repeat is looked at once."""
        if id(node) in seen:
            return
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            names = set()
            for key, value in node.value:
                name = join(where, str(key.value))
                self._lines[name] = key.start_mark.line + 1
                if name in names:
                    raise self.wrong(name, "it stands here twice: keep one")
                names.add(name)
                self._index(value, name, seen)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self._lines[f"{where}[{index}]"] = value.start_mark.line + 1
                self._index(value, f"{where}[{index}]", seen)


def join(where: str, key: str) -> str:
    """Return the whole name of a key below another."""
    return f"{where}.{key}" if where else key
