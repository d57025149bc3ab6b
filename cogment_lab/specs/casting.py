"""What a caller or a peer gave, as an array of a space's dtype."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cogment_lab.errors import SpecError
from cogment_lab.specs.shown import shown

__all__ = ["cast_array"]


def cast_array(value: Any, dtype: np.dtype[Any], what: str) -> NDArray[Any]:
    """Return ``value`` as an array of ``dtype``, of whatever shape it has.

    Floats may be rounded to a smaller float, since many environments return float64 for a float32 space.
    Every other cast must keep all values.

    Args:
        value: An array, a number, or nested sequences of numbers.
        dtype: The dtype to return.
        what: How to call the value in an error, ``"a Box value"`` say.

    Raises:
        SpecError: ``value`` is not numeric, or holds a number that ``dtype`` cannot.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise SpecError(f"{what} cannot be made an array: {shown(value)} ({error})") from error
    if array.dtype == dtype:
        return array
    if array.size == 0 and array.dtype.kind == "f":
        return array.astype(dtype)
    if array.dtype.kind not in "biuf":
        raise SpecError(f"{what} must be numeric, not {array.dtype}: {shown(value)}")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(dtype)
    is_rounding = dtype.kind == "f" and np.can_cast(array.dtype, dtype, "same_kind")
    if not is_rounding and not np.array_equal(cast, array):
        raise SpecError(f"{what} holds numbers that {dtype} cannot: {shown(value)}; convert it before")
    return cast
