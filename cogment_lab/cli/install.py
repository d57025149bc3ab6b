"""``cogmentlab install``: the official Cogment executable, for ``launch --engine official``."""

from __future__ import annotations

import hashlib
import http.client
import os
import platform
import stat
import urllib.error
import urllib.request
from pathlib import Path

from rich.console import Console
from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

from cogment_lab.errors import ConfigurationError, ServiceUnreachableError

__all__ = ["home", "install", "official_binary"]

DEFAULT_VERSION = "2.22.0"
_RELEASES = "https://github.com/cogment/cogment/releases/download"
_CHUNK = 1 << 16
_TIMEOUT = 30.0


def home() -> Path:
    """Return ``$COGMENT_LAB_HOME``, by default ``~/.cogment_lab``."""
    return Path(os.environ.get("COGMENT_LAB_HOME", "~/.cogment_lab")).expanduser()


def official_binary() -> Path:
    """Return the installed executable; raise ConfigurationError when there is none."""
    path = home() / _file_name()
    if not path.exists():
        raise ConfigurationError(f"there is no {path}: run cogmentlab install, or launch without --engine")
    return path


def install(version: str = DEFAULT_VERSION, path: Path | None = None, base_url: str | None = None) -> Path:
    """Download the official executable, going on where an earlier attempt stopped; return its path.

    Args:
        version: The release, ``2.22.0`` say.
        path: Folder to install to; :func:`home` by default.
        base_url: Where releases are; ``$COGMENT_LAB_RELEASES`` or the project's own by default.

    Raises:
        ConfigurationError: no executable for this machine, or the wrong checksum.
        ServiceUnreachableError: the server cannot be reached, or has no such release.
    """
    folder = path if path is not None else home()
    folder.mkdir(parents=True, exist_ok=True)
    base = base_url or os.environ.get("COGMENT_LAB_RELEASES", _RELEASES)
    url = f"{base}/v{version.removeprefix('v')}/{_asset()}"
    target, part = folder / _file_name(), folder / f"cogment-{version}.part"
    console = Console()
    _download(url, part, console)
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    expected = _checksum(url)
    if expected is not None and expected != digest:
        part.unlink()
        raise ConfigurationError(f"{url} has the SHA-256 {digest} instead of {expected}; try again")
    part.chmod(part.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    part.replace(target)
    verified = "as published" if expected is not None else "no checksum is published"
    size = target.stat().st_size
    console.print(f"{target}\n{size} bytes, SHA-256 {digest} ({verified})", highlight=False, soft_wrap=True)
    return target


def _file_name() -> str:
    return "cogment.exe" if platform.system() == "Windows" else "cogment"


def _asset() -> str:
    systems = {"Linux": "linux", "Darwin": "macos", "Windows": "windows"}
    machines = {"x86_64": "amd64", "AMD64": "amd64", "arm64": "arm64", "aarch64": "arm64"}
    system, machine = systems.get(platform.system()), machines.get(platform.machine())
    if system is None or machine is None:
        raise ConfigurationError(
            f"there is no official executable for {platform.system()} on {platform.machine()}; "
            "launch without --engine needs none"
        )
    return f"cogment-{system}-{machine}" + (".exe" if system == "windows" else "")


def _download(url: str, part: Path, console: Console) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            resumes = have > 0 and answer.status == 206
            length = int(answer.headers.get("Content-Length", 0))
            total = length + (have if resumes else 0)
            columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
            with (
                Progress(*columns) as progress,
                part.open("ab" if resumes else "wb") as file,
            ):
                bar = progress.add_task("cogment", total=total or None, completed=have if resumes else 0)
                while data := answer.read(_CHUNK):
                    file.write(data)
                    progress.advance(bar, len(data))
            if total and part.stat().st_size != total:
                raise ServiceUnreachableError(
                    f"{url} broke off after {part.stat().st_size} of {total} bytes; run it again to go on"
                )
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # beyond the end: all of it is there, or it is something else
            if error.headers.get("Content-Range") != f"bytes */{have}":
                part.unlink()
                _download(url, part, console)
            return
        raise ServiceUnreachableError(f"{url}: {error.code} {error.reason}; no such version?") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise ServiceUnreachableError(
            f"cannot download {url}: {error}. Without a network, copy the executable to "
            f"{part.parent / _file_name()}; our own services need none"
        ) from error


def _checksum(url: str) -> str | None:
    """Return the published SHA-256, ``None`` where there is none."""
    try:
        with urllib.request.urlopen(f"{url}.sha256", timeout=_TIMEOUT) as answer:
            return str(answer.read(200).decode().split()[0].lower())
    except (OSError, http.client.HTTPException, IndexError, UnicodeDecodeError):
        return None
