"""The pictures of a report, as SVG that is readable on light and on dark ground."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cogment_lab.errors import MissingExtraError
from cogment_lab.reports.numbers import NOBODY, EnvironmentReport, TrialFigures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["feedback_figure", "human_cost_figure", "intervention_figure", "learning_figure", "takeover_map"]

AGENT, PERSON, FALLBACK, PRAISE = "#3987e5", "#e8871e", "#e5484d", "#2ba56b"
_GREY = "#808890"
_STYLE: dict[Any, Any] = {
    "axes.edgecolor": _GREY,
    "axes.labelcolor": _GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "font.size": 10,
    "grid.color": _GREY,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.labelcolor": _GREY,
    "svg.hashsalt": "cogment_lab",
    "text.color": _GREY,
    "xtick.color": _GREY,
    "ytick.color": _GREY,
}
_LARGEST_MAP = (400, 600)
"""Most rows and columns of a takeover map; beyond that, rows and columns are put together."""
_HALF, _WHOLE = (6.4, 3.0), (13.0, 4.0)
"""Inches of a picture that shares its line with another, and of one that has it for itself."""


def learning_figure(report: EnvironmentReport, *, wide: bool = False) -> str:
    """Return the return of each trial over the steps of the environment, as SVG."""
    steps = np.cumsum(report.column("n_ticks"))
    returns = report.column("total_reward")
    helped = np.array([trial.n_by_people > 0 for trial in report.trials])

    def draw(axes: Axes) -> None:
        for chosen, colour, name in ((~helped, AGENT, "alone"), (helped, PERSON, "with people")):
            if chosen.any():
                _dots(axes, steps[chosen], returns[chosen], colour, len(returns), name)
        if len(returns) >= 5:
            window = _window(len(returns))
            axes.plot(steps, _smooth(returns, window), color=_GREY, lw=2, label=f"mean of {window} trials")
        axes.set(xlabel="environment steps", ylabel="return")
        axes.set_xlim(0, steps[-1] * 1.03)
        if helped.any() or len(returns) >= 5:
            _legend(axes)

    return _draw(draw, size=_WHOLE if wide else _HALF)


def intervention_figure(report: EnvironmentReport) -> str:
    """Return the share of each trial's ticks that a person decided, as SVG."""
    steps = np.cumsum(report.column("n_ticks"))
    rates = np.array([trial.share_by_people for trial in report.trials]) * 100.0

    def draw(axes: Axes) -> None:
        _dots(axes, steps, rates, PERSON, len(rates), "trial")
        if len(rates) >= 5:
            window = _window(len(rates))
            axes.plot(steps, _smooth(rates, window), color=PERSON, lw=2, label=f"mean of {window} trials")
            _legend(axes)
        axes.set(xlabel="environment steps", ylabel="ticks decided by people, %")
        axes.set_xlim(0, steps[-1] * 1.03)
        axes.set_ylim(-2, max(10.0, float(rates.max()) * 1.08))

    return _draw(draw)


def human_cost_figure(report: EnvironmentReport) -> str:
    """Return the time in control and takeovers, summed over the trials that were read, as SVG."""
    is_read = np.array([trial.is_read for trial in report.trials])
    steps = np.cumsum(report.column("n_ticks"))[is_read]
    seconds = np.cumsum([trial.seconds_in_control for trial in report.trials])[is_read]
    unit, scale = ("minutes", 60.0) if seconds[-1] >= 120.0 else ("seconds", 1.0)
    takeovers = np.cumsum(report.column("n_takeovers") * is_read)[is_read]
    style: dict[str, Any] = {"marker": "o", "markersize": 4.0} if len(steps) < 5 else {}

    def draw(axes: Axes) -> None:
        (first,) = axes.plot(steps, seconds / scale, color=PERSON, lw=2, label=f"{unit} in control", **style)
        axes.set(xlabel="environment steps", ylabel=f"{unit} in control")
        axes.set_xlim(0, steps[-1] * 1.03)
        axes.set_ylim(bottom=0)
        if not takeovers[-1]:
            return
        other = axes.twinx()
        (second,) = other.plot(steps, takeovers, color=_GREY, lw=2, ls="--", label="takeovers", **style)
        other.set_ylabel("takeovers")
        other.set_ylim(bottom=0)
        other.grid(visible=False)
        other.spines["right"].set_visible(True)
        axes.legend(handles=[first, second], loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)

    return _draw(draw)


def feedback_figure(report: EnvironmentReport) -> str:
    """Return praise and scolding over the trials, from the first that was read on, as SVG."""
    first = next(number for number, trial in enumerate(report.trials) if trial.is_read)
    trials = report.trials[first:]
    numbers, edges = len(trials), min(len(trials), 40)
    bins = np.minimum(np.arange(numbers) * edges // numbers, edges - 1)
    praise = np.bincount(bins, [trial.praise for trial in trials], edges)
    scolding = np.bincount(bins, [trial.scolding for trial in trials], edges)
    middle = first + (np.arange(edges) + 0.5) * numbers / edges + 0.5

    def draw(axes: Axes) -> None:
        width = numbers / edges * 0.85
        axes.bar(middle, praise, width, color=PRAISE, label="praise")
        axes.bar(middle, -scolding, width, color=FALLBACK, label="scolding")
        axes.axhline(0.0, color=_GREY, lw=0.8)
        axes.locator_params(axis="x", integer=True)
        axes.set_xlim(first + 0.5, first + max(numbers, 5) + 0.5)
        axes.set(xlabel="trial", ylabel="pieces of feedback")
        _legend(axes)

    return _draw(draw)


def takeover_map(trials: Sequence[TrialFigures]) -> str:
    """Return who decided each tick, one row per trial from the first that was read on, as SVG."""
    first = next(number for number, trial in enumerate(trials) if trial.is_read)
    rows = [trial.deciders for trial in trials[first:]]
    longest = max(map(len, rows))
    image = _colours(_map_shares(rows, longest, *_LARGEST_MAP))

    def draw(axes: Axes) -> None:
        axes.imshow(
            image,
            aspect="auto",
            interpolation="nearest",
            extent=(0.0, float(longest), first + len(rows) + 0.5, first + 0.5),
        )
        axes.grid(visible=False)
        axes.locator_params(axis="y", integer=True)
        axes.set(xlabel="tick of the trial", ylabel="trial")
        from matplotlib.patches import Patch

        names = (("agent", AGENT), ("person", PERSON), ("fallback", FALLBACK))
        occurring = {code for deciders in rows for code in np.unique(deciders).tolist()}
        axes.legend(
            handles=[
                Patch(color=colour, label=name)
                for code, (name, colour) in enumerate(names)
                if code in occurring
            ],
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=3,
        )

    return _draw(draw, size=_WHOLE)


def _map_shares(
    rows: Sequence[npt.NDArray[np.uint8]], longest: int, most_rows: int, most_columns: int
) -> npt.NDArray[np.float64]:
    """Return ``(height, width, 3)``, how many ticks each decided there; neighbours are put together."""
    height, width = min(len(rows), most_rows), min(longest, most_columns)
    shares = np.zeros((height, width, 3))
    for number, deciders in enumerate(rows):
        columns = np.arange(len(deciders)) * width // longest
        known = deciders != NOBODY
        cells = np.bincount(columns[known] * 3 + deciders[known], minlength=width * 3)
        shares[number * height // len(rows)] += cells.reshape(width, 3)
    return shares


def _colours(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return RGBA: the mixed colour of those who decided, transparent where nobody did."""
    palette = np.array([_rgb(AGENT), _rgb(PERSON), _rgb(FALLBACK)])
    total = shares.sum(axis=2, keepdims=True)
    mixed = np.divide(shares @ palette, total, out=np.zeros((*shares.shape[:2], 3)), where=total > 0.0)
    return np.concatenate([mixed, (total > 0.0).astype(np.float64)], axis=2)


def _rgb(colour: str) -> list[float]:
    return [int(colour[at : at + 2], 16) / 255.0 for at in (1, 3, 5)]


def _window(n: int) -> int:
    return int(np.clip(n // 10, 3, 50))


def _smooth(values: npt.NDArray[np.float64], window: int) -> npt.NDArray[np.float64]:
    """Return the mean of the last ``window`` values at each of them."""
    sums = np.cumsum(np.insert(values, 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return np.asarray((sums[ends] - sums[starts]) / (ends - starts))


def _dots(axes: Axes, x: Any, y: Any, colour: str, n: int, name: str) -> None:
    """Draw a dot for each trial, of which there are ``n`` in the picture."""
    size = 30 if n < 50 else 14 if n < 500 else 5
    axes.scatter(x, y, s=size, color=colour, alpha=0.8 if n < 50 else 0.55, label=name, linewidths=0)


def _legend(axes: Axes) -> None:
    from matplotlib.collections import PathCollection

    legend = axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3)
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([30.0])


def _draw(draw: Callable[[Axes], None], *, size: tuple[float, float] = _HALF) -> str:
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError('reports are drawn with matplotlib: pip install "cogment_lab[report]"')
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure: Figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        target = io.StringIO()
        figure.savefig(target, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return target.getvalue()
