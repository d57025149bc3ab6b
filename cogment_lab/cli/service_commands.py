"""``cogmentlab launch|status|services|client|generate|install``: the face of the commands about services."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["service_app"]

service_app = typer.Typer()

_PANEL = "Services"
_PEM = "PEM file, for services that speak TLS."


class Engine(StrEnum):
    """Whose services are launched."""

    embedded = "embedded"
    official = "official"


@service_app.command(rich_help_panel=_PANEL, context_settings={"ignore_unknown_options": True})
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


@service_app.command(rich_help_panel=_PANEL)
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


@service_app.command(
    rich_help_panel=_PANEL,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def services(context: typer.Context) -> None:
    """Run one service, with the official flags: services NAME --help."""
    from cogment_lab.cli.services import run_service

    raise typer.Exit(run_service(context.args))


@service_app.command(
    rich_help_panel=_PANEL,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def client(context: typer.Context) -> None:
    """Ask a directory or a trial datastore, with the official flags: client --help."""
    from cogment_lab.cli.client import run_client

    raise typer.Exit(run_client(context.args))


@service_app.command(rich_help_panel=_PANEL)
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


@service_app.command(rich_help_panel=_PANEL)
def install(
    version: Annotated[str, typer.Option(help="Release of the official executable.")] = "2.22.0",
    path: Annotated[Path | None, typer.Option(help="Folder; $COGMENT_LAB_HOME or ~/.cogment_lab.")] = None,
) -> None:
    """Download the official Cogment executable; only launch --engine official needs it."""
    from cogment_lab.cli.install import install as run

    run(version, path)


def _ports(given: list[str] | None) -> dict[str, int]:
    ports = {}
    for text in given or ():
        name, _, number = text.partition("=")
        if not number.isdecimal():
            raise typer.BadParameter(f"{text!r} is not NAME=N", param_hint="--port")
        ports[name] = int(number)
    return ports
