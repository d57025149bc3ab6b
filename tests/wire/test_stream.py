"""Frames over a call: plain or bundled, in order, from several writers, with an end."""

import asyncio
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogment_lab.wire.generated import common_pb2 as common
from cogment_lab.wire.generated.bundle_pb2 import ActorInputs, ActorOutputs
from cogment_lab.wire.generated.common_pb2 import Action, ActorRunTrialInput, ActorRunTrialOutput
from cogment_lab.wire.stream import PeerLost, actor_side, bundle, offers_bundles


class FakeCall:
    """Records what is written, optionally waiting at a gate; hands out what it was given."""

    def __init__(self, incoming: list[Any] = ()) -> None:  # type: ignore[assignment]
        self.incoming = list(incoming)
        self.written: list[bytes] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.broken = False

    async def read(self) -> Any:
        return self.incoming.pop(0) if self.incoming else grpc.aio.EOF

    async def write(self, data: bytes) -> None:
        if self.broken:
            raise asyncio.InvalidStateError("RPC already finished.")
        await self.gate.wait()
        self.written.append(data)


def action(tick: int) -> ActorRunTrialOutput:
    return ActorRunTrialOutput(state=common.NORMAL, action=Action(tick_id=tick, content=b"a" * tick))


@given(st.lists(st.binary(max_size=400), max_size=5))
def test_a_bundle_is_the_encoding_of_its_message(contents: list[bytes]) -> None:
    frames = [
        ActorRunTrialOutput(state=common.NORMAL, action=Action(content=content)) for content in contents
    ]
    encoded = bundle(frame.SerializeToString() for frame in frames)
    assert list(ActorOutputs.FromString(encoded).frames) == frames


def test_plain_peers_get_a_message_for_each_frame() -> None:
    async def main() -> list[bytes]:
        call = FakeCall()
        await actor_side(call).write(action(1), action(2))
        return call.written

    assert [ActorRunTrialOutput.FromString(data).action.tick_id for data in asyncio.run(main())] == [1, 2]


def test_after_the_first_frame_our_own_peers_get_bundles() -> None:
    async def main() -> list[bytes]:
        call = FakeCall()
        stream = actor_side(call)
        stream.bundled = True
        await stream.write(action(1), action(2), action(3))
        return call.written

    first, rest = asyncio.run(main())
    assert ActorRunTrialOutput.FromString(first).action.tick_id == 1
    assert [frame.action.tick_id for frame in ActorOutputs.FromString(rest).frames] == [2, 3]


def test_frames_of_other_writers_follow_the_one_under_way_in_one_bundle() -> None:
    async def main() -> list[bytes]:
        call = FakeCall()
        stream = actor_side(call)
        await stream.write(action(0))
        stream.bundled = True
        call.gate.clear()
        writer = asyncio.create_task(stream.write(action(1)))
        await asyncio.sleep(0)
        await stream.write(action(2))
        await stream.write(action(3), action(4))
        call.gate.set()
        await writer
        return call.written

    written = asyncio.run(main())
    bundles = [
        [frame.action.tick_id for frame in ActorOutputs.FromString(data).frames] for data in written[1:]
    ]
    assert bundles == [[1], [2, 3, 4]]


def test_reading_follows_what_was_agreed() -> None:
    plain = ActorRunTrialInput(state=common.HEARTBEAT).SerializeToString()
    two = ActorInputs(frames=[ActorRunTrialInput(state=common.LAST), ActorRunTrialInput(state=common.END)])

    async def main() -> list[list[int]]:
        stream = actor_side(FakeCall([plain, two.SerializeToString()]))
        stream.bundled = True
        reads = [await stream.read() for _ in range(3)]
        assert stream.error is None
        return [[frame.state for frame in frames] for frames in reads]

    assert asyncio.run(main()) == [[common.HEARTBEAT], [common.LAST, common.END], []]


def test_a_malformed_frame_ends_the_stream_with_its_error() -> None:
    async def main() -> BaseException | None:
        stream = actor_side(FakeCall([b"\xff\xff\xff"]))
        assert not await stream.read()
        return stream.error

    assert asyncio.run(main()) is not None


def test_a_peer_that_is_gone_or_does_not_read_is_lost() -> None:
    async def gone() -> None:
        call = FakeCall()
        call.broken = True
        await actor_side(call).write(action(1))

    async def stuck() -> None:
        call = FakeCall()
        call.gate.clear()
        stream = actor_side(call)
        writer = asyncio.create_task(stream.write(action(1)))
        await asyncio.sleep(0)
        try:
            for _ in range(10_001):
                await stream.write(action(2))
        finally:
            writer.cancel()

    for case in (gone, stuck):
        with pytest.raises(PeerLost):
            asyncio.run(case())


def test_the_offer_is_found_among_other_metadata() -> None:
    assert offers_bundles([("user-agent", "x"), ("cogment-lab-bundles", "1")])
    assert not offers_bundles([("user-agent", "x")])
    assert not offers_bundles(None)
