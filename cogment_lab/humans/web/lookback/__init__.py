"""Looking back: the pages that show a store's trials, and that ask which of two clips is better."""

from __future__ import annotations

from cogment_lab.humans.web.lookback.router import make_router

__all__ = ["make_router"]
