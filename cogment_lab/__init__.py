"""Put a person inside a reinforcement learning loop.

Importing registers ``cogment_lab/<id>`` for every Gymnasium id known by then. Everything else is loaded when
it is first used, so that the import stays light: neither torch nor stable_baselines3 nor fastapi nor grpc is
loaded.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from cogment_lab import errors
from cogment_lab._version import __version__
from cogment_lab.integrations.gymnasium.registration import register_envs

if TYPE_CHECKING:
    from cogment_lab.humans import SimulatedHuman, WebUI
    from cogment_lab.integrations.gymnasium.collect import collect
    from cogment_lab.integrations.gymnasium.environment import TrialEnv
    from cogment_lab.integrations.gymnasium.join import join
    from cogment_lab.integrations.gymnasium.make import make
    from cogment_lab.integrations.gymnasium.run import run
    from cogment_lab.process_manager import Cogment
    from cogment_lab.store import PreferenceQueue, TrialData, TrialInfo, TrialStore, concatenate

__all__ = [
    "Cogment",
    "PreferenceQueue",
    "SimulatedHuman",
    "TrialData",
    "TrialEnv",
    "TrialInfo",
    "TrialStore",
    "WebUI",
    "__version__",
    "collect",
    "concatenate",
    "errors",
    "join",
    "make",
    "register_envs",
    "run",
]

_LAZY = {
    "Cogment": "cogment_lab.process_manager",
    "PreferenceQueue": "cogment_lab.store",
    "SimulatedHuman": "cogment_lab.humans",
    "TrialData": "cogment_lab.store",
    "TrialEnv": "cogment_lab.integrations.gymnasium.environment",
    "TrialInfo": "cogment_lab.store",
    "TrialStore": "cogment_lab.store",
    "WebUI": "cogment_lab.humans",
    "collect": "cogment_lab.integrations.gymnasium.collect",
    "concatenate": "cogment_lab.store",
    "join": "cogment_lab.integrations.gymnasium.join",
    "make": "cogment_lab.integrations.gymnasium.make",
    "run": "cogment_lab.integrations.gymnasium.run",
}


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


register_envs()
