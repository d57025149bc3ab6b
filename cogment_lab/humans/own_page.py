"""A page of the user's own: HTML or a file, a Jinja template as in Cogment Lab 0.1.5."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from cogment_lab.errors import ConfigurationError

__all__ = ["own_page"]


def own_page(
    html: str | None, file: str | Path | None, parameters: Mapping[str, Any] | None = None
) -> str | None:
    """Return the page to serve instead of ours, ``None`` for ours.

    Args:
        html: The template.
        file: Its file; ``html`` comes first.
        parameters: What stands in it.

    Raises:
        ConfigurationError: there is no such file, it is no template, or something that it needs is missing.
    """
    if html is None:
        if file is None:
            return None
        try:
            html = Path(file).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"file_override={str(file)!r} cannot be read: {error}") from error
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    try:
        return environment.from_string(html).render(dict(parameters or {}))
    except jinja2.TemplateError as error:
        raise ConfigurationError(
            f"the page is no Jinja template, or lacks something of jinja_parameters: {error}"
        ) from error
