"""``cogmentlab services NAME``: one service in a process of its own, with the official command line."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import logging
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cogment_lab.cli import service_flags
from cogment_lab.cli.flags import Option, add_options, given_options
from cogment_lab.errors import CogmentLabError

__all__ = ["SERVICES", "run_service"]

_STOP_SECONDS = 5.0
_LOOPBACK = "127.0.0.1"
_REGISTERED = "directory_registration_host"
_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@dataclass(frozen=True)
class _Service:
    """A kind of service: its class, in its package, and that of its settings, and its flags."""

    class_name: str
    options: Sequence[Option]
    aliases: tuple[str, ...] = ()

    def make(self, name: str, settings: dict[str, Any]) -> Any:
        host = settings.get("host", _LOOPBACK)
        if host in (_LOOPBACK, "localhost") and any(one.name == _REGISTERED for one in self.options):
            settings.setdefault(_REGISTERED, host)  # nobody reaches it by another address
        package = importlib.import_module(f"cogment_lab.services.{name}")
        return getattr(package, self.class_name)(getattr(package, f"{self.class_name}Settings")(**settings))


SERVICES = {
    "orchestrator": _Service("Orchestrator", service_flags.ORCHESTRATOR),
    "trial_datastore": _Service("TrialDatastore", service_flags.DATASTORE, ("datastore",)),
    "model_registry": _Service("ModelRegistry", service_flags.MODEL_REGISTRY, ("registry",)),
    "directory": _Service("Directory", service_flags.DIRECTORY_SERVICE),
    "web_proxy": _Service("WebProxy", service_flags.WEB_PROXY, ("proxy",)),
}
"""What can be run, by its official name."""


def run_service(arguments: Sequence[str]) -> int:
    """Run ``NAME [--flag value]...`` until it is interrupted; return the exit status."""
    names = {alias: name for name, service in SERVICES.items() for alias in (name, *service.aliases)}
    if not arguments or arguments[0] not in names:
        asked = arguments[0] if arguments else ""
        usage = f"cogmentlab services NAME [--help], NAME one of: {', '.join(names)}"
        if asked in ("-h", "--help"):
            print(usage)
            return 0
        print(f"there is no service {asked!r}; {usage}" if asked else usage, file=sys.stderr)
        return 2
    name = names[arguments[0]]
    service = SERVICES[name]
    parser = argparse.ArgumentParser(prog=f"cogmentlab services {name}", allow_abbrev=False)
    add_options(parser, (*service.options, *service_flags.LOG))
    flags = vars(parser.parse_args(arguments[1:]))
    settings = given_options(parser, service.options, flags)
    try:
        _set_up_logging(**given_options(parser, service_flags.LOG, flags))
        asyncio.run(_serve(name, service.make(name, settings)))
    except (CogmentLabError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    return 0


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "component": record.name,
            "msg": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _set_up_logging(
    log_level: int = logging.INFO, log_file: Path | None = None, log_format: str = "text"
) -> None:
    handler = logging.FileHandler(log_file) if log_file is not None else logging.StreamHandler()
    handler.setFormatter(_JsonLines() if log_format == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=log_level, handlers=[handler])


async def _serve(name: str, service: Any) -> None:
    """Serve until SIGINT or SIGTERM, then stop within five seconds."""
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(over.set))
    starting = asyncio.create_task(service.start())
    interrupted = asyncio.create_task(over.wait())
    try:
        await asyncio.wait({starting, interrupted}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            port = starting.result()
            print(f"{name} listens on {service.settings.host}:{port}", flush=True)
            await interrupted
    finally:
        starting.cancel()
        interrupted.cancel()
        await asyncio.gather(starting, interrupted, return_exceptions=True)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await service.stop(grace=_STOP_SECONDS / 2)
        except TimeoutError:
            logging.getLogger(__name__).warning("%s did not stop in %g s", name, _STOP_SECONDS)
