"""NumPy arrays <-> ``Array`` messages."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cogment_lab.errors import SpecError
from cogment_lab.specs.casting import cast_array
from cogment_lab.specs.generated import ndarray_pb2 as pb
from cogment_lab.specs.npy import array_from_buffer, read_npy, write_npy

__all__ = ["array_from_message", "array_to_message", "holds_array"]

_RAW: dict[np.dtype[Any], pb.DType] = {
    np.dtype("<f4"): pb.DTYPE_FLOAT32,
    np.dtype("<f8"): pb.DTYPE_FLOAT64,
    np.dtype("<i1"): pb.DTYPE_INT8,
    np.dtype("<i4"): pb.DTYPE_INT32,
    np.dtype("<i8"): pb.DTYPE_INT64,
    np.dtype("<u1"): pb.DTYPE_UINT8,
}
"""The dtypes whose raw data Cogment Lab 0.1.5 reads; it reads all others as ``.npy``."""

_NPY: dict[np.dtype[Any], pb.DType] = {
    np.dtype("?"): pb.DTYPE_BOOL,
    np.dtype("<f2"): pb.DTYPE_FLOAT16,
    np.dtype("<i2"): pb.DTYPE_INT16,
    np.dtype("<u2"): pb.DTYPE_UINT16,
    np.dtype("<u4"): pb.DTYPE_UINT32,
    np.dtype("<u8"): pb.DTYPE_UINT64,
}
_DTYPES = {code: dtype for dtype, code in (_RAW | _NPY).items()}
_MAX_DIMENSION = 2**32 - 1


def array_to_message(array: NDArray[Any] | np.generic) -> pb.Array:
    """Return the message of an array or a NumPy scalar.

    Args:
        array: Booleans, integers, floats or fixed-width strings, of any shape and byte order.

    Raises:
        SpecError: Another dtype (objects, dates, complex numbers), or an axis longer than 2**32 - 1.
    """
    is_scalar = isinstance(array, np.generic)
    array = np.asarray(array)
    if any(dimension > _MAX_DIMENSION for dimension in array.shape):
        raise SpecError(f"shape {array.shape} has an axis longer than {_MAX_DIMENSION}; split the array")
    code = _RAW.get(array.dtype)
    if code is not None:
        return pb.Array(dtype=code, shape=array.shape, raw_data=array.tobytes(), is_scalar=is_scalar)
    if array.dtype.kind not in "biufU":
        raise SpecError(
            f"an array of dtype {array.dtype} cannot be sent; convert it to numbers, booleans or strings"
        )
    code = pb.DTYPE_STRING if array.dtype.kind == "U" else _NPY.get(array.dtype, pb.DTYPE_UNKNOWN)
    return pb.Array(dtype=code, shape=array.shape, npy_data=write_npy(array), is_scalar=is_scalar)


def holds_array(message: pb.Array) -> bool:
    """Return whether there is an array; Cogment Lab 0.1.5 sends an empty message for None."""
    return bool(message.dtype or message.shape or message.raw_data or message.npy_data)


def array_from_message(message: pb.Array, unknown_dtype: np.dtype[Any] | None = None) -> Any:
    """Return the array of a message, writable and in C order, or the NumPy scalar if it was one.

    Args:
        message: As :func:`array_to_message` or any of Cogment Lab 0.1.5's three formats writes it.
        unknown_dtype: What raw data of ``DTYPE_UNKNOWN`` are; 0.1.5 wrote that for dtypes beyond its own.

    Raises:
        SpecError: The message holds no array, or dtype, shape and data do not fit together.
    """
    shape = tuple(message.shape)
    array = _elements(message, math.prod(shape), unknown_dtype)
    if message.npy_data and not message.raw_data and array.shape != shape:
        raise SpecError(f"npy_data holds an array of shape {array.shape}, the message says {shape}")
    try:
        array = array.reshape(shape)
    except ValueError as error:
        raise SpecError(f"no array can have the shape {shape}: {error}") from error
    return array[()] if message.is_scalar and not shape else array


def _elements(message: pb.Array, size: int, unknown_dtype: np.dtype[Any] | None) -> NDArray[Any]:
    """Return the elements of a message: flat, unless they come as ``.npy``."""
    if message.raw_data:
        return array_from_buffer(message.raw_data, _raw_dtype(message, size, unknown_dtype), size)
    if message.npy_data:
        return read_npy(message.npy_data)
    elements = _listed(message, _raw_dtype(message, size, unknown_dtype))
    if elements.size != size:
        raise SpecError(f"{elements.size} elements, but the shape {tuple(message.shape)} has {size}")
    return elements


def _raw_dtype(message: pb.Array, size: int, unknown_dtype: np.dtype[Any] | None) -> np.dtype[Any]:
    if message.dtype == pb.DTYPE_STRING:
        return np.dtype(f"<U{len(message.raw_data) // (4 * size) if size else 1}")
    dtype = _DTYPES.get(message.dtype, unknown_dtype if message.dtype == pb.DTYPE_UNKNOWN else None)
    if dtype is None:
        state = "has an unknown dtype" if holds_array(message) else "holds no array"
        raise SpecError(f"the Array message {state} (dtype {message.dtype}); write it with array_to_message")
    return dtype


def _listed(message: pb.Array, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the elements of whichever list Cogment Lab 0.1.5's structured format fills for ``dtype``."""
    if dtype.kind == "U":
        return np.array(list(message.string_data), dtype=np.str_)
    if dtype.kind == "f":
        return cast_array(np.array(message.double_data, dtype=np.float64), dtype, "double_data")
    integers = message.int64_data or message.int32_data or message.uint32_data
    return cast_array(np.array(integers, dtype=np.int64), dtype, "integer data")
