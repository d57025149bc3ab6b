"""``cogmentlab trials|report|export|import|replay``: the face of the commands about recorded trials."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["data_app"]

_PANEL = "Recorded trials"

data_app = typer.Typer()
trials_app = typer.Typer(help="Look at the trials of a store.", no_args_is_help=True)
data_app.add_typer(trials_app, name="trials", rich_help_panel=_PANEL)

_FILE = typer.Argument(help="A store file.")


class Format(StrEnum):
    """What trials are exported as."""

    minari = "minari"
    npz = "npz"
    parquet = "parquet"
    csv = "csv"


@trials_app.command("ls")
def trials_ls(
    file: Annotated[Path, _FILE],
    env: Annotated[str | None, typer.Option(help="Only trials of this environment.")] = None,
    state: Annotated[str | None, typer.Option(help="RUNNING, ENDED or INTERRUPTED.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest N.")] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """List trials, newest first."""
    from cogment_lab.cli.trials import list_trials

    list_trials(file, env_id=env, state=state, limit=limit, as_json=as_json)


@trials_app.command("show")
def trials_show(
    file: Annotated[Path, _FILE], trial: Annotated[str, typer.Argument(help="A trial id.")]
) -> None:
    """Show one trial: what it was told, how it went, who decided when."""
    from cogment_lab.cli.trials import show_trial

    show_trial(file, trial)


@trials_app.command("rm")
def trials_rm(
    file: Annotated[Path, _FILE],
    trials: Annotated[list[str], typer.Argument(help="Trial ids.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete trials for good."""
    from cogment_lab.cli.counting import counted
    from cogment_lab.cli.trials import remove_trials

    if not yes:
        typer.confirm(f"Delete {counted(len(trials), 'trial')} from {file} for good?", abort=True)
    remove_trials(file, trials)


@data_app.command(rich_help_panel=_PANEL)
def report(
    file: Annotated[Path, _FILE],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write.")] = Path("report.html"),
    env: Annotated[str | None, typer.Option(help="Only trials of this environment.")] = None,
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
    most_trials: Annotated[int, typer.Option(min=1, help="Read the ticks of the newest N.")] = 10_000,
) -> None:
    """Write what trials say about people and learners: one page, with pictures, that needs nothing else."""
    from cogment_lab.cli.report import write_report

    write_report(file, output, env_id=env, title=title, most_trials=most_trials)


@data_app.command(rich_help_panel=_PANEL)
def export(
    file: Annotated[Path, _FILE],
    to: Annotated[Format, typer.Option(help="The format.")],
    name: Annotated[str, typer.Option("--id", help="Minari id like lunar/human-v0, or a file.")],
    query: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE: env, min_return, only, labelled... or a property; several times."),
    ] = None,
    agent: Annotated[str | None, typer.Option(help="Whose steps; for Minari all agents without it.")] = None,
    author: Annotated[str | None, typer.Option(help="Of the Minari dataset.")] = None,
    description: Annotated[str | None, typer.Option(help="Of the Minari dataset.")] = None,
    ref_min_score: Annotated[
        float | None, typer.Option(help="Return of a random policy, for Minari.")
    ] = None,
    ref_max_score: Annotated[float | None, typer.Option(help="Return of an expert, for Minari.")] = None,
) -> None:
    """Write trials as a Minari dataset, or as a .npz, .parquet or .csv file."""
    from cogment_lab.cli.export import export_trials

    metadata = {
        "author": author,
        "description": description,
        "ref_min_score": ref_min_score,
        "ref_max_score": ref_max_score,
    }
    export_trials(file, to.value, name, query=query or (), agent=agent, metadata=metadata)


@data_app.command("import", rich_help_panel=_PANEL)
def import_(
    sources: Annotated[
        list[str], typer.Argument(help="A .npz file, or the id of a Minari dataset; one for each agent.")
    ],
    file: Annotated[Path, typer.Argument(help="The store to record in; made if needed.")],
) -> None:
    """Record the trials of an export in a store."""
    from cogment_lab.cli.export import import_trials

    import_trials(sources, file)


@data_app.command(rich_help_panel=_PANEL)
def replay(
    file: Annotated[Path, _FILE],
    trial: Annotated[str, typer.Argument(help="A trial id.")],
    render: Annotated[bool, typer.Option("--render", help="Render each tick again.")] = False,
    video: Annotated[Path | None, typer.Option(help="Write the pictures as an mp4 file.")] = None,
    env: Annotated[
        str | None, typer.Option(help="MODULE:FUNCTION that makes the environment, if no spec is recorded.")
    ] = None,
) -> None:
    """Execute a trial again and compare it with its record; the exit status is 1 if it differs."""
    from cogment_lab.cli.replay import replay_trial

    raise typer.Exit(replay_trial(file, trial, render=render, video=video, env=env))
