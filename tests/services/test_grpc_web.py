"""Browsers at the orchestrator: grpc-web over HTTP and WebSocket, spoken by hand."""

import asyncio
import base64
import contextlib
import http.client
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from cogment_lab.errors import PortInUseError, ProtocolError
from cogment_lab.services.orchestrator import Orchestrator, OrchestratorSettings
from cogment_lab.services.orchestrator.grpc_web import (
    Deframer,
    data_frame,
    decode_text,
    grpc_metadata,
    header_block,
    lines_frame,
    parse_lines,
    timeout_of,
)
from cogment_lab.wire.context import Context
from cogment_lab.wire.environment import EnvironmentSession
from cogment_lab.wire.generated import common_pb2 as common
from cogment_lab.wire.generated import orchestrator_pb2 as api
from cogment_lab.wire.settings import LAB_SETTINGS

RUN = "/cogmentAPI.ClientActorSP/RunTrial"
LIFECYCLE = "/cogmentAPI.TrialLifecycleSP"
STEPS = 4


# --- frames and headers ---


@given(st.lists(st.binary(max_size=50)), st.integers(1, 9))
def test_messages_survive_any_cutting_of_the_stream(messages: list[bytes], size: int) -> None:
    stream = b"".join(map(data_frame, messages)) + lines_frame(b"grpc-status: 0\r\n")
    deframer, found = Deframer(100), []
    for start in range(0, len(stream), size):
        found += deframer.feed(stream[start : start + size])
    deframer.end()
    assert found == messages


@given(st.lists(st.binary()))
def test_base64_may_come_in_padded_pieces(pieces: list[bytes]) -> None:
    assert decode_text(b"\n".join(map(base64.b64encode, pieces))) == b"".join(pieces)


@pytest.mark.parametrize(
    ("break_it", "complaint"),
    [
        (lambda: list(Deframer(9).feed(b"\1\0\0\0\0")), "compressed"),
        (lambda: list(Deframer(9).feed(b"\0\0\0\0\x0a")), "larger than 9"),
        (lambda: decode_text(b"a$b="), "no base64"),
        (lambda: parse_lines(b"trial-id\r\n"), "no header"),
        (lambda: grpc_metadata([("trial id", "a")]), "no metadata"),
        (lambda: grpc_metadata([("trial-id", "a\tb")]), "no metadata"),
        (lambda: grpc_metadata([("key-bin", "%")]), "no base64"),
        (lambda: timeout_of([("grpc-timeout", "soon")]), "grpc-timeout 'soon'"),
    ],
)
def test_what_breaks_the_rules_is_refused(break_it: Callable[[], Any], complaint: str) -> None:
    with pytest.raises(ProtocolError, match=complaint):
        break_it()


def test_a_message_that_is_cut_off_is_noticed() -> None:
    deframer = Deframer(9)
    assert not list(deframer.feed(data_frame(b"abc")[:-1]))
    with pytest.raises(ProtocolError, match="incomplete"):
        deframer.end()


def test_headers_of_http_are_no_metadata() -> None:
    headers = [
        *(("Trial-Id", "t-1"), ("trial-id", "t-2"), ("key-bin", "AAE"), ("authorization", "basic x")),
        *(("User-Agent", "Mozilla"), ("content-type", "application/grpc-web"), ("X-Grpc-Web", "1")),
        *(("Sec-Fetch-Mode", "cors"), ("cogment-lab-bundles", "1"), ("grpc-timeout", "2S")),
    ]
    assert grpc_metadata(headers) == [
        *(("trial-id", "t-1"), ("trial-id", "t-2"), ("key-bin", b"\0\1"), ("authorization", "basic x")),
    ]
    assert timeout_of(headers) == 2.0
    assert timeout_of([("GRPC-Timeout", "250m")]) == 0.25
    assert timeout_of([]) is None


def test_trailers_tell_the_status() -> None:
    block = header_block([("key-bin", b"\0\1")], 5, "Unknown trial [ü]\r\n")
    assert block == b"key-bin: AAE=\r\ngrpc-status: 5\r\ngrpc-message: Unknown trial %5B%C3%BC%5D%0D%0A\r\n"
    assert parse_lines(header_block([("a", "b: c")])) == [("a", "b: c")]


# --- calls ---


async def environment(session: EnvironmentSession) -> None:
    """Observes the number of the step; rewards with it."""
    message = LAB_SETTINGS.actor_classes["player"].observation_space
    session.start([("*", message(active=True, alive=True))])
    step = 0
    async for event in session.all_events():
        if event.actions:
            step += 1
            session.add_reward(float(step), 1.0, ["*"])
            (session.end if step == STEPS else session.produce_observations)([("*", message())])


class World:
    """An orchestrator for browsers, and an environment."""

    def __init__(self, **settings: Any) -> None:
        self.orchestrator = Orchestrator(
            OrchestratorSettings(lifecycle_port=0, actor_port=0, actor_web_port=0, **settings)
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["World"]:
        context = Context("tester", LAB_SETTINGS)
        context.register_environment(environment)
        serving = asyncio.create_task(context.serve_all_registered(grace=0.2))
        try:
            await self.orchestrator.start()
            while not context.served_port:
                await asyncio.sleep(0)
            self.params = common.TrialParams(
                environment={"endpoint": f"grpc://127.0.0.1:{context.served_port}"},
                actors=[common.ActorParams(name="eve", actor_class="player", endpoint="cogment://client")],
            )
            yield self
        finally:
            await self.orchestrator.stop(0.2)
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            await context.close()

    async def post(
        self, path: str, *messages: Any, kind: str = "application/grpc-web+proto", **headers: str
    ) -> tuple[int, list[bytes], dict[str, str], http.client.HTTPResponse]:
        """Return status, messages, trailers and the response of a call over HTTP."""
        body = b"".join(data_frame(message.SerializeToString()) for message in messages)
        body = base64.b64encode(body) if "text" in kind else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}

        def ask() -> Any:
            connection = http.client.HTTPConnection("127.0.0.1", self.orchestrator.actor_web_port, timeout=30)
            with contextlib.closing(connection):
                connection.request("POST", path, body, {"Content-Type": kind, "X-Grpc-Web": "1", **named})
                response = connection.getresponse()
                return response, response.read()

        response, answer = await asyncio.to_thread(ask)
        if response.status != 200:
            return response.status, [answer], {}, response
        assert response.getheader("content-type") == kind
        found, trailers = unframed(decode_text(answer) if "text" in kind else answer)
        return 200, found, trailers, response

    def connect(self, path: str = RUN, **how: Any) -> connect:
        url = f"ws://127.0.0.1:{self.orchestrator.actor_web_port}{path}"
        return connect(url, subprotocols=["grpc-websockets"], proxy=None, **how)  # type: ignore[list-item]

    async def start_trial(self) -> str:
        request = api.TrialStartRequest(params=self.params, user_id="browser")
        _, (reply,), trailers, _ = await self.post(f"{LIFECYCLE}/StartTrial", request)
        assert trailers == {"grpc-status": "0"}
        return api.TrialStartReply.FromString(reply).trial_id


def unframed(stream: bytes) -> tuple[list[bytes], dict[str, str]]:
    """Return the messages and the trailers of a stream of replies."""
    messages, lines = [], {}
    while stream:
        flag, size = stream[0], int.from_bytes(stream[1:5], "big")
        content, stream = stream[5 : 5 + size], stream[5 + size :]
        if flag == 0x80:
            assert not stream
            lines = dict(parse_lines(content))
        else:
            assert flag == 0
            messages.append(content)
    return messages, lines


def in_world(work: Callable[[World], Awaitable[None]], **settings: Any) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), World(**settings).running() as world:
            await work(world)

    asyncio.run(main())


async def say(socket: ClientConnection, **output: Any) -> None:
    await socket.send(b"\0" + data_frame(common.ActorRunTrialOutput(**output).SerializeToString()))


async def hear(socket: ClientConnection) -> tuple[bytes, bytes]:
    """Return flag and content of the next frame."""
    frame = await socket.recv()
    assert isinstance(frame, bytes) and int.from_bytes(frame[1:5], "big") == len(frame) - 5
    return frame[:1], frame[5:]


def headers(**lines: str) -> bytes:
    return "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items()).encode()


async def play(world: World, trial_id: str, **how: Any) -> tuple[list[int], list[float], dict[str, str]]:
    """Play a trial by WebSocket; return the ticks and rewards that came, and the trailers."""
    ticks, rewards = [], []
    async with world.connect(**how) as socket:
        assert socket.subprotocol == "grpc-websockets"
        await socket.send(headers(trial_id=trial_id, x_grpc_web="1"))
        await say(socket, state=common.NORMAL, init_output={"actor_name": "eve"})
        flag, lines = await hear(socket)
        assert flag == b"\x80" and b"content-type: application/grpc-web+proto\r\n" in lines
        is_first = True
        while True:
            flag, content = await hear(socket)
            if flag == b"\x80":
                break
            frame = common.ActorRunTrialInput.FromString(content)
            assert (frame.WhichOneof("data") == "init_input") is is_first  # the JavaScript SDK insists
            is_first = False
            if frame.WhichOneof("data") == "observation":
                ticks.append(frame.observation.tick_id)
                if len(ticks) <= STEPS:
                    await say(socket, state=common.NORMAL, action={"tick_id": -1, "content": b""})
                else:
                    await say(socket, state=common.LAST_ACK)
            if frame.WhichOneof("data") == "reward":
                rewards.append(frame.reward.value)
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd.code == 1000  # type: ignore[union-attr]
    return ticks, rewards, dict(parse_lines(content))


def test_a_browser_starts_a_trial_by_http_and_plays_it_by_websocket() -> None:
    async def work(world: World) -> None:
        trial_id = await world.start_trial()
        ticks, rewards, trailers = await play(world, trial_id)
        assert ticks == list(range(STEPS + 1))
        assert rewards == [1.0, 2.0, 3.0, 4.0]
        assert trailers["grpc-status"] == "0"

    in_world(work)


@pytest.mark.parametrize(
    "kind", ["application/grpc-web", "application/grpc-web-text", "application/grpc-web-text+proto"]
)
def test_calls_and_streams_of_replies_go_over_http(kind: str) -> None:
    async def work(world: World) -> None:
        _, (reply,), trailers, response = await world.post(
            f"{LIFECYCLE}/Version", common.VersionRequest(), kind=kind, Origin="http://localhost:3000"
        )
        assert trailers == {"grpc-status": "0"}
        assert "cogment" in {each.name for each in common.VersionInfo.FromString(reply).versions}
        assert response.getheader("access-control-allow-origin") == "http://localhost:3000"
        trial_id = await world.start_trial()
        asked = {"trial_id": trial_id}
        _, (reply,), _, _ = await world.post(
            f"{LIFECYCLE}/GetTrialInfo", api.TrialInfoRequest(), kind=kind, **asked
        )
        assert [trial.trial_id for trial in api.TrialInfoReply.FromString(reply).trial] == [trial_id]
        watching = asyncio.create_task(
            world.post(f"{LIFECYCLE}/WatchTrials", api.TrialListRequest(), kind=kind, grpc_timeout="2S")
        )
        await play(world, trial_id)
        _, entries, trailers, _ = await watching
        states = [api.TrialListEntry.FromString(entry).state for entry in entries]
        assert states[-1] == common.ENDED and states == sorted(states)
        assert trailers["grpc-status"] == "4"  # deadline exceeded

    in_world(work)


def test_a_refusal_reaches_the_browser() -> None:
    async def work(world: World) -> None:
        status, messages, trailers, _ = await world.post(
            f"{LIFECYCLE}/TerminateTrial", api.TerminateTrialRequest()
        )
        assert (status, messages, trailers["grpc-status"]) == (200, [], "3")
        assert "trial-id" in trailers["grpc-message"]
        _, _, trailers, _ = await world.post("/cogmentAPI.Nothing/Nothing", common.VersionRequest())
        assert trailers["grpc-status"] == "12"
        async with world.connect() as socket:
            await socket.send(headers(trial_id="t-unknown"))
            await say(socket, state=common.NORMAL, init_output={"actor_name": "eve"})
            assert (await hear(socket))[0] == b"\x80"
            trailers = dict(parse_lines((await hear(socket))[1]))
            assert trailers["grpc-status"] == "5" and "t-unknown" in trailers["grpc-message"]

    in_world(work)


def test_a_browser_that_goes_away_is_a_lost_actor() -> None:
    async def work(world: World) -> None:
        trial_id = await world.start_trial()
        async with world.connect() as socket:
            await socket.send(headers(trial_id=trial_id))
            await say(socket, state=common.NORMAL, init_output={"actor_name": "eve"})
            while True:
                flag, content = await hear(socket)
                if flag == b"\x80":
                    continue
                frame = common.ActorRunTrialInput.FromString(content)
                if frame.WhichOneof("data") == "observation":
                    break
        trial = world.orchestrator.trials.find(trial_id)
        assert trial is not None
        async with asyncio.timeout(60):
            await trial.ended.wait()

    in_world(work)


@pytest.mark.parametrize(
    "message", [b"\0\1\0\0\0\0", b"\0\0\xff\xff\xff\xff", "text"], ids=["compressed", "huge", "text"]
)
def test_a_browser_that_breaks_the_rules_is_told(message: Any) -> None:
    async def work(world: World) -> None:
        async with world.connect() as socket:
            await socket.send(headers(trial_id=await world.start_trial()))
            await socket.send(message)
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    await socket.recv()
            assert closed.value.rcvd.code == 1002  # type: ignore[union-attr]

    in_world(work)


def test_pages_of_elsewhere_are_not_let_in_unless_they_are_named() -> None:
    async def work(world: World) -> None:
        for origin, welcome in (
            ("https://lab.example", True),
            ("http://localhost:8000", True),
            ("https://evil.example", False),
            ("http://localhost.evil.example", False),
        ):
            status, *_ = await world.post(f"{LIFECYCLE}/Version", common.VersionRequest(), Origin=origin)
            assert (status == 200) is welcome, origin
            if welcome:
                async with world.connect(origin=origin):
                    pass
            else:
                with pytest.raises(InvalidStatus):
                    async with world.connect(origin=origin):
                        pass
        status, *_ = await world.post(f"{LIFECYCLE}/Version", kind="text/plain")
        assert status == 415
        status, (problem,), *_ = await world.post(f"{LIFECYCLE}/Version", grpc_timeout="soon")
        assert status == 400 and b"grpc-timeout" in problem

    in_world(work, actor_web_origins=("https://lab.example",))


def test_browsers_are_served_by_tls_too(tls: dict[str, Path]) -> None:
    context = ssl.create_default_context(cafile=tls["root_cert"])
    files = {name: tls[name] for name in ("private_key", "trust_chain")}

    async def main() -> None:
        orchestrator = Orchestrator(
            OrchestratorSettings(
                lifecycle_port=0, actor_port=0, actor_web_port=0, own_directory=False, **files
            )
        )
        await orchestrator.start()
        try:
            url = f"wss://localhost:{orchestrator.actor_web_port}/cogmentAPI.ClientActorSP/Version"
            async with (
                asyncio.timeout(60),
                connect(url, subprotocols=["grpc-websockets"], proxy=None, ssl=context) as socket,  # type: ignore[list-item]
            ):
                await socket.send(headers(x_grpc_web="1"))
                await socket.send(b"\0" + data_frame(b""))
                await socket.send(b"\1")
                frames = [await hear(socket) for _ in range(3)]
                assert b"2.22.0" in frames[1][1] and b"grpc-status: 0" in frames[2][1]
        finally:
            await orchestrator.stop(0.2)

    asyncio.run(main())


def test_a_port_that_is_taken_is_said() -> None:
    async def work(world: World) -> None:
        second = Orchestrator(
            OrchestratorSettings(
                lifecycle_port=0, actor_port=0, actor_web_port=world.orchestrator.actor_web_port
            )
        )
        with pytest.raises(PortInUseError, match="for HTTP"):
            await second.start()
        await second.stop(0.1)

    in_world(work)
