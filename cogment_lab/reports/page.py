"""A report as one HTML page that needs nothing else: no script, no network, pictures inside."""

from __future__ import annotations

import base64
import hashlib
import html
import time
from collections.abc import Sequence
from importlib import resources

import numpy as np

from cogment_lab.reports.figures import (
    feedback_figure,
    human_cost_figure,
    intervention_figure,
    learning_figure,
    takeover_map,
)
from cogment_lab.reports.numbers import EnvironmentReport, Participant, StoreReport

__all__ = ["render_page"]


def render_page(report: StoreReport, *, title: str | None = None) -> str:
    """Return the page.

    Args:
        report: What it shows.
        title: Its heading; the store's file name by default.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    css = resources.files("cogment_lab.reports").joinpath("report.css").read_text(encoding="utf-8")
    heading = html.escape(title or f"Trials in {report.path.rsplit('/', 1)[-1]}")
    starts = [trial.info.started for each in report.environments for trial in each.trials]
    trials = sum(len(each.trials) for each in report.environments)
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'"
    body = "".join(_environment(each) for each in report.environments)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{heading}</title>\n<style>{css}</style>\n</head>\n"
        f"<body>\n<header>\n<h1>{heading}</h1>\n"
        f'<p class="quiet">{_count(trials, "finished trial")} of '
        f"{_count(len(report.environments), 'environment')}, {_period(starts)}</p>\n"
        f"{_warnings(report)}</header>\n"
        f"<main>\n{body}</main>\n"
        "</body>\n</html>\n"
    )


def _warnings(report: StoreReport) -> str:
    lines = []
    if report.corrupt:
        lines.append(
            f"{_count(len(report.corrupt), 'trial')} cannot be decoded, and counted without ticks: "
            f"{', '.join(report.corrupt[:5])}{' …' if len(report.corrupt) > 5 else ''}"
        )
    if report.running:
        lines.append(f"{_count(report.running, 'trial')} left out, still running.")
    if report.unread:
        lines.append(
            f"The ticks of the oldest {report.unread:,} trials were not read: time, feedback, reactions and "
            "the map leave them out."
        )
    return "".join(f'<p class="warning">{html.escape(line)}</p>\n' for line in lines)


def _environment(report: EnvironmentReport) -> str:
    has_people = any(trial.n_by_people for trial in report.trials)
    is_read = any(trial.is_read for trial in report.trials)
    halves = []
    if has_people:
        halves.append(
            _figure("Interventions", "How much of each trial people decided.", intervention_figure(report))
        )
    if has_people and is_read:
        halves.append(
            _figure("Human cost", "Time in control and takeovers, summed up.", human_cost_figure(report))
        )
    if any(trial.praise or trial.scolding for trial in report.trials):
        halves.append(_figure("Feedback", "Praise above, scolding below zero.", feedback_figure(report)))
    wide = len(halves) % 2 == 0  # no gap in the last line
    learning = learning_figure(report, wide=wide)
    figures = [_figure("Learning curve", "The return of each trial.", learning, wide=wide), *halves]
    if has_people and is_read:
        caption = "Who decided each tick of each trial."
        figures.append(_figure("Takeover map", caption, takeover_map(report.trials), wide=True))
    has_names = any(participant.user_id for participant in report.participants)
    has_feedback = any(participant.feedback for participant in report.participants)
    return (
        f"<section>\n<h2>{html.escape(report.env_id)}</h2>\n{_tiles(report)}"
        f'<div class="figures">\n{"".join(figures)}</div>\n'
        f"{_table(report.participants) if has_names or has_people or has_feedback else ''}</section>\n"
    )


def _tiles(report: EnvironmentReport) -> str:
    returns, ticks = report.column("total_reward"), report.column("n_ticks")
    tenth = max(len(returns) // 10, 1)
    reactions = np.concatenate([trial.reactions for trial in report.trials])
    tiles = [
        (f"{len(returns):,}", "trial" if len(returns) == 1 else "trials"),
        (f"{int(ticks.sum()):,}", "environment steps"),
        (_number(returns[-tenth:].mean()), f"mean return, last {tenth}" if tenth > 1 else "last return"),
    ]
    if by_people := sum(trial.n_by_people for trial in report.trials):
        tiles += [
            (f"{by_people / ticks.sum():.1%}", "of steps by people"),
            (f"{int(report.column('n_takeovers').sum()):,}", "takeovers"),
            (_duration(sum(trial.seconds_in_control for trial in report.trials)), "in control"),
        ]
    if len(reactions):
        tiles.append((f"{np.median(reactions) * 1e3:.0f} ms", "median reaction"))
    items = "".join(
        f"<li><strong>{value}</strong><span>{html.escape(name)}</span></li>" for value, name in tiles
    )
    return f'<ul class="tiles">{items}</ul>\n'


def _figure(title: str, caption: str, svg: str, *, wide: bool = False) -> str:
    uri = f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
    kind = ' class="wide" tabindex="0"' if wide else ""  # on phones it is scrolled, also by keys
    return (
        f"<figure{kind}>\n<h3>{html.escape(title)}</h3>\n<figcaption>{html.escape(caption)}</figcaption>\n"
        f'<img src="{uri}" alt="{html.escape(f"{title}: {caption}")}">\n</figure>\n'
    )


def _table(participants: Sequence[Participant]) -> str:
    names = (
        "participant", "trials", "steps", "decided by them", "takeovers", "in control", "feedback",
        "median reaction", "mean return",
    )  # fmt: skip
    rows = []
    for each in participants:
        reaction = "\N{EN DASH}" if each.median_reaction_ms is None else f"{each.median_reaction_ms:.0f} ms"
        cells = (
            each.user_id or "(not named)",
            f"{each.trials:,}",
            f"{each.ticks:,}",
            f"{each.n_by_people / each.ticks:.1%}",
            f"{each.takeovers:,}",
            _duration(each.seconds_in_control),
            f"{each.feedback:,}",
            reaction,
            _number(each.mean_return),
        )
        rows.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    return (
        '<div class="table" role="region" aria-label="Participants" tabindex="0">\n<h3>Participants</h3>\n'
        f"<table>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>{''.join(rows)}</tbody>\n</table>\n</div>\n"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100.0 else f"{value:.2f}"


def _duration(seconds: float) -> str:
    return f"{seconds / 60.0:.1f} min" if seconds >= 120.0 else f"{seconds:.1f} s"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _period(starts: Sequence[float]) -> str:
    first, last = _date(min(starts)), _date(max(starts))
    return first if first == last else f"{first} to {last}"


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
