"""The official SDK's ``make_logger``."""

from __future__ import annotations

import logging
import os
from typing import Any

__all__ = ["make_logger"]

_TRACE = 5


class _Logger(logging.LoggerAdapter[logging.Logger]):
    """A logger with ``trace`` and with ``deprecated``, which says each thing once."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(logger, {})
        self._said: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.logger, name)

    def trace(self, message: str, *args: object) -> None:
        """Log below DEBUG."""
        self.log(_TRACE, message, *args)

    def deprecated(self, message: str) -> None:
        """Warn, once for each message."""
        if message not in self._said:
            self._said.add(message)
            self.warning(message)


def make_logger(name: str, env_name: str | None = None, default_level: str = "INFO") -> _Logger:
    """Return a logger whose level an environment variable gives.

    Args:
        name: Name of the logger.
        env_name: The variable: a name of :mod:`logging`, ``TRACE`` or ``OFF``.
        default_level: The level without it.
    """
    level = (os.environ.get(env_name, default_level) if env_name else default_level).upper()
    logger = logging.getLogger(name)
    logger.setLevel({"OFF": logging.CRITICAL, "TRACE": _TRACE}.get(level, level))
    return _Logger(logger)
