"""``cogmentlab study``: its commands' face; each loads its own module when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["study_app"]

study_app = typer.Typer(help="Run a study: one file, one link, many people.", no_args_is_help=True)

_STUDY = typer.Argument(help="The study's YAML file.")


@study_app.command("serve")
def study_serve(
    file: Annotated[Path, _STUDY],
    store: Annotated[Path, typer.Option(help="Where everything goes; made if needed.")],
    port: Annotated[int, typer.Option(help="Port of the page; 0 for any free one.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    public_url: Annotated[str | None, typer.Option(help="Address that people use, behind a proxy.")] = None,
    proxy: Annotated[
        list[str] | None, typer.Option(help="Address of that proxy, where it is not on this machine.")
    ] = None,
) -> None:
    """Serve a study until Ctrl-C; serving it again with the same store goes on where it was."""
    from cogment_lab.cli.study_serve import serve_study

    serve_study(file, store=store, port=port, host=host, public_url=public_url, proxies=tuple(proxy or ()))


@study_app.command("dryrun")
def study_dryrun(
    file: Annotated[Path, _STUDY],
    participants: Annotated[int, typer.Option(min=1, help="How many simulated people.")] = 30,
    seed: Annotated[int, typer.Option(min=0, help="Of what they press and answer.")] = 0,
    store: Annotated[Path | None, typer.Option(help="Keep what they did here; nowhere without it.")] = None,
    fps: Annotated[float, typer.Option(min=1.0, help="Ticks per second of their trials.")] = 400.0,
    timeout: Annotated[float, typer.Option(min=1.0, help="Seconds that each may take.")] = 600.0,
) -> None:
    """Let simulated people take part, by the real pages' requests; the exit status is 1 if any could not."""
    from cogment_lab.cli.study_serve import dryrun_study

    raise typer.Exit(
        dryrun_study(file, participants=participants, seed=seed, store=store, fps=fps, timeout=timeout)
    )


@study_app.command("check")
def study_check(file: Annotated[Path, _STUDY]) -> None:
    """Say what a study's file means, or what is wrong with it and where."""
    from cogment_lab.cli.study import check_study

    check_study(file)


@study_app.command("status")
def study_status(
    file: Annotated[Path, _STUDY],
    store: Annotated[Path, typer.Option(help="The study's store.")],
) -> None:
    """Say how many people are where in a study."""
    from cogment_lab.cli.study import show_progress

    show_progress(file, store)


@study_app.command("export")
def study_export(
    file: Annotated[Path, _STUDY],
    store: Annotated[Path, typer.Option(help="The study's store.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to make.")],
) -> None:
    """Write participants, responses, trials, events (CSV), ticks (Parquet) and a codebook."""
    from cogment_lab.cli.study import export_data

    export_data(file, store, output)


@study_app.command("forget")
def study_forget(
    participant: Annotated[str, typer.Argument(help="Pseudonym, or the name that they came with.")],
    store: Annotated[Path, typer.Option(help="The study's store.")],
) -> None:
    """Remove a person's trials, answers and names from a store, and their bytes from its file."""
    from cogment_lab.cli.study import forget_participant

    forget_participant(store, participant)
