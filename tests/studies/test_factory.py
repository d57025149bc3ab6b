"""What an experimenter's function may return, and what is said when it does not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cogment_lab.errors import StudySessionError
from cogment_lab.studies import Session, read_study
from cogment_lab.studies.factory import load_factory, make_session
from cogment_lab.studies.trial_plan import plan_trials


def _policy(observation: Any) -> int:
    return 0


def test_a_session_is_what_the_function_returns(study_file: Callable[..., Path]) -> None:
    session = make_session(read_study(study_file()), "p-1", "a")
    assert (session.env, session.role) == ("CartPole-v1", "player")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"role": "judge"}, "unknown"),
        ({"policy": _policy}, "a player acts alone"),
        ({"role": "teacher"}, "needs somebody who acts"),
        ({"role": "evaluator", "policy": _policy, "learner": _policy}, "not both"),
        ({"env": 4}, "no environment"),
        ({"make": {"store": "x.db"}}, "the study decides"),
    ],
)
def test_a_session_that_cannot_work_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(StudySessionError, match=said):
        Session(**{"env": "CartPole-v1", **arguments})


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (
            "def session(participant, condition): raise ValueError('no such level')",
            "ValueError: no such level",
        ),
        ("def session(participant, condition): return 'CartPole-v1'", "return a cogment_lab.studies.Session"),
        ("def other(): pass", "has no function 'session'"),
        ("import a_module_that_nobody_has", "needs 'a_module_that_nobody_has'"),
        ("1 / 0", "ZeroDivisionError"),
        ("import sys\nsys.exit(3)", "importing it raised SystemExit: 3"),
        ("import sys\ndef session(participant, condition): sys.exit(3)", r"'a'\) raised SystemExit: 3"),
    ],
)
def test_what_is_wrong_with_a_factory_is_said(
    study_file: Callable[..., Path], module: str, said: str
) -> None:
    with pytest.raises(StudySessionError, match=said):
        make_session(read_study(study_file(session=module)), "p-1", "a")


def test_a_missing_module_is_named(study_file: Callable[..., Path]) -> None:
    study = read_study(study_file())
    (study.path.parent / f"{study.session.split(':')[0]}.py").unlink()
    with pytest.raises(StudySessionError, match="there is no module"):
        load_factory(study)


def test_the_nth_trial_begins_alike_for_everybody_and_after_a_break() -> None:
    whole = plan_trials(2, 3, done_practice=0, done_trials=0, seed=5)
    rest = plan_trials(2, 3, done_practice=2, done_trials=1, seed=5)
    assert [each.phase for each in whole] == ["practice", "practice", "trials", "trials", "trials"]
    assert [each.seed for each in rest] == [each.seed for each in whole[3:]]
    assert len({each.seed for each in whole}) == 5
    assert [each.opens for each in whole] == [False, False, True, False, False]


def test_without_a_seed_every_start_is_another() -> None:
    assert {each.seed for each in plan_trials(0, 2, done_practice=0, done_trials=0, seed=None)} == {None}
