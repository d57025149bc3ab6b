"""Several services at once."""

import os
import signal
import stat
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from cogment_lab.cli.launch import launch
from cogment_lab.errors import ConfigurationError, PortInUseError, ServiceCrashedError


def test_launching_runs_several_until_it_is_interrupted(cogmentlab, free_port) -> None:
    first, second = free_port(), free_port()
    ports = (f"--orchestrator-port={first}", f"--datastore-port={second}")
    with cogmentlab.running("launch", "base", *ports) as launched:
        launched.line("ready")
        launched.line(rf"orchestrator +grpc://localhost:{first}")
        launched.line(rf"trial_datastore +grpc://localhost:{second}")
        with pytest.raises(PortInUseError, match=r"--orchestrator-port \d+"):
            launch(["base"], orchestrator_port=first)
        with pytest.raises(PortInUseError, match=rf"port {second} of the directory.*--port directory=\d+"):
            launch(["directory"], ports={"directory": second})
        assert launched.ends(signal.SIGINT, 15) == 0


def test_the_web_proxy_finds_the_orchestrator_beside_it(cogmentlab, free_port) -> None:
    ports = {name: free_port() for name in ("orchestrator", "directory", "web_proxy")}
    options = [f"--port={name}={port}" for name, port in ports.items()]
    with cogmentlab.running("launch", *ports, *options) as launched:
        launched.line("ready")
        launched.line(rf"web_proxy +http://localhost:{ports['web_proxy']}")
        url = f"http://127.0.0.1:{ports['web_proxy']}/controller/trials"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=40) as reply:
            assert reply.read() == b"[]"
        directory = f"--directory_endpoint=grpc://localhost:{ports['directory']}"
        found = cogmentlab.output("client", "directory", "inquire", directory, "--type=actor").decode()
        assert "[__implementation] = [web]" in found
        assert "grpc://127.0.0.1:" in found
        assert launched.ends(signal.SIGTERM, 20) == 0


def fake_engine(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Make an official executable that is a script of ours."""
    executable = folder / "cogment"
    executable.write_text(f"#!{sys.executable}\nimport sys, time\n{code}\n")
    executable.chmod(executable.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("COGMENT_LAB_HOME", str(folder))


@pytest.mark.skipif(sys.platform == "win32", reason="needs executable scripts")
def test_the_first_that_dies_ends_all_and_its_log_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port, capfd: pytest.CaptureFixture[str]
) -> None:
    code = """
if "trial_datastore" in sys.argv:
    print("the disk is full", file=sys.stderr)
    sys.exit(3)
time.sleep(60)
"""
    fake_engine(tmp_path, monkeypatch, code)
    with pytest.raises(
        ServiceCrashedError, match=r"(?s)trial_datastore ended with exit status 3.*disk is full"
    ):
        launch(["base"], engine="official", orchestrator_port=free_port(), datastore_port=free_port())


@pytest.mark.skipif(sys.platform == "win32", reason="needs executable scripts")
def test_the_official_engine_gets_the_official_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port, capfd: pytest.CaptureFixture[str]
) -> None:
    fake_engine(tmp_path, monkeypatch, "print(' '.join(sys.argv[1:])); sys.exit(1)")
    port = free_port()
    with pytest.raises(ServiceCrashedError):
        launch(["orchestrator"], engine="official", orchestrator_port=port)
    flags = f"services orchestrator --lifecycle_port={port} --actor_port={port} --log_level=warning"
    assert flags in capfd.readouterr().out


def test_what_cannot_be_launched_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port, cogmentlab
) -> None:
    monkeypatch.setenv("COGMENT_LAB_HOME", str(tmp_path))
    with pytest.raises(ConfigurationError, match="'weather'"):
        launch(["weather"])
    with pytest.raises(ConfigurationError, match="cogmentlab install"):
        launch(["base"], engine="official", orchestrator_port=free_port(), datastore_port=free_port())
    assert b"NAME=N" in cogmentlab.output("launch", "base", "--port=directory", status=2)


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def wait_for(fact: Callable[[], bool], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_services_end_when_their_launcher_is_killed(cogmentlab, free_port) -> None:
    ports = (f"--orchestrator-port={free_port()}", f"--datastore-port={free_port()}")
    with cogmentlab.running("launch", "base", *ports) as launched:
        launched.line("ready")
        children = [child.pid for child in psutil.Process(launched.process.pid).children(recursive=True)]
        assert len(children) == 3  # two services and the guard
        os.kill(launched.process.pid, signal.SIGKILL)
        assert launched.ends() == -signal.SIGKILL
        wait_for(lambda: all(map(is_gone, children)))


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_scripts_and_what_they_started_end_when_their_launcher_is_killed(cogmentlab, tmp_path: Path) -> None:
    (tmp_path / "launch.yaml").write_text(
        "scripts:\n  stubborn:\n    commands:\n"
        """      - [sh, -c, "trap '' TERM; sleep 600 & echo pids $$ $!; wait; wait; sleep 600"]\n"""
    )
    with cogmentlab.running("launch", str(tmp_path / "launch.yaml")) as launched:
        pids = [int(pid) for pid in launched.line(r"pids (\d+) (\d+)").groups()]
        os.kill(launched.process.pid, signal.SIGKILL)
        wait_for(lambda: all(map(is_gone, pids)))


def test_no_guard_is_left_behind(cogmentlab, tmp_path: Path) -> None:
    (tmp_path / "launch.yaml").write_text("scripts: {one: {commands: [[echo, hello]]}}")
    before = {process.pid for process in psutil.process_iter()}
    cogmentlab.output("launch", str(tmp_path / "launch.yaml"))
    left = [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.pid not in before and "guard.py" in " ".join(process.info["cmdline"] or ())
    ]
    assert not left
