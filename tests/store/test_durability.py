import collections
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_helpers import begin, make_spec, make_tick, read_line, record_trial, start_script, wait_until

from cogment_lab.errors import StoreError, StoreFullError
from cogment_lab.store import TrialStore, recorder
from cogment_lab.store.ledger import StreamLedger
from cogment_lab.store.pending import take

posix_only = pytest.mark.skipif(os.name != "posix", reason="needs signals and fork")


def count_rows(path: Path) -> int:
    """Return how many ticks are on disk, without asking anybody to write."""
    connection = sqlite3.connect(path, timeout=30)
    try:
        return int(connection.execute("SELECT coalesce(sum(n_rows), 0) FROM chunks").fetchone()[0])
    finally:
        connection.close()


# --- in time ---


WATCH = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=30)
seen, worst, still, looked = 0, 0, 0, time.monotonic_ns()
print("ready", flush=True)
while True:
    found = connection.execute("SELECT id, substr(ticks, 17, 8) FROM chunks WHERE id > ?", (seen,)).fetchall()
    now = time.monotonic_ns()
    still, looked = max(still, now - looked), now
    for seen, acted in found:
        worst = max(worst, now - int.from_bytes(acted, "little"))
    (ended,) = connection.execute("SELECT count(*) FROM trials WHERE end_reason = 'over'").fetchone()
    if ended:
        break
    time.sleep(0.005)
print(worst / 1e9, still / 1e9, flush=True)
"""


def test_ticks_reach_the_disk_within_a_second_beside_a_busy_loop(file_store: TrialStore, path: Path) -> None:
    stream = file_store.open_stream(make_spec())
    record_trial(stream, "first", 1)
    file_store.flush()
    watcher = subprocess.Popen(
        [sys.executable, "-c", WATCH, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert read_line(watcher) == "ready"
    begin(stream, "busy")
    ticks, stalls = stream.recorder("gym"), []
    tick = make_tick(0)
    stop = time.monotonic() + 2.5
    while (now := time.monotonic_ns()) < stop * 1e9:
        tick.number += 1
        tick.t_acted = now
        ticks.append(tick)
        stalls.append(time.monotonic_ns() - now)
        for _ in range(200):  # holds the interpreter, as an environment in pure Python does
            pass
    stream.end(state="ENDED", end_reason="over", last_observations={})
    file_store.flush()
    delay, still = map(float, watcher.communicate(timeout=60)[0].split())
    assert delay < 1.0 + still + max(stalls) / 1e9  # a busy machine stops watcher and environment as well
    # The usual hand-over: a busy machine may stop any thread for longer.
    assert np.median([stall for stall in stalls if stall > 5e5]) < 20e6
    assert len(file_store.load("busy")["gym"]) == len(stalls)
    stream.close()


def test_ticks_reach_the_disk_when_stepping_stops(file_store: TrialStore, path: Path) -> None:
    stream = file_store.open_stream(make_spec())
    begun = time.monotonic()
    record_trial(stream, "a", 3, end=False)
    wait_until(lambda: path.exists() and count_rows(path) == 3)
    assert time.monotonic() - begun < 5.0  # 1 s promised, on a machine that does something else as well
    stream.close()


def test_memory_stays_flat(file_store: TrialStore) -> None:
    stream = file_store.open_stream(make_spec())
    tick = make_tick(0)
    resident = []
    for number in range(6):
        begin(stream, f"t{number}")
        ticks = stream.recorder("gym")
        for _ in range(40_000):
            tick.number += 1
            ticks.append(tick)
        resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE"))
    assert resident[-1] - resident[1] < 8_000_000
    stream.close()


# --- whatever ends the process ---


@posix_only
def test_what_was_flushed_survives_kill_9(path: Path) -> None:
    process = start_script(
        path,
        """
record_trial(stream, "done", 5)
begin(stream, "cut")
for number in range(1000):
    stream.recorder("gym").append(make_tick(number))
store.flush()
print("flushed", flush=True)
number = 1000
while True:
    stream.recorder("gym").append(make_tick(number))
    number += 1
""",
    )
    assert read_line(process) == "flushed"
    process.kill()
    process.communicate(timeout=60)
    with TrialStore(path) as store:
        info = store.info("cut")
        assert (info.state, info.end_reason) == ("INTERRUPTED", "interrupted")
        assert info.truncated and not info.terminated and info.n_ticks >= 1000
        data = store.load("cut")["gym"]
        assert len(data) == info.n_ticks
        np.testing.assert_array_equal(data.ticks, np.arange(len(data)))
        assert data.truncated.tolist() == [False] * (len(data) - 1) + [True]
        assert data.last_observation is None
        np.testing.assert_array_equal(data.next_observations[-1], data.observations[-1])
        assert store.info("done").state == "ENDED"
        assert [i.trial_id for i in store.trials(state="INTERRUPTED")] == ["cut"]
        assert sum(map(len, store.transitions(trial_ids=["cut"]))) == len(data) - 1
        store.delete(["cut"])
        assert len(store) == 1


@posix_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_loses_nothing(path: Path, number: signal.Signals) -> None:
    process = start_script(
        path,
        """
import threading
begin(stream, "a")
number = 0
try:
    print("ready", flush=True)
    while True:
        stream.recorder("gym").append(make_tick(number))
        number += 1
finally:
    print(number, flush=True)
""",
    )
    assert read_line(process) == "ready"
    wait_until(lambda: path.exists() and count_rows(path) > 0)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    with TrialStore(path) as store:
        data = store.load("a")["gym"]
        np.testing.assert_array_equal(data.ticks, np.arange(len(data)))
        if number == signal.SIGINT:
            assert "KeyboardInterrupt" in err
            assert len(data) in (int(out), int(out) + 1)
            assert (store.info("a").state, store.info("a").end_reason) == ("ENDED", "closed")
        else:
            assert process.returncode == -signal.SIGTERM
            assert store.info("a").state == "INTERRUPTED"
    assert os.listdir(path.parent) == [path.name]


@posix_only
def test_the_users_own_handler_still_runs(path: Path) -> None:
    process = start_script(
        path,
        """
stream.close()
def handle(number, frame):
    print("handled", flush=True)
    os._exit(7)
signal.signal(signal.SIGTERM, handle)
stream = store.open_stream(make_spec())
record_trial(stream, "a", 3, end=False)
os.kill(os.getpid(), signal.SIGTERM)
""",
    )
    assert read_line(process) == "handled"
    assert process.wait(60) == 7
    process.communicate()
    with TrialStore(path) as store:
        assert store.info("a").n_ticks == 3


@posix_only
def test_handlers_are_restored(path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with TrialStore(path) as store:
        record_trial(store.open_stream(make_spec()), "a", 3)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_leaving_without_closing_loses_nothing(path: Path) -> None:
    process = start_script(path, "record_trial(stream, 'a', 3, end=False)")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    with TrialStore(path) as store:
        assert (store.info("a").n_ticks, store.info("a").end_reason) == (3, "closed")


def test_threads_end_with_their_streams(path: Path) -> None:
    before = set(threading.enumerate())
    stores = [TrialStore(path), TrialStore(path), TrialStore(":memory:")]
    streams = [store.open_stream(make_spec()) for store in stores]
    for number, stream in enumerate(streams):
        record_trial(stream, f"t{number}", 3)
    assert len(set(threading.enumerate()) - before) == 2  # one for each store
    streams[0].close()
    record_trial(streams[1], "later", 3)
    for stream in streams[1:]:
        stream.close()
    stores[2].close()
    assert set(threading.enumerate()) == before
    assert len(stores[0]) == 3
    for store in stores[:2]:
        store.close()


def test_trials_of_another_machine_or_boot_are_interrupted(file_store: TrialStore, path: Path) -> None:
    stream = file_store.open_stream(make_spec())
    record_trial(stream, "a", 3, end=False)
    assert file_store.info("a").state == "RUNNING"
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE streams SET host = 'another'")
    connection.close()
    with TrialStore(path) as again:
        assert again.info("a").state == "INTERRUPTED"
    stream.close()


@posix_only
@pytest.mark.parametrize("change", ["pid = 1", "process_started = process_started + 1"])
def test_a_reused_process_id_is_noticed(file_store: TrialStore, path: Path, change: str) -> None:
    stream = file_store.open_stream(make_spec())
    record_trial(stream, "a", 3, end=False)
    file_store.flush()
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(f"UPDATE streams SET {change}")
    connection.close()
    with TrialStore(path) as again:
        assert again.info("a").state == "INTERRUPTED"
    stream.close()


def test_nothing_is_lost_between_two_threads() -> None:
    waiting: list[int] = []
    taken: list[int] = []
    count = 300_000
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread = threading.Thread(target=lambda: collections.deque(map(waiting.append, range(count)), 0))
        thread.start()
        while thread.is_alive():
            taken += take(waiting)
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    taken += take(waiting)
    assert taken == list(range(count))


# --- several processes ---


def test_processes_write_to_one_store(path: Path) -> None:
    body = """
print("ready", flush=True)
sys.stdin.readline()
for trial in range(30):
    record_trial(stream, f"{os.getpid()}-{trial}", 40)
stream.close()
"""
    processes = [start_script(path, body) for _ in range(3)]
    for process in processes:
        assert read_line(process) == "ready"
    for process in processes:
        _, err = process.communicate("go\n", timeout=90)
        assert process.returncode == 0, err
    with TrialStore(path) as store:
        assert len(store) == 90 and store.stats().ticks == 3600
        for info in store.trials():
            assert store.load(info.trial_id)["gym"].ticks.tolist() == list(range(40))


@posix_only
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_records_with_what_it_inherited(path: Path) -> None:
    process = start_script(
        path,
        """
from cogment_lab.errors import TrialStateError
record_trial(stream, "before", 3, end=False)
children = []
for number in range(3):
    child = os.fork()
    if not child:
        try:
            stream.recorder("gym").append(make_tick(3))
        except TrialStateError:
            pass
        else:
            os._exit(3)
        for trial in range(5):
            record_trial(stream, f"child{number}-{trial}", 20)
        assert f"child{number}-4" in store
        stream.close()
        if number:
            sys.exit(0)
        os._exit(0)
    children.append(child)
for trial in range(5):
    record_trial(stream, f"parent-{trial}", 20)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
stream.close()
print(codes, flush=True)
""",
    )
    assert read_line(process) == "[0, 0, 0]"
    process.communicate(timeout=60)
    with TrialStore(path) as store:
        assert len(store) == 21
        assert store.info("before").end_reason == "reset"
        for info in store.trials():
            length = 3 if info.trial_id == "before" else 20
            assert store.load(info.trial_id)["gym"].ticks.tolist() == list(range(length))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_of_multiprocessing_commit_when_they_return(path: Path, method: str) -> None:
    if method == "fork" and os.name != "posix":
        pytest.skip("no fork")
    script = path.parent / "script.py"
    script.write_text(
        f"""
import multiprocessing, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from cogment_lab.store import TrialStore
from store_helpers import make_spec, record_trial

def work(store, number):
    record_trial(store.open_stream(make_spec()), f"t{{number}}", 3, end=False)

if __name__ == "__main__":
    store = TrialStore({str(path)!r})
    stream = store.open_stream(make_spec())
    record_trial(stream, "parent", 3)
    context = multiprocessing.get_context({method!r})
    children = [context.Process(target=work, args=(store, number)) for number in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    print([child.exitcode for child in children])
"""
    )
    command = [sys.executable, "-W", "ignore::DeprecationWarning", str(script)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert result.stdout.strip() == "[0, 0]", result.stderr
    with TrialStore(path) as store:
        found = {info.trial_id: (info.n_ticks, info.state) for info in store.trials()}
        assert found == {"parent": (3, "ENDED"), "t0": (3, "ENDED"), "t1": (3, "ENDED")}


# --- when the disk does not want to ---


@pytest.fixture(params=["max_gb", "tmpfs"])
def full_path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A place for about 3 MB, and the store's options there."""
    if request.param == "max_gb":
        yield tmp_path / "x.db", {"max_gb": 3e6 / 2**30}
        return
    mounted = tmp_path / "small"
    mounted.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(mounted)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    yield mounted / "x.db", {}
    subprocess.run(["umount", "-l", str(mounted)], check=True)


def fill(store: TrialStore, ticks: int) -> None:
    stream = store.open_stream(make_spec())
    tick, recorded = make_tick(0), stream.recorder("gym")
    for trial in range(ticks // 1000):
        begin(stream, f"t{trial}")
        for number in range(1000):
            tick.number = number
            recorded.append(tick)
        stream.end(state="ENDED", end_reason="truncated", last_observations={})
    stream.close()


def test_training_goes_on_when_the_disk_is_full(
    full_path: tuple[Path, dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    path, options = full_path
    store = TrialStore(path, **options)
    stream = store.open_stream(make_spec())
    with caplog.at_level(logging.ERROR, "cogment_lab.store"):
        fill(store, 150_000)
    assert store.status.startswith("recording has stopped: ")
    assert ("max_gb" if options else "is full") in store.status
    assert [record.name for record in caplog.records] == ["cogment_lab.store"]
    with pytest.raises(StoreFullError):
        store.flush()
    record_trial(stream, "dropped", 2)
    stream.close()
    recorded = store.stats()
    assert 1000 <= recorded.ticks < 150_000 and "dropped" not in store
    for info in store.trials(state="ENDED"):
        assert len(store.load(info.trial_id)["gym"]) == 1000
    if options:  # room is made, and a new stream records again
        store.delete([info.trial_id for info in store.trials(state="ENDED")])
        record_trial(store.open_stream(make_spec()), "again", 1000)
        assert len(store.load("again")["gym"]) == 1000
    store.close()


def test_training_stops_when_the_disk_is_full_if_told_to(full_path: tuple[Path, dict[str, Any]]) -> None:
    path, options = full_path
    store = TrialStore(path, on_full="stop", **options)
    stream = store.open_stream(make_spec())
    begin(stream, "running")
    with pytest.raises(StoreFullError, match=r"max_gb|disk"):
        fill(store, 150_000)
    ticks = stream.recorder("gym")
    for number in range(3):
        with pytest.raises(StoreFullError):
            ticks.append(make_tick(number))
    with pytest.raises(StoreFullError):
        begin(stream, "next")
    stream.close()
    store.close()


@posix_only
def test_a_limit_on_file_size_stops_recording_not_training(path: Path) -> None:
    process = start_script(
        path,
        """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
for trial in range(100):
    record_trial(stream, f"t{trial}", 1000)
print(store.status, flush=True)
""",
    )
    assert read_line(process).startswith("recording has stopped: ")
    process.communicate(timeout=60)
    assert process.returncode == 0
    with TrialStore(path) as store:
        assert 0 < len(store) < 100


def test_stepping_does_not_wait_for_a_locked_store(file_store: TrialStore, path: Path) -> None:
    stream = file_store.open_stream(make_spec())
    record_trial(stream, "before", 2)
    file_store.flush()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    begin(stream, "during")
    ticks, longest = stream.recorder("gym"), 0
    for number in range(20_000):
        tick = make_tick(number)
        ticks.append(tick)
        longest = max(longest, time.monotonic_ns() - tick.t_acted)
    assert count_rows(path) == 2
    assert longest < 4e9  # the writer waits longer for the lock
    other.execute("ROLLBACK")
    other.close()
    file_store.flush()
    assert len(file_store.load("during")["gym"]) == 20_000
    stream.close()


def test_recording_stops_when_the_backlog_is_full(
    file_store: TrialStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "_CHUNK_ROWS", 100)
    monkeypatch.setattr(recorder, "_PATIENCE_SECONDS", 0.05)
    stream = file_store.open_stream(make_spec())
    record_trial(stream, "before", 2)
    file_store.flush()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    record_trial(stream, "during", 5000)
    assert "the disk has taken nothing" in file_store.status
    with pytest.raises(StoreError, match="taken nothing"):
        file_store.flush()
    other.execute("ROLLBACK")
    other.close()
    stream.close()


def test_a_failure_of_the_writer_reaches_the_user(
    file_store: TrialStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(ledger: Any) -> Any:
        raise RuntimeError("a bug")

    stream = file_store.open_stream(make_spec())
    record_trial(stream, "before", 2)
    file_store.flush()
    monkeypatch.setattr(StreamLedger, "collect", broken)
    record_trial(stream, "a", 20_000)
    with pytest.raises(StoreError, match="RuntimeError: a bug"):
        file_store.flush()
    assert "a bug" in caplog.text and "a bug" in file_store.status
    stream.close()
    assert [info.trial_id for info in file_store.trials()] == ["before"]


def test_flushing_has_a_deadline(file_store: TrialStore, path: Path) -> None:
    stream = file_store.open_stream(make_spec())
    record_trial(stream, "a", 2)
    file_store.flush()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    record_trial(stream, "b", 2)
    with pytest.raises(StoreError, match=r"did not commit within 0.05 s"):
        file_store.flush(0.05)
    other.execute("ROLLBACK")
    other.close()
    file_store.flush()
    assert "b" in file_store
    stream.close()
