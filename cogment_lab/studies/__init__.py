"""Studies with people: one YAML file, one link, as many participants as come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cogment_lab.studies.definition import Preflight, Study, read_study
from cogment_lab.studies.doorkeeper import JoinLimit
from cogment_lab.studies.factory import Session
from cogment_lab.studies.ledger import Participant, StudyLedger
from cogment_lab.studies.questions import Question

if TYPE_CHECKING:
    from cogment_lab.studies.server import StudyServer

__all__ = [
    "JoinLimit",
    "Participant",
    "Preflight",
    "Question",
    "Session",
    "Study",
    "StudyLedger",
    "StudyServer",
    "read_study",
]


def __getattr__(name: str) -> Any:
    """Import the server when it is asked for: sessions, which import this package too, have no use for it."""
    if name == "StudyServer":
        from cogment_lab.studies.server import StudyServer

        return StudyServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
