"""The web page where people take their seats."""

from __future__ import annotations

from cogment_lab.humans.web.seat import WebSeat
from cogment_lab.humans.web.ui import WebUI

__all__ = ["WebSeat", "WebUI"]
