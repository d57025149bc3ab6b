"""What a study's file may say, and how it is told what is wrong with it."""

from pathlib import Path
from typing import Any

import pytest

from cogment_lab.errors import AnswerError, StudyFileError
from cogment_lab.studies import Preflight, Question, read_study

WHOLE = """
name: pilot
title: A pilot
consent: |
  Do you agree?
session: module:session
conditions: [shown, hidden]
seed: 3
preflight: {keys: [Space], min_width: 600}
instructions: [one, two]
practice: 1
trials: 4
questionnaire:
  - {key: fun, kind: scale, text: "Fun?", required: true, low: 1, high: 5, low_label: none}
  - key: age
    kind: choice
    text: Age
    options: ["<30", ">=30"]
  - {key: why, kind: text, text: Why, longest: 10}
thanks: Bye.
completion_code: ABC
return_url: https://example.org/done?x=1
max_sessions: 2
idle_timeout: 60
"""
LEAST = "name: a\nconsent: Agree?\ntrials: 1\nsession: m:f\n"


def read(tmp_path: Path, text: str | bytes) -> Any:
    path = tmp_path / "study.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_study(path)


def test_a_whole_study_is_read(tmp_path: Path) -> None:
    study = read(tmp_path, WHOLE)
    assert (study.name, study.title, study.consent) == ("pilot", "A pilot", "Do you agree?")
    assert study.conditions == ("shown", "hidden") and study.seed == 3
    assert study.preflight == Preflight(keys=("Space",), min_width=600)
    assert study.instructions == ("one", "two") and (study.practice, study.trials) == (1, 4)
    assert [question.key for question in study.questionnaire] == ["fun", "age", "why"]
    assert study.questionnaire[1].options == ("<30", ">=30")
    assert (study.completion_code, study.max_sessions, study.idle_timeout) == ("ABC", 2, 60.0)
    everything = ("consent", "preflight", "instructions", "practice", "trials", "questionnaire", "thanks")
    assert study.steps == everything


def test_a_study_may_be_four_lines(tmp_path: Path) -> None:
    study = read(tmp_path, LEAST)
    assert study.steps == ("consent", "trials", "thanks") and study.conditions == ("all",)


@pytest.mark.parametrize(
    ("text", "key", "line", "fix"),
    [
        ("", "", None, "one key a line"),
        ("[1, 2]", "", None, "one key a line"),
        ("name: [", "", None, "no YAML"),
        ("name: \x00", "", None, "no YAML"),
        (b"name: \xff\xfe\xfa", "", None, "no YAML"),
        (LEAST + "seed: 2026-02-31\n", "", None, "no YAML"),
        ("a: " + 3000 * "[", "", None, "nested too deeply"),
        (LEAST + "idle_timeout: 1" + 400 * "0", "idle_timeout", 5, "number"),
        (LEAST + "title: &t [*t]\n", "title", 5, "text"),
        (LEAST + 'title: "\\ud800"\n', "title", 5, "half a character"),
        (LEAST + "return_url: 'http://['\n", "return_url", 5, "whole address"),
        (LEAST + "trails: 3\n", "trails", 5, "no such key; did you mean 'trials'?"),
        (LEAST + "preflight:\n  keys: [Spacebar]\n", "preflight.keys", 6, "did you mean Space?"),
        (LEAST + "preflight:\n  keys: [ArrowLeft, a]\n", "preflight.keys", 6, "did you mean KeyA?"),
        (LEAST + "preflight:\n  keys: left\n", "preflight.keys", 6, "did you mean ArrowLeft?"),
        (LEAST + "preflight:\n  keys: [§]\n", "preflight.keys", 6, "ArrowLeft, KeyA"),
        (LEAST + "return_url: 'https://e.org/?cc={code}'\n", "return_url", 5, "`completion_code`"),
        (LEAST + "name: b\n", "name", 5, "twice"),
        (LEAST.replace("name: a", "name: a b"), "name", 1, "letters"),
        (LEAST.replace("trials: 1", "trials: 0"), "trials", 3, "from 1 to"),
        (LEAST.replace("trials: 1", "trials: many"), "trials", 3, "whole number"),
        (LEAST.replace("trials: 1\n", ""), "trials", None, "whole number"),
        (LEAST.replace("consent: Agree?", "consent:"), "consent", 2, "missing"),
        (LEAST.replace("m:f", "m.f"), "session", 4, "module:function"),
        (LEAST + "conditions: [a, a]\n", "conditions", 5, "once"),
        (LEAST + "conditions: [on, off]\n", "conditions", 5, "quotes"),
        (LEAST + "return_url: javascript:alert(1)\n", "return_url", 5, "https"),
        (LEAST + "idle_timeout: .nan\n", "idle_timeout", 5, "number"),
        (LEAST + "max_sessions: true\n", "max_sessions", 5, "whole number"),
        (LEAST + "preflight:\n  width: 3\n", "preflight.width", 6, "min_width"),
        (LEAST + "preflight: yes\n", "preflight", 5, "parts"),
        (LEAST + "questionnaire:\n  - {key: a, kind: box, text: b}\n", "questionnaire[0].kind", 6, "scale"),
        (
            LEAST + "questionnaire:\n  - {key: a, kind: choice, text: b, options: [x]}\n",
            "questionnaire[0].options", 6, "two different",
        ),
        (
            LEAST + "questionnaire:\n  - {key: a, kind: text, text: b, low: 1}\n",
            "questionnaire[0].low", 6, "no such key",
        ),
        (
            LEAST + "questionnaire:\n  - {key: a, kind: scale, text: b, low: 5, high: 5}\n",
            "questionnaire[0].high", 6, "larger",
        ),
        (
            LEAST + "questionnaire:\n  - {key: a, kind: text, text: b}\n  - {key: a, kind: text, text: c}\n",
            "questionnaire[1].key", 7, "another question",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_key_line_and_fix(
    tmp_path: Path, text: Any, key: str, line: int | None, fix: str
) -> None:
    with pytest.raises(StudyFileError, match=r"study\.yaml") as caught:
        read(tmp_path, text)
    assert caught.value.key == key and fix in str(caught.value)
    assert line is None or caught.value.line == line


def test_a_file_that_is_not_there_or_too_large_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match="cannot be read"):
        read_study(tmp_path / "no.yaml")
    with pytest.raises(StudyFileError, match="which no study needs"):
        read(tmp_path, LEAST + "#" * 1_100_000)


SCALE = Question(key="fun", kind="scale", text="Fun?", required=True, low=1, high=5)
CHOICE = Question(key="age", kind="choice", text="Age", options=("a", "b"))
TEXT = Question(key="why", kind="text", text="Why", longest=5)
WORDS = Question(key="how", kind="text", text="How", required=True)


@pytest.mark.parametrize(
    ("question", "given", "kept"),
    [
        (SCALE, 1, 1),
        (CHOICE, "b", "b"),
        (CHOICE, None, None),
        (TEXT, "  a\u0000b\n ", "ab"),
        (TEXT, "", None),
        (TEXT, "<b>", "<b>"),
        (TEXT, "\u200b\ufeff ", None),
        (
            WORDS,
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        ),
        (WORDS, "\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        (WORDS, "\U0001fadf", "\U0001fadf"),
        (WORDS, "tab\there\x0bthere", "tab\there there"),
        (WORDS, "one\r\ntwo\rthree", "one\ntwo\nthree"),
        (WORDS, "half \ud83d", "half ?"),
    ],
)
def test_answers_are_kept_as_they_are(question: Question, given: Any, kept: Any) -> None:
    assert question.check(given) == kept


@pytest.mark.parametrize(
    ("question", "given"),
    [
        (SCALE, None), (SCALE, 0), (SCALE, 6), (SCALE, 2.5), (SCALE, True), (SCALE, "3"), (SCALE, [1]),
        (CHOICE, "c"), (CHOICE, 1), (CHOICE, ["a"]), (TEXT, "123456"), (TEXT, 5), (TEXT, {"a": 1}),
        (WORDS, "\u200b"), (WORDS, "\x00"), (WORDS, " \u2003\n"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused(question: Question, given: Any) -> None:
    with pytest.raises(AnswerError) as caught:
        question.check(given)
    assert caught.value.key == question.key and caught.value.why
