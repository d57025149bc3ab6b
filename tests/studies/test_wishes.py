"""What a participant's page does not offer is refused to whoever asks for it by other means."""

from typing import Any

import pytest

from cogment_lab import TrialStore
from cogment_lab.errors import ConfigurationError, StudySessionError
from cogment_lab.studies import Session
from cogment_lab.testing import SeatClient

SESSION = """
from cogment_lab.studies import Session

def session(participant, condition):
    return Session(
        env="Pendulum-v1", role="ROLE", policy=POLICY, countdown=0, show_proposal=False,
        make={"max_episode_steps": 90, "fps": 60}, ALLOWS
    )
"""
FOREIGN = [
    *({"type": "request", "name": name} for name in ("pause", "resume", "step", "stop", "save")),
    *({"type": "request", "name": name} for name in ("discard", "success", "failure")),
    *({"type": "pace", "name": name} for name in ("max", "quarter", "step")),
    {"type": "setting", "name": "proposal", "value": True},
    {"type": "setting", "name": "wait", "value": True},
    {"type": "setting", "name": "inspect", "value": True},
    {"type": "note", "text": "hello", "to": "experimenter"},
]


def begin(serve: Any, visit: Any, role: str, allows: str = "") -> tuple[Any, Any, SeatClient]:
    policy = "None" if role == "player" else "lambda observation: [0.0]"
    text = SESSION.replace("ROLE", role).replace("POLICY", policy).replace("ALLOWS", allows)
    server = serve(session=text, fps=None)
    visitor = visit(server)
    visitor.walk_to_trials()
    visitor.begin()
    session = visitor.session_is("running")["session"]
    client = SeatClient(f"{server.base_url}/seat/?seat={session['seat']}&token={session['token']}")
    client.wait_until(lambda: client.status.get("tick", 0) > 3, "some ticks")
    return server, visitor, client


@pytest.mark.parametrize("role", ["player", "teacher", "evaluator"])
def test_what_the_page_hides_is_refused_and_the_trial_unharmed(serve: Any, visit: Any, role: str) -> None:
    server, visitor, client = begin(serve, visit, role)
    with client:
        for message in FOREIGN:
            client.send(**message)
        client.wait_until(lambda: client.status.get("refused"), "a refusal")
        assert "does not allow 'pause'" in client.status["refusal"]
        client.wait_until(lambda: client.status.get("question"), "the end of practice")
        assert client.status["pace"] == "live" and not client.status["shows_proposal"]
        assert (client.status["observation"], client.status["notes"]) == (None, 0)
        assert client.status["settings"]["wait"] is False
        client.answer("Begin")
        visitor.until(lambda state: state["content"].get("done") == 1, "the first trial that counts")
    with TrialStore(server.store) as store:
        practice = next(info for info in store.trials() if info.properties["phase"] == "practice")
        events = [(event.kind, event.data) for event in store.events(practice.trial_id)]
        assert practice.n_ticks == 90 and practice.end_reason == "truncated"
        assert "verdict" not in practice.properties
        refused = [data for kind, data in events if kind == "action_refused"]
        assert len(refused) == 1, "what comes a hundred times a second is not recorded as often"
        assert not {kind for kind, _ in events} & {"note", "message", "setting", "discard", "stop", "pace"}


def test_a_teacher_may_take_over_hand_back_and_judge(serve: Any, visit: Any) -> None:
    _, _, client = begin(serve, visit, "teacher")
    with client:
        assert client.hello["allows"] == ["feedback", "release", "take"]
        client.take()
        client.wait_until(lambda: client.status["phase"] == "correcting", "correcting")
        client.release()
        client.wait_until(lambda: client.status["phase"] == "autonomous", "autonomous")
        client.feedback(1.0)
        client.wait_until(lambda: client.status["feedbacks"] == 1, "the feedback")
        assert client.status["refused"] == 0


def test_a_study_may_allow_more(serve: Any, visit: Any) -> None:
    _, _, client = begin(serve, visit, "player", allows="allows=['pause', 'resume', 'note']")
    with client:
        client.request("pause")
        client.wait_until(lambda: client.status["phase"] == "paused", "a pause")
        client.request("resume")
        client.wait_until(lambda: client.status["phase"] != "paused", "its end")
        client.send(type="note", text="hello")
        client.wait_until(lambda: client.status["notes"] == 1, "the note")


@pytest.mark.parametrize("role", ["teacher", "evaluator"])
def test_who_looks_away_does_not_hurry_the_trial(serve: Any, visit: Any, role: str) -> None:
    server, visitor, client = begin(serve, visit, role)
    with client:
        client.send(type="visible", visible=False)
        visitor.until(lambda state: state["step"] == "trials", "the end of practice")
    with TrialStore(server.store) as store:
        practice = next(iter(store.trials()))
        assert practice.ended is not None and practice.ended - practice.started > 80 / 60


def test_a_wish_that_means_nothing_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"fly.*choose of discard"):
        Session(env="Pendulum-v1", allows=["fly", "pause"])
    with pytest.raises(StudySessionError, match="role='pilot'"):
        Session(env="Pendulum-v1", role="pilot")  # type: ignore[arg-type]
