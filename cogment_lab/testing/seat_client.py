"""A person at a seat, as a program."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
import time
import urllib.request
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.error import HTTPError, URLError

from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from cogment_lab.errors import SeatError, SeatLostError, SeatTakenError
from cogment_lab.testing.seat_address import PROTOCOL, Picture, SeatAddress
from cogment_lab.testing.shared_tls import shared_tls_context

if TYPE_CHECKING:
    from cogment_lab.humans import WebUI

__all__ = ["Picture", "SeatClient"]

_CONNECT_SECONDS = 10.0
_BEAT_SECONDS = 0.4
_LARGEST_MESSAGE = 16 * 1024 * 1024
_REFUSALS = {
    4401: "the link does not open this seat: ask for a new one",
    4403: "this origin is not allowed",
    4404: "there is no such seat",
    4429: "too many messages in a second",
}


class SeatClient:
    """Sits at a seat without a browser: looks at pictures, holds keys, takes over, gives feedback.

    A thread of its own listens, acknowledges pictures and keeps held keys alive; :meth:`close` ends it.

    Args:
        page: A :class:`~cogment_lab.humans.WebUI`, or a link to a page or a seat.
        seat: The seat's name; by default the link's, or the page's first seat that is free.
        watch: Only look.
        person: A name to show to the others.
        client: Two connections with the same one are the same person.
        format: ``"jpeg"``, ``"webp"`` or ``"png"``.
        max_fps: Pictures per second at most.
        on_picture: Called for each picture, in the listening thread, before it is acknowledged.

    Attributes:
        hello: The newest greeting.
        status: The newest status, complete.
        picture: The newest picture, ``None`` before the first.
        pictures: How many came.

    Raises:
        SeatError: the page refuses, and says why.
        SeatLostError: nobody answers.

    Example:
        >>> from cogment_lab.humans import WebUI
        >>> with WebUI(port=0) as ui:
        ...     _ = ui.seat("teacher")
        ...     with SeatClient(ui) as bot:
        ...         bot.drives
        True
    """

    def __init__(
        self,
        page: WebUI | str,
        seat: str | None = None,
        *,
        watch: bool = False,
        person: str = "",
        client: str | None = None,
        format: str = "jpeg",
        max_fps: float = 60.0,
        on_picture: Callable[[Picture], None] | None = None,
    ) -> None:
        address = SeatAddress.parse(page if isinstance(page, str) else page.url)
        self.seat = seat or address.seat or _free_seat(address)
        self.hello: dict[str, Any] = {}
        self.status: dict[str, Any] = {}
        self.picture: Picture | None = None
        self.pictures = 0
        self.round_trip_ms: float | None = None
        self._on_picture = on_picture
        self._news = threading.Condition()
        self._held: list[str] = []
        self._controls = False
        self._inputs = 0
        self._keeps = False
        self._taken_in: str | None = None
        self._end: SeatError | None = None
        url = address.socket_url(
            self.seat,
            client=client or secrets.token_hex(12),
            patches="1",
            person=person,
            watch="1" if watch else "",
        )
        self._stack = contextlib.ExitStack()
        try:
            connection = connect(
                url,
                subprotocols=[Subprotocol(PROTOCOL), Subprotocol(f"token.{address.token}")],
                open_timeout=_CONNECT_SECONDS,
                max_size=_LARGEST_MESSAGE,
                compression=None,
                proxy=None,
                ssl=shared_tls_context() if url.startswith("wss:") else None,
            )
            self._socket = self._stack.enter_context(connection)
        except (OSError, WebSocketException) as error:
            raise SeatLostError(f"nobody answers at {address.base}: {error}") from error
        self._thread = threading.Thread(target=self._listen, name=f"seat {self.seat}", daemon=True)
        self._thread.start()
        try:
            self.send(type="view", format=format, max_fps=max_fps)
            self.send(type="ping", id=0, t=_now_ms())
            self.wait_until(lambda: self.hello, "a greeting")
        except BaseException:
            self.close()
            raise

    # --- what is seen ---

    @property
    def drives(self) -> bool:
        """Whether what this client does counts."""
        return bool(self.hello.get("driving"))

    def wait_until(self, condition: Callable[[], Any], what: str = "that", timeout: float = 30.0) -> Any:
        """Wait until ``condition()`` holds, asked after each message; return what it returned.

        Raises:
            TimeoutError: it did not, within ``timeout`` seconds.
            SeatError: the connection ended first.
        """
        with self._news:
            deadline = time.monotonic() + timeout
            while not (value := condition()):
                if self._end is not None:
                    raise self._end
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{what} did not come within {timeout:g} s; status {self.status}")
                self._news.wait(min(0.1, max(deadline - time.monotonic(), 0.0)))
            return value

    # --- what is done ---

    def send(self, **message: Any) -> None:
        """Send any message of the protocol.

        Raises:
            SeatError: the connection has ended.
        """
        try:
            self._socket.send(json.dumps(message))
        except ConnectionClosed:
            self._thread.join(_CONNECT_SECONDS)
            raise (self._end or SeatLostError(f"the connection to seat {self.seat!r} has ended")) from None

    def hold(self, *codes: str) -> int:
        """Hold exactly these keys (``KeyboardEvent.code``); return the input's number (see ``Picture``)."""
        with self._news:
            self._held = list(codes)
            self._inputs += 1
            number = self._inputs
        self.send(type="keys", held=list(codes), t=_now_ms(), n=number)
        return number

    def control(self, action: Any) -> int:
        """Act by the action itself, ``None`` to let go; return the input's number."""
        with self._news:
            self._controls = action is not None
            self._inputs += 1
            number = self._inputs
        self.send(type="controls", action=action, t=_now_ms(), n=number)
        return number

    def request(self, name: str) -> None:
        """Ask for ``take``, ``release``, ``pause``, ``resume``, ``step``, ``stop``, ``save``, ``discard``."""
        self.send(type="request", name=name, t=_now_ms(), trial=self.status.get("trial_id"))

    def take(self) -> None:
        """Take over, and again at the beginning of each trial, until :meth:`release`."""
        self._taken_in = self.status.get("trial_id")
        self._keeps = True
        self.request("take")

    def release(self) -> None:
        """Hand back."""
        self._keeps = False
        self.request("release")

    def set_pace(self, name: str) -> None:
        """Ask for a pace: ``max``, ``live``, ``half``, ``quarter``, ``step``."""
        self.send(type="pace", name=name)

    def feedback(self, value: float) -> None:
        """Praise or scold what is seen now, from -1 to 1."""
        seen = {"tick": self.status.get("tick"), "trial": self.status.get("trial_id")}
        self.send(type="feedback", value=value, t=_now_ms(), **seen)

    def note(self, text: str, to: str = "record") -> None:
        """Say something for the trial's record, or to the ``"experimenter"``."""
        seen = {"tick": self.status.get("tick"), "trial": self.status.get("trial_id")}
        self.send(type="note", text=text, to=to, **seen)

    def set(self, name: str, value: bool | float | str) -> None:
        """Choose how to act, or what to see: ``idle``, ``wait``, ``ramp``, ``proposal``, ``inspect``."""
        self.send(type="setting", name=name, value=value)

    def answer(self, choice: str) -> None:
        """Answer the status' question.

        Raises:
            SeatError: nothing was asked.
        """
        question = self.status.get("question")
        if question is None:
            raise SeatError("nothing was asked")
        self.send(type="answer", id=question["id"], choice=choice)

    def move_here(self) -> None:
        """Take the seat from whoever drives.

        Raises:
            SeatTakenError: this link only lets look.
        """
        if not self.hello.get("may_act"):
            raise SeatTakenError(f"this link only lets look at seat {self.seat!r}")
        self.send(type="move")

    def close(self) -> None:
        """Leave."""
        with contextlib.suppress(WebSocketException, OSError):
            self._stack.close()
        self._thread.join(_CONNECT_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- the listening thread ---

    def _listen(self) -> None:
        end: SeatError = SeatLostError(f"the connection to seat {self.seat!r} was lost")
        beat = time.monotonic() + _BEAT_SECONDS
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    self._hear(self._socket.recv(timeout=max(beat - time.monotonic(), 0.0)))
                if time.monotonic() >= beat:
                    beat = time.monotonic() + _BEAT_SECONDS
                    if self._held or self._controls:
                        self._answer(type="keys", held=self._held, t=_now_ms())
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd is not None else 0
            if code in _REFUSALS:
                end = SeatError(f"seat {self.seat!r}: {_REFUSALS[code]}")
        finally:
            with self._news:
                self._end = end
                self._news.notify_all()

    def _hear(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            picture = Picture.parse(message)
            if self._on_picture is not None:
                self._on_picture(picture)
            self._answer(type="ack", seq=picture.sequence, painted=_now_ms())
            with self._news:
                self.picture = picture
                self.pictures += 1
                self._news.notify_all()
            return
        content = json.loads(message)
        with self._news:
            kind = content["type"]
            if kind == "hello":
                self.hello = content
            elif kind == "status":
                self.status = content
            elif kind == "patch":
                self.status = {**self.status, **content["changes"]}
            elif kind == "pong":
                self.round_trip_ms = _now_ms() - content["t"]
            self._news.notify_all()
        self._insist()

    def _insist(self) -> None:
        """Take over again in a new trial, as a person does who goes on holding the key."""
        status = self.status
        running = status.get("state") == "running" and not status.get("learning")
        if self._keeps and running and status["trial_id"] != self._taken_in:
            self._taken_in = status["trial_id"]
            if status["phase"] == "autonomous":
                self._answer(type="request", name="take", t=_now_ms())

    def _answer(self, **message: Any) -> None:
        """Send from the listening thread; what came before the end is still to be read."""
        with contextlib.suppress(ConnectionClosed):
            self._socket.send(json.dumps(message))


def _now_ms() -> float:
    return time.perf_counter() * 1000.0


def _free_seat(address: SeatAddress) -> str:
    request = urllib.request.Request(
        f"{address.base}api/seats", headers={"Authorization": f"Bearer {address.token}"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_CONNECT_SECONDS) as answer:
            seats = json.load(answer)
    except HTTPError as error:
        raise SeatError(f"{address.base}: {_REFUSALS[4401] if error.code == 401 else error}") from None
    except URLError as error:
        raise SeatLostError(f"nobody answers at {address.base}: {error.reason}") from None
    if not seats:
        raise SeatError(f"{address.base} has no seat yet")
    free = [seat for seat in seats if not seat["occupied"]]
    return str((free or seats)[0]["name"])
