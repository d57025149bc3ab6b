"""``.npy`` payloads, for numbers, booleans and fixed-width strings only.

They are read without ``numpy.load``: it evaluates the header as Python, and allocates what that promises
before it looks at the data.
"""

from __future__ import annotations

import io
import math
import re
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from cogment_lab.errors import SpecError

__all__ = ["array_from_buffer", "read_npy", "write_npy"]

_START = re.compile(rb"\x93NUMPY(?:\x01\x00(?P<short>..)|\x02\x00(?P<long>....))", re.DOTALL)
_HEADER = re.compile(
    rb"\{'descr': '([<>|][a-zA-Z]\d{1,9})', 'fortran_order': (True|False), 'shape': \(([\d, ]*)\), \} *\n"
)
_LONGEST_HEADER = 10_000
_LAST_CODE_POINT = 0x10FFFF


def write_npy(array: NDArray[Any]) -> bytes:
    """Return ``array`` (no objects) as the bytes of a ``.npy`` file, byte order and string width kept."""
    buffer = io.BytesIO()
    npy_format.write_array(buffer, array, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def read_npy(data: bytes) -> NDArray[Any]:
    """Return the array in the bytes of a ``.npy`` file as ``numpy.save`` writes it; nothing is unpickled.

    Raises:
        SpecError: No ``.npy`` file of version 1 or 2, a dtype that is neither numeric nor unicode, or data
            whose length does not fit the header.
    """
    start = _START.match(data)
    if start is None:
        raise SpecError("npy_data does not begin as a .npy file of version 1 or 2; write it with numpy.save")
    length = int.from_bytes(start["short"] or start["long"], "little")
    end = start.end() + min(length, _LONGEST_HEADER)
    header = _HEADER.fullmatch(data, start.end(), end)
    try:
        if header is None:
            raise ValueError("it describes no plain array")
        dtype = np.dtype(header[1].decode())
        shape = tuple(int(size) for size in header[3].split(b",") if size.strip())
    except (ValueError, TypeError) as error:
        raise SpecError(f"npy_data has the header {data[start.end() : end][:80]!r}: {error}") from error
    array = array_from_buffer(data[end:], dtype, math.prod(shape))
    try:
        return array.reshape(shape, order="F" if header[2] == b"True" else "C")
    except (ValueError, OverflowError) as error:
        raise SpecError(f"no array can have the shape {shape}: {error}") from error


def array_from_buffer(data: bytes, dtype: np.dtype[Any], size: int) -> NDArray[Any]:
    """Return a writable array ``(size,)`` of ``dtype``, copied from raw ``data``.

    Raises:
        SpecError: The dtype is neither numeric nor unicode, the length of ``data`` does not fit, or a string
            holds what is no character.
    """
    if dtype.kind not in "biufU" or dtype.itemsize == 0:
        raise SpecError(f"arrays of dtype {dtype} are refused; send numbers, booleans or fixed-width strings")
    expected = size * dtype.itemsize
    if len(data) != expected:
        raise SpecError(f"{len(data)} bytes of data, but {size} elements of {dtype} take {expected}")
    if dtype.kind == "b":
        return np.frombuffer(data, np.uint8).astype(np.bool_)
    if dtype.kind == "U":
        code_points = np.frombuffer(data, np.dtype(np.uint32).newbyteorder(dtype.byteorder))
        if np.any(code_points > _LAST_CODE_POINT):
            raise SpecError(f"string data holds U+{code_points.max():X}, which is no character")
    return np.frombuffer(data, dtype).copy()
