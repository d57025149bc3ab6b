"""People in a trial: the web page, and simulated humans with which every study can be dry-run."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from cogment_lab.humans.simulated import SimulatedEvaluator, SimulatedHuman

if TYPE_CHECKING:
    from cogment_lab.humans.web import WebUI

__all__ = ["SimulatedEvaluator", "SimulatedHuman", "WebUI"]


def __getattr__(name: str) -> Any:
    if name == "WebUI":
        return importlib.import_module("cogment_lab.humans.web").WebUI
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
