"""What the tests of exports share."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cogment_lab.cli.main import app

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def datasets(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Minari keeps its datasets."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(Path.cwd() / "minari"))
    return Path.cwd() / "minari"


@pytest.fixture
def cogmentlab_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that runs the command line in this process; its exit status must be 0."""

    def run(*arguments: str) -> None:
        app(arguments, standalone_mode=False)

    return run
