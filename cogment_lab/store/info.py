"""``info`` dicts and other values given by users <-> JSON text, without ever failing.

The format is that of :mod:`cogment_lab.specs.tagged_json`; what it does not know is kept as its ``repr``.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

from cogment_lab.errors import SpecError
from cogment_lab.specs.tagged_json import from_json, to_json

__all__ = ["decode_info", "encode_info"]


def encode_info(info: Mapping[str, Any]) -> str:
    """Return a dict as JSON text; keeps no reference into it, and raises nothing."""
    try:
        if any(isinstance(value, dict | list | tuple) and _is_circular(value, ()) for value in info.values()):
            info = {key: _text(value) if _is_circular(value, ()) else value for key, value in info.items()}
        return to_json(info, lossy=True)
    except Exception:  # a value's own methods may raise anything; recording goes on regardless
        return to_json({"unreadable": _text(info)})


def decode_info(text: str | bytes) -> dict[str, Any]:
    """Return what :func:`encode_info` was given.

    Raises:
        ValueError: the text was not written by :func:`encode_info`.
    """
    try:
        value = from_json(text.decode() if isinstance(text, bytes) else text)
    except SpecError as error:
        raise ValueError(str(error)) from error
    if not isinstance(value, dict):
        raise ValueError(f"a stored info is a {type(value).__name__}, not a dict")
    return value


def _is_circular(value: Any, parents: tuple[int, ...]) -> bool:
    if not isinstance(value, dict | list | tuple):
        return False
    if id(value) in parents:
        return True
    parts = value.values() if isinstance(value, dict) else value
    return any(_is_circular(part, (*parents, id(value))) for part in parts)


def _text(value: Any) -> str:
    try:
        return reprlib.repr(value)
    except Exception:  # a broken __repr__ must not stop the record
        return f"<{type(value).__name__}>"
