"""Orchestrator and trial datastore in one process: what Cogment Lab needs to run trials.

``python -m cogment_lab.services.base orchestrator datastore`` serves those that are named until its standard
input closes, so that it never outlives the process that started it. The first line that it prints is a JSON
object with their ports.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cogment_lab.services.orchestrator import Orchestrator, OrchestratorSettings
from cogment_lab.services.trial_datastore import TrialDatastore, TrialDatastoreSettings

__all__ = ["main"]


async def _serve(names: Sequence[str], file: Path | None) -> None:
    made: dict[str, Callable[[], Orchestrator | TrialDatastore]] = {
        "orchestrator": lambda: Orchestrator(OrchestratorSettings(lifecycle_port=0, actor_port=0)),
        "datastore": lambda: TrialDatastore(TrialDatastoreSettings(port=0, file_storage=file)),
    }
    services = {name: made[name]() for name in names}
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    try:
        print(json.dumps({name: await service.start() for name, service in services.items()}), flush=True)
        closed = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        closed.add_done_callback(lambda _: over.set())
        await over.wait()
    finally:
        for service in services.values():
            await service.stop(0.5)


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", choices=("orchestrator", "datastore"))
    parser.add_argument("--datastore-file", type=Path, default=None)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    asyncio.run(_serve(arguments.names, arguments.datastore_file))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
