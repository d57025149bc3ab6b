"""The seat in a notebook's cell."""

import sys
import types
from typing import Any

import pytest
from cogment_lab.integrations import jupyter

from cogment_lab.errors import MissingExtraError
from cogment_lab.humans import WebUI
from cogment_lab.humans.web.notebook import SeatFrame


def test_the_frame_holds_the_seats_link_and_one_for_a_tab(page: WebUI) -> None:
    html = page.display(page.seat("teacher"), width=800, height=500)._repr_html_()
    link = page.link("teacher").replace("&", "&amp;")
    assert f'<iframe src="{link}"' in html and f'<a href="{link}"' in html
    assert "width:800px;height:500px" in html
    assert page.url in repr(page.display())


def test_what_stands_in_a_link_stays_in_the_attribute() -> None:
    html = SeatFrame('http://x/?a="><script>alert(1)</script>', width='1px"onload="alert(1)')._repr_html_()
    assert "<script" not in html and 'onload="' not in html


def test_a_frame_can_be_shown_in_the_middle_of_a_cell(page: WebUI, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    module = types.ModuleType("IPython.display")
    module.display = shown.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    jupyter.display(page)
    jupyter.display(page.link("teacher"))
    assert [frame.url for frame in shown] == [page.url, page.link("teacher")]


def test_elsewhere_it_says_where_to_look(page: WebUI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.raises(MissingExtraError, match=r"open ui\.url"):
        jupyter.display(page)
