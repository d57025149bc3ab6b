"""The flags of each service: those of protocol section 13, and ``--host``.

An option's name is that of the field in the service's settings.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cogment_lab.cli.flags import DIRECTORY, TLS, Option, a_path, a_truth, items, properties

__all__ = [
    "DATASTORE",
    "DIRECTORY_SERVICE",
    "LOG",
    "LOG_LEVELS",
    "MODEL_REGISTRY",
    "ORCHESTRATOR",
    "WEB_PROXY",
]

LOG_LEVELS = {"trace": 5, "debug": 10, "info": 20, "warning": 30, "error": 40, "off": 100}
_FORMATS = ("text", "json")


def _log_level(text: str) -> int:
    if text.lower() not in LOG_LEVELS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(LOG_LEVELS)}")
    return LOG_LEVELS[text.lower()]


def _log_format(text: str) -> str:
    if text not in _FORMATS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(_FORMATS)}")
    return text


def _port_or_none(text: str) -> int | None:
    return int(text) or None


def _own(service: str, *, port: int, reflection: bool = True) -> tuple[Option, ...]:
    own = [
        Option(
            "port", int, f"port to listen on, 0 for a free one (default {port})", (f"COGMENT_{service}_PORT",)
        ),
        _HOST,
    ]
    if reflection:
        own.append(
            Option(
                "reflection",
                a_truth,
                "let clients ask for the schema (default true)",
                (f"COGMENT_{service}_GRPC_REFLECTION",),
                aliases=("grpc_reflection",),
                bare=True,
            )
        )
    return tuple(own)


def _registration(service: str) -> tuple[Option, ...]:
    start = f"COGMENT_{service}_DIRECTORY_REGISTRATION"
    return (
        *DIRECTORY,
        Option(
            "directory_registration_host",
            str,
            "host to register; otherwise our own address",
            (f"{start}_HOST",),
        ),
        Option(
            "directory_registration_properties",
            properties,
            "registered besides: name=value,name=value",
            (f"{start}_PROPERTIES",),
        ),
    )


_HOST = Option("host", str, "address to listen on (default 127.0.0.1)", ("COGMENT_LAB_HOST",))

LOG = (
    Option("log_level", _log_level, f"{', '.join(LOG_LEVELS)} (default info)", ("COGMENT_LOG_LEVEL",)),
    Option("log_file", a_path, "file for the log instead of stderr", ("COGMENT_LOG_FILE",)),
    Option("log_format", _log_format, "text or json (default text)", ("COGMENT_LOG_FORMAT",)),
)
"""Of every service; no settings of the service itself."""

ORCHESTRATOR = (
    Option("lifecycle_port", int, "default 9000", ("COGMENT_LIFECYCLE_PORT", "TRIAL_LIFECYCLE_PORT")),
    Option("actor_port", int, "default 9000", ("COGMENT_ACTOR_PORT", "TRIAL_ACTOR_PORT")),
    Option(
        "actor_web_port",
        _port_or_none,
        "port for browsers: grpc-web over HTTP and WebSocket (default 0, none)",
        ("COGMENT_WEB_PROXY_PORT",),
        aliases=("actor_http_port",),
    ),
    Option(
        "actor_web_origins",
        items,
        "origins of pages that may use it, besides this machine's; * for all",
        ("COGMENT_LAB_ACTOR_WEB_ORIGINS",),
    ),
    _HOST,
    Option("params", a_path, "YAML file of default parameters", ("COGMENT_DEFAULT_PARAMS_FILE",)),
    Option(
        "directory_auto_register",
        a_truth,
        "register in the directory (default true)",
        ("COGMENT_ORCHESTRATOR_DIRECTORY_AUTO_REGISTER",),
        bare=True,
    ),
    Option("pre_trial_hooks", items, "endpoints, separated by commas", ("COGMENT_PRE_TRIAL_HOOKS",)),
    Option(
        "prometheus_port",
        _port_or_none,
        "port of the metrics page (default 0, none)",
        ("COGMENT_ORCHESTRATOR_PROMETHEUS_PORT", "PROMETHEUS_PORT"),
    ),
    Option("status_file", a_path, "file or FIFO that gets I, R and T", ("COGMENT_STATUS_FILE",)),
    Option("gc_frequency", int, "accepted, has no effect", ("COGMENT_GC_FREQUENCY",)),
    *TLS,
    *_registration("ORCHESTRATOR"),
)

DATASTORE = (
    *_own("TRIAL_DATASTORE", port=9003),
    Option(
        "memory_storage_max_samples_size",
        int,
        "bytes of samples kept in memory (default 1 GiB)",
        ("COGMENT_TRIAL_DATASTORE_MEMORY_STORAGE_MAX_SAMPLE_SIZE",),
    ),
    Option(
        "file_storage",
        a_path,
        "keep everything in this SQLite file (bare: .cogment/trial_datastore.db)",
        ("COGMENT_TRIAL_DATASTORE_FILE_STORAGE_PATH",),
        bare=Path(".cogment/trial_datastore.db"),
    ),
    *TLS,
    *_registration("TRIAL_DATASTORE"),
)

MODEL_REGISTRY = (
    *_own("MODEL_REGISTRY", port=9002),
    Option(
        "archive_dir",
        Path,
        "folder of archived versions (default .cogment/model_registry)",
        ("COGMENT_MODEL_REGISTRY_ARCHIVE_DIR",),
    ),
    Option(
        "cache_max_items",
        int,
        "versions kept in memory (default 100)",
        ("COGMENT_MODEL_REGISTRY_VERSION_CACHE_MAX_ITEMS",),
    ),
    Option(
        "sent_version_chunk_size",
        int,
        "bytes per message (default 2 MiB)",
        ("COGMENT_MODEL_REGISTRY_SENT_MODEL_VERSION_DATA_CHUNK_SIZE",),
    ),
    *TLS,
    *_registration("MODEL_REGISTRY"),
)

DIRECTORY_SERVICE = (
    *_own("DIRECTORY", port=9005),
    Option(
        "registration_lag",
        float,
        "seconds to wait for a service that is asked for (default 0)",
        ("COGMENT_DIRECTORY_REGISTRATION_LAG",),
    ),
    Option(
        "persistence_file",
        str,
        "where records are kept; empty for nowhere (default .cogment-directory-data)",
        ("COGMENT_DIRECTORY_PERSISTENCE_FILE",),
    ),
    Option(
        "load_balancing", a_truth, "prefer idle services", ("COGMENT_DIRECTORY_LOAD_BALANCING",), bare=True
    ),
    Option(
        "check_on_inquire",
        a_truth,
        "check services when they are asked for",
        ("COGMENT_DIRECTORY_CHECK_ON_INQUIRE",),
        bare=True,
    ),
    Option(
        "force_permanent",
        a_truth,
        "check no service's health",
        ("COGMENT_DIRECTORY_FORCE_PERMANENT",),
        bare=True,
    ),
    *TLS,
)

WEB_PROXY = (
    Option("web_port", int, "port of the HTTP API (default 8080)", ("COGMENT_WEB_PROXY_WEB_PORT",)),
    *_own("WEB_PROXY", port=0, reflection=False),
    Option(
        "orchestrator_endpoint",
        str,
        "grpc:// or cogment:// address (default cogment://discover)",
        ("COGMENT_ORCHESTRATOR_ENDPOINT",),
    ),
    Option(
        "spec_file",
        a_path,
        "the application's messages (default cogment.yaml where there is one, else Cogment Lab's own)",
        ("COGMENT_SPEC_FILE",),
    ),
    Option(
        "implementation",
        str,
        "name of the actor implementation (default web)",
        ("COGMENT_WEB_PROXY_IMPLEMENTATION",),
    ),
    Option(
        "origins",
        items,
        "origins of pages that may use it, besides this machine's; * for all",
        ("COGMENT_LAB_WEB_PROXY_ORIGINS",),
    ),
    Option("secret", str, "signs the actors' tokens (default: a new one)", ("COGMENT_WEB_PROXY_SECRET",)),
    *TLS,
    *_registration("WEB_PROXY"),
)
