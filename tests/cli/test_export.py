"""``cogmentlab export``, ``import`` and ``replay``."""

import contextlib
import csv
import errno
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from cogment_lab.integrations import npz, tables
from cogment_lab.integrations.pettingzoo import PettingZooSpec

import cogment_lab
from cogment_lab.cli.export import parse_query
from cogment_lab.cli.replay import replay_trial
from cogment_lab.errors import ConfigurationError, StoreFullError
from cogment_lab.humans.scripted import scripted_policy


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(Path.cwd() / "minari"))
    cogment_lab.run(
        "Pendulum-v1", scripted_policy("Pendulum-v1"), 2, seed=1, store="some.db", max_episode_steps=20,
        properties={"study": "pilot"},
    )  # fmt: skip
    return Path("some.db")


def same_trials(one: Path, other: Path) -> None:
    with cogment_lab.TrialStore(one) as found, cogment_lab.TrialStore(other) as wanted:
        for a, b in zip(found.trials(), wanted.trials(), strict=True):
            assert (a.trial_id, a.seed, a.rng_state, a.env_spec) == (
                b.trial_id,
                b.seed,
                b.rng_state,
                b.env_spec,
            )
            x, y = found.load(a.trial_id)["gym"], wanted.load(b.trial_id)["gym"]
            for name in ("observations", "actions", "rewards", "truncated", "next_observations", "t_acted"):
                np.testing.assert_array_equal(getattr(x, name), getattr(y, name))
            assert x.infos == y.infos


def test_minari_and_npz_come_back_as_they_were(cogmentlab: Any, store: Path) -> None:
    said = cogmentlab.output("export", "some.db", "--to", "minari", "--id", "pend/human-v0")
    assert b"wrote pend/human-v0: 2 episodes, 40 steps" in said
    assert b"recorded 2 trials" in cogmentlab.output("import", "pend/human-v0", "minari.db")
    same_trials(Path("minari.db"), store)
    assert b"2 trials" in cogmentlab.output("export", "some.db", "--to", "npz", "--id", "all")
    cogmentlab.output("import", "all.npz", "npz.db")
    same_trials(Path("npz.db"), store)
    assert b"exists already" in cogmentlab.output("export", "some.db", "--to", "npz", "--id", "all", status=1)
    assert b"is no archive" in cogmentlab.output("import", "absent.npz", "x.db", status=1)


def test_tables_hold_each_step(store: Path) -> None:
    with cogment_lab.TrialStore(store) as opened:
        data = opened.query().load()
        assert tables.to_csv(opened.query(), Path("steps.csv")) == 40
        assert tables.to_parquet(opened.query(), Path("steps.parquet")) == 40
    with Path("steps.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["rewards"]) for line in lines] == data.rewards.tolist()
    assert [np.float32(line["observations.1"]) for line in lines] == data.observations[:, 1].tolist()
    table = pq.read_table("steps.parquet")
    np.testing.assert_array_equal(table["observations.1"].to_numpy(), data.observations[:, 1])
    assert table["observations.1"].type == "float" and table["truncated"].to_pylist()[19] is True


def test_queries_choose_and_say_what_is_wrong(cogmentlab: Any, store: Path) -> None:
    assert parse_query(["min_return=-5", "only=interventions", "study=pilot", "labelled=true"]) == {
        "min_return": -5.0, "only": "interventions", "properties": {"study": "pilot"}, "labelled": True,
    }  # fmt: skip
    with pytest.raises(ConfigurationError, match="NAME=VALUE"):
        parse_query(["study"])
    with pytest.raises(ConfigurationError, match=r"no number$"):
        parse_query(["min_return=much"])
    with pytest.raises(ConfigurationError, match="no number, nor a date like 2026"):
        parse_query(["since=yesterday"])
    moment = parse_query(["since=2026-01-31T18:00+00:00"])
    assert moment == parse_query(["since=1769882400"]) == {"since": 1769882400.0}
    said = cogmentlab.output(
        "export", "some.db", "--to", "csv", "--id", "none", "--query", "study=other", status=1
    )
    assert b"nothing to export" in said and not list(Path().glob("*none*"))
    said = cogmentlab.output(
        "export", "some.db", "--to", "csv", "--id", "none", "--query", "min_retrun=3", status=1
    )
    assert b"query knows min_return" in said and b"there are study" in said


def test_all_agents_are_exported_or_none(cogmentlab: Any, store: Path) -> None:
    game = PettingZooSpec("parallel", "classic/rps-v2", {"max_cycles": 3})
    cogment_lab.run(game, dict.fromkeys(("player_0", "player_1"), lambda observation: 0), store="game.db")
    for kind, taken in (("npz", Path("game-player_1.npz")), ("minari", Path("minari/game-player_1-v0"))):
        taken.mkdir(parents=True)
        name = "game-v0" if kind == "minari" else "game"
        said = cogmentlab.output("export", "game.db", "--to", kind, "--id", name, status=1)
        assert b"exists already" in said
        assert [path.name for path in taken.parent.glob("game-*")] == [taken.name]


@pytest.fixture
def mixed(store: Path) -> Path:
    """A store of a game of two, and of trials of one agent."""
    game = PettingZooSpec("parallel", "classic/rps-v2", {"max_cycles": 3})
    rock = dict.fromkeys(("player_0", "player_1"), lambda observation: 0)
    cogment_lab.run(game, rock, store=store, properties={"study": "game"})
    return store


@pytest.mark.parametrize("kind", ["npz", "csv", "minari"])
def test_agents_without_a_match_are_left_out(cogmentlab: Any, mixed: Path, kind: str) -> None:
    def export(name: str, *query: str) -> list[str]:
        chosen = [part for each in query for part in ("--query", each)]
        said = cogmentlab.output("export", "some.db", "--to", kind, "--id", name, *chosen).decode()
        return [line.removeprefix("wrote ").partition(":")[0] for line in said.splitlines()]

    end = "-v0" if kind == "minari" else f".{kind}"
    assert export(f"alone{end}", "study=pilot") == [f"alone{end}"]
    assert export(f"game{end}", "study=game") == [f"game-player_{number}{end}" for number in (0, 1)]
    with cogment_lab.TrialStore(mixed) as opened:
        name = next(opened.trials()).trial_id
    assert export(f"one{end}", f"trial={name}") == [f"one{end}"]


def test_damage_is_told_of_all_agents(cogmentlab: Any, mixed: Path) -> None:
    with contextlib.closing(sqlite3.connect(mixed)) as damaged, damaged:
        damaged.execute("UPDATE chunks SET checksum = checksum + 1 WHERE agent = 1")
    said = cogmentlab.output(
        "export", "some.db", "--to", "csv", "--id", "rest", "--query", "damaged=skip"
    ).decode()
    assert said.count("left out: ticks of trial") == 1 and "wrote rest.csv: 40 steps" in said


def test_damage_that_many_trials_share_is_told_once(cogmentlab: Any, store: Path) -> None:
    cogment_lab.run("Pendulum-v1", scripted_policy("Pendulum-v1"), 1, seed=3, store="some.db")
    with contextlib.closing(sqlite3.connect("some.db")) as damaged, damaged:
        damaged.execute("UPDATE chunks SET checksum = checksum + 1 WHERE id = 1")
    said = cogmentlab.output(
        "export", "some.db", "--to", "csv", "--id", "rest", "--query", "damaged=skip"
    ).decode()
    assert said.count("left out") == 1 and "left out: 2 trials, ticks of trial" in said
    assert "200 steps" in said
    with contextlib.closing(sqlite3.connect("some.db")) as damaged, damaged:
        damaged.execute("UPDATE chunks SET checksum = 1")
    said = cogmentlab.output(
        "export", "some.db", "--to", "npz", "--id", "none", "--query", "damaged=skip", status=1
    ).decode()
    assert "3 of those chosen cannot be read: ticks of trial" in said


def test_a_full_disk_leaves_no_half_file(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(npz, "_put", full)
    with cogment_lab.TrialStore(store) as opened, pytest.raises(StoreFullError, match="disk is full"):
        npz.to_npz(opened.query(), Path("out.npz"))
    assert not list(Path().glob("*out.npz*"))


def test_a_trial_is_replayed_and_filmed(cogmentlab: Any, store: Path) -> None:
    with cogment_lab.TrialStore(store) as opened:
        first, second = (info.trial_id for info in opened.trials())
    assert b"the same again: 20 ticks" in cogmentlab.output("replay", "some.db", first)
    said = cogmentlab.output("replay", "some.db", second, "--video", "out.mp4")
    assert b"21 frames" in said and Path("out.mp4").read_bytes()[4:8] == b"ftyp"
    assert not list(Path().glob(".out*"))
    assert b"TrialNotFoundError" in cogmentlab.output("replay", "some.db", "nobody", status=1)


def test_another_environment_is_named_and_a_changed_one_differs(
    cogmentlab: Any, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.py").write_text(
        "import gymnasium as gym\n"
        "def other(): return gym.make('CartPole-v1')\n"
        "def heavier():\n"
        "    env = gym.make('Pendulum-v1')\n"
        "    env.unwrapped.m = 1.1\n"
        "    return env\n"
    )
    with cogment_lab.TrialStore(store) as opened:
        name = next(opened.trials()).trial_id
    said = cogmentlab.output("replay", "some.db", name, "--env", "mine:other", status=1)
    assert b"has actions of Box" in said and b"takes Discrete(2)" in said and b"Traceback" not in said
    assert replay_trial(store, name, render=False, video=None, env="mine:heavier") == 1
    assert "diverged: observation of tick 0: recorded [" in capsys.readouterr().out
