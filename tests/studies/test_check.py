"""``cogmentlab study check`` says what a study is, or what keeps it from being one."""

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cogment_lab.integrations.gymnasium.registration import check_registered

from cogment_lab.cli.main import main
from cogment_lab.cli.study import check_study
from cogment_lab.errors import StudySessionError, UnknownEnvironmentError
from cogment_lab.studies import StudyLedger, read_study

STUDY = """
name: pilot
title: A pilot
consent: Do you agree?
session: checked_session:session
practice: 1
trials: 3
conditions: [shown, hidden]
"""
SESSION = """
from cogment_lab.studies import Session


def session(participant, condition):
    return Session(env="CartPole-v1")
"""


def check(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> int:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    (tmp_path / "checked_session.py").write_text(SESSION)
    monkeypatch.setattr("sys.argv", ["cogmentlab", "study", "check", str(path)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_a_file_that_makes_sense_is_summed_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(tmp_path, STUDY, monkeypatch) == 0
    said = capsys.readouterr().out
    assert "consent > practice > trials > thanks" in said and "1 for practice, 3 that count" in said
    assert "session: hidden" in said and "player of CartPole-v1" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (STUDY.replace("trials: 3", "trials: three"), "line 7: trials: write a whole number"),
        (STUDY.replace("checked_session:", "no_such_module:"), "line 5: session: no_such_module"),
        (STUDY.replace(":session", ":no_function"), "line 5: session: checked_session:no_function"),
    ],
)
def test_what_is_wrong_is_said_and_the_exit_status_tells(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    said: str,
) -> None:
    assert check(tmp_path, text, monkeypatch) == 1
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("return ", "return {}[condition] or "), "raised KeyError: 'shown'"),
        (("CartPole-v1", "CartPol-v1"), "(Environment `CartPol` doesn't exist"),
        (("    return", "    assert condition != 'hidden'\n    return"), "'hidden') raised AssertionError"),
    ],
)
def test_the_function_is_tried_for_each_condition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], said: str
) -> None:
    (tmp_path / "study.yaml").write_text(STUDY.replace("checked_session", f"tried_{tmp_path.name[-1]}"))
    (tmp_path / f"tried_{tmp_path.name[-1]}.py").write_text(SESSION.replace(*change))
    with pytest.raises(StudySessionError) as failed:
        check_study(tmp_path / "study.yaml")
    assert said in str(failed.value)


@pytest.mark.parametrize("env_id", ["CartPole", "gymnasium.envs.classic_control:CartPole-v1"])
def test_what_gymnasium_makes_is_an_environment(env_id: str) -> None:
    check_registered(env_id)


@pytest.mark.parametrize("env_id", ["CartPol", "no_such_module:CartPole-v1", "CartPole-v99"])
def test_what_gymnasium_cannot_make_is_none(env_id: str) -> None:
    with pytest.raises(UnknownEnvironmentError, match=env_id):
        check_registered(env_id)


def test_a_served_study_ends_by_sigterm_where_a_script_began_it(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    (tmp_path / "checked_session.py").write_text(SESSION)
    serve = [sys.executable, "-m", "cogment_lab.cli.main", "study", "serve", str(path), "--port", "0"]
    command = [*serve, "--store", str(tmp_path / "study.db")]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for jobs in the background
    try:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        assert server.stdout is not None and server.stdout.readline().startswith("join link")
        server.terminate()
        assert server.wait(30.0) == 0
    finally:
        server.kill()
        server.communicate()


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["cogmentlab", *(str(each) for each in arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_status_counts_people_by_condition_and_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    with contextlib.closing(StudyLedger(tmp_path / "study.db", read_study(path))) as ledger:
        ledger.advance(ledger.join()[0], "consent", {"agreed": True})
        ledger.advance(ledger.join()[0], "consent", {"agreed": False})
        ledger.join()
    assert run(monkeypatch, "study", "status", path, "--store", tmp_path / "study.db") == 0
    said = capsys.readouterr().out
    assert "3 people; of the active ones 1 at consent, 1 at practice" in said
    assert "shown" in said and "hidden" in said
    assert run(monkeypatch, "study", "status", path, "--store", tmp_path / "nowhere.db") == 1


def test_serve_takes_a_study_and_refuses_what_a_study_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served: list[tuple[object, ...]] = []
    monkeypatch.setattr(
        "cogment_lab.cli.study_serve.serve_study",
        lambda file, *, store, port, host, public_url: served.append((file, store, port, host, public_url)),
    )
    assert run(monkeypatch, "serve", "a.db", "--study", "s.yaml", "--port", "0") == 0
    assert served == [(Path("s.yaml"), Path("a.db"), 0, "127.0.0.1", None)]
    assert run(monkeypatch, "serve", "a.db", "--study", "s.yaml", "--token", "12345678") == 1
    assert "makes its own tokens" in capsys.readouterr().err.replace("\n", " ")
