"""The questions of a study, and what counts as an answer."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any, Literal

from cogment_lab.errors import AnswerError

__all__ = ["Question"]

Kind = Literal["scale", "choice", "text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question.

    Attributes:
        key: Its name in the data, unique in the study.
        kind: ``"scale"`` (a whole number), ``"choice"`` (one of several) or ``"text"``.
        text: What is asked.
        required: Whether the questionnaire waits for an answer.
        options: Of a choice.
        low: The lowest number of a scale.
        high: The highest.
        low_label: What the lowest means.
        high_label: What the highest means.
        longest: Characters that a text may have.
    """

    key: str
    kind: Kind
    text: str
    required: bool = False
    options: tuple[str, ...] = ()
    low: int = 1
    high: int = 7
    low_label: str = ""
    high_label: str = ""
    longest: int = 2000

    def check(self, value: Any) -> int | str | None:
        """Return an answer as it is kept, ``None`` for none.

        Raises:
            AnswerError: it is no answer to this question.
        """
        if value is None or (isinstance(value, str) and not value.strip()):
            if self.required:
                raise AnswerError(self.key, "Please answer this one.")
            return None
        if self.kind == "scale":
            return self._number(value)
        if self.kind == "choice":
            if value not in self.options:
                raise AnswerError(self.key, "Please choose one of the answers.")
            return str(value)
        if not isinstance(value, str):
            raise AnswerError(self.key, "Please write some words.")
        written = _legible(value)
        if not any(map(_is_visible, written)):
            return self.check(None)
        if len(written) > self.longest:
            raise AnswerError(self.key, f"At most {self.longest} characters, please.")
        return written

    def _number(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise AnswerError(self.key, f"Please choose a number from {self.low} to {self.high}.")
        return value


def _legible(text: str) -> str:
    """Return what somebody wrote, without control characters; half a surrogate pair becomes ``?``.

    Characters that join or direct others stay, and so do those that this Python's tables lack.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace").decode()
    return "".join(map(_plain, lines)).strip()


def _plain(letter: str) -> str:
    if letter in "\n\t" or unicodedata.category(letter) != "Cc":
        return letter
    return " " if letter.isspace() else ""


def _is_visible(letter: str) -> bool:
    category = unicodedata.category(letter)
    return category not in ("Cc", "Cf") and category[0] != "Z"
