"""Make ``trial.webp``, ``compare.webp`` and ``study.webp`` in ``docs/images``, as the documents show them.

Needs Debian's Chromium and Playwright. Everything on them is made here: trials of a careless pilot whom a
simulated teacher helps, labels of three people, a comparison, and the shipped study's questions.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

import cogment_lab
from cogment_lab import PreferenceQueue, TrialStore
from cogment_lab.humans import SimulatedEvaluator, SimulatedHuman, WebUI
from cogment_lab.humans.scripted import scripted_policy
from cogment_lab.store import Segment
from cogment_lab.studies import StudyServer, read_study

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs/images"
STUDY = ROOT / "examples/study/study.yaml"
ENV = "LunarLander-v3"
WIDTH, HEIGHT = 1240, 1000
DEADLINE_MS = 120_000


def record(path: Path) -> list[str]:
    """Record trials with takeovers and feedback, label the first, and ask for a comparison."""
    pilot = scripted_policy(ENV)
    rng = np.random.default_rng(3)
    ticks = iter(range(100_000))
    teacher = SimulatedHuman(pilot, gate=lambda observation, proposed: 60 <= next(ticks) % 150 < 95)
    judge = SimulatedEvaluator(lambda tick: None if tick.number % 29 else float(rng.choice([1.0, 0.5, -0.5])))
    env = cogment_lab.make(ENV, teacher=teacher, evaluator=judge, store=path, max_episode_steps=400)
    env.acknowledge_takeovers("nobody learns here")
    trials = []
    for seed in (2, 5):
        observation, _ = env.reset(seed=seed)
        over = False
        while not over:
            careless = rng.random() < 0.3
            action = int(rng.integers(4)) if careless else pilot(observation)
            observation, _, terminated, truncated, _ = env.step(action)
            over = terminated or truncated
        trials.append(env.trial_id)
    env.close()
    with TrialStore(path) as store:
        store.label(trials[0], "rating", 0.5, start=20, stop=70, annotator="Ann")
        store.label(trials[0], "rating", -0.5, start=50, stop=95, annotator="Bob")
        store.label(trials[0], "note", "tilts too far", start=100, stop=130, annotator="Ann")
        store.label(trials[0], "correction", 2, start=90, stop=96, annotator="Cleo")
        first, second = (Segment(trial_id=trial, start=10, stop=90, fps=50) for trial in trials)
        PreferenceQueue(store, "landing").ask([(first, second)])
    return trials


def save(page: Page, name: str, height: int | None = None) -> None:
    """Write a picture of the page, as far down as ``height`` CSS pixels, or all of it."""
    picture = Image.open(io.BytesIO(page.screenshot(full_page=height is None)))
    if height is not None:
        picture = picture.crop((0, 0, picture.width, height))
    picture.convert("RGB").save(IMAGES / f"{name}.webp", quality=82, method=6)
    print(f"{name}.webp: {(IMAGES / f'{name}.webp').stat().st_size / 1000:.0f} kB")


def look_back(browser: Browser, path: Path) -> None:
    """Take pictures of a trial and of a comparison."""
    trial, _ = record(path)
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="dark")
    context.add_init_script("localStorage.setItem('cogment-person', 'Ann')")
    context.set_default_timeout(DEADLINE_MS)
    page = context.new_page()
    with WebUI(port=0, store=path) as ui:
        page.goto(ui.lobby_url.replace("lobby?", f"trials?trial={trial}&"))
        page.locator("#source", has_text="agrees with the record").wait_for()
        page.locator("#scrub").fill("100")
        page.locator("#name").click()  # nothing has the focus
        page.wait_for_timeout(1000)
        save(page, "trial")
        page.goto(ui.compare_url)
        page.locator("#clips").wait_for()
        page.wait_for_timeout(1200)
        page.keyboard.press("Space")
        save(page, "compare", 640)
    context.close()


def take_part(browser: Browser, path: Path) -> None:
    """Take a picture of the shipped study's check of a machine."""
    context = browser.new_context(viewport={"width": WIDTH, "height": 640}, color_scheme="dark")
    page = context.new_page()
    with StudyServer(read_study(STUDY), path) as server:
        page.goto(server.join_url)
        page.click("#agree")
        page.locator(".checks", has_text="fast enough").wait_for()
        for key in ("Space", "ArrowLeft", "ArrowUp"):
            page.keyboard.press(key)
        save(page, "study", 560)
    context.close()


def main() -> None:
    """Make all three."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        look_back(browser, Path(folder) / "runs.db")
        take_part(browser, Path(folder) / "study.db")
        browser.close()


if __name__ == "__main__":
    main()
