"""Who writes: a process is known by its machine's boot, its namespace, its pid and when it started."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["ProcessId", "is_gone", "process_exists", "this_process"]


@dataclass(frozen=True, slots=True)
class ProcessId:
    """Identity of a process that is not reused.

    Attributes:
        host: The machine since its last boot (its name, where that cannot be read).
        namespace: The pid namespace, as containers have their own; empty where unknown.
        pid: The process id.
        started: When it started, in clock ticks since boot; 0 where unknown.
    """

    host: str
    namespace: str
    pid: int
    started: int


def this_process() -> ProcessId:
    """Return the identity of the calling process."""
    pid = os.getpid()
    return ProcessId(_host(), _namespace(), pid, _started(pid) or 0)


def is_gone(process: ProcessId) -> bool:
    """Return whether the process is known to have ended.

    One in another container on the same machine cannot be seen and counts as alive; one on another machine,
    or before this machine's last boot, counts as gone, because stores on network file systems are refused.
    """
    if process.host != _host():
        return True
    if process.namespace != _namespace():
        return False
    if process.pid == os.getpid():
        return process.started not in (0, _started(process.pid) or 0)
    if not process_exists(process.pid):
        return True
    started = _started(process.pid)
    return bool(process.started and started is not None and started != process.started)


@cache
def _host() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id")
    try:
        return boot.read_text().strip()
    except OSError:
        return platform.node()


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    """Return field 22 of ``/proc/<pid>/stat``; ``None`` where it cannot be read."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


def process_exists(pid: int) -> bool:
    """Return whether a process of that number runs; one that has ended and is not yet reaped does not."""
    if sys.platform == "win32":
        return _exists_on_windows(pid)
    if Path("/proc/self/stat").exists():
        return _started(pid) is not None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _exists_on_windows(pid: int) -> bool:
    import ctypes

    query_limited_information, still_active = 0x1000, 259
    kernel32 = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
    handle = kernel32.OpenProcess(query_limited_information, False, pid)
    if not handle:
        return False
    code = ctypes.c_ulong()
    kernel32.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel32.CloseHandle(handle)
    return code.value == still_active
