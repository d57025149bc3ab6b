"""Simulated people take part by the same requests as a browser, and a study is ended by Ctrl-C."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from cogment_lab.cli.study_serve import dryrun_study
from cogment_lab.studies.dryrun import run_dryrun

DEADLINE = 60.0
TEACHER = """
from cogment_lab.studies import Session

def session(participant, condition):
    return Session(
        env="CartPole-v1", role="teacher", policy=lambda observation: 0, make={"max_episode_steps": 10}
    )
"""
EVALUATOR = TEACHER.replace('role="teacher"', 'role="evaluator"')
LEARNER = """
from stable_baselines3 import DQN
from cogment_lab.studies import Session

def session(participant, condition):
    return Session(
        env="CartPole-v1", role="teacher", learner=DQN, model_path=FOLDER, make={"max_episode_steps": 10}
    )
"""


def test_everybody_finishes_with_conditions_in_balance(serve: Any) -> None:
    server = serve(max_sessions=2)
    done: list[str] = []
    runs = run_dryrun(server, 4, seed=1, timeout=DEADLINE, on_done=lambda run: done.append(run.external_id))
    assert [run.failure for run in runs] == [""] * 4
    assert [run.external_id for run in runs] == [f"dryrun-1-{number}" for number in range(4)]
    assert sorted(done) == [run.external_id for run in runs]
    people = {person.pseudonym: person for person in server.people()}
    assert sorted(people[run.participant].condition for run in runs) == ["a", "a", "b", "b"]
    assert {person.status for person in people.values()} == {"complete"}


@pytest.mark.parametrize("session", [TEACHER, EVALUATOR])
def test_the_table_counts_who_finished(
    study_file: Callable[..., Path], capsys: pytest.CaptureFixture[str], session: str
) -> None:
    file = study_file(session=session, conditions="[a]")
    assert dryrun_study(file, participants=2, seed=0, store=None, fps=400.0, timeout=DEADLINE) == 0
    told = capsys.readouterr().out
    assert "2 of 2 finished" in told
    assert re.search(r"a\W+2\W+2\W+0", told)


def test_a_learner_learns_while_somebody_teaches_it(
    study_file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = study_file(session=LEARNER.replace("FOLDER", repr(str(tmp_path / "models"))), conditions="[a]")
    assert dryrun_study(file, participants=1, seed=0, store=None, fps=400.0, timeout=DEADLINE) == 0, (
        capsys.readouterr().out
    )
    [model] = (tmp_path / "models").glob("p-*.zip")
    assert model.stat().st_size > 0


def test_who_cannot_finish_makes_the_dry_run_fail(
    study_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file = study_file(session="def session(participant, condition): raise ValueError('no such level')")
    assert dryrun_study(file, participants=2, seed=0, store=None, fps=400.0, timeout=DEADLINE) == 1
    told = capsys.readouterr().out
    assert "0 of 2 finished" in told and "no such level" in told


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is no signal to a process there")
@pytest.mark.parametrize("sign", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_study_ends_with_all_its_processes(
    study_file: Callable[..., Path], tmp_path: Path, visit: Any, sign: str
) -> None:
    command = [sys.executable, "-m", "cogment_lab.cli.main", "study", "serve", str(study_file())]
    command += ["--store", str(tmp_path / "study.db"), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    try:
        link = re.search(r"(http\S+)/study", process.stdout.readline())
        assert link is not None

        class Address:
            base_url = link[1]

        visitor = visit(Address)
        visitor.walk_to_trials()
        visitor.begin()
        visitor.session_is("running")
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        begun = time.monotonic()
        process.send_signal(getattr(signal, sign))
        assert process.wait(DEADLINE) == (-9 if sign == "SIGKILL" else 0)
        _, left = psutil.wait_procs(children, timeout=5.0 if sign == "SIGKILL" else 0.0)
        assert not left
        assert time.monotonic() - begun < 5.0
        assert "Traceback" not in process.stdout.read() + process.stderr.read()
    finally:
        process.kill()
        process.wait(DEADLINE)
        process.stdout.close()
        process.stderr.close()
