"""What the comparison page asks its server, and what it is refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cogment_lab import PreferenceQueue, TrialStore
from cogment_lab.humans.web.access import Access
from cogment_lab.humans.web.lookback.router import COMPARE_PURPOSE
from cogment_lab.store import Segment
from cogment_lab.store.film import unpack_film


def clip(shade: int) -> Segment:
    frames = [np.full((40, 60, 3), shade, np.uint8)] * 4
    return Segment(trial_id=f"t-{shade}", start=0, stop=4, frames=frames)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[PreferenceQueue]:
    with TrialStore(tmp_path / "runs.db") as store:
        yield PreferenceQueue(store, "<b>walk</b>")


@pytest.fixture
def client(open_page: Any, tmp_path: Path, queue: PreferenceQueue) -> Any:
    return open_page(tmp_path / "runs.db")


def ask_next(client: Any, queue: PreferenceQueue, who: str = "ann") -> Any:
    return client.get("/api/compare/next", params={"queue": queue.name, "annotator": who}).json()


def test_clips_are_compared_and_taken_back(client: Any, queue: PreferenceQueue) -> None:
    first, _ = queue.ask([(clip(10), clip(200)), (clip(20), clip(30))])
    assert client.get("/api/compare/queues").json() == {"queues": [{"name": "<b>walk</b>", "open": 2}]}
    shown = ask_next(client, queue)
    assert shown["query"]["id"] == first and shown["progress"]["left"] == 2
    assert "t-10" not in str(shown), "nothing tells which is which"
    asked = {"queue": queue.name, "query": first, "annotator": "ann"}
    left, right = (
        unpack_film(client.get("/api/compare/clip", params={**asked, "side": side}).content)
        for side in ("left", "right")
    )
    is_first_left = queue.query(first, "ann").first_is_left
    assert (left if is_first_left else right) == queue.clip(first, 0)
    assert (right if is_first_left else left) == queue.clip(first, 1)
    after = client.post("/api/compare/answer", json={**asked, "choice": "left", "seconds": 3.5}).json()
    assert after["query"]["id"] != first and after["progress"]["mine"] == 1
    (answer,) = queue.answers()
    assert answer.verdict == ("first" if is_first_left else "second") and answer.seconds == 3.5
    undone = client.post("/api/compare/undo", json={"queue": queue.name, "annotator": "ann"}).json()
    assert undone["query"]["id"] == first and queue.answers() == []
    assert client.post("/api/compare/undo", json={"queue": queue.name, "annotator": "ann"}).status_code == 409


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"choice": "first"}, 400),
        ({"annotator": "  "}, 400),
        ({"annotator": "x" * 200}, 400),
        ({"query": 99}, 409),
        ({"queue": "other"}, 409),
        ({"query": "one"}, 422),
        ({"query": 10**30}, 422),
        ({"extra": 1}, 422),
    ],
)
def test_bad_answers_are_refused(
    client: Any, queue: PreferenceQueue, change: dict[str, Any], status: int
) -> None:
    (asked,) = queue.ask([(clip(10), clip(200))])
    answer = {"queue": queue.name, "query": asked, "annotator": "ann", "choice": "left", **change}
    assert client.post("/api/compare/answer", json=answer).status_code == status
    assert queue.answers() == []


def test_expired_queries_take_no_answer(client: Any, queue: PreferenceQueue) -> None:
    (asked,) = queue.ask([(clip(10), clip(200))], expires_in=1e-6)
    assert ask_next(client, queue)["query"] is None
    answer = {"queue": queue.name, "query": asked, "annotator": "ann", "choice": "left"}
    refused = client.post("/api/compare/answer", json=answer)
    assert refused.status_code == 409 and "expired" in refused.json()["error"]


def test_answers_without_a_finite_time_count(client: Any, queue: PreferenceQueue) -> None:
    (asked,) = queue.ask([(clip(10), clip(200))])
    answer = {"queue": queue.name, "query": asked, "annotator": "ann", "choice": "unsure", "seconds": -1}
    assert client.post("/api/compare/answer", json=answer).status_code == 200
    assert queue.answers()[0].seconds != queue.answers()[0].seconds


def test_a_link_may_open_the_comparison_alone(open_page: Any, tmp_path: Path, queue: PreferenceQueue) -> None:
    token = Access("a-token-of-the-page").token_for(COMPARE_PURPOSE)
    client = open_page(tmp_path / "runs.db", token)
    assert client.get("/api/compare/queues").status_code == 200
    assert client.get("/api/trials").status_code == 401
    assert client.get("/api/lobby").status_code == 401
    assert open_page(tmp_path / "runs.db", "").get("/api/compare/queues").status_code == 401
