"""``cogmentlab trials``: list, show and delete stored trials."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from cogment_lab.cli.counting import counted
from cogment_lab.errors import StoreError

if TYPE_CHECKING:
    from cogment_lab.store import TrialData, TrialInfo, TrialStore

__all__ = ["list_trials", "remove_trials", "show_trial"]

_BAND_WIDTH = 60


def open_existing(file: Path) -> TrialStore:
    """Open a store that must exist already.

    Raises:
        StoreError: there is no such file.
    """
    from cogment_lab.store import TrialStore

    if not file.exists():
        raise StoreError(f"{file} does not exist; training writes to runs/<env>.db unless told otherwise")
    return TrialStore(file)


def list_trials(file: Path, *, env_id: str | None, state: str | None, limit: int, as_json: bool) -> None:
    """Print the newest trials of a store."""
    with open_existing(file) as store:
        found = list(store.trials(env_id=env_id, state=state, limit=limit, newest_first=True))
        stats = store.stats()
    if as_json:
        for info in found:
            print(json.dumps(_as_json(info)))
        return
    table = Table(
        title=f"{file}: {counted(stats.trials, 'trial')}, {counted(stats.ticks, 'tick')}, "
        f"{stats.bytes / 1e6:.1f} MB",
        box=SIMPLE,
    )
    table.add_column("trial", no_wrap=True, min_width=max((len(info.trial_id) for info in found), default=0))
    for name in ("environment", "ended by"):
        table.add_column(name, no_wrap=True)
    for name in ("ticks", "return", "helped", "takeovers"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    table.add_column("started")
    for info in found:
        table.add_row(
            info.trial_id,
            info.env_id,
            info.end_reason or info.state.lower(),
            str(info.n_ticks),
            f"{info.total_reward:.1f}",
            f"{info.n_interventions / info.n_ticks:.0%}" if info.n_ticks else "",
            str(info.n_takeovers),
            time.strftime("%m-%d %H:%M", time.localtime(info.started)),
        )
    Console().print(table)


def show_trial(file: Path, trial_id: str) -> None:
    """Print one trial."""
    console = Console()
    with open_existing(file) as store:
        info = store.info(trial_id)
        agents = store.load(trial_id)
        events = store.events(trial_id)
    table = Table(title=f"trial {trial_id}", show_header=False)
    for key, value in _as_json(info).items():
        if key in ("started", "ended") and value is not None:
            value = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(value))
        table.add_row(key, value if isinstance(value, str) else json.dumps(value))
    console.print(table)
    for agent, data in agents.items():
        console.print(f"{agent}: {_band(data)}", highlight=False)
    console.print("[blue]▶[/] agent   [orange1]✋[/] teacher   [red]·[/] fallback")
    for tick, kind, payload, _ in events:
        console.print(f"  tick {tick}: {kind} {json.dumps(dict(payload), default=str)}", highlight=False)


def remove_trials(file: Path, trial_ids: list[str]) -> None:
    """Delete trials; an unknown id is an error and nothing is deleted."""
    with open_existing(file) as store:
        for trial_id in trial_ids:
            store.info(trial_id)
        store.delete(trial_ids)
    Console().print(f"deleted {counted(len(trial_ids), 'trial')}")


def _band(data: TrialData) -> str:
    """Return the run of deciders as one line: who acted, for how many ticks."""
    marks = {"player": "[blue]▶{}[/]", "teacher": "[orange1]✋{}[/]", "fallback": "[red]·{}[/]"}
    runs = [(who, len(list(run))) for who, run in itertools.groupby(data.decided_by.tolist())]
    shown = " ".join(marks[who].format(length) for who, length in runs[:_BAND_WIDTH])
    return shown + (f" … {len(runs) - _BAND_WIDTH} more" if len(runs) > _BAND_WIDTH else "")


def _as_json(info: TrialInfo) -> dict[str, Any]:
    return {
        "trial_id": info.trial_id,
        "env_id": info.env_id,
        "state": info.state,
        "end_reason": info.end_reason,
        "n_ticks": info.n_ticks,
        "total_reward": info.total_reward,
        "n_interventions": info.n_interventions,
        "n_takeovers": info.n_takeovers,
        "terminated": info.terminated,
        "truncated": info.truncated,
        "seed": info.seed,
        "options": info.options,
        "properties": dict(info.properties),
        "record": info.record,
        "user_id": info.user_id,
        "started": info.started,
        "ended": info.ended,
        "versions": dict(info.versions),
    }
