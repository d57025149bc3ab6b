"""Hours of pictures in minutes: whether the page's memory and its server's stay flat.

- ``page_*``: the real page in Chromium, its socket replaced by one that plays recorded trials (150x100) again
  and again, each picture as soon as the previous one is painted: memory of the page's JavaScript after a
  collection, its nodes and listeners, a tenth of the way in and at the end.
- ``server_*``: a seat with sixteen viewers of different pictures, frames as fast as they are taken: the
  server's resident memory, a tenth of the way in and at the end.

``--hours`` counts pictures at 30 a second, for the page as seen and for the server as sent. Needs Chromium
and Playwright, as the browser tests do.
"""

from __future__ import annotations

import argparse
import base64
import json
import shutil
import sys
import threading
import time
from typing import Any

import common
import numpy as np
import psutil
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.wrappers import TimeLimit
from playwright.sync_api import Page, WebSocket, sync_playwright

import cogment_lab
from cogment_lab.humans import WebUI
from cogment_lab.humans.web.memory import FrameBoard, SeatMemory
from cogment_lab.testing import SeatClient

_PER_HOUR = 30 * 3600
_RECORD_SECONDS = 8.0
_STALL_SECONDS = 60.0
_VIEWERS = 16
_PARTS = 10  # the first tenth is the warm-up
_FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--js-flags=--expose-gc"]

# Plays the recording in a loop: the next picture with the acknowledgement of the last, texts on the way.
_PLAYER = """
(() => {
  const recording = RECORDING.map((each) =>
    each.text ?? Uint8Array.from(atob(each.bytes), (letter) => letter.charCodeAt(0)));
  let sequence = 0, turn = 0;
  window.soak = { pictures: 0 };
  window.WebSocket = class extends EventTarget {
    static OPEN = 1;
    constructor() { super(); this.readyState = 1; setTimeout(() => { this.onopen(); this.next(); }, 50); }
    send(text) { if (JSON.parse(text).type === "ack") this.next(); }
    close() {}
    next() {
      if (window.soak.stopped) return;
      for (;;) {
        const item = recording[turn++ % recording.length];
        if (turn % recording.length === 0) window.soak.rounds = turn / recording.length;
        if (typeof item === "string") {
          const message = JSON.parse(item);
          if (message.trial_id) message.trial_id += turn;
          setTimeout(() => this.onmessage({ data: JSON.stringify(message) }));
          continue;
        }
        const data = item.slice().buffer;
        new DataView(data).setUint32(4, ++sequence, true);
        window.soak.pictures = sequence;
        setTimeout(() => this.onmessage({ data }));
        return;
      }
    }
  };
})();
"""


class SmallCartPole(CartPoleEnv):
    """The usual one, seen from afar: what is measured is not how fast large pictures are decoded."""

    def render(self) -> Any:
        return np.ascontiguousarray(super().render()[::4, ::4])  # type: ignore[index]


def record(page: Page) -> list[dict[str, str]]:
    """Return what the server sends a teacher of CartPole in a few seconds, in order."""
    messages: list[dict[str, str]] = []

    def note(payload: Any) -> None:
        if isinstance(payload, str):
            if json.loads(payload)["type"] != "pong":
                messages.append({"text": payload})
        else:
            messages.append({"bytes": base64.b64encode(payload).decode()})

    def listen(socket: WebSocket) -> None:
        socket.on("framereceived", note)

    page.on("websocket", listen)
    with WebUI(port=0) as ui:
        small = TimeLimit(SmallCartPole(render_mode="rgb_array"), 500)
        env = cogment_lab.make(small, teacher=ui.seat("teacher"), store=None)
        stop = threading.Event()

        def run() -> None:
            env.reset(seed=0)
            while not stop.is_set():
                *_, terminated, truncated, _ = env.step(env.action_space.sample())
                if terminated or truncated:
                    env.reset()
            env.close()

        thread = threading.Thread(target=run)
        thread.start()
        page.goto(ui.url)
        page.wait_for_timeout(1000.0 * _RECORD_SECONDS)
        stop.set()
        thread.join(20.0)
    return messages


def page_soak(pictures: int) -> dict[str, Any]:
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright, WebUI(port=0) as ui:
        browser = playwright.chromium.launch(executable_path=executable, args=_FLAGS)
        recording = record(browser.new_page())
        ui.seat("teacher", "soak")
        context = browser.new_context(viewport={"width": 1280, "height": 860})
        context.add_init_script(_PLAYER.replace("RECORDING", json.dumps(recording)))
        page = context.new_page()
        devtools = context.new_cdp_session(page)
        devtools.send("Performance.enable")
        page.goto(ui.url)

        def at(number: float) -> dict[str, float]:
            seen, moved = 0, time.monotonic()
            while seen < number:
                page.wait_for_timeout(200)
                now = page.evaluate("window.cogmentSeat?.framesPainted ?? 0")
                if now > seen:
                    seen, moved = now, time.monotonic()
                elif time.monotonic() - moved > _STALL_SECONDS:
                    raise TimeoutError(f"the page stopped painting after {seen} pictures")
            page.evaluate("gc()")
            found = {
                each["name"]: each["value"] for each in devtools.send("Performance.getMetrics")["metrics"]
            }
            return {"seen": seen, **found}

        begin = time.monotonic()
        found = []
        for tenth in range(1, _PARTS + 1):
            found.append(at(tenth * pictures / _PARTS))
            tell("page", tenth, begin, f"heap {found[-1]['JSHeapUsedSize'] / 1e6:.1f} MB")
        early, late = found[0], found[-1]
        rate = late["seen"] / (time.monotonic() - begin)
        browser.close()
    return {
        "page_hours": late["seen"] / _PER_HOUR,
        "page_pictures_per_s": rate,
        "page_heap_early_mb": early["JSHeapUsedSize"] / 1e6,
        "page_heap_late_mb": late["JSHeapUsedSize"] / 1e6,
        "page_nodes": f"{early['Nodes']:.0f} -> {late['Nodes']:.0f}",
        "page_listeners": f"{early['JSEventListeners']:.0f} -> {late['JSEventListeners']:.0f}",
    }


def server_soak(pictures: int) -> dict[str, Any]:
    pixels = np.random.default_rng(0).integers(0, 255, (16, 120, 180, 3), np.uint8)
    with WebUI(port=0) as ui:
        seat = ui.seat("observer", "soak")
        memory = SeatMemory(seat.folder / "soak.seat")
        board = FrameBoard.announce(memory, 120, 180)
        server = psutil.Process(ui.server_pid)
        viewers = [
            SeatClient(ui, "soak", format=("jpeg", "webp", "png", "jpeg")[index % 4])
            for index in range(_VIEWERS)
        ]
        sent, index, begin, seen = 0, 0, time.monotonic(), 0
        moved = begin
        resident: list[float] = []
        try:
            while sent < pictures:
                index += 1
                board.put(pixels[index % 16], index)
                memory.publish(
                    {"type": "status", "state": "running", "tick": index, "trial_id": str(index // 300)}
                )
                time.sleep(1 / 60)
                sent = sum(viewer.pictures for viewer in viewers)
                if sent > seen:
                    seen, moved = sent, time.monotonic()
                elif time.monotonic() - moved > _STALL_SECONDS:
                    raise TimeoutError(f"the server stopped sending after {sent} pictures")
                if sent > (len(resident) + 1) * pictures / _PARTS or sent >= pictures:
                    resident.append(server.memory_info().rss / 1e6)
                    tell("server", len(resident), begin, f"resident {resident[-1]:.1f} MB")
        finally:
            for viewer in viewers:
                viewer.close()
            board.close()
            memory.close()
    return {
        "server_hours": sent / _PER_HOUR,
        "server_rss_early_mb": resident[0],
        "server_rss_late_mb": resident[-1],
    }


def tell(what: str, part: int, begin: float, memory: str) -> None:
    """Say how far it is: hours of pictures take a while."""
    seconds = time.monotonic() - begin
    print(f"{what}: {100 * part // _PARTS} %, {seconds:.0f} s, {memory}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=8.0, help="how much to see (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="two minutes' worth, for a smoke test")
    parser.add_argument("--only", choices=("page", "server"), help="one of the two (default: both)")
    parser.add_argument("--json", action="store_true", help="make the last line one JSON object")
    options = parser.parse_args()
    pictures = round((1 / 30 if options.quick else options.hours) * _PER_HOUR)
    found = page_soak(pictures) if options.only != "server" else {}
    if options.only != "page":
        found |= server_soak(pictures)
    common.report(found, options.json)


if __name__ == "__main__":
    main()
