"""``cogmentlab``: the command's face; each subcommand loads its own module when it runs."""

from __future__ import annotations

import errno
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from gymnasium.error import DependencyNotInstalled
from rich.console import Console
from rich.markup import escape

from cogment_lab._version import __version__
from cogment_lab.cli.data_commands import data_app
from cogment_lab.cli.service_commands import service_app
from cogment_lab.cli.study_commands import study_app
from cogment_lab.errors import CogmentLabError, ConfigurationError

__all__ = ["app", "main"]

app = typer.Typer(
    help="Put a person inside a reinforcement learning loop.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(study_app, name="study")
app.add_typer(data_app)
app.add_typer(service_app)


class Algo(StrEnum):
    """Learners of the demo."""

    dqfd = "dqfd"
    dqn = "dqn"
    sac = "sac"
    td3 = "td3"
    ppo = "ppo"


class Human(StrEnum):
    """Who helps the learner."""

    web = "web"
    scripted = "scripted"
    none = "none"


class Player(StrEnum):
    """Who demonstrates."""

    web = "web"
    scripted = "scripted"


_DISK_ERRORS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}

_STORE = typer.Option(help="Store file; runs/<env>.db (or $COGMENT_LAB_STORE) when not given.")


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Put a person inside a reinforcement learning loop."""


@app.command()
def demo(
    env_id: Annotated[str, typer.Argument(help="A Gymnasium id.")] = "LunarLander-v3",
    algo: Annotated[Algo, typer.Option(help="Who learns.")] = Algo.dqfd,
    human: Annotated[Human, typer.Option(help="Who helps.")] = Human.web,
    steps: Annotated[int, typer.Option(min=1, help="Environment steps.")] = 30_000,
    store: Annotated[Path | None, _STORE] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of learner and environment.")] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Open no browser window.")] = False,
    port: Annotated[int, typer.Option(help="Port of the page; 0 for any free one.")] = 8000,
) -> None:
    """Train an agent while somebody helps, and see the help pay off."""
    from cogment_lab.cli.demo import run_demo

    run_demo(
        env_id,
        algo=algo.value,
        human=human.value,
        steps=steps,
        store=store,
        seed=seed,
        headless=headless,
        port=port,
    )


@app.command()
def collect(
    env_id: Annotated[str, typer.Argument(help="A Gymnasium id.")],
    trials: Annotated[int, typer.Option(min=1, help="How many to keep.")] = 10,
    store: Annotated[Path | None, _STORE] = None,
    human: Annotated[Player, typer.Option(help="Who plays.")] = Player.web,
    seed: Annotated[int | None, typer.Option(help="Seed of the first trial.")] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Open no browser window.")] = False,
    port: Annotated[int, typer.Option(help="Port of the page; 0 for any free one.")] = 8000,
) -> None:
    """Record demonstrations: countdown, play, keep, discard or redo."""
    from cogment_lab.cli.collect import run_collect

    raise typer.Exit(
        run_collect(
            env_id, trials=trials, store=store, human=human.value, seed=seed, headless=headless, port=port
        )
    )


@app.command()
def serve(
    store: Annotated[Path, typer.Argument(help="A store file; it may come to be later.")],
    port: Annotated[int, typer.Option(help="Port of the page; 0 for any free one.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    public_url: Annotated[str | None, typer.Option(help="Address that people use, behind a proxy.")] = None,
    token: Annotated[str | None, typer.Option(help="Fixed token: links outlive a restart.")] = None,
    origin: Annotated[list[str] | None, typer.Option(help="Further web origin that may open seats.")] = None,
    study: Annotated[Path | None, typer.Option(help="A study's YAML file, to serve its pages too.")] = None,
) -> None:
    """Serve a store's page: the lobby, with the seats of every training on that store, and its trials."""
    if study is not None:
        from cogment_lab.cli.study_serve import serve_study

        if token is not None or origin:
            raise ConfigurationError(
                "a study makes its own tokens and has one origin: leave --token and --origin"
            )
        serve_study(study, store=store, port=port, host=host, public_url=public_url)
        return
    from cogment_lab.cli.serve import run_serve

    run_serve(store, port=port, host=host, public_url=public_url, token=token, origins=tuple(origin or ()))


@app.command()
def doctor() -> None:
    """Say what is installed, what is missing, and how to get it."""
    from cogment_lab.cli.doctor import run_doctor

    raise typer.Exit(run_doctor())


@app.command()
def version(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Say which version this is, of what, and which extras are installed."""
    from cogment_lab.cli.version import show_version

    show_version(as_json=as_json)


def main() -> None:
    """Run the command; our own errors, a disk's, and a missing package become one line."""
    try:
        app()
    except CogmentLabError as error:
        name = f"[bold red]{type(error).__name__}:[/]"
        Console(stderr=True).print(f"{name} {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        where = f": {error.filename}" if error.filename else ""
        Console(stderr=True).print(escape(f"{error.strerror}{where}"), highlight=False, soft_wrap=True)
        sys.exit(1)
    except DependencyNotInstalled as error:  # an environment's own, known when it is made or first drawn
        remedy = "; or all that the usual ones need: pip install 'cogment_lab[envs]'"
        Console(stderr=True).print(escape(f"{error}{remedy}"), highlight=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
