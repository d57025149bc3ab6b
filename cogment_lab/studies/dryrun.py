"""A study before its first participant: simulated people take part, several at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np

from cogment_lab.errors import CogmentLabError
from cogment_lab.studies.server import StudyServer
from cogment_lab.studies.simulated import SimulatedParticipant

__all__ = ["DryRun", "run_dryrun"]

_MORE_THAN_PLACES = 2


@dataclass(frozen=True, slots=True)
class DryRun:
    """How one simulated participant fared.

    Attributes:
        external_id: Who it was.
        participant: Their pseudonym; empty where they did not come so far.
        seconds: From the join link to the end.
        failure: Why they could not finish; empty for those who did.
    """

    external_id: str
    participant: str
    seconds: float
    failure: str


def run_dryrun(
    server: StudyServer,
    participants: int,
    *,
    seed: int = 0,
    timeout: float = 600.0,
    on_done: Callable[[DryRun], None] = lambda run: None,
) -> list[DryRun]:
    """Let simulated people take part, and return how they fared.

    Some more than there are places come at once, so that a few wait in line.

    Args:
        server: Runs already.
        participants: How many.
        seed: Of what they press and answer.
        timeout: Seconds that each may take, waiting included.
        on_done: Called with each as it ends.
    """
    streams = np.random.default_rng(seed).spawn(participants)
    people = [
        SimulatedParticipant(server.base_url, f"dryrun-{seed}-{number}", rng, timeout)
        for number, rng in enumerate(streams)
    ]
    at_once = min(participants, server.study.max_sessions + _MORE_THAN_PLACES)
    pool = ThreadPoolExecutor(at_once, "participant")
    try:
        runs = []
        for future in as_completed([pool.submit(_take_part, person) for person in people]):
            runs.append(future.result())
            on_done(runs[-1])
        return sorted(runs, key=lambda run: _order(people, run))
    finally:
        for person in people:
            person.stop()
        pool.shutdown(wait=True, cancel_futures=True)


def _order(people: Sequence[SimulatedParticipant], run: DryRun) -> int:
    return [person.external_id for person in people].index(run.external_id)


def _take_part(person: SimulatedParticipant) -> DryRun:
    begun = time.monotonic()
    participant = failure = ""
    try:
        participant = person.take_part()["participant"]
    except (CogmentLabError, TimeoutError) as error:
        failure = str(error)
    return DryRun(person.external_id, participant, time.monotonic() - begun, failure)
