"""What people do wrong with stored trials, and what disks do: a clear error, and nothing half written."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import cogment_lab
from cogment_lab.cli.export import export_trials, import_trials
from cogment_lab.cli.replay import replay_trial
from cogment_lab.cli.serve import check_public_url, run_serve
from cogment_lab.cli.study_serve import serve_study
from cogment_lab.errors import (
    ConfigurationError,
    CorruptStoreError,
    NotAStoreError,
    StoreFullError,
    TrialNotFoundError,
    TrialStateError,
)
from cogment_lab.store import TrialStore

FORMATS = ("csv", "parquet", "npz", "minari")
IDS = {"minari": "out/some-v0", **{kind: "out" for kind in FORMATS[:3]}}


@pytest.fixture(autouse=True)
def datasets(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(Path.cwd() / "minari"))
    return Path.cwd() / "minari"


@pytest.fixture
def store() -> Path:
    """Three short trials of CartPole."""
    cogment_lab.run("CartPole-v1", lambda observation: 0, 3, seed=1, store="some.db", max_episode_steps=6)
    return Path("some.db")


def export(file: Path, kind: str, *query: str, agent: str | None = None, name: str | None = None) -> None:
    metadata = {"description": "d"} if kind == "minari" else {}
    export_trials(file, kind, name or IDS[kind], query=query, agent=agent, metadata=metadata)


def trial_ids(file: Path) -> list[str]:
    with TrialStore(file) as opened:
        return [info.trial_id for info in opened.trials()]


def left_behind() -> list[str]:
    """What an export wrote, or began to write."""
    return sorted(str(path) for path in Path().rglob("*") if path.is_file() and ".db" not in path.name)


@pytest.mark.parametrize("kind", FORMATS)
def test_an_empty_result_says_what_there_is(store: Path, kind: str) -> None:
    with pytest.raises(ConfigurationError, match=r"3 trials .* CartPole-v1 with the agents gym.*env='Nope'"):
        export(store, kind, "env=Nope")
    with pytest.raises(ConfigurationError, match=r"no .*match.*study"):
        export(store, kind, "study=other")
    assert not left_behind()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_store_without_trials_says_so(store: Path, kind: str) -> None:
    with TrialStore(store) as opened:
        opened.delete(trial_ids(store))
    with pytest.raises(ConfigurationError, match="it has no trials"):
        export(store, kind)
    assert not left_behind()


@pytest.mark.parametrize("kind", FORMATS)
def test_several_spaces_are_named_and_one_can_be_chosen(store: Path, kind: str) -> None:
    cogment_lab.run("Pendulum-v1", lambda o: np.zeros(1, np.float32), store=store, max_episode_steps=3)
    with pytest.raises(ConfigurationError, match=r"CartPole-v1, Pendulum-v1 have several spaces.*env="):
        export(store, kind)
    assert not left_behind()
    export(store, kind, "env=Pendulum-v1")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_name_that_is_taken_stays_as_it_is(store: Path, kind: str) -> None:
    export(store, kind)
    before = {name: Path(name).read_bytes() for name in left_behind()}
    with pytest.raises(ConfigurationError, match=r"exists already.*(another|remove)"):
        export(store, kind)
    assert {name: Path(name).read_bytes() for name in left_behind()} == before


@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_trial_is_named_and_can_be_left_out(
    store: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = "bad"
    with TrialStore(store) as opened:
        cogment_lab.run("CartPole-v1", lambda observation: 1, store=opened, max_episode_steps=4)
        opened.flush()
        bad = [info.trial_id for info in opened.trials()][-1]
        opened._database.change(
            lambda connection: connection.execute(
                "UPDATE chunks SET ticks = substr(ticks, 1, 40) WHERE id = (SELECT max(id) FROM chunks)"
            )
        )
    with pytest.raises(CorruptStoreError, match=bad):
        export(store, kind)
    assert not left_behind()
    export(store, kind, "damaged=skip")
    said = capsys.readouterr().out
    assert re.search(rf"left out: .*{bad}", said) and re.search(r"(18 steps|3 trials|3 episodes)", said)


def test_a_running_trial_is_left_out_or_named(store: Path) -> None:
    with TrialStore(store) as opened:
        env = cogment_lab.make("CartPole-v1", store=opened)
        env.reset(seed=1)
        env.step(0)
        opened.flush()
        running = env.trial_id
        for kind in FORMATS:
            with pytest.raises(TrialStateError, match=f"{running}.* still runs"):
                export(store, kind, f"trial={running}")
            assert not left_behind()
        with pytest.raises(TrialStateError, match="still runs"):
            replay_trial(store, running, render=False, video=Path("out.mp4"))
        assert not left_behind()
        export(store, "csv")
        env.step(0)
        env.close()
    with TrialStore(store) as opened:
        assert len(opened.load(running)["gym"]) == 2, "nothing of it was lost"
    assert running not in Path("out.csv").read_text(encoding="utf-8")


def test_trials_and_stores_that_are_not_there(store: Path) -> None:
    with pytest.raises(TrialNotFoundError, match="nobody"):
        replay_trial(store, "nobody", render=False, video=None)
    with pytest.raises(TrialNotFoundError, match="nobody"):
        export(store, "npz", "trial=nobody")
    for name in ("absent.npz", "absent/set-v0"):
        with pytest.raises(ConfigurationError, match="absent"):
            import_trials([name], Path("new.db"))
    with pytest.raises(ConfigurationError, match="npz or --to minari"):
        import_trials(["table.csv"], Path("new.db"))
    with pytest.raises(ConfigurationError, match="a store needs no import"):
        import_trials([str(store)], Path("new.db"))
    assert not Path("new.db").exists(), "no empty store is left"


def test_an_environment_that_cannot_be_made_names_its_package(store: Path) -> None:
    with TrialStore(store) as opened:
        opened._database.change(
            lambda connection: connection.execute(
                "UPDATE streams SET env_spec = replace(env_spec, 'gymnasium.envs', 'lost_robots')"
            )
        )
    with pytest.raises(ConfigurationError, match=r"lost_robots.*install and import the package"):
        replay_trial(store, trial_ids(store)[0], render=False, video=Path("out.mp4"))
    assert not left_behind()


class Broken(gym.ObservationWrapper[Any, Any, Any]):
    """A sensor that fails after the reset."""

    def observation(self, observation: Any) -> Any:
        self.count = getattr(self, "count", 0) + 1
        return observation if self.count == 1 else np.full_like(observation, np.nan)


def test_nan_is_kept_as_it_is() -> None:
    env = cogment_lab.make(Broken(gym.make("CartPole-v1")), store="nan.db")
    env.reset(seed=1)
    for _ in range(3):
        env.step(0)
    env.close()
    for kind, source in (("npz", "out.npz"), ("minari", "out/some-v0")):
        export(Path("nan.db"), kind)
        import_trials([source], Path(f"{kind}.db"))
        with TrialStore("nan.db") as wanted, TrialStore(f"{kind}.db") as found:
            one, other = found.query().load(), wanted.query().load()
        np.testing.assert_array_equal(one.observations, other.observations)
        assert np.isnan(one.observations[1:]).all() and np.isnan(one.last_observation).all()
    export(Path("nan.db"), "csv")
    assert Path("out.csv").read_text(encoding="utf-8").count("nan") == 8


# --- extras that are not installed ---

_WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in {blocked!r} else real(name, package)
sys.meta_path.insert(0, Missing())
from cogment_lab.cli.main import main
sys.argv = ["cogmentlab", *{arguments!r}]
main()
"""


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        ("minari", ("export", "some.db", "--to", "minari", "--id", "a-v0"), "cogment_lab[minari]"),
        ("minari", ("import", "a-v0", "new.db"), "cogment_lab[minari]"),
        ("pyarrow", ("export", "some.db", "--to", "parquet", "--id", "a"), "cogment_lab[minari]"),
        ("imageio_ffmpeg", ("replay", "some.db", "{trial}", "--video", "a.mp4"), "cogment_lab[video]"),
        ("matplotlib", ("report", "some.db", "-o", "a.html"), "pip install"),
    ],
)
def test_a_missing_extra_names_what_to_install(
    store: Path, missing: str, arguments: tuple[str, ...], extra: str
) -> None:
    given = [text.format(trial=trial_ids(store)[0]) for text in arguments]
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT.format(blocked=(missing,), arguments=given)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1 and "MissingExtraError" in done.stderr, done.stderr
    assert extra in done.stderr and "Traceback" not in done.stderr
    assert not left_behind() and not Path("new.db").exists()


def test_without_torch_the_other_exports_work(store: Path) -> None:
    code = _WITHOUT.format(
        blocked=("torch", "stable_baselines3"), arguments=["export", "some.db", "--to", "npz", "--id", "out"]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and Path("out.npz").exists(), done.stderr
    code = _WITHOUT.format(blocked=("torch",), arguments=[]).replace(
        "from cogment_lab.cli.main import main",
        "from cogment_lab.cli.main import main\nimport cogment_lab.integrations.torch_dataset",
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert 'MissingExtraError: torch datasets need torch: pip install "cogment_lab[sb3]"' in done.stderr


# --- pages ---


def serve(store: Path, public_url: str | None = None) -> None:
    run_serve(store, port=0, host="127.0.0.1", public_url=public_url, token=None, origins=())


def test_what_is_no_store_is_not_served() -> None:
    Path("notes.txt").write_text("no store, " * 99)
    with pytest.raises(NotAStoreError, match="is no trial store"):
        serve(Path("notes.txt"))
    with pytest.raises(NotAStoreError, match="is a folder"):
        serve(Path.cwd())
    with pytest.raises(ConfigurationError, match="there is no folder absent"):
        serve(Path("absent/runs/x.db"))
    assert not Path("absent").exists()


@pytest.mark.parametrize(
    "url", ["lab", "lab.org/x", "ftp://lab.org", "http://", "http://[x", "http://a b", "http://a?b"]
)
def test_what_people_cannot_open_is_no_public_url(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is no address .* https://lab"):
        serve(Path("x.db"), url)
    with pytest.raises(ConfigurationError, match=r"is no address .* https://lab"):
        serve_study(Path("s.yaml"), store=Path("x.db"), port=0, host="127.0.0.1", public_url=url)
    assert not Path("x.db").exists()


@pytest.mark.parametrize("url", [None, "http://lab:8000", "https://lab.example.org/seats/"])
def test_whole_addresses_are_public_urls(url: str | None) -> None:
    check_public_url(url)


# --- two processes ---

_WRITER = """
import sys, cogment_lab
print("ready", flush=True)
sys.stdin.readline()
ids = cogment_lab.run("CartPole-v1", lambda observation: 0, 60, seed=1, store="some.db")
print(len(ids), flush=True)
"""


def test_trials_are_exported_while_another_process_records(store: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdin is not None and writer.stdout is not None
    try:
        assert writer.stdout.readline().strip() == "ready"
        writer.stdin.write("go\n")
        writer.stdin.flush()
        number = 0
        while writer.poll() is None and number < 20:
            export(store, "npz", name=f"while{number}")
            replay_trial(store, trial_ids(store)[0], render=False, video=None)
            number += 1
        out, _ = writer.communicate(timeout=60)
    finally:
        writer.kill()
        writer.wait()
    assert writer.returncode == 0 and out.strip() == "60" and number
    export(store, "npz", name="after")
    assert len(trial_ids(store)) == 63
    for name in [*(f"while{index}" for index in range(number)), "after"]:
        import_trials([f"{name}.npz"], Path(f"{name}.db"))
        assert 3 <= len(trial_ids(Path(f"{name}.db"))) <= 63
        with TrialStore(store) as wanted, TrialStore(f"{name}.db") as found:
            for data in found.query():
                np.testing.assert_array_equal(
                    data.observations, wanted.load(data.trial_id)["gym"].observations
                )
    assert len(trial_ids(Path("after.db"))) == 63


# --- full disks ---


@pytest.fixture
def big() -> Path:
    """Three trials, each 300 KB of observations that do not compress."""
    space = gym.spaces.Box(0, 255, (100, 100, 3), np.uint8)

    class Noise(gym.Env[Any, Any]):
        observation_space = space
        action_space = gym.spaces.Discrete(2)
        render_mode = "rgb_array"

        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            super().reset(seed=seed)
            return self.np_random.integers(0, 256, space.shape, np.uint8), {}

        def step(self, action: Any) -> Any:
            return self.np_random.integers(0, 256, space.shape, np.uint8), 0.0, False, False, {}

    env = cogment_lab.make(Noise, store="big.db", record="full")
    for _ in range(3):
        env.reset(seed=1)
        for _ in range(10):
            env.step(0)
    env.close()
    return Path("big.db")


@pytest.fixture(params=["256k"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder that takes no more."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={request.param}", "tmpfs", str(mounted)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip(
            "mounting a small file system needs root; the limit on a file's size is tested in any case"
        )
    yield mounted
    subprocess.run(["umount", "-l", str(mounted)], check=True)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_full_disk_leaves_nothing_of_an_export(
    big: Path, small_disk: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(small_disk))
    with pytest.raises(StoreFullError, match="the disk is full"):
        export(big, kind, name="big-v0" if kind == "minari" else str(small_disk / "out"))
    assert [path for path in small_disk.rglob("*") if path.name != "namespace_metadata.json"] == []


def frames(count: int = 40) -> Iterator[Any]:
    rng = np.random.default_rng(0)
    yield from (rng.integers(0, 256, (200, 300, 3), np.uint8) for _ in range(count))


def test_a_full_disk_leaves_nothing_of_a_video(small_disk: Path) -> None:
    from cogment_lab.integrations.video import write_video

    with pytest.raises(StoreFullError, match="the disk is full"):
        write_video(frames(), small_disk / "out.mp4", 30.0)
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize("small_disk", ["256k", "900k"], indirect=True)
@pytest.mark.parametrize("kind", ["npz", "minari"])
def test_a_full_disk_says_how_much_of_an_import_is_there(big: Path, small_disk: Path, kind: str) -> None:
    export(big, kind)
    with pytest.raises(StoreFullError, match=r"full.* complete trials? now") as caught:
        import_trials(["out.npz" if kind == "npz" else "out/some-v0"], small_disk / "new.db")
    found = re.search(r"(\d+) complete", str(caught.value))
    assert found is not None and int(found[1]) < 3
    with TrialStore(small_disk / "new.db") as opened:
        assert sum(len(data) for data in opened.query()) >= 10 * int(found[1])


_LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
from cogment_lab.cli.main import main
sys.argv = ["cogmentlab", "export", "big.db", "--to", sys.argv[1], "--id", sys.argv[2]]
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="limits are POSIX")
@pytest.mark.parametrize("kind", FORMATS)
def test_a_limit_on_a_files_size_leaves_nothing_of_an_export(big: Path, kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, kind, IDS[kind]], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1 and "StoreFullError: the disk is full" in done.stderr, done.stderr
    assert [name for name in left_behind() if "namespace_metadata" not in name] == []


def test_a_video_needs_frames_of_one_size() -> None:
    from cogment_lab.integrations.video import write_video

    write: Callable[[Any], int] = lambda given: write_video(given, Path("out.mp4"), 30.0)  # noqa: E731
    with pytest.raises(ConfigurationError, match="no frames"):
        write([])
    with pytest.raises(ConfigurationError, match=r"ends in \.mp4"):
        write_video(frames(3), Path("out.avi"), 30.0)
    with pytest.raises(ConfigurationError, match="frame 1 is"):
        write([np.zeros((20, 30, 3), np.uint8), np.zeros((20, 32, 3), np.uint8)])
    assert not left_behind()
    assert write(frames(3)) == 3 and Path("out.mp4").read_bytes()[4:8] == b"ftyp"


@pytest.mark.parametrize("kind", FORMATS)
def test_a_query_knows_the_environment_by_both_names(store: Path, kind: str) -> None:
    export(store, kind, "env_id=CartPole-v1")
    with pytest.raises(ConfigurationError, match="the same argument"):
        export(store, kind, "env_id=CartPole-v1", "env=CartPole-v1", name="b-v0" if kind == "minari" else "b")
