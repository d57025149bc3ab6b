"""Processes that use one store meet on one page."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import httpx
import pytest

import cogment_lab
from cogment_lab.humans import WebUI
from cogment_lab.humans.web.rendezvous import Meeting, Rendezvous, find_page
from cogment_lab.testing import SeatClient

Wait = Callable[..., Any]
DEADLINE = 60.0


def lobby(ui: WebUI) -> Any:
    headers = {"Authorization": f"Bearer {ui.token}"}
    return httpx.get(f"http://127.0.0.1:{ui.port}/api/lobby", headers=headers).json()


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """``cogmentlab serve`` in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cogment_lab.cli.main", "serve", str(tmp_path / "shared.db"), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "lobby" in process.stdout.readline()
    yield process
    process.send_signal(signal.SIGINT)
    process.wait(DEADLINE)
    process.stdout.close()


def step_on(env: gym.Env[Any, Any]) -> bool:
    *_, terminated, truncated, _ = env.step(0)
    if terminated or truncated:
        env.reset()
    return True


def test_the_lobby_lists_a_trial_whose_return_is_no_number(tmp_path: Path) -> None:
    class Undefined(gym.Wrapper[Any, Any, Any, Any]):
        def step(self, action: Any) -> Any:
            return self.env.step(action)[0], float("nan"), True, False, {}

    path = tmp_path / "nan.db"
    env = cogment_lab.make(Undefined(gym.make("CartPole-v1")), store=path)
    env.reset(seed=1)
    env.step(0)
    env.close()
    with WebUI(port=0, store=path) as ui:
        (trial,) = lobby(ui)["trials"]["newest"]
    assert trial["n_ticks"] == 1 and trial["total_reward"] is None


def test_training_joins_the_page_that_serves_its_store(
    serving: subprocess.Popen[str], tmp_path: Path, eventually: Wait
) -> None:
    store = tmp_path / "shared.db"
    ui = WebUI(store=store)
    assert lobby(ui)["seats"] == [] and ui.is_joined
    env = cogment_lab.make("CartPole-v1", teacher="web", store=store)
    env.reset(seed=1)
    other = cogment_lab.make("CartPole-v1", teacher="web", store=store)
    other.reset(seed=2)
    assert [(seat["name"], seat["held"]) for seat in lobby(ui)["seats"]] == [
        ("teacher", True),
        ("teacher-2", True),
    ]
    with SeatClient(ui.link("teacher-2")) as person:
        eventually(lambda: step_on(other) and person.pictures > 2, "pictures of the second")
    env.close()
    assert [seat["name"] for seat in lobby(ui)["seats"]] == ["teacher-2"]
    other.close()
    content = eventually(lambda: (found := lobby(ui))["trials"]["newest"] and found, "the recorded trials")
    assert content["store"] == "shared.db"
    assert {each["env_id"] for each in content["trials"]["newest"]} == {"CartPole-v1"}
    assert lobby(ui)["seats"] == []


def test_serve_gives_a_link_for_raters_that_opens_the_comparison_alone(
    serving: subprocess.Popen[str],
) -> None:
    assert serving.stdout is not None
    name, link = serving.stdout.readline().split()[:2]
    page, _, token = link.partition("/compare?token=")
    headers = {"Authorization": f"Bearer {token}"}
    assert name == "comparison"
    assert httpx.get(f"{page}/api/compare/queues", headers=headers).json() == {"queues": []}
    assert httpx.get(f"{page}/api/trials", headers=headers).status_code == 401


def test_a_seat_of_a_process_that_was_killed_is_forgotten(
    serving: subprocess.Popen[str], tmp_path: Path, eventually: Wait
) -> None:
    store = tmp_path / "shared.db"
    code = (
        "import cogment_lab, sys, time\n"
        f"env = cogment_lab.make('CartPole-v1', teacher='web', store={str(store)!r}); env.reset()\n"
        "print('seated', flush=True); time.sleep(60)"
    )
    training = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert training.stdout is not None
    ui = WebUI(store=store)
    while "seated" not in training.stdout.readline():
        assert training.poll() is None
    assert [seat["held"] for seat in lobby(ui)["seats"]] == [True]
    training.kill()
    training.wait(DEADLINE)
    training.stdout.close()
    eventually(lambda: lobby(ui)["seats"] == [], "an empty lobby")
    assert ui.seat("teacher").name == "teacher"
    ui.close()


def test_a_second_serve_says_where_the_first_is(serving: subprocess.Popen[str], tmp_path: Path) -> None:
    again = subprocess.run(
        [sys.executable, "-m", "cogment_lab.cli.main", "serve", str(tmp_path / "shared.db")],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert again.returncode == 0
    assert (
        "is served already" in again.stdout
        and WebUI(store=tmp_path / "shared.db").url.split("?")[1] in again.stdout
    )


def test_a_store_brings_its_pages_and_a_link_that_only_compares(tmp_path: Path) -> None:
    with WebUI(port=0, store=tmp_path / "s.db") as ui:
        assert [page["path"] for page in lobby(ui)["pages"]] == ["./trials", "./compare"]
        base = f"http://127.0.0.1:{ui.port}"
        everything = {"Authorization": f"Bearer {ui.token}"}
        compares = {"Authorization": f"Bearer {ui.compare_url.split('token=')[1]}"}
        for path, headers, status in (
            ("/trials", {}, 200),
            ("/compare", {}, 200),
            ("/api/trials", {}, 401),
            ("/api/trials", compares, 401),
            ("/api/trials", everything, 200),
            ("/api/compare/queues", {}, 401),
            ("/api/compare/queues", compares, 200),
            ("/api/seats", compares, 401),
        ):
            assert httpx.get(base + path, headers=headers).status_code == status, path
    with WebUI(port=0) as ui:
        assert lobby(ui)["pages"] == []
        assert httpx.get(f"http://127.0.0.1:{ui.port}/trials").status_code == 404


def test_the_meeting_place_is_this_users_alone(tmp_path: Path) -> None:
    with WebUI(port=0, store=tmp_path / "own.db") as ui:
        path = tmp_path / "own.db.web"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert json.loads(path.read_text())["token"] == ui.token
        path.chmod(0o644)
        assert find_page(tmp_path / "own.db") is None, "others could have written it"
        path.chmod(0o600)
        assert find_page(tmp_path / "own.db") is not None
    assert not path.exists()


def test_a_stale_meeting_place_is_no_page(tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    meeting = Meeting(str(tmp_path), "127.0.0.1", 1, "t" * 8, None, "", os.getpid())
    path = tmp_path / "s.db.web"
    path.touch(0o600)
    for content in ("", "not json", "{}", json.dumps({"folder": "x"})):
        path.write_text(content)
        assert find_page(store) is None
    rendezvous = Rendezvous(store)
    rendezvous.publish(meeting)
    assert find_page(store) == meeting
    with pytest.raises(BlockingIOError):
        Rendezvous(store)
    content = path.read_text()
    rendezvous.close()
    path.touch(0o600)
    path.write_text(content)
    assert find_page(store) is None, "nobody holds it"
    with WebUI(port=0, store=store) as ui:
        assert not ui.is_joined


def test_a_killed_server_makes_room_for_another(tmp_path: Path, eventually: Wait) -> None:
    store = tmp_path / "s.db"
    first = WebUI(port=0, store=store)
    first.start()
    first._process.kill()  # type: ignore[union-attr]
    eventually(lambda: find_page(store) is None, "nobody")
    with WebUI(port=0, store=store) as second:
        assert not second.is_joined and lobby(second)["store"] == "s.db"
    first.close()


def test_pages_that_training_starts_by_itself_are_not_for_others(tmp_path: Path) -> None:
    env = cogment_lab.make("CartPole-v1", teacher="web", store=tmp_path / "s.db")
    env.reset()
    assert find_page(tmp_path / "s.db") is None
    env.close()


def test_a_joined_page_is_closed_without_ending_it(tmp_path: Path) -> None:
    with WebUI(port=0, store=tmp_path / "s.db") as ui:
        guest = WebUI(store=tmp_path / "s.db")
        assert guest.url == ui.url and guest.is_joined
        guest.seat("player", "mine")
        assert [seat["name"] for seat in lobby(ui)["seats"]] == ["mine"]
        guest.close()
        assert lobby(ui)["seats"] == []
