"""The status as text: whole, or what changed, and always JSON that a browser reads."""

import json
from typing import Any

import pytest

from cogment_lab.humans.web.story import Story, as_text


def strictly(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_a_patch_holds_what_changed() -> None:
    first = Story({"type": "status", "tick": 1, "phase": "autonomous"}, None)
    second = Story({"type": "status", "tick": 2, "phase": "autonomous", "new": None}, first)
    assert strictly(second.since(first)) == {"type": "patch", "changes": {"tick": 2, "new": None}}
    assert second.since(first) is second.since(first), "one text for all viewers"


def test_a_viewer_who_missed_some_gets_all_that_changed_since() -> None:
    first = Story({"tick": 1, "return": 0.0}, None)
    second = Story({"tick": 2, "return": 5.0}, first)
    third = Story({"tick": 3, "return": 5.0}, second)
    assert strictly(third.since(first))["changes"] == {"tick": 3, "return": 5.0}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_none_become_null(number: float) -> None:
    message = {"type": "hello", "controls": {"high": [1.0, number], "low": (number, 0)}}
    assert strictly(as_text(message)) == {
        "type": "hello",
        "controls": {"high": [1.0, None], "low": [None, 0]},
    }
    known = Story({"return": 1.0}, None)
    assert strictly(Story({"return": number}, known).since(known))["changes"] == {"return": None}
