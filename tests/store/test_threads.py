"""Garbage may be collected in any thread at any time: what it lets go of must wait for nobody."""

import threading

import pytest
from store_helpers import make_spec, record_trial

from cogment_lab.store import TrialStore, registry
from cogment_lab.store.writer import StoreWriter


def runs_while_this_thread_waits(work: object) -> bool:
    thread = threading.Thread(target=work)  # type: ignore[arg-type]
    thread.start()
    thread.join(10)
    return not thread.is_alive()


def test_dropping_a_store_in_memory_waits_for_no_lock() -> None:
    store = TrialStore(":memory:")
    with registry._lock:
        assert runs_while_this_thread_waits(lambda: registry.unpin(store._key))


@pytest.mark.parametrize("where", ["trials.db", ":memory:"])
def test_a_writers_thread_starts_without_a_lock_that_it_may_need(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = StoreWriter.start
    free = []

    def look() -> None:
        if registry._lock.acquire(timeout=10):
            registry._lock.release()
            free.append(True)

    def spying_start(writer: StoreWriter) -> None:
        assert runs_while_this_thread_waits(look)
        start(writer)

    monkeypatch.setattr(StoreWriter, "start", spying_start)
    with TrialStore(where) as store:
        record_trial(store.open_stream(make_spec()), "a", 3)
        assert store.info("a").n_ticks == 3
    assert free


def test_a_store_dropped_in_the_midst_of_a_query_waits_for_no_lock(file_store: TrialStore) -> None:
    record_trial(file_store.open_stream(make_spec()), "a", 3)
    assert file_store.info("a").n_ticks == 3
    database = file_store._database
    with database._lock:  # type: ignore[attr-defined]
        assert runs_while_this_thread_waits(database.abandon)  # type: ignore[attr-defined]
    assert file_store.info("a").n_ticks == 3
