"""``cogmentlab study serve`` and ``study dryrun``: a study for people, and first for simulated ones."""

from __future__ import annotations

import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cogment_lab.cli.serve import check_public_url
from cogment_lab.errors import SeatLostError
from cogment_lab.studies.definition import Study, read_study
from cogment_lab.studies.dryrun import DryRun, run_dryrun
from cogment_lab.studies.factory import load_factory
from cogment_lab.studies.ledger import Participant
from cogment_lab.studies.server import StudyServer

__all__ = ["dryrun_study", "serve_study"]

_LOOK_SECONDS = 0.2
_SWITCH_SECONDS = 0.001  # encoders and the event loop share one interpreter


def serve_study(
    file: Path,
    *,
    store: Path,
    port: int,
    host: str,
    public_url: str | None,
    proxies: Sequence[str] = (),
) -> None:
    """Serve until Ctrl-C; what participants did is in the store, and serving again goes on there.

    Raises:
        StudyFileError: the file cannot be used; it names the key.
        StudySessionError: the function that the file names cannot be loaded.
        PortInUseError: the port is taken.
        ConfigurationError: ``public_url`` or ``proxies`` are no addresses, or the latter come alone.
    """
    check_public_url(public_url)
    study = read_study(file)
    load_factory(study)
    console = Console()
    sys.setswitchinterval(_SWITCH_SECONDS)
    # Not SIGINT's handler: a job in the background of a script has that ignored, and could not be ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with StudyServer(
        study,
        store,
        port=port,
        host=host,
        public_url=public_url,
        proxies=proxies,
        say=lambda text: _say(console, text),
    ) as server:
        try:
            _link(console, "join link", server.join_url)
            _link(console, "experimenter", server.lobby_url)
            console.print(
                "with ?id=NAME somebody may come back from anywhere; the experimenter's link opens all",
                highlight=False,
                soft_wrap=True,
            )
            people = "1 person plays" if study.max_sessions == 1 else f"{study.max_sessions} people play"
            console.print(f"at most {people} at once; Ctrl-C ends it", highlight=False)
            while server.is_running():
                time.sleep(_LOOK_SECONDS)
        except KeyboardInterrupt:
            return
        raise SeatLostError("the study's server ended by itself")


def dryrun_study(
    file: Path, *, participants: int, seed: int, store: Path | None, fps: float, timeout: float
) -> int:
    """Let simulated people take part; return 0 when all of them finished.

    Raises:
        StudyFileError: the file cannot be used; it names the key.
        StudySessionError: the function that the file names cannot be loaded.
    """
    study = read_study(file)
    load_factory(study)
    console = Console()
    begun = time.monotonic()
    with ExitStack() as stack:
        if store is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="cogment_lab-"))
            store = Path(folder) / "dryrun.db"
        troubles = _Troubles(console)
        server = stack.enter_context(StudyServer(study, store, say=troubles.hear, fps=fps, join_limit=None))
        done = 0

        def tell(run: DryRun) -> None:
            nonlocal done
            done += 1
            how = "finished" if not run.failure else f"FAILED: {run.failure}"
            _say(console, f"{done}/{participants} {run.external_id} {how} [{run.seconds:.1f} s]")

        try:
            runs = run_dryrun(server, participants, seed=seed, timeout=timeout, on_done=tell)
        except KeyboardInterrupt:
            console.print("stopped", highlight=False)
            return 130
        console.print(_table(study, runs, server.people()))
    failed = sum(bool(run.failure) for run in runs)
    seconds = time.monotonic() - begun
    console.print(f"{participants - failed} of {participants} finished in {seconds:.1f} s", highlight=False)
    return 1 if failed else 0


class _Troubles:
    """Shows what the server says of sessions that went wrong, each text once."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def hear(self, text: str) -> None:
        who, _, what = text.partition(" ")
        if "has done all trials" in what:
            return
        told = what.rpartition(" [")[0]
        with self._lock:
            if told in self._known:
                return
            self._known.add(told)
        _say(self._console, f"{who} {what}")


def _table(study: Study, runs: Sequence[DryRun], people: Sequence[Participant]) -> Table:
    """Return how many finished under each condition, and how long it took them."""
    conditions = {person.pseudonym: person.condition for person in people}
    table = Table(
        "condition", "came", "completed", "failed", "median s", "longest s", title=f"dry run of {study.name}"
    )
    came = Counter(conditions.get(run.participant, "-") for run in runs)
    for condition in [*study.conditions, *(each for each in came if each not in study.conditions)]:
        here = [run for run in runs if conditions.get(run.participant, "-") == condition]
        seconds = [run.seconds for run in here if not run.failure]
        table.add_row(
            condition,
            str(len(here)),
            str(len(seconds)),
            str(len(here) - len(seconds)),
            f"{statistics.median(seconds):.1f}" if seconds else "-",
            f"{max(seconds):.1f}" if seconds else "-",
        )
    return table


def _say(console: Console, text: str) -> None:
    console.print(time.strftime("%H:%M:%S"), text, highlight=False, markup=False, soft_wrap=True)


def _link(console: Console, name: str, url: str) -> None:
    console.print(f"{name:<14}[link={url}]{url}[/link]", highlight=False, soft_wrap=True)
