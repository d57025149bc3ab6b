"""Downloading the official executable."""

import hashlib
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cogment_lab.cli import install as install_module
from cogment_lab.cli.install import install, official_binary
from cogment_lab.errors import ConfigurationError, ServiceUnreachableError


class Releases(http.server.BaseHTTPRequestHandler):
    """Serves one executable, in parts when asked, with its checksum."""

    content = os.urandom(200_000)
    checksum: str | None = None
    breaks_off = False
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
        if start >= len(self.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(self.content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.answer(206 if wanted else 200, self.content[start:])

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.breaks_off and len(body) > 100_000:
            self.wfile.write(body[:100_000])
            self.close_connection = True
            return
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def releases(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(install_module, "_asset", lambda: "cogment-linux-amd64")
    Releases.checksum, Releases.ranges, Releases.breaks_off = None, [], False
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


def test_a_download_that_broke_off_goes_on(
    releases: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Releases.breaks_off = True
    with pytest.raises(ServiceUnreachableError):
        install("9.9.9", tmp_path, releases)
    assert not (tmp_path / "cogment").exists()
    assert install("9.9.9", tmp_path, releases).read_bytes() == Releases.content
    assert Releases.ranges == [None, "bytes=100000-"]
    assert f"200000 bytes, SHA-256 {hashlib.sha256(Releases.content).hexdigest()}" in capsys.readouterr().out


def test_what_is_complete_or_too_long_is_noticed(releases: str, tmp_path: Path) -> None:
    part = tmp_path / "cogment-9.9.9.part"
    for kept, ranges in ((Releases.content, ["bytes=200000-"]), (b"x" * 300_000, ["bytes=300000-", None])):
        Releases.ranges = []
        part.write_bytes(kept)
        assert install("9.9.9", tmp_path, releases).read_bytes() == Releases.content
        assert ranges == Releases.ranges


def test_a_wrong_executable_is_not_installed(releases: str, tmp_path: Path) -> None:
    Releases.checksum = "0" * 64
    with pytest.raises(ConfigurationError, match="SHA-256"):
        install("9.9.9", tmp_path, releases)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ServiceUnreachableError, match="no such version"):
        install("1.0.0", tmp_path, releases)
    with pytest.raises(ServiceUnreachableError, match="our own services need none"):
        install("9.9.9", tmp_path, "http://127.0.0.1:1")


def test_launching_the_official_engine_needs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COGMENT_LAB_HOME", str(tmp_path))
    with pytest.raises(ConfigurationError, match="cogmentlab install"):
        official_binary()
