"""A study's tables: complete, safe to open, and explained."""

import csv
import importlib.util
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import cogment_lab
from cogment_lab.cli.study import export_data, forget_participant
from cogment_lab.errors import ConfigurationError, UnknownParticipantError
from cogment_lab.store import TrialStore
from cogment_lab.studies import StudyLedger, read_study
from cogment_lab.studies.codebook import TABLES

STUDY = """
name: pilot
title: A | <b>pilot</b>
consent: Do you agree?
session: nowhere:session
trials: 2
conditions: [a, b]
questionnaire:
  - {key: fun, kind: scale, text: "Fun | joy?", required: true, low: 1, high: 5}
  - {key: why, kind: text, text: Why}
"""
FORMULA = '=HYPERLINK("http://evil.example")'


class Pick(gym.Env[Any, Any]):
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Dict(go=gym.spaces.Discrete(2), how=gym.spaces.Box(-1, 1, (1,), np.float32))

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.left = 3
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        self.left -= 1
        return np.zeros(2, np.float32), 0.5, self.left == 0, False, {}


def play(store: TrialStore, participant: str, condition: str, stop: int = 3) -> str:
    properties = {"study": "pilot", "participant": participant, "condition": condition, "phase": "trials"}
    env = cogment_lab.make(Pick(), store=store, properties=properties)
    env.reset(seed=5)
    for _ in range(stop):
        env.step({"go": 1, "how": np.array([0.25], np.float32)})
    trial_id = str(env.trial_id)
    env.close()
    return trial_id


@pytest.fixture
def done(tmp_path: Path) -> Any:
    """A store with a study that two people took part in, one of them to the end."""
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    ledger = StudyLedger(tmp_path / "study.db", read_study(path))
    first, _ = ledger.join("ann@example.org")
    second, _ = ledger.join()
    with TrialStore(tmp_path / "study.db") as store:
        play(store, "somebody-else", "a")
        for person in (first, second):
            ledger.advance(person, "consent", {"agreed": True})
        for _ in range(2):
            ledger.note_trial(first, play(store, first.pseudonym, first.condition), "trials")
        play(store, second.pseudonym, second.condition, stop=1)
        ledger.advance(first, "questionnaire", {"fun": 5, "why": FORMULA})
        ledger.record(first, "note", {"said": "\u00e9\n=1 \ud800"})
    ledger.close()
    return path, tmp_path / "study.db", (first, second)


def rows(folder: Path, table: str) -> list[dict[str, str]]:
    with (folder / f"{table}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_everything_of_a_study_is_there_and_nothing_else(tmp_path: Path, done: Any, capsys: Any) -> None:
    file, store, (first, second) = done
    out = tmp_path / "out"
    export_data(file, store, out)
    assert "participants.csv" in capsys.readouterr().out
    people = {row["participant"]: row for row in rows(out, "participants")}
    assert people[first.pseudonym]["status"] == "complete" and people[first.pseudonym]["trials_done"] == "2"
    assert (
        len(people[first.pseudonym]["external_hash"]) == 64
        and people[second.pseudonym]["external_hash"] == ""
    )
    responses = {row["question"]: row for row in rows(out, "responses")}
    assert responses["fun"]["value"] == "5" and responses["why"]["value"] == f"'{FORMULA}"
    trials = rows(out, "trials")
    assert [(row["participant"], row["order"], row["counted"], row["ticks"]) for row in trials] == [
        (first.pseudonym, "1", "true", "3"),
        (first.pseudonym, "2", "true", "3"),
        (second.pseudonym, "1", "false", "1"),
    ]
    assert {row["return"] for row in trials} == {"1.5", "0.5"} and trials[2]["truncated"] == "true"
    kinds = {row["kind"] for row in rows(out, "events") if row["source"] == "study"}
    assert {"joined", "step", "complete", "note"} <= kinds
    for path in out.iterdir():
        assert b"ann@example.org" not in path.read_bytes() and b"somebody-else" not in path.read_bytes()


def test_ticks_hold_each_action_with_who_decided(tmp_path: Path, done: Any) -> None:
    import pyarrow.parquet as pq

    file, store, (first, _) = done
    export_data(file, store, tmp_path / "out")
    table = pq.read_table(tmp_path / "out/ticks.parquet").to_pylist()
    assert len(table) == 7 and table[0]["participant"] == first.pseudonym
    assert json.loads(table[0]["executed_action"]) == {"go": 1, "how": [0.25]}
    assert [row["tick"] for row in table[:3]] == [0, 1, 2] and table[2]["terminated"] is True
    assert {row["decided_by"] for row in table} == {"player"} and table[0]["reward"] == 0.5


def test_without_pyarrow_ticks_are_csv_and_it_is_said(
    tmp_path: Path, done: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, store, _ = done
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "pyarrow" else find(name, *rest)
    )
    export_data(file, store, tmp_path / "out")
    assert len(rows(tmp_path / "out", "ticks")) == 7
    assert "pyarrow is missing" in capsys.readouterr().out


def test_the_codebook_explains_each_column_and_question(tmp_path: Path, done: Any) -> None:
    file, store, _ = done
    out = tmp_path / "out"
    export_data(file, store, out)
    book = json.loads((out / "codebook.json").read_text(encoding="utf-8"))
    for table, columns in TABLES.items():
        if table != "ticks":
            assert (out / book["tables"][table]["file"]).read_text().splitlines()[0] == ",".join(
                column.name for column in columns
            )
    assert all(column["meaning"] for table in book["tables"].values() for column in table["columns"])
    assert [question["key"] for question in book["questions"]] == ["fun", "why"]
    text = (out / "codebook.md").read_text(encoding="utf-8")
    assert "Fun \\| joy?" in text and "`reaction`" in text


def test_a_folder_is_never_overwritten_and_never_half_there(
    tmp_path: Path, done: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, store, _ = done
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigurationError, match="exists already"):
        export_data(file, store, tmp_path / "out")

    def broken(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cogment_lab.studies.export.write_codebook", broken)
    with pytest.raises(OSError, match="disk is full"):
        export_data(file, store, tmp_path / "full")
    assert sorted(path.name for path in tmp_path.iterdir() if "full" in path.name) == []


def export_for_ever(file: Path, store: Path, folder: Path, ready: Any) -> None:
    number = 0
    while True:
        export_data(file, store, folder / str(number))
        ready.set()
        number += 1


def test_an_export_that_is_killed_leaves_whole_folders_only(tmp_path: Path, done: Any) -> None:
    file, store, _ = done
    folder = tmp_path / "killed"
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=export_for_ever, args=(file, store, folder, ready))
    process.start()
    assert ready.wait(60)
    time.sleep(0.07)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(20)
    files = {"participants.csv", "responses.csv", "trials.csv", "events.csv", "ticks.parquet"}
    for each in folder.glob("[0-9]*"):
        assert {path.name for path in each.iterdir()} == files | {"codebook.md", "codebook.json"}
    export_data(file, store, folder / "after")
    assert len(rows(folder / "after", "trials")) == 3


def test_a_trial_that_runs_is_exported_as_far_as_it_is(tmp_path: Path, done: Any) -> None:
    file, path, (_, second) = done
    properties = {"study": "pilot", "participant": second.pseudonym, "condition": "a", "phase": "trials"}
    with TrialStore(path) as store:
        env = cogment_lab.make(Pick(), store=store, properties=properties)
        env.reset(seed=6)
        env.step({"go": 0, "how": np.array([-0.25], np.float32)})
        store.flush()
        export_data(file, path, tmp_path / "out")
        env.close()
    last = rows(tmp_path / "out", "trials")[-1]
    assert (last["seed"], last["counted"], last["duration"], last["end_reason"]) == ("6", "false", "", "")


def test_who_is_forgotten_is_in_no_table(tmp_path: Path, done: Any, capsys: Any) -> None:
    file, store, (first, second) = done
    forget_participant(store, "ann@example.org")
    assert "removed 2 trials, 2 answers" in capsys.readouterr().out
    export_data(file, store, tmp_path / "out")
    assert [row["participant"] for row in rows(tmp_path / "out", "participants")] == [second.pseudonym]
    for path in (tmp_path / "out").iterdir():
        assert first.pseudonym.encode() not in path.read_bytes()
    with pytest.raises(UnknownParticipantError, match="holds nothing"):
        forget_participant(store, "ann@example.org")
