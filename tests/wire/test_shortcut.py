"""Streams between two of our own processes on one machine leave gRPC after their first frames."""

import asyncio
import os
import stat
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from cogment_lab.wire import shortcut
from cogment_lab.wire import stream as streams
from cogment_lab.wire.driven import Driven
from cogment_lab.wire.generated.common_pb2 import HEARTBEAT, NORMAL, ActorRunTrialInput, ActorRunTrialOutput
from cogment_lab.wire.shortcut import OFFERS, SHORTCUT, answer_offers, settle
from cogment_lab.wire.stream import (
    BUNDLES,
    EOF,
    FrameStream,
    PeerLost,
    actor_side,
    orchestrator_side_of_actor,
)

Server = Callable[[FrameStream[Any, Any], Any], Awaitable[None]]
Client = Callable[[FrameStream[Any, Any], Any], Awaitable[None]]


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield
        assert not os.listdir(folder)  # nothing is left behind


def run(serve: Server, use: Client, metadata: Any = OFFERS) -> None:
    """Have ``use`` talk to ``serve``, each with its end of a stream whose first frames are exchanged."""

    class Handler(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            async def handle(requests: Any, context: Any) -> None:
                call, bundled = await answer_offers(context)
                stream = orchestrator_side_of_actor(call)
                assert (await stream.read())[0].state == NORMAL
                await stream.write(ActorRunTrialInput(state=NORMAL))
                stream.bundled = bundled
                await serve(stream, context)

            return grpc.stream_stream_rpc_method_handler(handle)

    async def main() -> None:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((Handler(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with asyncio.timeout(60), grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                call = channel.stream_stream("/a/b")(metadata=metadata)
                stream = actor_side(call)
                await stream.write(ActorRunTrialOutput(state=NORMAL))
                assert (await stream.read())[0].state == NORMAL
                await settle(call, stream)
                await use(stream, call)
        finally:
            await server.stop(0.5)

    asyncio.run(main())


async def echo(stream: FrameStream[Any, Any], context: Any) -> None:
    while frames := await stream.read():
        await stream.write(
            *(ActorRunTrialInput(state=frame.state, details=frame.details) for frame in frames)
        )


def frame(details: str) -> ActorRunTrialOutput:
    return ActorRunTrialOutput(state=HEARTBEAT, details=details)


async def talk(stream: FrameStream[Any, Any], call: Any) -> None:
    for text in ("one", "x" * 3_000_000, "three"):
        await stream.write(frame(text))
        received = [each.details for each in await stream.read()]
        assert received == [text]


@pytest.fixture
def pipes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The ends of sockets that were made."""
    made: list[Any] = []

    class Pipe(shortcut._Pipe):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.append(self)
            super().connection_made(transport)

    monkeypatch.setattr(shortcut, "_Pipe", Pipe)
    return made


def test_both_ends_take_the_shortcut(pipes: list[Any]) -> None:
    run(echo, talk)
    assert len(pipes) == 2


@pytest.mark.parametrize("metadata", [BUNDLES, ()])
def test_who_does_not_ask_stays_on_grpc(metadata: Any, pipes: list[Any]) -> None:
    run(echo, talk, metadata)
    assert pipes == []


def test_who_cannot_connect_stays_on_grpc(pipes: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortcut, "_is_ours", lambda path: False)
    run(echo, talk)
    assert pipes == []


def test_the_environment_can_forbid_it(pipes: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COGMENT_LAB_SHORTCUT", "0")
    run(echo, talk)
    assert pipes == []


def test_no_folder_no_shortcut(pipes: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    run(echo, talk)
    assert pipes == []


def test_only_this_user_may_come_in(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def remember(path: str) -> bool:
        seen["folder"] = stat.S_IMODE(os.stat(Path(path).parent).st_mode)
        return True

    monkeypatch.setattr(shortcut, "_is_ours", remember)
    run(echo, talk)
    assert seen == {"folder": 0o700}


@pytest.mark.parametrize("path", ["/etc/passwd", "/nowhere/cogment-lab-x/stream", "/var/run/docker.sock"])
def test_a_server_cannot_send_us_elsewhere(path: str) -> None:
    class Call:
        def __init__(self) -> None:
            self.written: list[bytes] = []

        async def initial_metadata(self) -> Any:
            return (*BUNDLES, (SHORTCUT, path))

        async def write(self, message: bytes) -> None:
            self.written.append(message)

        async def read(self) -> Any:
            return EOF

    call = Call()
    asyncio.run(settle(call, actor_side(call)))
    assert call.written == [b""]  # "I cannot"


def test_a_failure_keeps_its_reason() -> None:
    async def fail(stream: FrameStream[Any, Any], context: Any) -> None:
        await stream.read()
        await context.abort(grpc.StatusCode.INTERNAL, "the environment raised ValueError")

    async def use(stream: FrameStream[Any, Any], call: Any) -> None:
        await stream.write(frame("go"))
        assert not await stream.read()
        assert await stream.why() == "the environment raised ValueError"
        with pytest.raises(PeerLost):
            await stream.write(frame("anybody there?"))

    run(fail, use)


@pytest.mark.parametrize("metadata", [OFFERS, BUNDLES, ()])
def test_who_writes_to_a_component_that_failed_hears_why(metadata: Any) -> None:
    async def fail(stream: FrameStream[Any, Any], context: Any) -> None:
        await stream.read()
        if metadata is OFFERS:  # its socket closes well before its last words arrive
            stream._call._close()
            await asyncio.sleep(0.1)
        await context.abort(grpc.StatusCode.INTERNAL, "the actor raised ValueError")

    async def use(stream: FrameStream[Any, Any], call: Any) -> None:
        await stream.write(frame("go"))
        reader = asyncio.create_task(stream.read())
        with pytest.raises(PeerLost) as raised:
            while True:
                await stream.write(frame("anybody there?"))
                await asyncio.sleep(0)
        assert await stream.why(raised.value) == "the actor raised ValueError"
        assert not await reader
        assert await stream.why() == "the actor raised ValueError"

    run(fail, use, metadata)


def test_who_does_not_read_is_blamed_for_that_at_once() -> None:
    async def use(stream: FrameStream[Any, Any], call: Any) -> None:
        with pytest.raises(PeerLost) as raised:
            stream.post(*[frame("more")] * 10_001)
        async with asyncio.timeout(0.5):
            assert "unread" in await stream.why(raised.value)

    run(echo, use)


def test_who_says_nothing_for_a_second_is_gone_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_FAILURE_S", 0.1)

    async def hang(stream: FrameStream[Any, Any], context: Any) -> None:
        await stream.read()
        stream._call._close()
        await asyncio.sleep(10.0)

    async def use(stream: FrameStream[Any, Any], call: Any) -> None:
        with pytest.raises(PeerLost) as raised:
            while True:
                await stream.write(frame("anybody there?"))
                await asyncio.sleep(0.01)
        assert await stream.why(raised.value) == "the peer is gone: the peer closed its socket"

    run(hang, use)


def test_a_failure_keeps_its_reason_for_readers_that_are_no_tasks() -> None:
    async def fail(stream: FrameStream[Any, Any], context: Any) -> None:
        await context.abort(grpc.StatusCode.INTERNAL, "the orchestrator is confused")

    async def use(stream: FrameStream[Any, Any], call: Any) -> None:
        over = asyncio.Event()
        Driven(stream.read(), lambda _: over.set())
        await over.wait()
        assert await stream.why() == "the orchestrator is confused"

    run(fail, use)


def test_a_server_that_fails_before_anybody_connects_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortcut, "_is_ours", lambda path: False)

    async def fail(stream: FrameStream[Any, Any], context: Any) -> None:
        await context.abort(grpc.StatusCode.INTERNAL, "the orchestrator is confused")

    async def use(stream: FrameStream[Any, Any], call: Any) -> None:
        assert not await stream.read()
        assert await stream.why() == "the orchestrator is confused"

    for _ in range(20):  # now before, now after it is told
        run(fail, use)


def test_what_was_sent_before_the_end_arrives() -> None:
    async def say_goodbye(stream: FrameStream[Any, Any], context: Any) -> None:
        for number in range(1000):
            await stream.write(ActorRunTrialInput(state=HEARTBEAT, details=str(number)))

    async def use(stream: FrameStream[Any, Any], call: Any) -> None:
        await call.code()  # the call is over before we read
        received: list[str] = []
        while frames := await stream.read():
            received += [each.details for each in frames]
        assert received == [str(number) for number in range(1000)]
        assert stream.error is None

    run(say_goodbye, use)


def test_cancelling_the_call_ends_both_sides() -> None:
    ended = []

    async def wait(stream: FrameStream[Any, Any], context: Any) -> None:
        try:
            await stream.read()
        finally:
            ended.append(True)

    async def use(stream: FrameStream[Any, Any], call: Any) -> None:
        call.cancel()
        assert not await stream.read()
        while not ended:
            await asyncio.sleep(0.01)

    run(wait, use)


def test_a_reader_who_lags_behind_holds_the_writer_up() -> None:
    written = []

    async def flood(stream: FrameStream[Any, Any], context: Any) -> None:
        for number in range(400):
            await stream.write(ActorRunTrialInput(state=HEARTBEAT, details="x" * 100_000))
            written.append(number)

    async def use(stream: FrameStream[Any, Any], call: Any) -> None:
        await asyncio.sleep(0.3)
        assert len(written) < 400  # 40 MB do not fit into the buffers
        read = 0
        while frames := await stream.read():
            read += len(frames)
        assert read == 400

    run(flood, use)


def test_a_message_without_end_breaks_the_stream_off(pipes: list[Any]) -> None:
    async def use(stream: FrameStream[Any, Any], call: Any) -> None:
        pipes[-1]._transport.write(b"\xff\xff\xff\xffrubbish")
        assert not await stream.read()

    run(echo, use)
