"""What the trials of a store say about people and learners, as one page."""

from __future__ import annotations

from cogment_lab.reports.numbers import EnvironmentReport, Participant, StoreReport, read_report
from cogment_lab.reports.page import render_page

__all__ = ["EnvironmentReport", "Participant", "StoreReport", "read_report", "render_page"]
