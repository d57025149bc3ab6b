"""Studies of a few seconds, and somebody who takes part without a browser."""

import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from cogment_lab.studies import StudyServer, read_study

DEADLINE = 40.0
SESSION = """
from cogment_lab.studies import Session

def session(participant, condition):
    return Session(env="CartPole-v1", countdown=0, make={"max_episode_steps": 10})
"""
STUDY = """
name: pilot
title: A <b>pilot</b>
seed: 3
session: MODULE:session
conditions: [a, b]
consent: Do you agree.
preflight: {keys: [ArrowLeft, Space], min_width: 600, min_height: 400, max_round_trip_ms: 200}
instructions: [first, second]
practice: 1
trials: 2
questionnaire:
  - {key: fun, kind: scale, text: "How much fun?", required: true, low: 1, high: 5}
  - {key: why, kind: text, text: "Why?", longest: 100}
thanks: Thank you.
completion_code: per-person
"""
PASSED = {"keys": ["ArrowLeft", "Space"], "width": 800, "height": 600, "round_trip_ms": 3.0}


@pytest.fixture
def everything() -> Callable[[Path], bytes]:
    """Return the bytes of a store's files, read by another process: closing a file that this one has opened
    by itself would cancel the locks of its connections, and the store be damaged."""

    def read(path: Path) -> bytes:
        files = [each for each in path.parent.glob(f"{path.name}*") if each.is_file()]
        return subprocess.run(["cat", *files], check=True, capture_output=True, timeout=DEADLINE).stdout

    return read


class Visitor:
    """A participant's requests."""

    def __init__(self, server: StudyServer, external_id: str | None = None, token: str | None = None) -> None:
        self.http = httpx.Client(base_url=server.base_url, trust_env=False, timeout=10.0)
        if token is None:
            answer = self.http.post(
                "/study/api/join", json={} if external_id is None else {"id": external_id}
            )
            assert answer.status_code == 200, answer.text
            token = answer.json()["token"]
        self.token = token
        self.http.headers["Authorization"] = f"Bearer {token}"

    def state(self, idle: float = 0.0) -> dict[str, Any]:
        answer = self.http.get("/study/api/state", params={"idle": idle})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def submit(self, step: str, answers: Any = None) -> httpx.Response:
        return self.http.post(f"/study/api/steps/{step}", json={"answers": answers})

    def begin(self) -> httpx.Response:
        return self.http.post("/study/api/session", json={})

    def walk_to_trials(self) -> None:
        for step, answers in (("consent", {"agreed": True}), ("preflight", PASSED), ("instructions", {})):
            assert self.submit(step, answers).status_code == 200

    def until(
        self, condition: Callable[[dict[str, Any]], Any], what: str, idle: float = 0.0
    ) -> dict[str, Any]:
        deadline = time.monotonic() + DEADLINE
        while not condition(state := self.state(idle)):
            assert time.monotonic() < deadline, f"{what} did not happen; the state is {state}"
            time.sleep(0.05)
        return state

    def session_is(self, name: str, idle: float = 0.0) -> dict[str, Any]:
        return self.until(
            lambda state: (state["session"] or {}).get("state") == name, f"session {name}", idle
        )


@pytest.fixture
def study_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a study and its factory; ``changes`` replace or add lines of the file by their key."""

    def write(session: str = SESSION, **changes: Any) -> Path:
        module = f"session_of_{tmp_path.name}".replace("-", "_")
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(session))
        lines = STUDY.replace("MODULE", module).strip().splitlines()
        for key, value in changes.items():
            lines = [line for line in lines if not line.startswith(f"{key}:")] + [f"{key}: {value}"]
        path = tmp_path / "study.yaml"
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


@pytest.fixture
def serve(study_file: Callable[..., Path], tmp_path: Path) -> Iterator[Callable[..., StudyServer]]:
    """Start servers that end with the test; what they say is in ``server.said``."""
    running: list[StudyServer] = []

    def start(fps: float | None = 200.0, port: int = 0, **study: Any) -> StudyServer:
        said: list[str] = []
        server = StudyServer(
            read_study(study_file(**study)), tmp_path / "study.db", port=port, say=said.append, fps=fps
        )
        server.said = said  # type: ignore[attr-defined]
        running.append(server)
        return server

    yield start
    for each in running:
        each.close()


@pytest.fixture
def visit() -> Iterator[Callable[..., Visitor]]:
    visitors: list[Visitor] = []

    def come(server: StudyServer, external_id: str | None = None, token: str | None = None) -> Visitor:
        visitors.append(Visitor(server, external_id, token))
        return visitors[-1]

    yield come
    for each in visitors:
        each.http.close()


@pytest.fixture
def session_processes() -> Callable[[], list[psutil.Process]]:
    """Find the processes of sessions that this one has started."""

    def find() -> list[psutil.Process]:
        children = psutil.Process().children(recursive=True)
        return [each for each in children if _is_session(each)]

    return find


def _is_session(process: psutil.Process) -> bool:
    try:
        return any("session_process" in part for part in process.cmdline())
    except psutil.Error:
        return False
