"""The file by which a process offers a seat to the page's server."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Collection
from pathlib import Path

from cogment_lab.humans.web.claim import holder_of
from cogment_lab.store.process import process_exists

__all__ = ["offer_free_seat", "offer_seat", "withdraw_seat"]

_MOST_OF_A_ROLE = 1000


def offer_seat(folder: Path, name: str, role: str, allows: Collection[str] | None = None) -> None:
    """Offer that seat, or again, from this process; ``allows`` is what may be asked for, ``None`` for all."""
    path = folder / f"{name}.json"
    draft = path.with_suffix(f".draft{os.getpid()}-{threading.get_ident()}")
    draft.write_text(_offer(name, role, allows), encoding="utf-8")
    draft.replace(path)


def offer_free_seat(folder: Path, role: str) -> str:
    """Offer a seat that nobody else of this page offers or holds; return its name: ``teacher-2``, say."""
    for number in range(1, _MOST_OF_A_ROLE):
        name = role if number == 1 else f"{role}-{number}"
        try:
            descriptor = os.open(folder / f"{name}.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            if _is_used(folder, name):
                continue
            offer_seat(folder, name, role)
            return name
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(_offer(name, role))
        return name
    raise RuntimeError(f"{_MOST_OF_A_ROLE} seats of role {role!r} are in use")


def withdraw_seat(folder: Path, name: str) -> None:
    """Offer it no longer; the server forgets it when nobody looks at it any more."""
    (folder / f"{name}.json").unlink(missing_ok=True)


def _offer(name: str, role: str, allows: Collection[str] | None = None) -> str:
    wishes = None if allows is None else sorted(allows)
    return json.dumps({"name": name, "role": role, "allows": wishes, "pid": os.getpid()})


def _is_used(folder: Path, name: str) -> bool:
    try:
        offer = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # being written, or withdrawn
        return True
    holder = holder_of(folder / f"{name}.lock")
    return process_exists(offer["pid"]) or (holder is not None and process_exists(holder["pid"]))
