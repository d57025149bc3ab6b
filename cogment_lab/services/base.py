"""Orchestrator and trial datastore in one process: what Cogment Lab needs to run trials.

``python -m cogment_lab.services.base`` serves until its standard input closes, so that it never outlives the
process that started it. The first line that it prints is a JSON object with its ports.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
from pathlib import Path

from cogment_lab.services.orchestrator import Orchestrator, OrchestratorSettings
from cogment_lab.services.trial_datastore import TrialDatastore, TrialDatastoreSettings

__all__ = ["main"]


async def _serve(orchestrator_port: int, datastore_port: int, file: Path | None) -> None:
    orchestrator = Orchestrator(
        OrchestratorSettings(lifecycle_port=orchestrator_port, actor_port=orchestrator_port)
    )
    datastore = TrialDatastore(TrialDatastoreSettings(port=datastore_port, file_storage=file))
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    try:
        ports = {"orchestrator": await orchestrator.start(), "datastore": await datastore.start()}
        print(json.dumps(ports), flush=True)
        closed = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        closed.add_done_callback(lambda _: over.set())
        await over.wait()
    finally:
        await orchestrator.stop(0.5)
        await datastore.stop(0.5)


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orchestrator-port", type=int, default=0)
    parser.add_argument("--datastore-port", type=int, default=0)
    parser.add_argument("--datastore-file", type=Path, default=None)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    asyncio.run(_serve(arguments.orchestrator_port, arguments.datastore_port, arguments.datastore_file))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
