"""``cogmentlab``: the command's face; each subcommand loads its own module when it runs."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from cogment_lab._version import __version__
from cogment_lab.cli.study_commands import study_app
from cogment_lab.errors import CogmentLabError, ConfigurationError

__all__ = ["app", "main"]

app = typer.Typer(
    help="Put a person inside a reinforcement learning loop.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
trials_app = typer.Typer(help="Look at the trials of a store.", no_args_is_help=True)
app.add_typer(trials_app, name="trials")
app.add_typer(study_app, name="study")


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


class Engine(StrEnum):
    """Whose services are launched."""

    embedded = "embedded"
    official = "official"


class Format(StrEnum):
    """What trials are exported as."""

    minari = "minari"
    npz = "npz"
    parquet = "parquet"
    csv = "csv"


class Player(StrEnum):
    """Who demonstrates."""

    web = "web"
    scripted = "scripted"


_STORE = typer.Option(help="Store file; runs/<env>.db (or $COGMENT_LAB_STORE) when not given.")
_FILE = typer.Argument(help="A store file.")
_PEM = "PEM file, for services that speak TLS."


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

    run_collect(
        env_id, trials=trials, store=store, human=human.value, seed=seed, headless=headless, port=port
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
    from cogment_lab.cli.trials import remove_trials

    if not yes:
        typer.confirm(f"Delete {len(trials)} trial(s) from {file} for good?", abort=True)
    remove_trials(file, trials)


@app.command(context_settings={"ignore_unknown_options": True})
def launch(
    names: Annotated[
        list[str], typer.Argument(help="base, all, or names of services; or a YAML file and its arguments.")
    ],
    engine: Annotated[Engine, typer.Option(help="Ours, or the official executable.")] = Engine.embedded,
    orchestrator_port: Annotated[int | None, typer.Option(help="Instead of 9000.")] = None,
    datastore_port: Annotated[int | None, typer.Option(help="Instead of 9003.")] = None,
    port: Annotated[list[str] | None, typer.Option(help="NAME=N, of any service.")] = None,
    quiet: Annotated[int, typer.Option("-q", count=True, help="Less output of a YAML file's scripts.")] = 0,
) -> None:
    """Run Cogment's services until Ctrl-C: base is the orchestrator and the trial datastore."""
    if names[0].endswith((".yaml", ".yml")):
        from cogment_lab.cli.scripts import launch_file

        raise typer.Exit(launch_file(Path(names[0]), names[1:], quiet))
    from cogment_lab.cli.launch import launch as run

    run(
        names,
        engine=engine.value,
        orchestrator_port=orchestrator_port,
        datastore_port=datastore_port,
        ports=_ports(port),
    )


@app.command()
def status(
    names: Annotated[
        list[str] | None, typer.Argument(help="base, all, or names of services; all without any.")
    ] = None,
    port: Annotated[list[str] | None, typer.Option(help="NAME=N, of any service.")] = None,
    host: Annotated[str, typer.Option(help="Where they are; this machine without it.")] = "",
    private_key: Annotated[
        Path | None,
        typer.Option("--private-key", "--private_key", help=_PEM, envvar="COGMENT_PRIVATE_KEY_FILE"),
    ] = None,
    root_cert: Annotated[
        Path | None, typer.Option("--root-cert", "--root_cert", help=_PEM, envvar="COGMENT_ROOT_CERT_FILE")
    ] = None,
    trust_chain: Annotated[
        Path | None,
        typer.Option("--trust-chain", "--trust_chain", help=_PEM, envvar="COGMENT_TRUST_CHAIN_FILE"),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for each answer.")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Say which services listen, their versions, load and health.

    The exit status is 0 when all that were named serve; without names, when one serves and none is ill.
    """
    from cogment_lab.cli.status import show_status
    from cogment_lab.services.tls import TlsFiles

    tls = TlsFiles(private_key=private_key, root_cert=root_cert, trust_chain=trust_chain)
    is_well = show_status(
        names or (), ports=_ports(port), host=host, tls=tls, timeout=timeout, as_json=as_json
    )
    raise typer.Exit(0 if is_well else 1)


def _ports(given: list[str] | None) -> dict[str, int]:
    ports = {}
    for text in given or ():
        name, _, number = text.partition("=")
        if not number.isdecimal():
            raise typer.BadParameter(f"{text!r} is not NAME=N", param_hint="--port")
        ports[name] = int(number)
    return ports


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)
def services(context: typer.Context) -> None:
    """Run one service, with the official flags: services NAME --help."""
    from cogment_lab.cli.services import run_service

    raise typer.Exit(run_service(context.args))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)
def client(context: typer.Context) -> None:
    """Ask a directory or a trial datastore, with the official flags: client --help."""
    from cogment_lab.cli.client import run_client

    raise typer.Exit(run_client(context.args))


@app.command()
def generate(
    spec: Annotated[Path, typer.Option(help="The application's spec file.")] = Path("cogment.yaml"),
    output: Annotated[Path, typer.Option(help="Module to write; messages go beside it.")] = Path(
        "cog_settings.py"
    ),
) -> None:
    """Write the settings and messages of a spec file as Python modules, as cogment.generate does."""
    from cogment_lab.cli.generate import generate as run

    for path in run(spec, output):
        print(path)


@app.command()
def report(
    file: Annotated[Path, _FILE],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write.")] = Path("report.html"),
    env: Annotated[str | None, typer.Option(help="Only trials of this environment.")] = None,
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
    most_trials: Annotated[int, typer.Option(min=1, help="Read the ticks of the newest N.")] = 1000,
) -> None:
    """Write what trials say about people and learners: one page, with pictures, that needs nothing else."""
    from cogment_lab.cli.report import write_report

    write_report(file, output, env_id=env, title=title, most_trials=most_trials)


@app.command()
def export(
    file: Annotated[Path, _FILE],
    to: Annotated[Format, typer.Option(help="The format.")],
    name: Annotated[str, typer.Option("--id", help="Minari id like lunar/human-v0, or a file.")],
    query: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE: env, min_return, only, labelled... or a property.")
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


@app.command("import")
def import_(
    sources: Annotated[
        list[str], typer.Argument(help="A .npz file, or the id of a Minari dataset; one for each agent.")
    ],
    file: Annotated[Path, typer.Argument(help="The store to record in; made if needed.")],
) -> None:
    """Record the trials of an export in a store."""
    from cogment_lab.cli.export import import_trials

    import_trials(sources, file)


@app.command()
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


@app.command()
def install(
    version: Annotated[str, typer.Option(help="Release of the official executable.")] = "2.22.0",
    path: Annotated[Path | None, typer.Option(help="Folder; $COGMENT_LAB_HOME or ~/.cogment_lab.")] = None,
) -> None:
    """Download the official Cogment executable; only launch --engine official needs it."""
    from cogment_lab.cli.install import install as run

    run(version, path)


def main() -> None:
    """Run the command; our own errors become one line, not a traceback."""
    try:
        app()
    except CogmentLabError as error:
        name = f"[bold red]{type(error).__name__}:[/]"
        Console(stderr=True).print(f"{name} {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
