"""A Python 3.10 with the official packages, made once and kept outside of the repository."""

import fcntl
import glob
import os
import shutil
import subprocess
from pathlib import Path

PACKAGES = ["cogment==2.10.1", "cogment_lab==0.1.5"]
INSTALLATION_S = 900


class Missing(Exception):
    """There is no such Python, or the packages cannot be installed."""


def folder():
    """Return where the virtual environment is, or will be: $COGMENT_LAB_INTEROP_VENV or the user's cache."""
    chosen = os.environ.get("COGMENT_LAB_INTEROP_VENV")
    if chosen:
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "cogment_lab" / "interop-python3.10"


def is_complete():
    """Return whether the installation was finished once, or somebody else made the folder."""
    own = "COGMENT_LAB_INTEROP_VENV" not in os.environ
    done = folder() / ("complete" if own else "bin/python")
    return done.exists()


def find():
    """Return the interpreter of the virtual environment, making it when there is none.

    Raises:
        Missing: it cannot be made; says why.
    """
    target = folder()
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_complete():
            _make(target)
    interpreter = target / "bin" / "python"
    _run([interpreter, "-I", "-c", "import cogment, cogment_lab"], 120)
    return interpreter


def _make(target):
    shutil.rmtree(target, ignore_errors=True)
    _run([_python310(), "-m", "venv", target], 120)
    _run(
        [target / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check", "-q", *PACKAGES],
        INSTALLATION_S - 200,
    )
    (target / "complete").touch()


def _python310():
    candidates = [
        shutil.which("python3.10"),
        *glob.glob(str(Path.home() / ".pyenv/versions/3.10*/bin/python")),
    ]
    if shutil.which("uv"):
        found = subprocess.run(["uv", "python", "find", "3.10"], capture_output=True, text=True, timeout=60)
        candidates.append(found.stdout.strip())
    for candidate in filter(None, candidates):
        version = subprocess.run([candidate, "--version"], capture_output=True, text=True, timeout=60)
        if version.stdout.startswith("Python 3.10"):
            return candidate
    raise Missing("no Python 3.10 was found: not as python3.10, not among pyenv's, not by uv")


def _run(command, seconds):
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=seconds)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{' '.join(words)}: {error}") from error
    if done.returncode:
        raise Missing(f"{' '.join(words)}: {done.stderr.strip()[-500:]}")
