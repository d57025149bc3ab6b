"""The ``cogmentlab`` command, run as a user runs it."""

import errno
import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import Mock

import pytest

import cogment_lab
from cogment_lab.cli import demo, doctor, trials
from cogment_lab.cli.counting import counted
from cogment_lab.cli.main import main
from cogment_lab.cli.packages import CORE
from cogment_lab.humans.scripted import scripted_policy


def cogmentlab(*arguments: str, timeout: float = 250) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cogment_lab.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)


@pytest.fixture
def store() -> Path:
    policy = scripted_policy("CartPole-v1")
    cogment_lab.run("CartPole-v1", policy, 3, seed=1, store="some.db", max_episode_steps=30)
    return Path("some.db")


def test_trials_are_listed_newest_first(store: Path) -> None:
    listing = cogmentlab("trials", "ls", str(store), "--json", "--limit", "2")
    rows = [json.loads(line) for line in listing.stdout.splitlines()]
    assert [row["trial_id"].split("-")[1] for row in rows] == ["2", "1"]
    assert rows[0]["n_ticks"] == 30
    assert rows[0]["truncated"] is True
    assert "3 trials, 90 ticks" in cogmentlab("trials", "ls", str(store)).stdout


def test_a_trial_is_shown_and_removed(store: Path) -> None:
    with cogment_lab.TrialStore(store) as opened:
        first = next(iter(opened.trials())).trial_id
    shown = cogmentlab("trials", "show", str(store), first).stdout
    assert first in shown and "CartPole-v1" in shown and "▶30" in shown
    assert cogmentlab("trials", "rm", str(store), first, "--yes").returncode == 0
    gone = cogmentlab("trials", "show", str(store), first)
    assert gone.returncode == 1 and "TrialNotFoundError" in gone.stderr
    assert "Traceback" not in gone.stderr


def test_removing_an_unknown_trial_removes_nothing(store: Path) -> None:
    with cogment_lab.TrialStore(store) as opened:
        first = next(iter(opened.trials())).trial_id
    assert cogmentlab("trials", "rm", str(store), first, "nonsense", "-y").returncode == 1
    with cogment_lab.TrialStore(store) as opened:
        assert len(list(opened.trials())) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("trials", "ls", "absent.db"), "does not exist"),
        (("collect", "CartPoll-v1", "--human", "scripted"), "no scripted human"),
        (("collect", "CartPoll-v1", "--port", "0", "--headless"), "Did you mean 'CartPole-v1'"),
        (("collect", "Blackjack-v1", "--human", "scripted"), "CartPole-v1"),
        (("demo", "LunarLandr-v3", "--human", "none", "--headless"), "LunarLander-v3"),
        (("demo", "Pendulum-v1", "--algo", "dqn", "--human", "none", "--headless"), "use sac or ppo"),
        (("demo", "CartPole-v1", "--algo", "sac", "--human", "none", "--headless"), "use dqfd or ppo"),
    ],
)
def test_mistakes_are_one_clear_line(arguments: tuple[str, ...], message: str) -> None:
    result = cogmentlab(*arguments)
    assert result.returncode == 1
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_a_file_that_is_no_store_is_named() -> None:
    Path("notes.db").write_text("shopping list " * 100)
    result = cogmentlab("trials", "ls", "notes.db")
    assert result.returncode == 1 and "NotAStoreError" in result.stderr


def test_doctor_names_versions() -> None:
    result = cogmentlab("doctor")
    assert result.returncode == 0
    assert cogment_lab.__version__ in result.stdout and "stable-baselines3" in result.stdout


def test_doctor_says_which_extra_has_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(doctor, "installed_version", lambda package: "1" if package in CORE else None)
    assert doctor.run_doctor() == 0
    report = capsys.readouterr().out
    for extra in ("sb3", "envs", "minari", "report", "video", "gradio"):
        assert f"pip install 'cogment_lab[{extra}]'" in report


def test_an_environment_that_lacks_its_package_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "Box2D", None)
    for module in [name for name in sys.modules if name.startswith("gymnasium.envs.box2d")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "argv", ["cogmentlab", "collect", "LunarLander-v3", "--human", "scripted"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 1 and said.count("\n") == 1
    assert "Box2D" in said and "pip install 'cogment_lab[envs]'" in said


def test_ctrl_c_ends_a_collection_with_what_was_kept(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cogment_lab.cli.main", "collect", "MountainCar-v0"]
    options = ["--human", "scripted", "--trials", "100000", "--store", str(tmp_path / "a few.db")]
    with subprocess.Popen(
        [*command, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        assert "1 of 100000 kept" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and not errors
    last = output.splitlines()[-1]
    assert last.startswith("stopped: ") and f"trials ls '{tmp_path}/a few.db'" in last


def test_collect_keeps_what_was_asked_for() -> None:
    result = cogmentlab(
        "collect", "MountainCar-v0", "--human", "scripted", "--trials", "2", "--store", "demos.db"
    )
    assert result.returncode == 0, result.stderr
    assert "2 of 2 kept" in result.stdout


@pytest.mark.parametrize(
    ("env_id", "algo", "steps"),
    [
        ("LunarLander-v3", "dqfd", 1_500),
        ("CartPole-v1", "ppo", 2_048),
        ("Pendulum-v1", "sac", 1_050),
        ("Pendulum-v1", "td3", 1_050),
        ("CartPole-v1", "dqn", 1_200),
    ],
)
def test_demo_ends_with_a_table_and_leaves_its_records(env_id: str, algo: str, steps: int) -> None:
    result = cogmentlab(
        "demo",
        env_id,
        "--algo",
        algo,
        "--human",
        "scripted",
        "--steps",
        str(steps),
        "--headless",
        "--seed",
        "1",
    )
    assert result.returncode == 0, result.stderr
    for label in ("steps/s", "takeovers", "intervention rate", "mean return"):
        assert label in result.stdout
    with cogment_lab.TrialStore(f"runs/{env_id}.db") as opened:
        demos = list(opened.trials(properties={"purpose": "demonstration"}))
        trials = list(opened.trials(properties={"purpose": "demo"}))
    assert len(demos) == (5 if algo == "dqfd" else 0)
    assert sum(info.n_ticks for info in trials) >= steps
    assert any(info.n_interventions for info in trials)
    assert "human/intervention_rate" in logged_scalars(Path("runs/tb"))


def logged_scalars(folder: Path) -> set[str]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tags: set[str] = set()
    for run in folder.iterdir():
        accumulator = EventAccumulator(str(run))
        accumulator.Reload()
        tags |= set(accumulator.Tags()["scalars"])
    return tags


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
def test_what_a_disk_refuses_is_one_line(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "some/file")

    monkeypatch.setattr(trials, "list_trials", refuse)
    monkeypatch.setattr(sys, "argv", ["cogmentlab", "trials", "ls", "some.db"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"{os.strerror(number)}: some/file\n"


@pytest.mark.parametrize(("number", "said"), [(0, "0 people"), (1, "1 person"), (2, "2 people")])
def test_one_thing_is_counted_in_the_singular(number: int, said: str) -> None:
    assert counted(number, "person", "people") == said


def test_an_error_of_the_demo_is_told_at_once_though_somebody_looks_at_the_page() -> None:
    ui = Mock(is_joined=False)
    ui.seats.return_value = [{"viewers": 1}]
    ui.is_running.side_effect = [True, False]
    with pytest.raises(RuntimeError, match="no memory"), ExitStack() as stack:
        stack.callback(demo._stay, ui, Mock())
        raise RuntimeError("no memory")
    ui.is_running.assert_not_called()
    demo._stay(ui, Mock())
    assert ui.is_running.call_count == 2
