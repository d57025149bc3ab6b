"""Many look at one trial: nobody slows anybody, nothing piles up."""

import asyncio
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from websockets.asyncio.client import connect
from websockets.sync.client import connect as connect_now
from websockets.typing import Subprotocol

from cogment_lab.humans import WebUI
from cogment_lab.humans.web.access import Access
from cogment_lab.humans.web.memory import FrameBoard, SeatMemory
from cogment_lab.humans.web.picture import Kind
from cogment_lab.humans.web.room import Room
from cogment_lab.testing import SeatClient
from cogment_lab.testing.seat_address import PROTOCOL, SeatAddress


def protocols(address: SeatAddress) -> list[Subprotocol]:
    return [Subprotocol(PROTOCOL), Subprotocol(f"token.{address.token}")]


STANDSTILL = 4.0  # seconds for which a busy machine may stop us


def pictures_take(person: SeatClient, number: int) -> float:
    """Return in how many seconds ``person`` is sent that many pictures."""
    begin, seen = time.monotonic(), person.pictures
    person.wait_until(lambda: person.pictures >= seen + number, "pictures go on", 60.0)
    return time.monotonic() - begin


async def spectate(link: str, wanted: int) -> None:
    """Look until that many pictures came."""
    address = SeatAddress.parse(link)
    pictures = 0
    url = address.socket_url(address.seat or "", client="", patches="1", watch="1")
    async with connect(url, subprotocols=protocols(address), compression=None, proxy=None) as connection:
        while pictures < wanted:
            async with asyncio.timeout(60.0):
                message = await connection.recv()
            if isinstance(message, bytes):
                pictures += 1
                sequence = int.from_bytes(message[4:8], "little")
                await connection.send(json.dumps({"type": "ack", "seq": sequence, "painted": 1.0}))


def test_spectators_come_and_go_and_the_driver_keeps_the_seat(page: WebUI, loop: Any) -> None:
    async def crowd() -> None:
        link = page.link("stage", watch=True)
        await asyncio.gather(*(spectate(link, 30) for _ in range(20)))

    with SeatClient(page, "stage") as driver:
        seen = driver.pictures
        asyncio.run(crowd())
        assert driver.pictures - seen > 15
        assert driver.drives and loop.helped == 0
        driver.wait_until(lambda: driver.status["viewers"] == 1, "everybody left")


def test_each_kind_of_a_frame_is_encoded_once_whoever_wants_it(tmp_path: Path) -> None:
    calls: list[Kind] = []

    async def scene() -> None:
        with ThreadPoolExecutor(2) as pool:
            room = Room(tmp_path, "stage", "observer", pool)
            board = FrameBoard.announce(room.memory, 40, 60)
            board.put(np.full((40, 60, 3), 7, np.uint8), 5)
            room.look()
            assert room.shot is not None
            encode = room.shot.encode
            room.shot.encode = lambda kind: (calls.append(kind), encode(kind))[1]  # type: ignore[method-assign]
            kinds = [Kind(), Kind(), Kind(step=3), Kind(format="png"), Kind(), Kind(step=3)]
            pictures = await asyncio.gather(*(room.picture(kind) for kind in kinds))
            assert all(each is not None and each[0] == room.shot.sequence for each in pictures)
            assert struct.unpack_from("<IIII", pictures[0][1])[2] == 5  # type: ignore[index]

    asyncio.run(scene())
    assert sorted(calls) == sorted([Kind(), Kind(step=3), Kind(format="png")])


def test_a_viewer_that_stops_reading_slows_nobody_and_little_waits_for_it(page: WebUI, loop: Any) -> None:
    with SeatClient(page, "stage") as driver:
        driver.wait_until(lambda: driver.pictures > 5, "pictures")
        alone = pictures_take(driver, 90)
        address = SeatAddress.parse(page.link("stage", watch=True))
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        small.settimeout(10.0)
        small.connect(("127.0.0.1", page.port))
        url = address.socket_url("stage", client="asleep")
        stuck = connect_now(
            url, sock=small, subprotocols=protocols(address), max_queue=1, compression=None, proxy=None
        )
        with stuck as connection:
            assert connection.recv(timeout=30.0)
            driver.wait_until(lambda: driver.status["viewers"] == 2, "two viewers")
            assert pictures_take(driver, 90) < 2 * alone + STANDSTILL
            waiting = [
                connection_.send_queue
                for connection_ in _connections(page)
                if connection_.remote_port == small.getsockname()[1]
            ]
            assert len(waiting) == 1 and waiting[0] < 400_000
        driver.wait_until(lambda: driver.status["viewers"] == 1, "it left")


def test_a_driver_whose_tab_sleeps_loses_the_seat(
    page: WebUI, loop: Any, eventually: Callable[..., Any]
) -> None:
    """It answers nothing at all any more: neither pictures nor the server's pings."""
    address = SeatAddress.parse(page.url)
    url = address.socket_url("stage", client="asleep")
    sleeper = connect_now(url, subprotocols=protocols(address), max_queue=1, compression=None, proxy=None)
    with sleeper as connection:
        connection.send(json.dumps({"type": "request", "name": "take", "t": 1.0}))
        eventually(lambda: loop.helped > 0 or loop.env.trial.all_takeovers > 0, "a takeover")
        with SeatClient(page, "stage", watch=True) as other:
            other.wait_until(lambda: not other.hello["occupied"], "the seat is free", 60.0)
            assert other.status["phase"] == "autonomous"
            other.move_here()
            other.wait_until(lambda: other.drives, "the seat")


class _Connection:
    def __init__(self, line: str) -> None:
        fields = line.split()
        self.local_port = int(fields[1].split(":")[1], 16)
        self.remote_port = int(fields[2].split(":")[1], 16)
        self.send_queue = int(fields[4].split(":")[0], 16)


def _connections(page: WebUI) -> list[_Connection]:
    lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return [each for each in map(_Connection, lines) if each.local_port == page.port]


class SlowLink:
    """A proxy that lets so many bytes a second through, towards the viewer."""

    def __init__(self, port: int, bytes_per_s: float) -> None:
        self._target = port
        self._rate = bytes_per_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._sockets: list[socket.socket] = [self._listener]
        self._threads[0].start()

    def _accept(self) -> None:
        viewer, _ = self._listener.accept()
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        server.connect(("127.0.0.1", self._target))
        self._sockets += [viewer, server]
        for source, target, rate in ((viewer, server, 1e9), (server, viewer, self._rate)):
            thread = threading.Thread(target=self._pump, args=(source, target, rate), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _pump(self, source: socket.socket, target: socket.socket, rate: float) -> None:
        try:
            while data := source.recv(2048):
                time.sleep(len(data) / rate)
                target.sendall(data)
        except OSError:
            return  # closed by the other side, or by close()

    def close(self) -> None:
        for each in self._sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it was closed by its other end
            finally:
                each.close()
        for thread in self._threads:
            thread.join(40.0)


def test_a_one_megabit_viewer_gets_smaller_pictures_and_slows_nobody(
    page: WebUI, loop: Any, eventually: Callable[..., Any]
) -> None:
    link = SlowLink(page.port, 1e6 / 8)
    slow_link = page.link("stage", watch=True).replace(f":{page.port}/", f":{link.port}/")
    sizes: list[int] = []
    fast: list[int] = []
    try:
        with (
            SeatClient(page, "stage", on_picture=lambda picture: fast.append(len(picture.data))) as driver,
            SeatClient(slow_link, on_picture=lambda picture: sizes.append(len(picture.data))) as slow,
        ):
            driver.wait_until(lambda: driver.pictures > 5, "pictures")
            alone = pictures_take(driver, 90)
            slow.wait_until(lambda: sizes and min(sizes[-3:]) < 0.8 * sizes[0], "smaller pictures", 90.0)
            assert pictures_take(driver, 90) < 2 * alone + STANDSTILL
            assert slow.picture is not None and driver.picture is not None
            assert driver.picture.rendered_ms - slow.picture.rendered_ms < 3000, "newest wins"
            assert max(fast[-90:]) > 1.1 * min(sizes), "the fast one's pictures stay as they are"
    finally:
        link.close()


def test_thousands_of_frames_leave_the_servers_memory_flat(
    page: WebUI, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    """As fast as they can be put: about what a person sees in minutes, into a server that holds 4 viewers."""
    seat = page.seat("observer", "soak")
    memory = SeatMemory(seat.folder / "soak.seat")
    board = FrameBoard.announce(memory, 200, 300)
    frames = np.random.default_rng(0).integers(0, 255, (8, 200, 300, 3), np.uint8)
    server = psutil.Process(page._process.pid)  # type: ignore[union-attr]

    def put(number: int, pause: float) -> None:
        for index in range(number):
            board.put(frames[index % 8], index)
            memory.publish({"type": "status", "state": "running", "tick": index, "band": [[index, "a", "b"]]})
            time.sleep(pause)

    viewers = [SeatClient(page, "soak") for _ in range(4)]
    try:
        put(300, 0.003)
        warm = server.memory_info().rss
        put(1200, 0.003)
        eventually(lambda: min(each.pictures for each in viewers) > 150, "pictures for everybody")
        assert server.memory_info().rss - warm < 8e6
    finally:
        for each in viewers:
            each.close()
        board.close()
        memory.close()


def test_spectators_share_what_the_server_can_send(tmp_path: Path) -> None:
    class Seat:
        visible, may_drive, client, person = True, False, "", None
        fps = 0.0

        def limit_rate(self, fps: float) -> None:
            self.fps = fps

        def greet(self) -> None:
            return

        def sit_down(self) -> None:
            return

        @property
        def frame_rate(self) -> int:
            return round(self.fps)

    with ThreadPoolExecutor(1) as pool:
        room = Room(tmp_path, "stage", "teacher", pool)
        driver = Seat()
        driver.may_drive = True
        room.enter(driver)  # type: ignore[arg-type]
        spectators = [Seat() for _ in range(200)]
        for each in spectators[:50]:
            room.enter(each)  # type: ignore[arg-type]
        assert driver.fps == 60 and spectators[0].fps == 18
        for each in spectators[50:]:
            room.enter(each)  # type: ignore[arg-type]
        assert driver.fps == 60 and spectators[0].fps == 4.5
        for each in spectators:
            room.leave(each)  # type: ignore[arg-type]
        assert room.driver is driver and room.viewers == [driver]


def test_links_of_watchers_are_not_the_pages(page: WebUI) -> None:
    token = SeatAddress.parse(page.link("stage", watch=True)).token
    assert token == Access(page.token).seat_token("stage", watch=True) != page.token
