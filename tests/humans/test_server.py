"""What the server refuses, and that a refusal harms nobody else."""

import asyncio
import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from cogment_lab.errors import ConfigurationError, SeatError
from cogment_lab.humans import WebUI
from cogment_lab.humans.web.guard import Guard
from cogment_lab.humans.web.memory import SeatMemory
from cogment_lab.humans.web.page_config import PageConfig
from cogment_lab.humans.web.room import Room
from cogment_lab.humans.web.rooms import Rooms
from cogment_lab.humans.web.viewer import Viewer
from cogment_lab.testing import SeatClient


def base(page: WebUI) -> str:
    return f"http://127.0.0.1:{page.port}"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("path", ["/api/seats", "/api/lobby"])
def test_lists_need_a_token(page: WebUI, loop: Any, path: str) -> None:
    for headers in ({}, bearer("wrong-token"), {"Cookie": f"token={page.token}"}, bearer("x" * 50_000)):
        answer = httpx.get(base(page) + path, headers=headers)
        assert answer.status_code == 401 and "ask for a new one" in answer.json()["error"]
    assert httpx.get(f"{base(page)}{path}?token={page.token}").status_code == 401, "never from the address"
    assert httpx.get(base(page) + path, headers=bearer(page.token)).status_code == 200


def test_a_seats_token_lists_its_seat_only(page: WebUI, loop: Any) -> None:
    page.seat("teacher", "hidden")
    token = page.link("stage").split("token=")[1].split("&")[0]
    lobby = httpx.get(f"{base(page)}/api/lobby", headers=bearer(token)).json()
    assert [seat["name"] for seat in lobby["seats"]] == ["stage"]
    assert lobby["all"] is False and lobby["trials"] is None and lobby["store"] is None
    watcher = page.link("stage", watch=True).split("token=")[1].split("&")[0]
    seats = httpx.get(f"{base(page)}/api/seats", headers=bearer(watcher)).json()
    assert [seat["may_act"] for seat in seats] == [False]


def test_the_lobby_says_who_sits_where(page: WebUI, loop: Any) -> None:
    def seat() -> Any:
        seats = httpx.get(f"{base(page)}/api/seats", headers=bearer(page.token)).json()
        return next(each for each in seats if each["name"] == "stage")

    assert seat() | {"env_id": "CartPole-v1", "held": True, "occupied": False, "driver": None} == seat()
    with SeatClient(page, "stage", person="  Ann \n Lee " + "x" * 100), SeatClient(page, "stage", watch=True):
        assert seat()["driver"] == ("Ann Lee " + "x" * 100)[:40]
        assert seat()["viewers"] == 2


@pytest.mark.parametrize(("path", "back"), [("/trials", '"./lobby"'), ("/a/b/<i>", '"./../../lobby"')])
def test_an_address_without_a_page_leads_back(page: WebUI, path: str, back: str) -> None:
    shown = httpx.get(base(page) + path, headers={"Accept": "text/html,*/*"})
    assert shown.status_code == 404 and back in shown.text and "<i>" not in shown.text
    told = httpx.get(base(page) + path)
    assert told.status_code == 404 and "nothing" in told.json()["error"]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1.evil.example"])
def test_a_form_on_a_foreign_page_writes_nothing(page: WebUI, origin: str) -> None:
    for path in ("/", "/api/seats", "/api/lobby", "/lobby"):
        answer = httpx.post(base(page) + path, data={"token": page.token}, headers={"Origin": origin})
        assert answer.status_code == 403


def test_a_large_body_is_refused(page: WebUI) -> None:
    assert httpx.post(f"{base(page)}/api/lobby", content=b"x" * 2_000_000).status_code == 413


def answers(app_body: bytes | None, **scope: Any) -> tuple[int, dict[str, str]]:
    """Ask a guarded application; ``app_body`` is sent in pieces of 100 kB without announcing its length."""
    sent: list[Message] = []
    pieces = (
        [app_body[at : at + 100_000] for at in range(0, len(app_body or b""), 100_000)] if app_body else []
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"max-age=1")]}
        )
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        body = pieces.pop(0) if pieces else b""
        return {"type": "http.request", "body": body, "more_body": bool(pieces)}

    async def send(message: Message) -> None:
        sent.append(message)

    guard = Guard(
        app, lambda origin: origin != "http://evil.example", [("Cache-Control", "no-store"), ("X-A", "b")]
    )
    asyncio.run(guard({"type": "http", "method": "POST", "headers": [], **scope}, receive, send))
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers


def test_a_body_that_does_not_say_its_length_is_limited_too() -> None:
    assert answers(b"x" * 900_000)[0] == 200
    assert answers(b"x" * 1_200_000)[0] == 413
    assert answers(None, headers=[(b"content-length", b"many")])[0] == 413


def test_each_answer_carries_the_headers_that_it_lacks() -> None:
    assert answers(None)[1] == {"cache-control": "max-age=1", "x-a": "b"}
    assert answers(None, headers=[(b"origin", b"http://evil.example")])[0] == 403


def test_half_a_character_said_to_the_experimenter_leaves_the_lobby_readable(page: WebUI, loop: Any) -> None:
    with SeatClient(page, "stage") as person:
        person.send(type="note", to="experimenter", text="hm \ud800", trial="\udfff")
        person.wait_until(lambda: bool(lobby_messages(page)), "the message")
    assert lobby_messages(page)[0] | {"text": "hm ?", "trial": "?"} == lobby_messages(page)[0]


def lobby_messages(page: WebUI) -> Any:
    return httpx.get(f"{base(page)}/api/lobby", headers=bearer(page.token)).json()["messages"]


def test_a_tab_that_drives_again_may_hold_the_same_key(tmp_path: Path) -> None:
    room = Room(tmp_path, "stage", "teacher", Mock())
    first, second = (Viewer(Mock(), room, client=client, may_act=True) for client in "ab")
    room.enter(first)
    room.enter(second)
    for driver in (second, first):
        first._hearing.hear('{"type": "keys", "held": ["KeyA"]}')
        room.move_to(driver)
    first._hearing.hear('{"type": "keys", "held": ["KeyA"]}')
    assert [each["k"] for each in room.memory.take()] == ["keys", "left", "left", "keys"]
    room.memory.close()


def test_the_file_of_a_seat_is_made_by_both_sides_at_once(tmp_path: Path) -> None:
    (tmp_path / "stage.seat").touch()  # so far has the other side come
    room = Room(tmp_path, "stage", "teacher", Mock())
    trial = SeatMemory(tmp_path / "stage.seat")
    room.post({"k": "left"})
    assert trial.take() == [{"k": "left"}]
    trial.close()
    room.memory.close()


def test_a_seat_that_comes_while_the_server_ends_keeps_it_from_nothing(tmp_path: Path) -> None:
    rooms = Rooms(tmp_path)

    class Closing:
        closed = 0

        async def close(self) -> None:
            rooms._rooms["late"] = Mock()
            await asyncio.sleep(0)
            Closing.closed += 1

    rooms._rooms.update(a=Closing(), b=Closing())  # type: ignore[dict-item]
    asyncio.run(rooms.close())
    assert Closing.closed == 2


def test_a_thousand_messages_a_second_close_that_connection_and_no_other(page: WebUI, loop: Any) -> None:
    with SeatClient(page, "stage") as driver, SeatClient(page, "stage") as flooder:
        driver.wait_until(lambda: driver.pictures > 5, "pictures")
        with pytest.raises(SeatError, match="too many messages"):
            for number in range(5000):
                flooder.send(type="keys", held=["ArrowLeft"] if number % 2 else [], t=1.0)
            flooder.wait_until(lambda: False, "the end", 30.0)
        seen = driver.pictures
        driver.wait_until(lambda: driver.pictures > seen + 25, "pictures go on")
        assert driver.drives and loop.helped == 0


MALFORMED = [
    "",
    "[]",
    "nul",
    '"type"',
    '{"type": "__init__"}',
    '{"type": "ack", "seq": 1e400, "painted": 1}',
    '{"type": "ack", "seq": "1", "painted": null}',
    '{"type": "view", "format": ["jpeg"], "max_fps": "fast", "max_width": {}}',
    '{"type": "view", "max_fps": NaN}',
    '{"type": "view", "max_width": -5}',
    '{"type": "view", "format": "../../etc/passwd"}',
    '{"type": "keys", "held": [{"a": 1}, null, "' + "x" * 5000 + '"], "n": -1}',
    '{"type": "keys", "held": ["KeyA"], "n": 99999999999999999999}',
    '{"type": "controls", "action": [[[[1]]]], "n": true}',
    '{"type": "controls", "action": ' + "[" * 2000 + "]" * 2000 + "}",
    '{"type": "answer", "id": null, "choice": ["keep"]}',
    '{"type": "note", "text": {"html": "<script>alert(1)</script>"}}',
    '{"type": "visible"}',
    "[" * 8000,
]


def test_what_makes_no_sense_is_ignored(page: WebUI, loop: Any) -> None:
    with SeatClient(page, "stage") as person:
        person.wait_until(lambda: person.pictures > 3, "pictures")
        for text in MALFORMED:
            person._socket.send(text)
        person._socket.send(b"\x00\xff" * 2000)
        person.send(type="view", format="jpeg", max_fps=60, max_width=0)
        person.hold()
        person.send(type="controls", action=None)
        seen, ticks = person.pictures, loop.ticks
        person.wait_until(lambda: person.pictures > seen + 10 and loop.ticks > ticks + 10, "it all goes on")
        assert person.drives


def test_an_oversized_message_closes_that_connection(page: WebUI, loop: Any) -> None:
    with SeatClient(page, "stage") as driver, SeatClient(page, "stage") as other:
        other.send(type="note", text="x" * 9000)
        with pytest.raises(SeatError, match="was lost"):
            other.wait_until(lambda: False, "the end")
        seen = driver.pictures
        driver.wait_until(lambda: driver.pictures > seen + 5, "pictures go on")


def test_names_of_seats_cannot_leave_their_folder(page: WebUI) -> None:
    for name in ("../x", "a/b", "", ".", "a" * 65, "x\n"):
        with pytest.raises(ConfigurationError, match="name="):
            page.seat("teacher", name)
    with pytest.raises(SeatError):
        SeatClient(page, "../../etc/passwd")


def test_pages_may_be_framed_by_this_machine_and_listed_origins_only() -> None:
    def framers(config: PageConfig) -> str:
        policy = config.headers["Content-Security-Policy"]
        return next(part for part in policy.split("; ") if part.startswith("frame-ancestors"))

    here = PageConfig(None, "t" * 8, "127.0.0.1", 1, origins=("https://lab.example",))  # type: ignore[arg-type]
    assert framers(here).split() == [
        "frame-ancestors",
        "'self'",
        "http://localhost:*",
        "http://127.0.0.1:*",
        "https://lab.example",
    ]
    open_to_all = PageConfig(None, "t" * 8, "0.0.0.0", 1)  # type: ignore[arg-type]
    assert framers(open_to_all).split() == ["frame-ancestors", "'self'"]


def test_a_token_that_breaks_addresses_is_refused() -> None:
    for token in ("short", "with space in it", "a,b,c,d,e,f", "ü" * 10):
        with pytest.raises(ConfigurationError, match="token"):
            WebUI(token=token)


def test_the_status_is_sent_in_patches_to_those_who_know_them(page: WebUI, loop: Any) -> None:
    kinds: list[str] = []
    with SeatClient(page, "stage") as person:
        hear = person._hear

        def listen(message: str | bytes) -> None:
            if isinstance(message, str):
                kinds.append(json.loads(message)["type"])
            hear(message)

        person._hear = listen  # type: ignore[method-assign]
        person.wait_until(lambda: kinds.count("patch") > 20, "patches")
    assert kinds.count("status") <= 1
