"""For tests of your own, and for bots: people's seats without a browser."""

from __future__ import annotations

from cogment_lab.testing.seat_client import Picture, SeatClient

__all__ = ["Picture", "SeatClient"]
