"""Importing an object by its dotted path."""

from __future__ import annotations

import importlib
from typing import Any

from cogment_lab.errors import ConfigurationError

__all__ = ["import_object"]


def import_object(path: str) -> Any:
    """Return what ``package.module.name`` names.

    Raises:
        ConfigurationError: there is no such module, or no such name in it.
    """
    module_name, dot, name = path.rpartition(".")
    if not dot:
        raise ConfigurationError(f"{path!r} is no path of an object: write package.module.name")
    try:
        return getattr(importlib.import_module(module_name), name)
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"cannot import {path!r}: {error}") from error
    except AttributeError:
        raise ConfigurationError(f"cannot import {path!r}: {module_name} has no {name!r}") from None
