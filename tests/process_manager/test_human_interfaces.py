"""People as actors: our page, an own page with 0.1.5's socket, and an app with two queues."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.client import connect

from cogment_lab import Cogment
from cogment_lab.envs import GymEnvironment

PAGE = "<html><title>{{ title }}</title></html>"


def run(work: Callable[[Cogment], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with asyncio.timeout(250), Cogment(orchestrator_port=0) as cog:
            return await work(cog)

    return asyncio.run(main())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_an_own_page_gets_frames_and_its_keys_are_actions() -> None:
    async def work(cog: Cogment) -> None:
        port = free_port()
        await cog.run_env(GymEnvironment("CartPole-v1", render=True), "cartpole", port=0)
        await cog.run_web_ui(
            app_port=port,
            cogment_port=0,
            actions=["no-op", "ArrowRight"],
            fps=200,
            html_override=PAGE,
            jinja_parameters={"title": "balance"},
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert b"<title>balance</title>" in await reader.read()
        writer.close()
        async with connect(f"ws://127.0.0.1:{port}/ws", proxy=None, max_size=None) as page:
            await page.send("ArrowRight")
            trial_id = await cog.start_trial("cartpole", "web_ui", session_config={"render": True})
            message = json.loads(await page.recv())
            assert len(message["observation"]) == 4
            assert message["image"].startswith("data:image/png;base64,")
            data = await cog.get_trial_data(trial_id)
        assert data["gym"].actions.all()

    run(work)


def echo_app(actions: Any, seen: Any, log_file: str | None) -> None:
    """Answer each observation with action 1, as a Gradio app would."""
    while True:
        seen.get()
        actions.put(1)


def test_an_app_with_two_queues_plays() -> None:
    async def work(cog: Cogment) -> None:
        await cog.run_env(GymEnvironment("CartPole-v1"), "cartpole", port=0)
        await cog.run_gradio_ui(echo_app, cogment_port=0)
        data = await cog.get_trial_data(await cog.start_trial("cartpole", "gradio"))
        assert data["gym"].actions.all()

    run(work)


@pytest.mark.browser
def test_a_person_at_our_page_plays_a_trial(tmp_path: Any) -> None:
    from playwright.async_api import async_playwright

    async def work(cog: Cogment) -> None:
        log = tmp_path / "web_ui.log"
        await cog.run_env(GymEnvironment("MountainCar-v0", render=True), "car", port=0)
        await cog.run_web_ui(
            app_port=free_port(),
            cogment_port=0,
            actions=["ArrowLeft", "no-op", "ArrowRight"],
            fps=60,
            log_file=str(log),
        )
        url = next(line.split()[-1] for line in log.read_text().splitlines() if line.startswith("play at"))
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-background-networking"]
            )
            page = await browser.new_page()
            await page.goto(url)
            trial_id = await cog.start_trial("car", "web_ui", session_config={"render": True})
            await page.get_by_text("→").first.wait_for()  # the keys are known
            await page.keyboard.down("ArrowRight")
            data = await cog.get_trial_data(trial_id, timeout=60)
            await page.screenshot(path=tmp_path / "page.png")
            await browser.close()
        assert 2 in data["gym"].actions
        assert data["gym"].done[-1]

    run(work)
