"""Who gets which condition: the one that has the fewest, ties drawn from the study's seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["assign"]


def assign(conditions: Sequence[str], taken: Mapping[str, int], *, seed: int, number: int) -> str:
    """Return the condition of the next participant.

    However many people leave, those who count are at most one apart between conditions, as long as the
    people that count were all assigned so.

    Args:
        conditions: All of them, in the study's order.
        taken: How many people of each condition count: who is complete or still there, and not who declined
            or gave up. A condition that is missing has none.
        seed: The study's.
        number: How many people came before; it makes the draw, so that the same arrivals get the same.
    """
    fewest = min(taken.get(each, 0) for each in conditions)
    tied = [each for each in conditions if taken.get(each, 0) == fewest]
    draw = np.random.default_rng([seed & 0xFFFF_FFFF, number])
    return tied[int(draw.integers(len(tied)))]
