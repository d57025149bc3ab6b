"""What the server of a study answers to participants, and to those who are none."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from cogment_lab.errors import ConfigurationError, PortInUseError
from cogment_lab.studies import StudyServer

PASSED = {"keys": ["ArrowLeft", "Space"], "width": 800, "height": 600, "round_trip_ms": 3.0}


def test_the_pages_are_walked_in_order(serve: Any, visit: Any) -> None:
    visitor = visit(serve())
    seen = [visitor.state()["step"]]
    for step, answers in (("consent", {"agreed": True}), ("preflight", PASSED), ("instructions", {})):
        seen.append(visitor.submit(step, answers).json()["step"])
    assert seen == ["consent", "preflight", "instructions", "practice"]
    assert visitor.state()["content"] == {"done": 0, "total": 1}


def test_the_condition_is_not_told_to_the_participant(serve: Any, visit: Any) -> None:
    state = visit(serve()).state()
    assert "condition" not in state and "conditions" not in state


def test_the_same_id_goes_on_elsewhere_and_the_older_tab_is_told(serve: Any, visit: Any) -> None:
    server = serve()
    first = visit(server, "anna")
    first.submit("consent", {"agreed": True})
    second = visit(server, "anna")
    assert second.state()["step"] == "preflight"
    assert first.http.get("/study/api/state").status_code == 401


def test_without_an_id_everybody_is_somebody_new(serve: Any, visit: Any) -> None:
    server = serve()
    assert visit(server).state()["participant"] != visit(server).state()["participant"]


@pytest.mark.parametrize("token", ["", "nonsense", "ä" * 20, "x" * 300])
def test_an_unknown_token_opens_nothing(serve: Any, visit: Any, token: str) -> None:
    server = serve()
    headers = {"Authorization": f"Bearer {token}".strip().encode()}
    with httpx.Client(base_url=server.base_url, trust_env=False, headers=headers) as http:
        assert http.get("/study/api/state").status_code == 401
        assert http.post("/study/api/steps/consent", json={"answers": {"agreed": True}}).status_code == 401
        assert http.post("/study/api/session", json={}).status_code == 401


def test_a_step_sent_twice_changes_nothing_more(serve: Any, visit: Any) -> None:
    visitor = visit(serve())
    for _ in range(2):
        answer = visitor.submit("consent", {"agreed": True})
        assert (answer.status_code, answer.json()["step"]) == (200, "preflight")


@pytest.mark.parametrize("step", ["questionnaire", "practice", "trials", "thanks", "nonsense"])
def test_no_step_can_be_skipped(serve: Any, visit: Any, step: str) -> None:
    visitor = visit(serve())
    answer = visitor.submit(step, {"fun": 3, "agreed": True})
    assert answer.status_code == 409
    assert visitor.state()["step"] == "consent"


def test_no_session_before_its_step(serve: Any, visit: Any) -> None:
    visitor = visit(serve())
    answer = visitor.begin()
    assert (answer.status_code, answer.json()["state"]["step"]) == (409, "consent")


def test_whoever_declines_is_done(serve: Any, visit: Any) -> None:
    visitor = visit(serve())
    assert visitor.submit("consent", {"agreed": False}).json()["status"] == "declined"
    assert visitor.begin().status_code == 409


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"keys": ["Space"]}, "keys"),
        ({"keys": "ArrowLeft Space"}, "keys"),
        ({"width": 599}, "width"),
        ({"height": None}, "height"),
        ({"round_trip_ms": 201}, "round_trip_ms"),
        ({"round_trip_ms": "fast"}, "round_trip_ms"),
        ({"round_trip_ms": 10**400}, "round_trip_ms"),
    ],
)
def test_a_check_that_is_not_passed_is_refused(serve: Any, visit: Any, change: Any, problem: str) -> None:
    visitor = visit(serve())
    visitor.submit("consent", {"agreed": True})
    answer = visitor.submit("preflight", {**PASSED, **change})
    assert (answer.status_code, list(answer.json()["problems"])) == (422, [problem])
    assert visitor.state()["step"] == "preflight"


def test_too_much_is_refused(serve: Any, visit: Any) -> None:
    visitor = visit(serve())
    assert visitor.submit("consent", {"agreed": True, "more": "x" * 70_000}).status_code == 413
    assert visitor.http.post("/study/api/join", json={"id": "x" * 201}).status_code == 422
    answer = visitor.http.post("/study/api/steps/consent", content=b" " * 2_000_000)
    assert answer.status_code == 413
    assert visitor.http.post("/study/api/steps/consent", content=b"\xff{").status_code == 422


def test_a_foreign_page_may_not_write(serve: Any, visit: Any) -> None:
    visitor = visit(serve())
    answer = visitor.http.post("/study/api/join", json={}, headers={"Origin": "https://elsewhere.example"})
    assert answer.status_code == 403


def test_what_the_pages_may_do_is_limited(serve: Any, visit: Any) -> None:
    http = visit(serve()).http
    policy = http.get("/study").headers["content-security-policy"]
    assert (
        "default-src 'self'" in policy and "frame-src 'self'" in policy and "frame-ancestors 'none'" in policy
    )
    assert "frame-ancestors 'self'" in http.get("/seat/").headers["content-security-policy"]
    for path in ("/study/site/..%2froutes.py", "/study/site/../routes.py", "/seat/site/..%2fapp.py"):
        assert http.get(path).status_code == 404
    with pytest.raises(ValueError):
        http.get("/study").text.index("Traceback")


def test_nobody_opens_the_experimenters_pages_with_a_participants_token(serve: Any, visit: Any) -> None:
    visitor = visit(serve())
    for path in ("/seat/api/seats", "/seat/api/lobby", "/seat/api/trials"):
        assert visitor.http.get(path).status_code == 401


def test_a_server_that_starts_again_knows_everybody(serve: Callable[..., StudyServer], visit: Any) -> None:
    server = serve()
    visitor = visit(server, "anna")
    visitor.submit("consent", {"agreed": True})
    server.close()
    again = visit(serve(), token=visitor.token)
    assert again.state()["step"] == "preflight"


def test_a_store_is_served_once(serve: Any) -> None:
    serve()
    with pytest.raises(ConfigurationError, match="another page serves"):
        serve()


def test_a_port_that_is_taken_is_named(serve: Any) -> None:
    port = serve().port
    with pytest.raises(PortInUseError, match=str(port)):
        serve(port=port)


def test_a_public_address_is_used_in_links_and_allowed(study_file: Any, tmp_path: Any) -> None:
    from cogment_lab.studies import read_study

    study = read_study(study_file())
    with StudyServer(study, tmp_path / "x.db", public_url="https://lab.example/") as server:
        assert server.join_url == "https://lab.example/study"
        assert server.lobby_url.startswith("https://lab.example/seat/lobby?token=")
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as http:
            allowed = http.post("/study/api/join", json={}, headers={"Origin": "https://lab.example"})
            assert allowed.status_code == 200
