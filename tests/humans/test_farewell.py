"""The last word of a program: how it ended, as the people at its seats are told."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import cogment_lab
from cogment_lab.humans.web import farewell
from cogment_lab.humans.web.room import Room
from cogment_lab.testing import SeatClient

DEADLINE = 60.0
PROGRAM = """
import contextlib, sys, threading
import cogment_lab
from cogment_lab.humans import WebUI
from cogment_lab.humans.scripted import scripted_policy

ui = WebUI(port=0)
env = cogment_lab.make("CartPole-v1", teacher=ui.seat("teacher"), store=None)
print(ui.url, flush=True)
env.reset(seed=1)
told = threading.Event()
threading.Thread(target=lambda: sys.stdin.readline() and told.set(), daemon=True).start()

def learn(how=""):
    while not told.is_set():
        *_, terminated, truncated, _ = env.step(0)
        if terminated or truncated:
            env.reset()
    if how:
        raise RuntimeError(how)

"""


@pytest.fixture
def start() -> Iterator[Callable[[str], tuple[subprocess.Popen[str], SeatClient]]]:
    """Start the program with that end, and sit down at it."""
    processes: list[subprocess.Popen[str]] = []
    people: list[SeatClient] = []

    def run(end: str) -> tuple[subprocess.Popen[str], SeatClient]:
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": None}
        processes.append(subprocess.Popen([sys.executable, "-c", PROGRAM + end], text=True, **pipes))
        assert processes[-1].stdout is not None
        people.append(SeatClient(processes[-1].stdout.readline().strip()))
        people[-1].wait_until(lambda: people[-1].pictures > 1, "pictures", DEADLINE)
        return processes[-1], people[-1]

    yield run
    for person in people:
        person.close()
    for process in processes:
        process.kill()
        process.communicate()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("now\n")
    process.stdin.flush()


def state(person: SeatClient, name: str) -> dict[str, Any]:
    person.wait_until(lambda: person.status.get("state") == name, name, DEADLINE)
    return person.status


def test_a_program_that_ends_without_closing_anything_has_finished(start: Any) -> None:
    process, person = start("learn()")
    tell(process)
    assert state(person, "closed")["crash"] is None


@pytest.mark.parametrize(
    "end",
    [
        "learn('no <b>memory</b>\\nleft')",
        "try: learn('no <b>memory</b>\\nleft')\nfinally: env.close()",
        "with ui: learn('no <b>memory</b>\\nleft')",
        "thread = threading.Thread(target=learn, args=('no <b>memory</b>\\nleft',)); thread.start()\n"
        "thread.join(); threading.Event().wait(60)",
    ],
    ids=["uncaught", "closed on the way out", "page closed on the way out", "in a thread"],
)
def test_an_error_of_the_program_is_told_with_its_traceback(start: Any, end: str) -> None:
    process, person = start(end)
    tell(process)
    crash = state(person, "lost")["crash"]
    first, *rest = crash.split("\n")
    assert first == "RuntimeError: no <b>memory</b> left"
    assert any("in learn" in line for line in rest)


def test_an_error_of_a_notebooks_cell_is_told_and_forgotten_with_the_next_trial(
    page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells: list[Callable[[Any], None]] = []
    events = types.SimpleNamespace(register=lambda name, after: cells.append(after))
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(events=events)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setattr(farewell, "_owner", 0)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    env = cogment_lab.make("CartPole-v1", teacher=page.seat("teacher", "cell"), store=None)
    env.reset(seed=1)
    with SeatClient(page, "cell") as person:
        cells[0](types.SimpleNamespace(error_in_exec=None))
        cells[0](types.SimpleNamespace(error_in_exec=ValueError("no such column")))
        assert state(person, "lost")["crash"].startswith("ValueError: no such column\n")
        person.wait_until(lambda: env.step(0) and env.reset() and person.status["state"] == "running")
        assert person.status["crash"] is None
    env.close()


def test_a_program_that_is_killed_is_said_to_be_gone(start: Any) -> None:
    process, person = start("learn()")
    process.kill()
    assert state(person, "lost")["crash"] == f"the training process {process.pid} is gone"


def test_an_error_of_the_environment_is_told_as_such(start: Any) -> None:
    process, person = start(
        "inner = env.env.unwrapped\n"
        "def fail(action): raise ValueError('the pole broke')\n"
        "learn()\ninner.step = fail\nenv.reset(seed=2)\nenv.step(0)"
    )
    tell(process)
    status = state(person, "lost")
    assert status["crash"].startswith("ValueError: the pole broke\n")
    assert "in fail" in status["crash"]
    assert status["end_reason"] == "environment_crashed"


def test_an_error_that_the_program_survives_is_forgotten_with_the_next_trial(start: Any) -> None:
    process, person = start(
        "inner = env.env.unwrapped\nstep = inner.step\n"
        "def fail(action): raise ValueError('the pole broke')\n"
        "learn()\ninner.step = fail\nenv.reset(seed=2)\n"
        "with contextlib.suppress(Exception): env.step(0)\n"
        "inner.step = step\npolicy = scripted_policy('CartPole-v1')\n"
        "while True:\n"
        "    observation, _ = env.reset(seed=3)\n"
        "    for _ in range(400):\n"
        "        observation, *_ = env.step(policy(observation))"
    )
    tell(process)
    person.wait_until(lambda: person.status["seed"] == 3 and person.status["tick"] > 2, "the next trial")
    assert person.status["crash"] is None


_INTERRUPTED = """
    import sys, time
    from cogment_lab.humans import WebUI
    with WebUI(port=0) as ui:
        ui.seat("teacher")
        try:
            print("served", flush=True)
            while True:
                time.sleep(0.05)
        except KeyboardInterrupt:
            time.sleep(1.0)  # a page that was interrupted as well is gone by then
            print(len(ui.seats()), ui.is_running(), flush=True)
"""


def test_ctrl_c_in_the_terminal_leaves_the_page_to_its_owner() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_INTERRUPTED)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a terminal's foreground group, to which Ctrl-C goes
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "served\n"
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (output, errors) == ("1 True\n", "")


def test_what_was_written_last_does_not_hide_that_its_writer_is_gone(tmp_path: Path) -> None:
    class Tab:
        may_drive = visible = True
        client, frame_rate = "tab", 30

        def greet(self) -> None: ...

        def sit_down(self) -> None: ...

        def limit_rate(self, fps: float) -> None: ...

        async def stop(self) -> None: ...

    with ThreadPoolExecutor(1) as pool:
        room = Room(tmp_path, "teacher", "teacher", pool)
        room.memory.publish({"state": "running", "tick": 1})
        room.enter(Tab())  # type: ignore[arg-type]
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait(DEADLINE)
        (tmp_path / "teacher.lock").write_text(json.dumps({"pid": ended.pid, "env_id": "CartPole-v1"}))
        room.memory.publish({"state": "running", "tick": 2})
        asyncio.run(room.close())
        assert room.status["state"] == "lost" and room.status["tick"] == 2
        room.remove_files()
