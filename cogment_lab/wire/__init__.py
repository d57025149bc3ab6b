"""Cogment's gRPC API: messages, client side, sessions.

``import cogment_lab.wire as cogment`` has the names of the official SDK, loaded when they are used.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

from cogment_lab._version import __version__

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # it reports every closed connection

__all__ = [
    "ActorClass",
    "ActorClassList",
    "ActorParameters",
    "ActorStatus",
    "CogmentError",
    "Context",
    "DatastoreFields",
    "Endpoint",
    "EventType",
    "GrpcMetadata",
    "LogParams",
    "LogSample",
    "Model",
    "ServedEndpoint",
    "TrialParameters",
    "TrialState",
    "__version__",
    "make_logger",
]

_HOMES = {
    "ActorClass": "settings",
    "ActorClassList": "settings",
    "ActorParameters": "parameters",
    "ActorStatus": "events",
    "Context": "context",
    "DatastoreFields": "datastore",
    "Endpoint": "endpoint",
    "EventType": "events",
    "GrpcMetadata": "metadata",
    "LogParams": "datalog",
    "LogSample": "datalog",
    "Model": "model_registry",
    "ServedEndpoint": "endpoint",
    "TrialParameters": "parameters",
    "TrialState": "controller",
    "make_logger": "logger",
}
_MODULES = {
    "actor",
    "context",
    "controller",
    "datalog",
    "datastore",
    "endpoint",
    "environment",
    "events",
    "model_registry",
    "parameters",
    "prehook",
    "session",
}


def __getattr__(name: str) -> Any:
    if name == "CogmentError":
        from cogment_lab.errors import ServiceError

        return ServiceError
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
