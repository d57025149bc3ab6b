"""``cogmentlab report``: the trials of a store as one page."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console

from cogment_lab.cli.trials import open_existing
from cogment_lab.errors import ConfigurationError

__all__ = ["write_report"]


def write_report(
    file: Path, output: Path, *, env_id: str | None, title: str | None, most_trials: int
) -> None:
    """Write the report of a store; an older page at that place stays until the new one is complete.

    Raises:
        ConfigurationError: the page cannot be written there, or there is nothing to report on.
        MissingExtraError: matplotlib is not installed.
        StoreError: the store does not exist, or cannot be read.
    """
    from cogment_lab.reports import read_report, render_page

    with open_existing(file) as store:
        page = render_page(read_report(store, env_id=env_id, most_trials=most_trials), title=title)
    unfinished = output.with_name(f".{output.name}.part")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(page, encoding="utf-8")
        os.replace(unfinished, output)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise ConfigurationError(
            f"{output} cannot be written: {error}; pass another place with -o"
        ) from error
    Console().print(f"wrote {output}", highlight=False)
