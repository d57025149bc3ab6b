"""Processes of sessions: who gets one, what ends it, and how it goes on."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import pytest

from cogment_lab import TrialStore
from cogment_lab.studies import StudyServer, read_study
from cogment_lab.studies.simulated import SimulatedParticipant
from cogment_lab.testing import SeatClient


def sit(server: Any, state: dict[str, Any]) -> SeatClient:
    session = state["session"]
    return SeatClient(f"{server.base_url}/seat/?seat={session['seat']}&token={session['token']}")


def arrive(visitor: Any) -> dict[str, Any]:
    """Walk to the trials and begin; return the state with a session that runs."""
    visitor.walk_to_trials()
    assert visitor.begin().status_code == 200
    return dict(visitor.session_is("running"))


def test_everything_is_recorded_in_the_studys_store(serve: Any) -> None:
    server = serve()
    state = SimulatedParticipant(server.base_url, "anna", np.random.default_rng(1), 60.0).take_part()
    assert (state["status"], state["step"]) == ("complete", "thanks")
    assert state["content"]["code"]
    with TrialStore(server.store) as store:
        trials = list(store.trials())
        assert [trial.properties["phase"] for trial in trials] == ["practice", "trials", "trials"]
        for trial in trials:
            assert trial.properties["study"] == "pilot"
            assert trial.properties["participant"] == state["participant"]
            assert trial.properties["condition"] in ("a", "b")
            assert trial.n_ticks > 0


def test_a_study_may_be_only_consent_and_a_trial(serve: Any, tmp_path: Any, study_file: Any) -> None:
    lines = study_file().read_text().splitlines()
    kept = [line for line in lines if line.split(":")[0] in ("name", "consent", "session")]
    (tmp_path / "small.yaml").write_text("\n".join([*kept, "trials: 1"]) + "\n")
    study = read_study(tmp_path / "small.yaml")
    assert study.steps == ("consent", "trials", "thanks")
    with StudyServer(study, tmp_path / "small.db", fps=200.0) as server:
        state = SimulatedParticipant(server.base_url, "anna", np.random.default_rng(1), 60.0).take_part()
    assert (state["status"], state["content"]["code"]) == ("complete", None)


def test_a_trial_waits_for_its_person(serve: Any, visit: Any) -> None:
    server = serve()
    state = arrive(visit(server))
    time.sleep(0.5)
    with TrialStore(server.store) as store:
        assert sum(trial.n_ticks for trial in store.trials()) == 0
    with sit(server, state) as client:
        client.wait_until(lambda: (client.status.get("question") or {}).get("choices"), "the end of practice")


def test_a_seats_token_opens_that_seat_only(serve: Any, visit: Any) -> None:
    server = serve()
    first, second = visit(server), visit(server)
    mine = arrive(first)["session"]
    other = arrive(second)["session"]
    headers = {"Authorization": f"Bearer {mine['token']}"}
    seats = first.http.get("/seat/api/seats", headers=headers).json()
    assert [seat["name"] for seat in seats] == [mine["seat"]]
    assert mine["seat"] != other["seat"]


def test_a_killed_session_is_noticed_and_goes_on_with_what_is_left(
    serve: Any, visit: Any, session_processes: Callable[[], list[psutil.Process]]
) -> None:
    server = serve(session=LONG, fps=None)
    visitor = visit(server)
    state = arrive(visitor)
    with sit(server, state) as client:
        client.wait_until(lambda: (client.status.get("question") or {}).get("choices"), "the end of practice")
        client.answer(client.status["question"]["choices"][0])
        visitor.until(lambda state: state["content"].get("done") == 1, "the first trial")
    [process] = session_processes()
    killed = time.monotonic()
    process.kill()
    ended = visitor.session_is("ended")
    assert time.monotonic() - killed < 5.0
    assert ended["session"]["why"] == "lost"
    assert (ended["step"], ended["content"]) == ("trials", {"done": 1, "total": 2})
    assert any("lost their session" in line for line in server.said)
    done = SimulatedParticipant(server.base_url, "x", np.random.default_rng(1), 60.0)
    done._token, done._deadline = visitor.token, time.monotonic() + 60.0
    last = done._follow(visitor.state())
    assert last["step"] == "thanks"
    with TrialStore(server.store) as store:
        whole = [trial.properties["phase"] for trial in store.trials() if trial.state == "ENDED"]
    assert whole.count("practice") == 1 and whole.count("trials") == 2


LONG = """
from cogment_lab.studies import Session

def session(participant, condition):
    return Session(env="Pendulum-v1", countdown=0, make={"max_episode_steps": 60, "fps": 30})
"""


@pytest.mark.parametrize(
    ("session", "said"),
    [
        ("def session(participant, condition): raise ValueError('no such level')", "no such level"),
        ("def session(participant, condition): return 7", "returned 7"),
        (
            "from cogment_lab.studies import Session\n"
            "def session(participant, condition): return Session(env='NoSuchEnv-v0')",
            "NoSuchEnv",
        ),
        ("import os\ndef session(participant, condition): os._exit(3)", "exit status 3"),
    ],
)
def test_a_factory_that_fails_tells_the_experimenter_and_not_the_participant(
    serve: Any, visit: Any, session: str, said: str
) -> None:
    server = serve(session=session)
    visitor = visit(server)
    visitor.walk_to_trials()
    visitor.begin()
    state = visitor.session_is("ended")
    assert state["session"]["why"] in ("failed", "lost")
    assert said not in str(state)
    deadline = time.monotonic() + 5.0
    while not any(said in line for line in server.said):
        assert time.monotonic() < deadline, server.said
        time.sleep(0.02)


def test_who_comes_when_all_places_are_taken_waits_and_then_begins(serve: Any, visit: Any) -> None:
    server = serve(max_sessions=1)
    first, second, third = visit(server), visit(server), visit(server)
    state = arrive(first)
    for visitor in (second, third):
        visitor.walk_to_trials()
    waiting = second.begin().json()["session"]
    assert (waiting["state"], waiting["place"]) == ("waiting", 1)
    assert second.begin().json()["session"]["place"] == 1  # asking again gives no second place
    assert third.begin().json()["session"]["place"] == 2
    with sit(server, state) as client:
        client.wait_until(lambda: client.status.get("question"), "the end of practice")
        client.answer("Begin")
        first.until(lambda state: state["step"] == "questionnaire", "the last trial")
    second.session_is("running")
    assert third.state()["session"]["place"] == 1


def test_who_is_idle_loses_the_place_and_may_go_on(serve: Any, visit: Any) -> None:
    server = serve(idle_timeout=2)
    visitor = visit(server)
    arrive(visitor)
    begun = time.monotonic()
    assert visitor.session_is("ended", idle=1000.0)["session"]["why"] == "idle"
    assert 1.5 < time.monotonic() - begun < 20.0
    assert visitor.begin().status_code == 200
    visitor.session_is("running")


def test_nothing_is_left_of_a_server_that_ends(
    serve: Any, visit: Any, session_processes: Callable[[], list[psutil.Process]]
) -> None:
    server = serve()
    arrive(visit(server))
    [process] = session_processes()
    begun = time.monotonic()
    server.close()
    assert time.monotonic() - begun < 5.0
    assert not process.is_running()
    assert not server.store.with_name("study.db.web").exists()
