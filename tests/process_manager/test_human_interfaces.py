"""People as actors: our page, an own page with 0.1.5's socket, and an app with two queues."""

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from cogment_lab import Cogment
from cogment_lab.envs import GymEnvironment
from cogment_lab.errors import (
    ConfigurationError,
    MissingExtraError,
    SeatLostError,
    ServiceCrashedError,
    TrialFailedError,
)
from cogment_lab.humans.gradio_actor import serve_gradio_ui
from cogment_lab.humans.own_page import own_page
from cogment_lab.humans.page_override import _PageActor, _Pages
from cogment_lab.humans.player import HumanPlayer, _SessionEnv
from cogment_lab.store.process import process_exists
from cogment_lab.testing import SeatClient

PAGE = "<html><title>{{ title }}</title>{% for key in keys %}<b>{{ key|upper }}</b>{% endfor %}</html>"


def run(work: Callable[[Cogment], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with asyncio.timeout(250), Cogment(orchestrator_port=0) as cog:
            return await work(cog)

    return asyncio.run(main())


async def get(cog: Cogment, path: str, *headers: str) -> tuple[bytes, bytes]:
    """Return head and body of the page's answer."""
    assert cog.web_ui_url is not None
    host = cog.web_ui_url.split("/")[2]
    reader, writer = await asyncio.open_connection(*host.split(":"))
    lines = [f"GET {path} HTTP/1.0", f"Host: {host}", *headers, "", ""]
    writer.write("\r\n".join(lines).encode())
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


def socket_of(cog: Cogment, query: bool = True, **more: Any) -> connect:
    assert cog.web_ui_url is not None
    base, _, token = cog.web_ui_url.partition("/?")
    url = f"{base.replace('http', 'ws', 1)}/ws{'?' + token if query else ''}"
    return connect(url, proxy=None, max_size=None, **more)


async def own(cog: Cogment, **more: Any) -> None:
    """Serve CartPole and an own page."""
    await cog.run_env(GymEnvironment("CartPole-v1", render=True), "cartpole", port=0)
    arguments = {"actions": ["no-op", "ArrowRight"], "fps": 200, "html_override": "<p>mine</p>", **more}
    await cog.run_web_ui(app_port=0, cogment_port=0, **arguments)


async def heard(page: ClientConnection) -> Any:
    async with asyncio.timeout(30):
        return json.loads(await page.recv())


def test_an_own_page_gets_frames_and_its_keys_are_actions(capsys: pytest.CaptureFixture[str]) -> None:
    async def work(cog: Cogment) -> None:
        await own(cog, html_override=PAGE, jinja_parameters={"title": "balance", "keys": ["a", "b"]})
        assert f"play at {cog.web_ui_url}" in capsys.readouterr().out
        assert cog.web_ui_url is not None
        head, body = await get(cog, "/?" + cog.web_ui_url.partition("?")[2])
        assert body == b"<html><title>balance</title><b>A</b><b>B</b></html>"
        cookie = next(line for line in head.decode().splitlines() if line.lower().startswith("set-cookie"))
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie
        cookies = {"Cookie": cookie.partition(": ")[2].partition(";")[0]}
        async with socket_of(cog, query=False, additional_headers=cookies) as page:
            trial_id = await cog.start_trial("cartpole", "web_ui", session_config={"render": True})
            message = await heard(page)
            assert len(message["observation"]) == 4
            assert message["image"].startswith("data:image/png;base64,")
            await page.send("ArrowRight")  # while the trial runs
            data = await cog.get_trial_data(trial_id)
        assert data["gym"].actions[0] == 0 and data["gym"].actions[-1] == 1

    run(work)


def test_a_second_page_is_refused_and_the_first_ones_link_stays() -> None:
    async def work(cog: Cogment) -> None:
        await own(cog)
        link = cog.web_ui_url
        with pytest.raises(ConfigurationError):
            cog.run_web_ui(app_port=0, cogment_port=0)
        assert cog.web_ui_url == link

    run(work)


def test_an_own_page_is_for_those_with_its_link_and_no_foreign_pages() -> None:
    async def work(cog: Cogment) -> None:
        await own(cog)
        for query in ("", "?token=guess"):
            head, body = await get(cog, f"/{query}")
            assert b" 401 " in head and b"Ask for a new link" in body and b"mine" not in body
        for arguments, code in (({"query": False}, 4401), ({"origin": "http://evil.example"}, 4403)):
            async with socket_of(cog, **arguments) as page:
                with pytest.raises(ConnectionClosed):
                    await heard(page)
                assert page.close_code == code

    run(work)


def test_what_an_own_page_says_wrongly_is_the_no_op_and_no_page_is_waited_for() -> None:
    async def work(cog: Cogment) -> None:
        await own(cog, actions={"ArrowRight": 1, "no-op": 0})
        async with socket_of(cog) as page, socket_of(cog) as deaf:
            deaf.transport.pause_reading()
            for nonsense in ("{", '{"a": 1}', "{" * 5000, "F13", b"\x00\xff"):
                trial_id = await cog.start_trial("cartpole", "web_ui", session_config={"render": True})
                await heard(page)
                await page.send("ArrowRight")
                await page.send(nonsense)
                data = await cog.get_trial_data(trial_id, timeout=60)
                if not isinstance(nonsense, bytes):
                    assert data["gym"].actions[-1] == 0, nonsense

    run(work)


def test_an_own_page_may_let_the_trial_wait_for_each_key() -> None:
    async def work(cog: Cogment) -> None:
        await own(cog, fps=0)
        async with socket_of(cog) as page:
            trial_id = await cog.start_trial("cartpole", "web_ui", session_config={"render": True})
            for _ in range(3):
                await heard(page)
                await page.send("ArrowRight")
            await heard(page)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await page.recv()
            await cog.controller.terminate_trial([trial_id], hard=True)

    run(work)


def test_an_own_page_is_not_waited_for_when_the_trial_is_over() -> None:
    actor = _PageActor(_Pages("no-op"), {"no-op": 0}, "no-op", fps=0)
    actor.actor_session = Mock(is_trial_over=lambda: True)
    assert asyncio.run(asyncio.wait_for(actor.act(0), 10)) is None


def test_an_own_page_can_read_what_is_no_number() -> None:
    reader = Mock()
    pages = _Pages("no-op")
    pages._readers.add(reader)
    pages.show({"speed": np.array([1.0, np.nan])}, None)
    (message,) = reader.show.call_args.args
    assert message == '{"observation":{"speed":[1.0,null]},"image":null}'


def test_an_own_page_that_cannot_be_made_says_why(tmp_path: Any) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        own_page(None, tmp_path / "nowhere.html")
    with pytest.raises(ConfigurationError, match="'title' is undefined"):
        own_page(PAGE, None, {"keys": []})
    with pytest.raises(ConfigurationError, match="no Jinja template"):
        own_page("{% if %}", None)
    (tmp_path / "page.html").write_text(PAGE)
    rendered = own_page(None, tmp_path / "page.html", {"title": "T", "keys": ""})
    assert rendered == "<html><title>T</title></html>"
    assert own_page(None, None) is None


@pytest.mark.parametrize("fps", [0, 60])
def test_our_page_takes_the_keys_of_0_1_5_and_waits_where_it_should(fps: float) -> None:
    async def work(cog: Cogment) -> None:
        await cog.run_env(GymEnvironment("CartPole-v1"), "cartpole", port=0)
        await cog.run_web_ui(app_port=0, cogment_port=0, actions={"a": 0, "no-op": 1}, fps=fps)

        def play() -> dict[str, Any]:
            with SeatClient(str(cog.web_ui_url)) as person:
                person.wait_until(lambda: person.status.get("state") == "running", "the trial")
                assert person.status["settings"]["wait"] is (fps == 0)
                assert [each["keys"] for each in person.hello["keymap"]["bindings"]] == [["KeyA"]]
                assert person.status["remedy"] == 'start_trial(..., session_config={"render": True})'
                if fps == 0:
                    for _ in range(3):
                        person.hold("KeyA")
                        person.hold()
                        person.wait_until(lambda: person.status["tick"] > 0, "a tick")
                else:
                    person.wait_until(lambda: person.status["state"] != "running", "the end", 60)
                return person.status

        trial_id = await cog.start_trial("cartpole", "web_ui")
        status = await asyncio.to_thread(play)
        if fps:
            data = await cog.get_trial_data(trial_id, timeout=60)
            assert data["gym"].actions.all(), "no key is the no-op, wherever it stands"
        else:
            assert status["executed"]["value"] == 0
            await cog.controller.terminate_trial([trial_id], hard=True)

    run(work)


def test_a_trial_that_is_ended_while_it_waits_for_a_key_leaves_the_seat_to_the_next_one() -> None:
    async def work(cog: Cogment) -> None:
        await cog.run_env(GymEnvironment("CartPole-v1"), "cartpole", port=0)
        await cog.run_web_ui(app_port=0, cogment_port=0, actions=["ArrowLeft", "ArrowRight"], fps=0)
        with SeatClient(str(cog.web_ui_url)) as person:
            for _ in range(2):
                before = person.status.get("trial_id")
                trial_id = await cog.start_trial("cartpole", "web_ui")
                begun = partial(is_another_trial, person, before)
                await asyncio.to_thread(person.wait_until, begun, "the trial", 20)
                await cog.controller.terminate_trial([trial_id], hard=True)

    run(work)


def is_another_trial(person: SeatClient, before: str | None) -> bool:
    return person.status.get("state") == "running" and person.status["trial_id"] != before


@pytest.mark.parametrize(("is_over", "raises"), [(True, False), (False, True)])
def test_nobody_waits_for_a_page_whose_trial_has_ended(is_over: bool, raises: bool) -> None:
    async def main() -> Any:
        player = HumanPlayer(Mock(), {"a": 0})
        player.actor_session = Mock(is_trial_over=lambda: is_over)
        player._env = _SessionEnv(None, None, Mock())
        player._thread = threading.Thread(target=int)
        player._actions, player._reward = asyncio.Queue(1), 0.0
        async with asyncio.timeout(30):
            await player.on_ending([0.0], None)  # nobody takes it
            await player.on_ending([0.0], None)
            return await player.act([0.0])

    if raises:
        with pytest.raises(SeatLostError, match="nothing came"):
            asyncio.run(main())
    else:
        assert asyncio.run(main()) is None


def test_keys_that_do_not_fit_the_actions_end_the_trial_with_that_reason() -> None:
    async def work(cog: Cogment) -> None:
        await cog.run_env(GymEnvironment("CartPole-v1"), "cartpole", port=0)
        await cog.run_web_ui(app_port=0, cogment_port=0, actions=["no-op", "ArrowLeft", "ArrowRight"])
        trial_id = await cog.start_trial("cartpole", "web_ui")
        with pytest.raises(TrialFailedError, match="no action of Discrete"):
            await cog.get_trial_data(trial_id, timeout=60)

    run(work)


def echo_app(actions: Any, seen: Any, log_file: str | None) -> None:
    """Answer each observation with action 1, as a Gradio app would."""
    while True:
        observation, _ = seen.get()
        actions.put(1 if isinstance(observation, list) else 0)


def failing_app(actions: Any, seen: Any, log_file: str | None) -> None:
    """Fail as an app does that cannot have its port."""
    raise OSError("no free port")


def app_without_gradio(actions: Any, seen: Any, log_file: str | None) -> None:
    """Need what is not there."""
    sys.modules["gradio"] = None  # type: ignore[assignment]
    import gradio  # noqa: F401


def blind_app(actions: Any, seen: Any, log_file: str | None) -> None:
    """Act without a look, and take no hint to end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(os.environ["TEST_APP_PID"]).write_text(str(os.getpid()))
    while True:
        actions.put(0)


@pytest.mark.parametrize("is_killed", [False, True])
def test_an_app_that_looks_at_nothing_plays_and_ends_with_its_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_killed: bool
) -> None:
    note = tmp_path / "app"
    monkeypatch.setenv("TEST_APP_PID", str(note))

    async def work(cog: Cogment) -> None:
        await cog.run_env(GymEnvironment("MountainCar-v0"), "car", port=0)
        await cog.run_gradio_ui(blind_app, cogment_port=0)
        for _ in range(6):  # more ticks than the queue has places
            await cog.get_trial_data(await cog.start_trial("car", "gradio"), timeout=60)
        if is_killed:
            cog.processes["gradio"].kill()

    run(work)
    app, deadline = int(note.read_text()), time.monotonic() + 20
    while process_exists(app) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not process_exists(app)


def test_an_app_with_two_queues_plays() -> None:
    async def work(cog: Cogment) -> None:
        await cog.run_env(GymEnvironment("CartPole-v1"), "cartpole", port=0)
        await cog.run_gradio_ui(echo_app, cogment_port=0)
        data = await cog.get_trial_data(await cog.start_trial("cartpole", "gradio"))
        assert data["gym"].actions.all()

    run(work)


@pytest.mark.parametrize(
    ("app", "error", "message"),
    [
        (failing_app, ServiceCrashedError, "OSError: no free port"),
        (app_without_gradio, MissingExtraError, r"pip install 'cogment_lab\[gradio\]'"),
    ],
)
def test_an_app_that_ends_says_why(app: Any, error: type[Exception], message: str) -> None:
    async def serve() -> None:
        async with asyncio.timeout(60):
            await serve_gradio_ui(lambda port: None, app, 0, None)

    with pytest.raises(error, match=message):
        asyncio.run(serve())


@pytest.mark.browser
def test_a_person_at_our_page_plays_a_trial(tmp_path: Any) -> None:
    from playwright.async_api import async_playwright

    async def work(cog: Cogment) -> None:
        await cog.run_env(GymEnvironment("MountainCar-v0", render=True), "car", port=0)
        await cog.run_web_ui(
            app_port=0,
            cogment_port=0,
            actions=["ArrowLeft", "no-op", "ArrowRight"],
            fps=60,
        )
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-background-networking"]
            )
            page = await browser.new_page()
            await page.goto(str(cog.web_ui_url))
            trial_id = await cog.start_trial("car", "web_ui", session_config={"render": True})
            await page.get_by_text("→").first.wait_for()  # the keys are known
            await page.keyboard.down("ArrowRight")
            data = await cog.get_trial_data(trial_id, timeout=60)
            await page.screenshot(path=tmp_path / "page.png")
            await browser.close()
        assert 2 in data["gym"].actions
        assert data["gym"].done[-1]

    run(work)
