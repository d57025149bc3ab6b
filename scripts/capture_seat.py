"""Make ``docs/images/seat.webp``: a person at the page takes over from a learning agent.

Needs Debian's Chromium and Playwright. The "person" is this script's keyboard: it takes over, fires the main
engine in pulses, and hands back.
"""

from __future__ import annotations

import io
import itertools
import re
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

IMAGE = Path(__file__).parent.parent / "docs/images/seat.webp"
WIDTH, HEIGHT, SHOWN = 1100, 740, (825, 555)
SECONDS = 14.0
HELP = ((3.0, 6.5), (9.0, 12.0))
FRAMES_PER_SECOND = 8


def record(page: Page) -> list[Image.Image]:
    """Return pictures of the page while the keyboard helps now and then."""
    pictures: list[Image.Image] = []
    begin = time.monotonic()
    holding = False
    engine = itertools.cycle(("down", "down", "up"))
    for number in itertools.count():
        now = time.monotonic() - begin
        if now > SECONDS:
            return pictures
        helps = any(start <= now < end for start, end in HELP)
        if helps != holding:
            holding = helps
            (page.keyboard.down if helps else page.keyboard.up)(" ")
            if not helps:
                page.keyboard.up("ArrowUp")
        if helps:
            (page.keyboard.down if next(engine) == "down" else page.keyboard.up)("ArrowUp")
        picture = Image.open(io.BytesIO(page.screenshot(type="jpeg", quality=90)))
        pictures.append(picture.resize(SHOWN, Image.Resampling.LANCZOS))
        time.sleep(max(0.0, begin + (number + 1) / FRAMES_PER_SECOND - time.monotonic()))
    raise AssertionError("unreachable")


def main() -> None:
    """Run the demo, look at it, write the picture."""
    command = [
        sys.executable,
        "-m",
        "cogment_lab.cli.main",
        "demo",
        "--headless",
        "--port",
        "0",
        "--seed",
        "3",
    ]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert demo.stdout is not None
    try:
        text = ""
        while not (found := re.search(r"http://\S+token=\S+", text)):
            line = demo.stdout.readline()
            if not line:
                raise SystemExit(f"the demo ended:\n{text}")
            text += line
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.goto(found.group(0))
            page.wait_for_timeout(1500)
            pictures = record(page)
            browser.close()
    finally:
        demo.terminate()
        demo.wait(20)
    pictures[0].save(
        IMAGE,
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 * SECONDS / len(pictures)),
        loop=0,
        quality=60,
        method=4,
    )
    print(f"{IMAGE.name}: {len(pictures)} pictures, {IMAGE.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
