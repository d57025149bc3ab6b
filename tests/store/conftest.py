"""Stores and streams to test with."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cogment_lab.store import TrialStore, TrialStream

sys.path.insert(0, str(Path(__file__).parent))

from store_helpers import make_spec


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trials.db"


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, path: Path) -> Iterator[TrialStore]:
    """A store in a file, then one in memory: nobody should notice the difference."""
    with TrialStore(path if request.param == "file" else ":memory:") as opened:
        yield opened


@pytest.fixture
def file_store(path: Path) -> Iterator[TrialStore]:
    with TrialStore(path) as opened:
        yield opened


@pytest.fixture
def stream(store: TrialStore) -> Iterator[TrialStream]:
    opened = store.open_stream(make_spec())
    yield opened
    opened.close()
