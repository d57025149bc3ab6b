import copy
import os
import pickle
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_helpers import make_spec, read_line, record_trial, start_script

from cogment_lab.errors import (
    ConfigurationError,
    CorruptStoreError,
    NetworkFileSystemError,
    NotAStoreError,
    SpecError,
    StoreError,
    StoreVersionError,
)
from cogment_lab.store import TrialStore, TrialStream, location, schema


@pytest.fixture
def recorded(path: Path) -> Path:
    with TrialStore(path) as store:
        stream = store.open_stream(make_spec())
        for name in "abc":
            record_trial(stream, name, 4)
            store.flush()
    return path


def execute(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(sql)
    connection.close()


def test_folders_are_made(tmp_path: Path) -> None:
    with TrialStore(tmp_path / "new" / "folder" / "x.db") as store:
        record_trial(store.open_stream(make_spec()), "a", 2)
    assert os.listdir(tmp_path / "new" / "folder") == ["x.db"]


def test_a_closed_store_leaves_one_file_and_opens_again(recorded: Path) -> None:
    assert os.listdir(recorded.parent) == [recorded.name]
    store = TrialStore(recorded)
    assert len(store) == 3
    store.close()
    assert len(store) == 3
    record_trial(store.open_stream(make_spec()), "d", 2)
    store.close()
    assert len(store) == 4
    store.close()


def test_the_file_says_what_it_is(recorded: Path) -> None:
    connection = sqlite3.connect(recorded)
    assert connection.execute("PRAGMA application_id").fetchone() == (schema.APPLICATION_ID,)
    assert connection.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_another_file_is_no_store_and_stays_as_it_is(path: Path) -> None:
    path.write_text("this is a letter to my grandmother")
    with pytest.raises(NotAStoreError, match="no trial store"):
        TrialStore(path)
    assert path.read_text() == "this is a letter to my grandmother"


def test_another_database_is_no_store_and_stays_as_it_is(path: Path) -> None:
    execute(path, "CREATE TABLE letters (text)")
    before = path.read_bytes()
    with TrialStore(path) as store:
        with pytest.raises(NotAStoreError, match="another program"):
            store.open_stream(make_spec())
        with pytest.raises(NotAStoreError, match="another program"):
            len(store)
    assert path.read_bytes() == before


def test_a_folder_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(NotAStoreError, match="folder"):
        TrialStore(tmp_path)


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.touch()
    with TrialStore(path) as store:
        assert len(store) == 0
        record_trial(store.open_stream(make_spec()), "a", 2)
        assert len(store) == 1


def test_a_store_that_is_being_created_is_no_other_database(path: Path) -> None:
    execute(path, "PRAGMA journal_mode = WAL")

    class Interrupted(sqlite3.Connection):
        def execute(self, sql: str, *arguments: Any) -> Any:
            if sql == "PRAGMA user_version":
                schema.connect(str(path)).close()
            return super().execute(sql, *arguments)

    connection = sqlite3.connect(path, factory=Interrupted, isolation_level=None)
    assert schema._version(connection, str(path)) == 0
    assert schema._version(connection, str(path)) == schema.VERSION
    connection.close()


def test_a_newer_store_is_refused(recorded: Path) -> None:
    execute(recorded, f"PRAGMA user_version = {schema.VERSION + 1}")
    with TrialStore(recorded) as store:
        with pytest.raises(
            StoreVersionError, match=rf"version {schema.VERSION + 1}.*up to version {schema.VERSION}"
        ):
            len(store)
        with pytest.raises(StoreVersionError):
            store.open_stream(make_spec())


@pytest.mark.parametrize("opened_to", ["read", "write"])
def test_an_older_store_is_migrated(recorded: Path, monkeypatch: pytest.MonkeyPatch, opened_to: str) -> None:
    def to_version_2(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE streams ADD COLUMN note TEXT DEFAULT 'migrated'")

    monkeypatch.setattr(schema, "VERSION", 2)
    monkeypatch.setattr(schema, "MIGRATIONS", {1: to_version_2})
    with TrialStore(recorded) as store:
        if opened_to == "write":
            store.open_stream(make_spec()).close()
        assert len(store) == 3
    connection = sqlite3.connect(recorded)
    assert connection.execute("SELECT note FROM streams").fetchall() == [("migrated",)]
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    connection.close()


def test_a_failed_migration_changes_nothing(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM trials")
        connection.execute("SELECT * FROM nowhere")

    monkeypatch.setattr(schema, "VERSION", 2)
    monkeypatch.setattr(schema, "MIGRATIONS", {1: broken})
    with TrialStore(recorded) as store, pytest.raises(StoreError):
        len(store)
    monkeypatch.undo()
    with TrialStore(recorded) as store:
        assert len(store) == 3


# --- places ---


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "lustre", "9p"])
def test_network_file_systems_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    mounts = tmp_path / "mounts"
    shared = tmp_path / "with space"
    shared.mkdir()
    escaped = str(shared).replace(" ", "\\040")
    mounts.write_text(
        f"/dev/root / ext4 rw 0 0\nserver:/x {escaped} {kind} rw 0 0\ntmpfs {escaped}/local tmpfs rw 0 0\n"
    )
    monkeypatch.setattr(location, "_MOUNTS", mounts)
    with pytest.raises(NetworkFileSystemError, match=kind):
        TrialStore(shared / "sub" / "x.db")
    TrialStore(shared / "local" / "x.db").close()
    TrialStore(tmp_path / "x.db").close()


def test_a_sandbox_root_is_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("none / 9p rw 0 0\n")
    monkeypatch.setattr(location, "_MOUNTS", mounts)
    TrialStore(tmp_path / "x.db").close()


@pytest.mark.parametrize("address", ["http://host/x.db", ""])
def test_addresses_that_are_no_files_are_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="give a"):
        TrialStore(address)


def test_options_that_cannot_work_are_refused(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="max_gb"):
        TrialStore(path, max_gb=0)
    with pytest.raises(ConfigurationError, match="on_full"):
        TrialStore(path, on_full="explode")  # type: ignore[arg-type]


READ_ONLY = """
import os, sys, urllib.parse  # what is imported later, another user may not be allowed to read
from cogment_lab.errors import StoreReadOnlyError
from cogment_lab.store import TrialStore
from store_helpers import make_spec
os.setgid(65534)
os.setuid(65534)
store = TrialStore(sys.argv[1])
print(len(store), len(store.load("a")["gym"]))
try:
    store.open_stream(make_spec())
except StoreReadOnlyError as error:
    print("refused", error)
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to drop privileges")
def test_a_read_only_store_is_read_and_not_written(recorded: Path) -> None:
    for folder in (recorded.parent, *recorded.parent.parents):
        if folder.stat().st_uid == 0 and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    recorded.chmod(0o444)
    script = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}){READ_ONLY}"
    result = subprocess.run(
        [sys.executable, "-c", script, str(recorded)], capture_output=True, text=True, timeout=60
    )
    lines = result.stdout.splitlines()
    assert lines and lines[0] == "3 4", result.stderr
    assert "read-only" in lines[1]
    assert os.listdir(recorded.parent) == [recorded.name]


# --- handles ---


def test_a_handle_pickles_and_copies_as_its_path_and_options(recorded: Path) -> None:
    store = TrialStore(recorded, max_gb=2.0, on_full="stop")
    for other in (pickle.loads(pickle.dumps(store)), copy.deepcopy(store), copy.copy(store)):
        assert (other.path, other.max_gb, other.on_full) == (store.path, 2.0, "stop")
        assert len(other) == 3
        other.close()


def test_a_store_in_memory_copies_as_itself(path: Path) -> None:
    store = TrialStore(":memory:")
    record_trial(store.open_stream(make_spec()), "a", 2)
    assert copy.deepcopy({"store": store})["store"] is store
    pickled = pickle.dumps(store)
    assert pickle.loads(pickled) is store
    assert len(TrialStore(":memory:")) == 0
    store.close()
    with pytest.raises(StoreError, match="closed"):
        len(store)
    with pytest.raises(StoreError, match="closed"):
        store.open_stream(make_spec())
    del store
    with pytest.raises(ConfigurationError, match="process"):
        pickle.loads(pickled)


def test_paths_are_resolved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with TrialStore("x.db") as store:
        stream = store.open_stream(make_spec())
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        record_trial(stream, "a", 2)
        assert len(store) == 1 and len(TrialStore("../x.db")) == 1
        assert store.path == str(tmp_path / "x.db")


# --- damage ---


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE chunks SET ticks = zeroblob(length(ticks)) WHERE id = 2",
        "UPDATE chunks SET ticks = substr(ticks, 1, 100) WHERE id = 2",
        "UPDATE chunks SET infos = x'0102' WHERE id = 2",
        "UPDATE trials SET last_observations = x'01' WHERE trial_id = 'b'",
    ],
)
def test_a_damaged_trial_is_named_and_the_others_are_read(recorded: Path, damage: str) -> None:
    execute(recorded, damage)
    with TrialStore(recorded) as store:
        with pytest.raises(CorruptStoreError, match="'b'"):
            store.load("b")
        for name in "ac":
            np.testing.assert_array_equal(store.load(name)["gym"].ticks, np.arange(4))
        assert [info.trial_id for info in store.trials()] == ["a", "b", "c"]
        assert sum(map(len, store.transitions(trial_ids=["a", "c"]))) == 8
        with pytest.raises(CorruptStoreError):
            list(store.transitions())
        store.delete(["b"])
        assert sum(map(len, store.transitions())) == 8


def test_a_damaged_description_is_reported(recorded: Path) -> None:
    execute(recorded, "UPDATE agents SET observation_space = x'ff'")
    with TrialStore(recorded) as store, pytest.raises(CorruptStoreError):
        store.load("a")


def test_a_store_that_another_process_writes_is_read(path: Path) -> None:
    script = (
        "record_trial(stream, 'a', 3, end=False)\nstore.flush()\nprint('ready', flush=True)\nsys.stdin.read()"
    )
    process = start_script(path, script)
    assert read_line(process) == "ready"
    with TrialStore(path) as store:
        assert store.info("a").state == "RUNNING" and len(store.load("a")["gym"]) == 3
    process.kill()
    process.communicate()


def test_a_deleted_file_is_noticed(
    file_store: TrialStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = file_store.open_stream(make_spec())
    record_trial(old, "old", 3)
    assert len(file_store) == 1 and len(file_store.load("old")["gym"]) == 3
    for file in path.parent.iterdir():
        file.unlink()
    record_trial(old, "lost", 3)
    assert len(file_store) == 0
    assert "deleted or replaced" in file_store.status and "deleted or replaced" in caplog.text
    new = file_store.open_stream(make_spec("actions"))
    record_trial(new, "new", 2)
    assert [info.trial_id for info in file_store.trials()] == ["new"]
    assert len(file_store.load("new")["gym"]) == 2 and file_store.info("new").record == "actions"
    assert file_store.status == "recording"
    old.close()
    record_trial(new, "newer", 2)
    new.close()
    assert len(file_store) == 2 and file_store.status == "not recording"


def test_a_last_observation_of_another_shape_is_refused(store: TrialStore, stream: TrialStream) -> None:
    record_trial(stream, "a", 2, end=False)
    with pytest.raises(SpecError):
        stream.end(state="ENDED", end_reason="x", last_observations={"gym": np.zeros(7)})
    stream.end(state="ENDED", end_reason="x", last_observations={})
    assert store.info("a").end_reason == "x"


def test_a_process_that_leaves_takes_nothing_from_connections_that_stay(tmp_path: Path) -> None:
    path = str(tmp_path / "x.db")
    stays = schema.connect(path)
    stays.execute("CREATE TABLE noted (number INTEGER)")
    schema.connect(path).close()  # looks at the file a second time, while a connection stays
    leave = "import sys; from cogment_lab.store.schema import connect; connect(sys.argv[1]).close()"
    for number in range(3):
        stays.execute("INSERT INTO noted VALUES (?)", (number,))
        subprocess.run([sys.executable, "-c", leave, path], check=True, timeout=60)
    assert os.path.exists(f"{path}-wal")
    assert stays.execute("SELECT count(*) FROM noted").fetchone() == (3,)
    stays.close()
