"""Where a store may lie."""

from __future__ import annotations

import os
import re
from pathlib import Path

from cogment_lab.errors import (
    ConfigurationError,
    NetworkFileSystemError,
    NotAStoreError,
    StoreReadOnlyError,
)

__all__ = ["MEMORY", "check_file_system", "identity", "parse_location", "prepare_for_writing"]

MEMORY = ":memory:"
_MOUNTS = Path("/proc/self/mounts")
_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|9p|lustre|ceph|glusterfs|afs|beegfs|gpfs|pvfs2|ncpfs|coda|"
    r"fuse\.(sshfs|ceph|glusterfs|s3fs|rclone|gcsfuse|goofys|blobfuse2?|mount-s3|juicefs|cvmfs2)"
)


def parse_location(path: str | os.PathLike[str]) -> str:
    """Return ``:memory:`` or an absolute path with links resolved.

    Raises:
        ConfigurationError: an address that is no file.
        NotAStoreError: the path is a folder.
    """
    name = os.fspath(path)
    if name == MEMORY:
        return MEMORY
    if not name or "://" in name:
        raise ConfigurationError(
            f"the store {name!r} is no file; give a path, such as 'runs/x.db', or ':memory:'"
        )
    resolved = os.path.realpath(os.path.expanduser(name))
    if os.path.isdir(resolved):
        raise NotAStoreError(f"{resolved} is a folder; give the path of a file in it, such as 'trials.db'")
    return resolved


def check_file_system(path: str) -> None:
    """Refuse a network file system (looked up in ``/proc/self/mounts``; elsewhere nothing is checked).

    Raises:
        NetworkFileSystemError: SQLite's locks and shared memory do not work there.
    """
    try:
        mounts = _MOUNTS.read_text(errors="surrogateescape")
    except OSError:
        return
    longest, kind = "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[1])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(longest):
            longest, kind = point, fields[2]
    # A sandbox may mount its root by 9p without a network behind it.
    if _NETWORK.fullmatch(kind) and not (kind == "9p" and longest == "/"):
        raise NetworkFileSystemError(
            f"{path} lies on {longest}, a network file system ({kind}), where SQLite's locks do not work "
            "and trials would be damaged; use a local disk, and copy the file when the run has ended"
        )


def identity(path: str) -> tuple[int, int] | None:
    """Return device and inode of a file, ``None`` if there is none."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def prepare_for_writing(path: str) -> None:
    """Create the folder of a store and see whether the file can be written.

    Raises:
        StoreReadOnlyError: the file or its folder cannot be written.
    """
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise StoreReadOnlyError(
            f"the folder {folder} for the store cannot be made ({error.strerror}); choose another place"
        ) from error
    for needed in (path, folder):
        if os.path.exists(needed) and not os.access(needed, os.W_OK):
            raise StoreReadOnlyError(
                f"the store {path} cannot be written: {needed} is read-only; choose another place or "
                "change its permissions (reading its trials still works)"
            )
