"""What the trials page asks its server, and what it is refused."""

import io
import json
import sqlite3
import time
import zipfile
from pathlib import Path
from typing import Any

import minari
import numpy as np
import pytest
from PIL import Image

import cogment_lab
from cogment_lab.humans import SimulatedHuman
from cogment_lab.humans.web.lookback.films import Films
from cogment_lab.store.film import unpack_film


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def trials(path: Path) -> list[str]:
    """Three trials of 12 ticks, in whose middle a teacher helps."""
    teacher = SimulatedHuman(lambda observation: 1, gate=_ticks(4, 8))
    env = cogment_lab.make("CartPole-v1", teacher=teacher, store=path, max_episode_steps=12)
    env.acknowledge_takeovers("this test")
    for seed in (1, 2, 3):
        env.reset(seed=seed)
        over = False
        tick = 0
        while not over:
            _, _, terminated, truncated, _ = env.step(tick % 2)
            tick += 1
            over = terminated or truncated
    env.close()
    with cogment_lab.TrialStore(path) as store:
        return [info.trial_id for info in store.trials()]


def _ticks(start: int, stop: int) -> Any:
    seen = [0]

    def gate(observation: Any, proposed: Any) -> bool:
        seen[0] += 1
        return start <= (seen[0] - 1) % 12 < stop

    return gate


@pytest.fixture
def client(open_page: Any, path: Path) -> Any:
    return open_page(path)


def film(client: Any, trial: str) -> dict[str, Any]:
    """Let the film be made; return what the server says in the end."""
    deadline = time.monotonic() + 60
    answer = client.get("/api/trial/film", params={"trial": trial, "develop": True}).json()
    while answer["state"] == "working":
        assert time.monotonic() < deadline
        time.sleep(0.05)
        answer = client.get("/api/trial/film", params={"trial": trial}).json()
    return dict(answer)


def test_everything_needs_the_token(client: Any, trials: list[str]) -> None:
    paths = ["/api/trials", f"/api/trial?trial={trials[0]}", f"/api/labels?trial={trials[0]}"]
    paths += ["/api/compare/queues", f"/api/trial/download?as=json&trial={trials[0]}"]
    for path in paths:
        for wrong in ("", "Bearer no", f"Bearer {'x' * 9999}"):
            assert client.get(path, headers={"Authorization": wrong}).status_code == 401, path
    assert client.get("/trials").status_code == client.get("/compare").status_code == 200


def test_trials_are_found_sorted_and_paged(client: Any, trials: list[str]) -> None:
    def found(**asked: Any) -> list[str]:
        return [each["trial_id"] for each in client.get("/api/trials", params=asked).json()["trials"]]

    assert found() == trials[::-1] and found(down=False) == trials
    assert found(search=trials[1]) == [trials[1]]
    assert found(env="CartPole-v1", state="ENDED", sort="trial_id", down=False) == sorted(trials)
    assert found(env="Other-v0") == found(page=1) == found(search="<b>") == []
    answer = client.get("/api/trials").json()
    assert answer["total"] == 3 and answer["envs"] == ["CartPole-v1"]
    assert client.get("/api/trials", params={"sort": "trial_id; DROP TABLE"}).status_code == 400
    assert client.get("/api/trials", params={"page": -1}).status_code == 422
    assert client.get("/api/trials", params={"page": 10**40}).status_code == 422


def test_an_empty_store_is_an_empty_list(client: Any) -> None:
    assert client.get("/api/trials").json()["trials"] == []
    assert client.get("/api/compare/queues").json() == {"queues": []}


def test_a_trial_shows_proposed_beside_executed(client: Any, trials: list[str]) -> None:
    shown = client.get("/api/trial", params={"trial": trials[0]}).json()
    assert len(shown["ticks"]) == len(shown["rewards"]) == len(shown["executed"]) == shown["n_ticks"] == 12
    helped = [tick for tick, proposed in enumerate(shown["proposed"]) if proposed is not None]
    assert helped == [tick for tick, by in enumerate(shown["decided_by"]) if by == "teacher"] and helped
    assert "CORRECTING" in shown["phase"]
    assert set(shown["executed"]) <= {"push left", "push right"}, "in the environment's words"
    later = client.get("/api/trial", params={"trial": trials[0], "start": 10}).json()
    assert later["ticks"] == [10, 11] and later["return_before"] == sum(shown["rewards"][:10])
    assert client.get("/api/trial", params={"trial": trials[0], "start": 10**9}).json()["ticks"] == []


@pytest.mark.parametrize("trial", ["none", "../../etc/passwd", "x' OR 1=1 --", "%00", "<script>"])
@pytest.mark.parametrize("address", ["/api/trial", "/api/labels", "/api/trial/film", "/api/trial/download"])
def test_unknown_trials_are_not_found(client: Any, trials: list[str], address: str, trial: str) -> None:
    answer = client.get(address, params={"trial": trial, "as": "json"})
    assert answer.status_code == 404 and "no trial" in answer.json()["error"]


def test_labels_are_set_seen_and_withdrawn(client: Any, trials: list[str]) -> None:
    new = {"trial": trials[0], "kind": "note", "value": "<b>late</b>", "start": 2, "stop": 5}
    (label,) = client.post("/api/labels", json={**new, "annotator": "<i>Ann"}).json()["labels"]
    assert label["value"] == "<b>late</b>" and label["annotator"] == "<i>Ann" and label["version"] == 1
    for who in ("ann", "bob"):
        rating = {**new, "kind": "rating", "value": 1 if who == "ann" else -1, "annotator": who}
        answer = client.post("/api/labels", json=rating).json()
    assert answer["agreement"]["rating"]["ticks"] == 3
    old = {"label": label["label_id"], "version": 1, "annotator": "bob"}
    assert len(client.post("/api/labels/withdraw", json=old).json()["labels"]) == 2
    assert client.post("/api/labels/withdraw", json=old).status_code == 409


def test_a_changed_label_keeps_its_history(client: Any, path: Path, trials: list[str]) -> None:
    new = {"trial": trials[0], "kind": "rating", "value": 0.5, "start": 2, "stop": 5, "annotator": "ann"}
    (label,) = client.post("/api/labels", json=new).json()["labels"]
    change = {"label": label["label_id"], "version": 1, "value": -1, "annotator": "bob"}
    (changed,) = client.post("/api/labels/change", json=change).json()["labels"]
    assert (changed["value"], changed["version"], changed["annotator"]) == (-1, 2, "bob")
    assert client.post("/api/labels/change", json=change).status_code == 409
    assert client.post("/api/labels/change", json={**change, "version": 2, "value": "x"}).status_code == 400
    with cogment_lab.TrialStore(path) as store:
        assert [each.value for each in store.labels(trials[0], history=True)] == [0.5, -1]


def test_trials_are_found_by_their_labels_and_people(client: Any, path: Path, trials: list[str]) -> None:
    env = cogment_lab.make("CartPole-v1", store=path, properties={"participant": "p-1"})
    env.reset(seed=1)
    env.step(0)
    trial_id = env.trial_id
    env.close()
    new = {"trial": trials[1], "kind": "note", "value": "x", "start": 0, "stop": 1}
    for _ in range(2):
        client.post("/api/labels", json=new)

    def found(**asked: Any) -> list[tuple[str, int]]:
        listed = client.get("/api/trials", params=asked).json()["trials"]
        return [(each["trial_id"], each["labels"]) for each in listed]

    assert found(labelled="yes") == [(trials[1], 2)] == found(sort="labels")[:1]
    assert [each for each, _ in found(labelled="no")] == [trial_id, trials[2], trials[0]]
    assert found(search="p-1") == [(trial_id, 0)] == found(sort="person")[:1]
    answer = client.get("/api/trials", params={"labelled": "yes"}).json()
    assert answer["ids"] == [trials[1]] and answer["trials"][0]["person"] == ""
    assert client.get("/api/trials", params={"labelled": "perhaps"}).status_code == 422


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "rating", "value": "x"},
        {"kind": "nothing"},
        {"start": -5},
        {"stop": 10**30},
        {"start": 5, "stop": 2},
        {"value": "x" * 5000},
        {"agent": "nobody"},
        {"more": 1},
        {"annotator": "x" * 500},
        {"kind": "correction", "value": 7},
        {"start": "two"},
    ],
)
def test_bad_labels_are_refused(client: Any, trials: list[str], change: dict[str, Any]) -> None:
    label = {"trial": trials[0], "kind": "note", "value": "x", "start": 2, "stop": 5, **change}
    assert client.post("/api/labels", json=label).status_code in (400, 422)
    assert client.get("/api/labels", params={"trial": trials[0]}).json()["labels"] == []


def test_a_foreign_page_sets_no_label(client: Any, trials: list[str]) -> None:
    label = {"trial": trials[0], "kind": "note", "value": "x", "start": 2, "stop": 5}
    assert (
        client.post("/api/labels", json=label, headers={"Origin": "http://evil.example"}).status_code == 403
    )


def test_a_trial_is_rendered_again_and_downloaded(client: Any, trials: list[str]) -> None:
    asked = {"trial": trials[0]}
    assert client.get("/api/trial/film", params=asked).json() == {"state": "none"}
    assert client.get("/api/trial/frames", params={**asked, "stop": 3}).status_code == 409
    assert client.get("/api/trial/download", params={**asked, "as": "webp"}).status_code == 409
    ready = film(client, trials[0])
    assert ready["state"] == "ready" and ready["source"] == "re-executed" and ready["divergence"] == ""
    assert ready["ticks"] == list(range(13))
    frames = unpack_film(client.get("/api/trial/frames", params={**asked, "start": 2, "stop": 5}).content)
    assert len(frames) == 3 and Image.open(io.BytesIO(frames[0])).size == (600, 400)
    for start, stop in ((0, 201), (5, 5), (0, 0)):
        asked_frames = {**asked, "start": start, "stop": stop}
        assert client.get("/api/trial/frames", params=asked_frames).status_code == 400
    animated = client.get("/api/trial/download", params={**asked, "as": "webp"})
    assert Image.open(io.BytesIO(animated.content)).n_frames >= 2  # type: ignore[attr-defined]
    video = client.get("/api/trial/download", params={**asked, "as": "mp4"})
    assert video.status_code == 200 and video.content[4:8] == b"ftyp"


def test_json_holds_everything(client: Any, trials: list[str]) -> None:
    answer = client.get("/api/trial/download", params={"trial": trials[0], "as": "json"})
    content = json.loads(answer.content)
    assert len(content["agents"]["gym"]["observations"]) == 12
    assert content["trial"]["trial_id"] == trials[0]
    name = answer.headers["content-disposition"]
    assert name.endswith('.json"') and "/" not in name and ".." not in name
    assert client.get("/api/trial/download", params={"trial": trials[0], "as": "../x"}).status_code == 400


def test_one_trial_as_a_minari_dataset(
    client: Any, trials: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = client.get("/api/trial/download", params={"trial": trials[1], "as": "minari"})
    assert answer.status_code == 200, answer.content
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        archive.extractall(tmp_path / "minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    (folder,) = (tmp_path / "minari").iterdir()
    dataset = minari.load_dataset(folder.name)
    assert (dataset.total_episodes, dataset.total_steps) == (1, 12)
    (episode,) = dataset.iterate_episodes()
    assert episode.infos["is_intervention"].sum() == 4


def test_what_cannot_be_rendered_is_drawn_and_says_why(open_page: Any, path: Path, trials: list[str]) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE streams SET env_spec = NULL")
    connection.close()
    client = open_page(path)
    drawn = film(client, trials[0])
    assert (drawn["state"], drawn["source"]) == ("ready", "drawn") and "cannot be rendered" in drawn["why"]
    assert drawn["ticks"] == list(range(12))
    start = {"trial": trials[0], "start": 0, "stop": 200}
    pictures = unpack_film(client.get("/api/trial/frames", params=start).content)
    assert [Image.open(io.BytesIO(each)).size for each in pictures] == [(480, 320)] * 12


def test_pictures_of_takeovers_alone_are_no_whole_film(open_page: Any, path: Path) -> None:
    teacher = SimulatedHuman(lambda observation: np.zeros(3, np.float32), gate=_ticks(2, 4))
    env = cogment_lab.make("CarRacing-v3", teacher=teacher, store=path, max_episode_steps=6)
    env.reset(seed=1)
    for _ in range(6):
        env.step(np.zeros(3, np.float32))
    trial_id = env.trial_id
    env.close()
    client = open_page(path)
    whole = film(client, trial_id)
    assert (whole["source"], whole["ticks"]) == ("re-executed", list(range(7)))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE streams SET env_spec = NULL")
    connection.close()
    some = film(open_page(path), trial_id)
    assert some["source"] == "stored" and 2 in some["ticks"] and 0 not in some["ticks"]
    assert "cannot be rendered" in some["why"]


def test_a_running_trial_is_drawn_and_rendered_when_it_is_over(open_page: Any, path: Path) -> None:
    with cogment_lab.TrialStore(path) as store:
        env = cogment_lab.make("CartPole-v1", store=store)
        env.reset(seed=1)
        for _ in range(5):
            env.step(0)
        store.flush()
        client = open_page(path)
        running = film(client, env.trial_id)
        assert running["source"] == "drawn" and "still runs" in running["why"]
        trial_id = env.trial_id
        env.close()
    over = film(client, trial_id)
    assert over["source"] == "re-executed" and over["ticks"] == list(range(6))


def test_what_was_recorded_without_observations_cannot_be_drawn(open_page: Any, path: Path) -> None:
    env = cogment_lab.make("CartPole-v1", store=path, record="actions")
    env.reset(seed=1)
    env.step(0)
    trial_id = env.trial_id
    env.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE streams SET env_spec = NULL")
    connection.close()
    failed = film(open_page(path), trial_id)
    assert failed["state"] == "failed" and "cannot be rendered" in failed["error"]


def test_rendering_has_a_deadline(path: Path, trials: list[str]) -> None:
    with cogment_lab.TrialStore(path) as store:
        films = Films(store, seconds=0.01)
        deadline = time.monotonic() + 30
        while films.state(trials[0], "", False)["state"] in ("none", "working"):
            films.state(trials[0], "", True) if films.state(trials[0], "", False)["state"] == "none" else None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        state = films.state(trials[0], "", False)
        films.close()
    assert state["source"] == "drawn" and "given up" in state["why"]


def test_a_corrupt_chunk_harms_one_trial_only(open_page: Any, path: Path, trials: list[str]) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE chunks SET ticks = x'00'")
    connection.close()
    client = open_page(path)
    answer = client.get("/api/trial", params={"trial": trials[0]})
    assert answer.status_code == 500 and "error" in answer.json()
    assert len(client.get("/api/trials").json()["trials"]) == 3
