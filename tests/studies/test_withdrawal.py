"""Whoever stops taking part is let go at once, and what they gave is kept or deleted, as they wish."""

import csv
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import cogment_lab
from cogment_lab import TrialStore
from cogment_lab.humans.web.rendezvous import find_page
from cogment_lab.studies import StudyLedger, StudyServer, read_study
from cogment_lab.studies.export import export_study
from cogment_lab.studies.withdrawal import erase
from cogment_lab.testing import SeatClient

DEADLINE = 20.0
SECRET = "marmalade-on-the-stairs"
SLOW = """
from cogment_lab.studies import Session

def session(participant, condition):
    return Session(env="Pendulum-v1", countdown=0, make={"max_episode_steps": 4000})
"""


def leave(visitor: Any, delete: bool = False) -> dict[str, Any]:
    answer = visitor.http.post("/study/api/leave", json={"delete": delete})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def sit(server: Any, state: dict[str, Any]) -> SeatClient:
    session = state["session"]
    return SeatClient(f"{server.base_url}/seat/?seat={session['seat']}&token={session['token']}")


def wait_for(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.02)


def participants(server: Any, tmp_path: Path) -> list[dict[str, str]]:
    ledger = StudyLedger(server.store, server.study)
    with TrialStore(server.store) as store:
        export_study(ledger, store, tmp_path / "data")
    ledger.close()
    with (tmp_path / "data" / "participants.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("delete", [False, True])
@pytest.mark.parametrize("passed", [0, 1, 2, 3])
def test_every_page_has_a_way_out(serve: Any, visit: Any, passed: int, delete: bool) -> None:
    visitor = visit(serve(farewell="Write to lab@example.org."))
    preflight = {"keys": ["ArrowLeft", "Space"], "width": 800, "height": 600, "round_trip_ms": 3.0}
    steps = [("consent", {"agreed": True}), ("preflight", preflight), ("instructions", {})]
    for step, answers in steps[:passed]:
        assert visitor.submit(step, answers).status_code == 200
    state = leave(visitor, delete)
    assert state["status"] == ("withdrawn" if delete else "abandoned")
    assert state["content"] == {"text": "Write to lab@example.org."}
    assert visitor.submit("consent", {"agreed": True}).json()["status"] == state["status"]
    assert visitor.begin().status_code == 409


@pytest.mark.parametrize("delete", [False, True])
def test_the_same_link_says_that_they_left(serve: Any, visit: Any, delete: bool) -> None:
    server = serve()
    visitor = visit(server, "anna")
    visitor.submit("consent", {"agreed": True})
    left = leave(visitor, delete)["status"]
    assert visitor.state()["status"] == left
    assert visit(server, "anna").state()["status"] == left
    assert visit(server, "bert").state()["status"] == "active"


def test_the_session_ends_at_once_and_its_place_goes_to_who_waits(
    serve: Any, visit: Any, session_processes: Callable[[], list[psutil.Process]]
) -> None:
    server = serve(session=SLOW, max_sessions=1, fps=None)
    first, second = visit(server), visit(server)
    for visitor in (first, second):
        visitor.walk_to_trials()
        visitor.begin()
    state = first.session_is("running")
    [process] = session_processes()
    with sit(server, state) as client:
        client.wait_until(lambda: client.status.get("tick", 0) > 5, "some ticks")
        begun = time.monotonic()
        assert leave(first)["status"] == "abandoned"
        process.wait(DEADLINE)
        assert time.monotonic() - begun < 5.0
        client.wait_until(lambda: client.status["state"] == "closed", "the end of the seat")
    second.session_is("running")
    with TrialStore(server.store) as store:
        [trial] = [info for info in store.trials() if info.n_ticks > 5]
    assert trial.state == "ENDED", "what was kept is whole"


def test_who_waits_in_line_leaves_it(serve: Any, visit: Any) -> None:
    server = serve(session=SLOW, max_sessions=1, fps=None)
    visitors = [visit(server) for _ in range(3)]
    for visitor in visitors:
        visitor.walk_to_trials()
        visitor.begin()
    visitors[0].session_is("running")
    assert visitors[2].state()["session"]["place"] == 2
    leave(visitors[1])
    assert visitors[2].state()["session"]["place"] == 1


def test_conditions_are_balanced_anew(serve: Any, visit: Any) -> None:
    server = serve()
    visitors = [visit(server) for _ in range(2)]
    conditions = {person.pseudonym: person.condition for person in server.people()}
    free = conditions[visitors[0].state()["participant"]]
    leave(visitors[0], delete=True)
    visit(server)
    assert server.people()[-1].condition == free


def test_what_they_gave_is_gone_and_their_leaving_is_not(
    serve: Any, visit: Any, tmp_path: Path, everything: Any
) -> None:
    server = serve()
    visitor, other = visit(server, "anna"), visit(server, "bert")
    for each in (visitor, other):
        each.walk_to_trials()
        each.begin()
    former = visitor.state()["participant"]
    with sit(server, visitor.session_is("running")) as client:
        client.wait_until(lambda: client.status.get("question"), "the end of practice")
        client.answer("Begin")
        visitor.until(lambda state: state["step"] == "questionnaire", "the last trial")
    ledger = StudyLedger(server.store, server.study)
    ledger.record(ledger.participant(former), "said", {"text": SECRET})
    assert SECRET.encode() in everything(server.store)
    leave(visitor, delete=True)
    wait_for(lambda: not ledger.doomed(), "the deletion")
    with TrialStore(server.store) as store:
        assert not [info for info in store.trials() if info.properties.get("participant") == former]
    rows = {row["status"]: row for row in participants(server, tmp_path)}
    assert set(rows) == {"withdrawn", "active"}
    gone = rows["withdrawn"]
    assert gone["participant"] != former and gone["step"] == "questionnaire"
    assert (gone["trials_done"], gone["completion_code"]) == ("0", "")
    assert time.time() - float(gone["left"]) < 60 and rows["active"]["left"] == ""
    other.session_is("running")
    server.close()
    assert not ledger.has_traces()
    ledger.close()
    for trace in (SECRET, former):
        assert trace.encode() not in everything(server.store)


def test_who_left_may_still_have_everything_deleted(serve: Any, visit: Any) -> None:
    server = serve(session=SLOW, fps=None)
    visitor = visit(server)
    visitor.walk_to_trials()
    visitor.begin()
    visitor.session_is("running")
    assert leave(visitor)["status"] == "abandoned"
    assert leave(visitor, delete=True)["status"] == "withdrawn"
    ledger = StudyLedger(server.store, server.study)
    wait_for(lambda: not ledger.doomed(), "the deletion")
    ledger.close()
    assert visitor.http.post("/study/api/leave", json={"delete": True}).status_code == 409
    assert not [line for line in server.said if "tried again" in line], server.said


def test_who_is_through_or_nobody_has_nothing_to_leave(serve: Any, visit: Any) -> None:
    server = serve()
    visitor = visit(server)
    assert visitor.http.post("/study/api/leave", json={}).status_code == 422
    assert visitor.http.post("/study/api/leave", json={"delete": "perhaps"}).status_code == 422
    visitor.submit("consent", {"agreed": False})
    assert visitor.http.post("/study/api/leave", json={"delete": True}).status_code == 409
    visitor.http.headers["Authorization"] = "Bearer nobody"
    assert visitor.http.post("/study/api/leave", json={"delete": True}).status_code == 401


def test_a_server_that_died_deletes_when_it_starts_again(
    study_file: Any, tmp_path: Path, everything: Any
) -> None:
    study = read_study(study_file())
    ledger = StudyLedger(tmp_path / "study.db", study)
    person, token = ledger.join("anna")
    ledger.record(person, "said", {"text": SECRET})
    stand_in = ledger.withdraw(person)
    assert ledger.by_token(token) == stand_in == ledger.withdraw(stand_in)
    assert ledger.doomed() == [person.pseudonym] and [each.status for each in ledger.people()] == [
        "withdrawn"
    ]
    assert SECRET not in json.dumps(ledger.events()), "what is doomed is not exported"
    with StudyServer(study, tmp_path / "study.db"):
        assert not ledger.doomed() and not ledger.has_traces()
    assert SECRET.encode() not in everything(tmp_path / "study.db")
    ledger.close()


def test_what_cannot_be_deleted_now_is_said_and_stays_to_be_done(study_file: Any, tmp_path: Path) -> None:
    study = read_study(study_file())
    said: list[str] = []
    ledger = StudyLedger(tmp_path / "study.db", study)
    ledger.withdraw(ledger.join()[0])
    with TrialStore(tmp_path / "study.db") as store:
        env = cogment_lab.make("CartPole-v1", store=store, properties={"participant": ledger.doomed()[0]})
        env.reset(seed=1)
        env.step(0)
        store.flush()
        erase(ledger, tmp_path / "study.db", said.append)
        assert "still runs" in said[0] and ledger.has_traces()
        env.close()
    erase(ledger, tmp_path / "study.db", said.append)
    assert not ledger.has_traces() and len(said) == 1
    ledger.close()


def test_a_server_lets_go_of_the_store_though_it_could_not_delete(
    study_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("the disk is gone")

    study = read_study(study_file())
    server = StudyServer(study, tmp_path / "study.db")
    with monkeypatch.context() as broken:
        broken.setattr("cogment_lab.studies.server.erase", fail)
        with pytest.raises(OSError, match="the disk is gone"):
            server.close()
    server.close()
    with StudyServer(study, tmp_path / "study.db"):
        assert find_page(tmp_path / "study.db") is not None
