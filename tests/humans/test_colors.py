"""The pages' colours can be read, dark and light: WCAG 2.2's contrast of 4.5 (success criterion 1.4.3)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import cogment_lab.humans.web

STYLE = (Path(cogment_lab.humans.web.__file__).parent / "site/style.css").read_text()
THEMES = {"dark": ":root", "light": ':root[data-theme="light"]'}
ON_COLOR = ("agent", "you", "paused", "learning", "offline", "good", "waiting")


def colors(selector: str) -> dict[str, str]:
    block = re.search(rf"^{re.escape(selector)} {{(.*?)}}", STYLE, re.DOTALL | re.MULTILINE)
    assert block is not None
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block.group(1)))


def luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES)
def test_words_stand_out_from_what_they_stand_on(theme: str) -> None:
    named = colors(THEMES["dark"]) | colors(THEMES[theme])
    pairs = [("on-color", ground) for ground in ON_COLOR]
    pairs += [(words, ground) for words in ("text", "quiet") for ground in ("ground", "card", "field")]
    pairs += [("offline", "field")]
    too_close = {pair: round(contrast(*(named[name] for name in pair)), 2) for pair in pairs}
    assert {pair: ratio for pair, ratio in too_close.items() if ratio < 4.5} == {}


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
