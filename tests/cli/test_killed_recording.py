"""A process that records is killed in the middle of a trial; the command line makes the best of its store."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cogment_lab.store import TrialStore

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX")

_RECORDS = """
import sys
import numpy as np
import cogment_lab

env = cogment_lab.make("Pendulum-v1", store="killed.db", max_episode_steps=50, properties={"study": "pilot"})
env.action_space.seed(1)
number = 0
for trial in range(10_000):
    env.reset(seed=trial)
    ended = False
    while not ended:
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        ended = terminated or truncated
        number += 1
        if number == 130:  # two trials, and 30 steps of the third
            print(env.trial_id, flush=True)
            sys.stdin.readline()  # is killed here
"""


def committed(path: Path) -> int:
    with TrialStore(path) as store:
        return sum(len(data) for info in store.trials() for data in store.load(info.trial_id).values())


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> str:
    """Leave ``killed.db`` as a killed process leaves it; return the id of the trial that was running."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(Path.cwd() / "minari"))
    process = subprocess.Popen(
        [sys.executable, "-c", _RECORDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdin is not None
    try:
        trial_id = process.stdout.readline().strip()
        deadline = time.monotonic() + 20
        while committed(Path("killed.db")) < 130:
            assert time.monotonic() < deadline, "what was recorded did not reach the disk"
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stdin.close()
    return trial_id


def test_what_was_committed_is_listed_exported_imported_and_replayed(
    killed: str, cogmentlab: SimpleNamespace
) -> None:
    lines_of_json = cogmentlab.output("trials", "ls", "killed.db", "--json").decode().splitlines()
    listed = {each["trial_id"]: each for each in map(json.loads, lines_of_json)}
    assert listed[killed]["state"] == "INTERRUPTED" and listed[killed]["n_ticks"] == 30
    assert b"wrote all.csv: 130 steps" in cogmentlab.output(
        "export", "killed.db", "--to", "csv", "--id", "all"
    )
    with Path("all.csv").open(encoding="utf-8", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["trial_id"] == killed]
    assert [int(line["ticks"]) for line in lines] == list(range(30))
    assert lines[-1]["truncated"] == "True" and lines[-2]["truncated"] == "False"

    for kind, name, source in (("npz", "all", "all.npz"), ("minari", "all/some-v0", "all/some-v0")):
        said = cogmentlab.output("export", "killed.db", "--to", kind, "--id", name)
        assert b"3 trials" in said or b"3 episodes, 129 steps" in said, "Minari needs the last observation"
        assert b"recorded 3 trials" in cogmentlab.output("import", source, f"{kind}.db")
        with TrialStore("killed.db") as wanted, TrialStore(f"{kind}.db") as found:
            one, other = found.load(killed)["gym"], wanted.load(killed)["gym"]
            assert len(one) == (30 if kind == "npz" else 29)
            np.testing.assert_array_equal(one.observations, other.observations[: len(one)])
            np.testing.assert_array_equal(one.actions, other.actions[: len(one)])
            assert found.info(killed).end_reason == wanted.info(killed).end_reason == "interrupted"

    assert b"the same again: 30 ticks" in cogmentlab.output("replay", "killed.db", killed)
    assert b"wrote page.html" in cogmentlab.output("report", "killed.db", "-o", "page.html")


def test_recording_goes_on_in_the_same_store(killed: str, cogmentlab: SimpleNamespace) -> None:
    from cogment_lab import run

    (later,) = run("Pendulum-v1", lambda o: np.zeros(1, np.float32), store="killed.db", max_episode_steps=9)
    said = cogmentlab.output(
        "export",
        "killed.db",
        "--to",
        "npz",
        "--id",
        "two",
        "--query",
        f"trial={killed}",
        "--query",
        f"trial={later}",
    )
    assert b"2 trials" in said
    assert cogmentlab.output("trials", "rm", "killed.db", killed, "--yes")
    with TrialStore("killed.db") as store:
        assert killed not in store and len(store) == 3 and len(store.load(later)["gym"]) == 9
    assert not Path("killed.db-wal").exists(), "the log of the killed process is taken in"
