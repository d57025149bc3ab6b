"""Interleaved pairs and one line of JSON: what every benchmark here shares."""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
from collections.abc import Callable, Sequence
from typing import Any


def arguments(description: str | None, pairs: int) -> argparse.Namespace:
    """Parse the options that every benchmark has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="make the last line one JSON object")
    parser.add_argument("--pairs", type=int, default=pairs, help="interleaved pairs (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="shorter runs, for a smoke test")
    return parser.parse_args()


def interleave(pairs: int, *runs: Callable[[], float]) -> list[list[float]]:
    """Run all of ``runs`` in turn, ``pairs`` times, in an order drawn anew each time.

    A fixed alternation resonates with machines whose speed swings in seconds.

    Returns:
        For each run its figures, in the order of the pairs.
    """
    figures: list[list[float]] = [[] for _ in runs]
    draw = random.Random(0)
    for _ in range(pairs):
        for index in draw.sample(range(len(runs)), len(runs)):
            figures[index].append(runs[index]())
    return figures


def median_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the median and half the distance between the quartiles."""
    if len(values) < 2:
        return values[0], 0.0
    low, median, high = statistics.quantiles(values, n=4)
    return median, (high - low) / 2


def machine() -> str:
    """Return what the figures were measured on."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def report(results: dict[str, Any], as_json: bool) -> None:
    """Print the figures, and for ``--json`` the object as the last line."""
    print(f"on {machine()}")
    for key, value in results.items():
        print(f"  {key:24} {value:.4g}" if isinstance(value, float) else f"  {key:24} {value}")
    if as_json:
        print(json.dumps(results))
