"""Services from the command line: official flags, environment variables, launching, installing."""

import contextlib
import hashlib
import http.server
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from cogment_lab.cli import install as install_module
from cogment_lab.cli.install import install, official_binary
from cogment_lab.cli.launch import launch
from cogment_lab.cli.services import run_service
from cogment_lab.errors import ConfigurationError, PortInUseError, ServiceUnreachableError

COMMAND = [sys.executable, "-m", "cogment_lab.cli.main"]


@contextlib.contextmanager
def running(*arguments: str, **environment: str) -> Iterator[Any]:
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
    )
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


def port_of(process: Any) -> int:
    for line in process.stdout:
        found = re.search(r"listens on 127\.0\.0\.1:(\d+)", line)
        if found:
            return int(found[1])
    raise AssertionError("it did not start")


def answers(port: int) -> bool:
    with grpc.insecure_channel(f"localhost:{port}") as channel:
        grpc.channel_ready_future(channel).result(20)
    return True


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (("orchestrator", "--lifecycle_port=0", "--actor_port=0", "--directory_auto_register=false"), {}),
        (("orchestrator",), {"TRIAL_LIFECYCLE_PORT": "0", "COGMENT_ACTOR_PORT": "0"}),
        (("trial_datastore", "--port", "0"), {"COGMENT_TRIAL_DATASTORE_PORT": "1"}),
        (("datastore", "--grpc_reflection"), {"COGMENT_TRIAL_DATASTORE_PORT": "0"}),
    ],
)
def test_a_service_listens_and_ends_when_it_is_asked_to(
    arguments: tuple[str, ...], environment: dict[str, str]
) -> None:
    with running("services", *arguments, **environment) as process:
        assert answers(port_of(process))
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no FIFOs")
def test_the_status_goes_through_a_fifo_that_stays_open(tmp_path: Path) -> None:
    fifo = tmp_path / "status"
    os.mkfifo(fifo)
    ports = ("--lifecycle_port=0", "--actor_port=0")
    with running("services", "orchestrator", f"--status_file={fifo}", *ports) as process:
        with fifo.open() as status:
            assert status.read(1) == "I"
            assert status.read(1) == "R"
            process.send_signal(signal.SIGINT)
            assert status.read() == "T"
        assert process.wait(10) == 0


def test_mistakes_are_told_with_a_status(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run_service([]) == 2
    assert run_service(["weather"]) == 2
    assert "there is no service 'weather'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run_service(["orchestrator", "--lifecycle_prot=1"])
    broken = tmp_path / "params.yaml"
    broken.write_text("trial_params: {nonsense: 1}")
    assert run_service(["orchestrator", "--lifecycle_port=0", "--actor_port=0", f"--params={broken}"]) == 1
    assert "nonsense" in capsys.readouterr().err


def test_launching_runs_several_until_it_is_interrupted() -> None:
    first, second = free_port(), free_port()
    ports = (f"--orchestrator-port={first}", f"--datastore-port={second}")
    with running("launch", "base", *ports) as process:
        assert {port_of(process), port_of(process)} == {first, second}
        with pytest.raises(PortInUseError, match=r"--orchestrator-port \d+"):
            launch(["base"], orchestrator_port=first)
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 0


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_what_cannot_be_launched_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COGMENT_LAB_HOME", str(tmp_path))
    with pytest.raises(ConfigurationError, match="'weather'"):
        launch(["weather"])
    with pytest.raises(ConfigurationError, match="cogmentlab install"):
        launch(["base"], engine="official", orchestrator_port=free_port(), datastore_port=free_port())
    with pytest.raises(ConfigurationError, match="install"):
        official_binary()


class Releases(http.server.BaseHTTPRequestHandler):
    """Serves one executable, in parts when asked, with its checksum."""

    content = os.urandom(200_000)
    checksum: str | None = None
    ranges: list[str | None] = []  # noqa: RUF012

    def do_GET(self) -> None:
        if "/v9.9.9/" not in self.path:
            self.send_error(404)
            return
        if self.path.endswith(".sha256"):
            if self.checksum is None:
                self.send_error(404)
            else:
                self.answer(200, f"{self.checksum}  cogment\n".encode())
            return
        wanted = self.headers.get("Range")
        self.ranges.append(wanted)
        start = int(wanted[len("bytes=") : -1]) if wanted else 0
        self.answer(206 if wanted else 200, self.content[start:])

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def releases(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(install_module, "_asset", lambda: "cogment-linux-amd64")
    Releases.checksum, Releases.ranges = None, []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Releases) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_official_executable_is_downloaded_verified_and_resumed(releases: str, tmp_path: Path) -> None:
    Releases.checksum = hashlib.sha256(Releases.content).hexdigest()
    path = install("9.9.9", tmp_path, releases)
    assert path.read_bytes() == Releases.content
    assert os.access(path, os.X_OK)
    (tmp_path / "cogment-9.9.9.part").write_bytes(Releases.content[:150_000])
    assert install("9.9.9", tmp_path, releases).read_bytes() == Releases.content
    assert Releases.ranges == [None, "bytes=150000-"]


def test_a_wrong_executable_is_not_installed(releases: str, tmp_path: Path) -> None:
    Releases.checksum = "0" * 64
    with pytest.raises(ConfigurationError, match="SHA-256"):
        install("9.9.9", tmp_path, releases)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ServiceUnreachableError, match="no such version"):
        install("1.0.0", tmp_path, releases)
    with pytest.raises(ServiceUnreachableError, match="our own services need none"):
        install("9.9.9", tmp_path, "http://127.0.0.1:1")
