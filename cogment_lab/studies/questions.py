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
        written = "".join(
            each for each in value if each == "\n" or unicodedata.category(each)[0] != "C"
        ).strip()
        if len(written) > self.longest:
            raise AnswerError(self.key, f"At most {self.longest} characters, please.")
        return written

    def _number(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise AnswerError(self.key, f"Please choose a number from {self.low} to {self.high}.")
        return value
