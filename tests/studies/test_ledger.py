"""Where participants are survives whatever they, or the machine, do."""

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from cogment_lab.errors import AnswerErrors, UnknownParticipantError, WrongStepError
from cogment_lab.studies import Participant, StudyLedger, read_study

STUDY = """
name: pilot
consent: Do you agree?
session: nowhere:session
conditions: [a, b]
instructions: read this
practice: 1
trials: 2
questionnaire:
  - {key: fun, kind: scale, text: "Fun?", required: true, low: 1, high: 5}
  - {key: why, kind: text, text: Why}
completion_code: per-person
"""


@pytest.fixture
def study(tmp_path: Path) -> Any:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return read_study(path)


@pytest.fixture
def ledger(tmp_path: Path, study: Any) -> Any:
    ledger = StudyLedger(tmp_path / "study.db", study)
    yield ledger
    ledger.close()


def to_questions(ledger: StudyLedger, person: Participant) -> Participant:
    ledger.advance(person, "consent", {"agreed": True})
    ledger.advance(person, "instructions")
    ledger.note_trial(person, "t0", "practice")
    ledger.note_trial(person, "t1", "trials")
    return ledger.note_trial(person, "t2", "trials")


def test_somebody_goes_from_the_link_to_the_code(ledger: StudyLedger) -> None:
    person, token = ledger.join("ann")
    assert (person.step, person.status, person.completion_code) == ("consent", "active", None)
    assert person.pseudonym.startswith("p-") and "ann" not in person.pseudonym
    person = to_questions(ledger, person)
    assert (person.step, person.done_practice, person.done_trials) == ("questionnaire", 1, 2)
    person = ledger.advance(person, "questionnaire", {"fun": 4, "why": "because"})
    assert (person.step, person.status) == ("thanks", "complete")
    assert person.completion_code is not None and len(person.completion_code) == 8
    assert ledger.by_token(token) == person
    assert [(row[1], row[2]) for row in ledger.responses()] == [("fun", 4), ("why", "because")]
    other = ledger.advance(to_questions(ledger, ledger.join("bob")[0]), "questionnaire", {"fun": 1})
    assert other.completion_code != person.completion_code


def test_the_same_name_goes_on_where_it_was_and_older_tokens_end(ledger: StudyLedger) -> None:
    person, token = ledger.join("ann")
    ledger.advance(person, "consent", {"agreed": True})
    again, fresh = ledger.join("ann")
    assert again.pseudonym == person.pseudonym and again.step == "instructions" and fresh != token
    with pytest.raises(UnknownParticipantError):
        ledger.by_token(token)
    assert ledger.by_token(fresh).pseudonym == person.pseudonym
    assert ledger.join()[0].pseudonym != ledger.join()[0].pseudonym, "without a name everybody is new"


def test_steps_are_passed_once_and_in_order(ledger: StudyLedger) -> None:
    person, _ = ledger.join()
    with pytest.raises(WrongStepError, match="at step 'consent'"):
        ledger.advance(person, "questionnaire", {"fun": 3})
    with pytest.raises(WrongStepError, match="no step 'preflight'"):
        ledger.advance(person, "preflight")
    ledger.advance(person, "consent", {"agreed": True})
    assert ledger.advance(person, "consent", {"agreed": False}).step == "instructions", "the back button"
    ledger.advance(person, "instructions")
    with pytest.raises(WrongStepError, match="passed by its trials"):
        ledger.advance(person, "practice")


def test_a_trial_counts_once_and_for_its_phase(ledger: StudyLedger) -> None:
    person, _ = ledger.join()
    ledger.advance(person, "consent", {"agreed": True})
    ledger.advance(person, "instructions")
    assert ledger.note_trial(person, "early", "trials").step == "practice"
    assert ledger.note_trial(person, "t", "practice").step == "trials"
    for _ in range(3):
        person = ledger.note_trial(person, "t1", "trials")
    assert (person.step, person.done_trials) == ("questionnaire", 2), "the early one counts as well"
    with pytest.raises(ValueError, match="phase"):
        ledger.note_trial(person, "t", "warm-up")


def test_a_phase_that_was_played_before_its_turn_is_passed(ledger: StudyLedger) -> None:
    person, _ = ledger.join()
    ledger.advance(person, "consent", {"agreed": True})
    ledger.note_trial(person, "t1", "trials")
    ledger.note_trial(person, "t2", "trials")
    ledger.note_trial(person, "t", "practice")
    assert ledger.advance(person, "instructions").step == "questionnaire"


def test_who_waits_at_what_a_changed_file_lacks_is_taken_on(
    ledger: StudyLedger, tmp_path: Path, study: Any
) -> None:
    reading, playing, asked = (ledger.join(name)[0] for name in ("r", "p", "a"))
    for person in (reading, playing):
        ledger.advance(person, "consent", {"agreed": True})
    ledger.advance(playing, "instructions")
    ledger.note_trial(playing, "t", "practice")
    ledger.note_trial(playing, "t1", "trials")
    to_questions(ledger, asked)
    path = tmp_path / "shorter.yaml"
    path.write_text(
        STUDY.replace("trials: 2", "trials: 1")
        .replace("instructions: read this\n", "")
        .split("questionnaire")[0]
    )
    shorter = StudyLedger(tmp_path / "study.db", read_study(path))
    assert {person.step for person in shorter.people()} == {"instructions", "trials", "questionnaire"}
    assert shorter.join("r")[0].step == "practice"
    assert shorter.join("p")[0].status == "complete"
    assert shorter.join("a")[0].status == "complete"
    shorter.close()


def test_half_a_character_is_a_name_like_another(ledger: StudyLedger) -> None:
    assert ledger.join("\ud800")[0].pseudonym == ledger.join("\ud800")[0].pseudonym
    with pytest.raises(UnknownParticipantError):
        ledger.by_token("\ud800")


def test_answers_are_taken_together_or_not_at_all(ledger: StudyLedger) -> None:
    person = to_questions(ledger, ledger.join()[0])
    with pytest.raises(AnswerErrors) as caught:
        ledger.advance(person, "questionnaire", {"fun": 9, "why": "x", "height": 180})
    assert set(caught.value.problems) == {"fun", "height"}
    assert ledger.responses() == []
    ledger.advance(person, "questionnaire", {"fun": 2})
    ledger.advance(person, "questionnaire", {"fun": 5, "why": "double submit"})
    assert [row[2] for row in ledger.responses()] == [2, None]


@pytest.mark.parametrize("agreed", ["yes", 1, None])
def test_consent_is_said_in_so_many_words(ledger: StudyLedger, agreed: Any) -> None:
    person, _ = ledger.join()
    with pytest.raises(AnswerErrors):
        ledger.advance(person, "consent", {"agreed": agreed})
    assert ledger.by_token(ledger.join()[1]).step == "consent"


def test_who_declines_or_gives_up_makes_room(ledger: StudyLedger) -> None:
    first, second = ledger.join()[0], ledger.join()[0]
    assert {first.condition, second.condition} == {"a", "b"}
    assert ledger.advance(first, "consent", {"agreed": False}).status == "declined"
    third = ledger.join()[0]
    assert third.condition == first.condition
    ledger.abandon(third)
    assert ledger.join()[0].condition == first.condition
    assert ledger.overview()[first.condition] == {"declined": 1, "abandoned": 1, "active": 1}


def test_tokens_of_nobody_and_people_of_other_studies_are_unknown(
    ledger: StudyLedger, tmp_path: Path
) -> None:
    _, token = ledger.join("ann")
    path = tmp_path / "other.yaml"
    path.write_text(STUDY.replace("name: pilot", "name: other"))
    other = StudyLedger(tmp_path / "study.db", read_study(path))
    for wrong in ("", "x", token[:-1]):
        with pytest.raises(UnknownParticipantError):
            ledger.by_token(wrong)
    with pytest.raises(UnknownParticipantError):
        other.by_token(token)
    assert other.join("ann")[0].step == "consent" and len(ledger.people()) == 1
    assert set(other.external_hashes().values()).isdisjoint(ledger.external_hashes().values())
    other.close()


def test_events_are_kept_and_cut_where_they_are_too_long(ledger: StudyLedger) -> None:
    person, _ = ledger.join()
    ledger.record(person, "left", {"after": 3})
    ledger.record(person, "large", {"text": 100_000 * "x"})
    events = {kind: data for _, kind, data, _ in ledger.events()}
    assert events["left"] == {"after": 3} and len(str(events["large"])) < 20_000


def advance_for_ever(store: Path, study: Path, ready: Any) -> None:
    ledger = StudyLedger(store, read_study(study))
    while True:
        person, _ = ledger.join()
        ledger.advance(person, "consent", {"agreed": True})
        ready.set()


def test_a_server_that_is_killed_leaves_whole_steps(tmp_path: Path, study: Any) -> None:
    context = multiprocessing.get_context("spawn")
    path = tmp_path / "killed.db"
    for _ in range(3):
        ready = context.Event()
        process = context.Process(target=advance_for_ever, args=(path, study.path, ready))
        process.start()
        assert ready.wait(60)
        time.sleep(0.05)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join(20)
    ledger = StudyLedger(path, study)
    people = ledger.people()
    assert people and {person.step for person in people} <= {"consent", "instructions"}
    agreed = {who for who, kind, _, _ in ledger.events() if kind == "step"}
    assert agreed == {person.pseudonym for person in people if person.step == "instructions"}
    assert ledger.advance(ledger.join("back")[0], "consent", {"agreed": True}).step == "instructions"
    ledger.close()
