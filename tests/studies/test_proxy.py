"""A study behind a proxy with TLS, under a path: links, origins, sockets, addresses are the public ones."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from cogment_lab.studies import JoinLimit, StudyServer, read_study
from cogment_lab.studies.simulated import SimulatedParticipant
from cogment_lab.testing import SeatClient

PATH = "/lab"
DEADLINE = 60.0


class Proxy:
    """Ends TLS, strips a path, says who asks; one request, or one WebSocket, for each connection."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.behind = 0
        self.asks = "10.0.0.1"
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(DEADLINE)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(DEADLINE)
        self._loop.close()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._ended = asyncio.Event()
        server = await asyncio.start_server(self._pass, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._ended.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            method, path, rest = head.split(b" ", 2)
            assert path.startswith(PATH.encode())
            first, _, headers = rest.partition(b"\r\n")
            kept = [
                line for line in headers.split(b"\r\n") if not line.lower().startswith(b"x-forwarded-for")
            ]
            said = f"X-Forwarded-For: {self.asks}\r\nX-Forwarded-Proto: https\r\n".encode()
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self.behind)
            path = path.removeprefix(PATH.encode()) or b"/"
            inner_writer.write(b" ".join([method, path, first]) + b"\r\n" + said + b"\r\n".join(kept))
            await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        return
    finally:
        writer.close()


@pytest.fixture
def proxy(tls: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls["root_cert"]))
    running = Proxy(tls["trust_chain"], tls["private_key"])
    yield running
    running.close()


@pytest.fixture
def proxied(proxy: Proxy, study_file: Any, tmp_path: Path) -> Iterator[StudyServer]:
    server = StudyServer(
        read_study(study_file()),
        tmp_path / "study.db",
        public_url=f"https://localhost:{proxy.port}{PATH}/",
        join_limit=JoinLimit(burst=2, seconds=1000.0),
        say=lambda text: None,
        fps=200.0,
    )
    proxy.behind = server.port
    yield server
    server.close()


def join(server: StudyServer, **headers: str) -> httpx.Response:
    with httpx.Client(trust_env=True, headers={"Connection": "close", **headers}) as http:
        return http.post(f"{server.base_url}/study/api/join", json={})


def test_a_whole_session_goes_through(proxied: StudyServer, proxy: Proxy) -> None:
    assert proxied.join_url == f"https://localhost:{proxy.port}{PATH}/study"
    person = SimulatedParticipant(proxied.base_url, "anna", np.random.default_rng(1), DEADLINE)
    assert person.take_part()["status"] == "complete"


def test_only_the_public_origin_may_write_and_nobody_gets_a_cookie(
    proxied: StudyServer, proxy: Proxy
) -> None:
    assert join(proxied, Origin="https://elsewhere.example").status_code == 403
    assert join(proxied, Origin=f"https://localhost:{proxy.port}").status_code == 200
    answer = join(proxied)
    assert answer.status_code == 200 and "set-cookie" not in answer.headers


def test_everybody_has_the_address_that_the_proxy_saw(proxied: StudyServer, proxy: Proxy) -> None:
    assert [join(proxied).status_code for _ in range(3)] == [200, 200, 429]
    assert join(proxied, **{"X-Forwarded-For": "10.0.0.77"}).status_code == 429, (
        "what a client says is nothing"
    )
    proxy.asks = "10.0.0.2"
    assert join(proxied).status_code == 200


def test_the_experimenters_link_opens_the_seats_socket(
    proxied: StudyServer, visit: Any, proxy: Proxy
) -> None:
    class Inside:
        base_url = f"http://127.0.0.1:{proxied.port}"

    visitor = visit(Inside)
    visitor.walk_to_trials()
    visitor.begin()
    seat = visitor.session_is("running")["session"]["seat"]
    link = proxied.lobby_url.replace("/lobby?", f"/?seat={seat}&")
    with SeatClient(link, watch=True) as experimenter:
        assert experimenter.hello["seat"]["name"] == seat
