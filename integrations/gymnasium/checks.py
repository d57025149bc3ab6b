"""What the arguments of ``make`` and ``run`` may be; wrong ones are refused before anything is opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cogment_lab.errors import ConfigurationError

__all__ = ["check_choice", "check_not_negative", "check_properties"]


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Refuse a value that is none of ``choices``.

    Raises:
        ConfigurationError: names them.
    """
    if value not in choices:
        *first, last = map(repr, choices)
        listed = f"{', '.join(first)} or {last}" if first else last
        raise ConfigurationError(f"{name}={value!r} is unknown; choose {listed}")


def check_not_negative(name: str, value: Any) -> None:
    """Refuse what is no number, or below 0.

    Raises:
        ConfigurationError: it is.
    """
    if not isinstance(value, int | float) or not value >= 0:
        raise ConfigurationError(f"{name}={value!r} must be a number, 0 or more")


def check_properties(properties: Mapping[str, str] | None) -> dict[str, str]:
    """Return the properties of trials, which are text by name.

    Raises:
        ConfigurationError: they are not.
    """
    if properties is None:
        return {}
    if not isinstance(properties, Mapping):
        raise ConfigurationError(f"properties={properties!r} must be a dict of text by name")
    for name, value in properties.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ConfigurationError(
                f"properties={dict(properties)!r}: names and values are text, write {{{str(name)!r}: "
                f"{str(value)!r}}}"
            )
    return dict(properties)
