"""Our services with the official SDK (cogment 2.10.1) and Cogment Lab 0.1.5, in processes of their Python."""

import contextlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from official_python import INSTALLATION_S, Missing, find, is_complete  # needs the path
from processes import Process

_missing = ""


def pytest_collection_modifyitems(items):
    """Give the first test the time that the installation takes."""
    for item in items:
        if Path(__file__).parent in item.path.parents and not is_complete():
            item.add_marker(pytest.mark.timeout(INSTALLATION_S))


def pytest_terminal_summary(terminalreporter):
    """Say it aloud when nothing was tested."""
    if _missing:
        terminalreporter.section("interoperation with the official packages was NOT tested", red=True)
        terminalreporter.line(_missing)


@pytest.fixture(scope="session")
def official_python():
    """The interpreter that has the official packages."""
    global _missing
    try:
        return find()
    except Missing as reason:
        _missing = str(reason)
        pytest.skip(f"INTEROPERATION NOT TESTED: {reason}")


@pytest.fixture(scope="session", params=["official", "ours"])
def components(request):
    """Environments, actors, a hook and a datalog, on the official SDK; and the same code on ours."""
    process = Process(_python(request), "components.py")
    try:
        process.url = f"grpc://127.0.0.1:{process.wait(lambda line: 'port' in line, 30)['port']}"
        yield process
    finally:
        process.stop()


@pytest.fixture(params=["official", "ours"])
def run_client(request):
    """Run a coroutine of client.py, on the official SDK and on ours: ``run_client("join", {...})``."""
    python = _python(request)
    with _running() as run:
        yield lambda *arguments: run(python, "client.py", *arguments)


@pytest.fixture
def lab(official_python):
    """Run a script on Cogment Lab 0.1.5: ``lab("lab_actor.py", port)``."""
    with _running() as run:
        yield lambda *arguments: run(official_python, *arguments)


def _python(request):
    """Return the official interpreter, or ``None`` for ours."""
    return request.getfixturevalue("official_python") if request.param == "official" else None


@contextlib.contextmanager
def _running():
    """Give a function that starts processes; end them."""
    processes = []

    def run(*arguments):
        processes.append(Process(*arguments))
        return processes[-1]

    yield run
    for process in processes:
        process.stop()


@pytest.fixture
def play():
    """Run ``scenario(world)`` in an event loop with an orchestrator, and a deadline."""
    from world import run_in_world

    return run_in_world
