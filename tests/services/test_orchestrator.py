"""The orchestrator with scripted peers: the order and content of what each component receives."""

import asyncio
import socket
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from cogment_lab.services.orchestrator import Orchestrator, OrchestratorSettings
from cogment_lab.services.orchestrator.metrics import TickMeter
from cogment_lab.wire.channel import open_channel
from cogment_lab.wire.generated import common_pb2 as common
from cogment_lab.wire.generated.common_pb2 import (
    Action,
    ActorParams,
    ActorRunTrialInput,
    ActorRunTrialOutput,
    EnvironmentParams,
    Reward,
    RewardSource,
    TrialParams,
)
from cogment_lab.wire.generated.environment_pb2 import EnvRunTrialInput, EnvRunTrialOutput, ObservationSet
from cogment_lab.wire.generated.orchestrator_pb2 import TrialInfo, TrialListRequest, TrialStartRequest
from cogment_lab.wire.rpc import Stub
from cogment_lab.wire.server import Server, Servicer
from cogment_lab.wire.stream import actor_side, agree_to_bundles, env_side


class CountingEnv(Servicer):
    """Ends by itself after ``steps`` actions; gives a reward with each observation."""

    def __init__(self, steps: int = 3, bundles: bool = True) -> None:
        self.steps = steps
        self.bundles = bundles
        self.received: list[EnvRunTrialInput] = []
        self.page = ""

    async def RunTrial(self, requests: Any, context: Any) -> None:
        stream = env_side(context)
        bundled = self.bundles and await agree_to_bundles(context)
        (init,) = await stream.read()
        self.received.append(init)
        await stream.write(EnvRunTrialOutput(state=common.NORMAL, init_output={}))
        stream.bundled = bundled
        await stream.write(observation(b"first"))
        step = 0
        told = False
        while frames := await stream.read():
            for frame in frames:
                self.received.append(frame)
                if frame.state == common.END:
                    return
                told = told or frame.state == common.LAST
                if frame.WhichOneof("data") != "action_set":
                    continue
                step += 1
                source = RewardSource(value=step, confidence=1)
                reward = Reward(tick_id=-1, receiver_name="*", sources=[source])
                answer = [EnvRunTrialOutput(state=common.NORMAL, reward=reward)]
                if step == self.steps:
                    answer.append(EnvRunTrialOutput(state=common.LAST))
                answer.append(observation(b"after %d" % step))
                if step == self.steps or told:
                    answer.append(EnvRunTrialOutput(state=common.LAST_ACK))
                await stream.write(*answer)


def observation(content: bytes) -> EnvRunTrialOutput:
    observed = ObservationSet(tick_id=-1, timestamp=7, observations=[content], actors_map=[0])
    return EnvRunTrialOutput(state=common.NORMAL, observation_set=observed)


class EchoActor(Servicer):
    """Answers each observation with its content."""

    def __init__(self, bundles: bool = True) -> None:
        self.bundles = bundles
        self.received: list[ActorRunTrialInput] = []

    async def RunTrial(self, requests: Any, context: Any) -> None:
        stream = actor_side(context)
        bundled = self.bundles and await agree_to_bundles(context)
        (init,) = await stream.read()
        self.received.append(init)
        await stream.write(ActorRunTrialOutput(state=common.NORMAL, init_output={}))
        stream.bundled = bundled
        last = False
        while frames := await stream.read():
            for frame in frames:
                self.received.append(frame)
                if frame.state == common.END:
                    return
                last = last or frame.state == common.LAST
                if frame.WhichOneof("data") == "observation":
                    if last:
                        await stream.write(ActorRunTrialOutput(state=common.LAST_ACK))
                    else:
                        action = Action(tick_id=frame.observation.tick_id, content=frame.observation.content)
                        await stream.write(ActorRunTrialOutput(state=common.NORMAL, action=action))


@asynccontextmanager
async def serving(service: str, servicer: Servicer) -> AsyncIterator[str]:
    server = Server({service: servicer})
    port = await server.start()
    try:
        yield f"grpc://localhost:{port}"
    finally:
        await server.stop(0.1)


@asynccontextmanager
async def orchestrating(**settings: Any) -> AsyncIterator[Stub]:
    orchestrator = Orchestrator(OrchestratorSettings(lifecycle_port=0, actor_port=0, **settings))
    port = await orchestrator.start()
    channel = open_channel(f"localhost:{port}")
    try:
        yield Stub(channel, "cogmentAPI.TrialLifecycleSP")
    finally:
        await channel.close()
        await orchestrator.stop(0.1)


def describe(frame: Any) -> str:
    kind = frame.WhichOneof("data")
    return common.CommunicationState.Name(frame.state) + (f" {kind}" if kind else "")


async def run_trial(
    env: CountingEnv, actor: EchoActor, settings: dict[str, Any] | None = None, **params: Any
) -> list[int]:
    states = []
    async with (
        asyncio.timeout(60),
        serving("cogmentAPI.EnvironmentSP", env) as env_url,
        serving("cogmentAPI.ServiceActorSP", actor) as actor_url,
        orchestrating(**settings or {}) as lifecycle,
    ):
        watch = lifecycle.WatchTrials(TrialListRequest())
        await watch.initial_metadata()
        params_ = TrialParams(
            environment=EnvironmentParams(endpoint=env_url),
            actors=[ActorParams(name="one", actor_class="player", endpoint=actor_url)],
            **params,
        )
        reply = await lifecycle.StartTrial(TrialStartRequest(params=params_, trial_id_requested="t"))
        assert reply.trial_id == "t"
        async for entry in watch:
            states.append(entry.state)
            if entry.state == common.ENDED:
                break
        watch.cancel()
        if settings and "prometheus_port" in settings:
            env.page = await asyncio.to_thread(
                read, f"http://127.0.0.1:{settings['prometheus_port']}/metrics"
            )
    return states


def read(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=30) as reply:
        return str(reply.read().decode())


def expected_of_actor(steps: int) -> list[str]:
    frames = ["NORMAL init_input", "NORMAL observation"]
    frames += ["NORMAL reward", "NORMAL observation"] * (steps - 1)
    return [*frames, "NORMAL reward", "LAST", "NORMAL observation", "END"]


def test_a_trial_that_its_environment_ends() -> None:
    for bundles in (True, False):
        env, actor = CountingEnv(3, bundles), EchoActor(bundles)
        states = asyncio.run(run_trial(env, actor))
        assert states == [1, 2, 3, 4, 5]
        assert [describe(frame) for frame in actor.received] == expected_of_actor(3)
        assert [describe(frame) for frame in env.received] == [
            "NORMAL init_input",
            *["NORMAL action_set"] * 3,
            "END",
        ]
        ticks = [f.observation.tick_id for f in actor.received if f.WhichOneof("data") == "observation"]
        assert ticks == [0, 1, 2, 3]
        assert [f.action_set.actions[0] for f in env.received[1:-1]] == [b"first", b"after 1", b"after 2"]


def test_max_steps_gives_one_more_action_set() -> None:
    env, actor = CountingEnv(100), EchoActor()

    states = asyncio.run(run_trial(env, actor, max_steps=2))
    assert states == [1, 2, 3, 4, 5]
    sets = [f for f in env.received if f.WhichOneof("data") == "action_set"]
    assert [f.action_set.tick_id for f in sets] == [0, 1, 2]


def test_a_trial_without_actors_is_refused() -> None:
    async def main() -> grpc.StatusCode:
        async with asyncio.timeout(60), orchestrating() as lifecycle:
            try:
                await lifecycle.StartTrial(TrialStartRequest(params=TrialParams()))
            except grpc.aio.AioRpcError as error:
                assert "at least one actor" in (error.details() or "")
                return error.code()
        raise AssertionError("it was started")

    assert asyncio.run(main()) is grpc.StatusCode.INVALID_ARGUMENT


def test_prometheus_is_told_of_trials_and_ticks() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env, start = CountingEnv(5), time.monotonic()
    asyncio.run(run_trial(env, EchoActor(), {"prometheus_port": port}))
    figures = dict(line.split() for line in env.page.splitlines() if not line.startswith("#"))
    assert float(figures["orchestrator_trial_duration_seconds_count"]) == 1
    assert float(figures["orchestrator_tick_duration_seconds_count"]) == 5
    seconds = float(figures["orchestrator_tick_duration_seconds_sum"])
    assert 0 < seconds < float(figures["orchestrator_trial_duration_seconds_sum"])
    assert seconds < time.monotonic() - start


def figures_of(meter: TickMeter) -> tuple[float, float]:
    (family,) = meter.collect()
    found = {sample.name.rpartition("_")[2]: sample.value for sample in family.samples}
    return found["count"], found["sum"]


def test_ticks_are_counted_from_the_first_observation_to_the_last() -> None:
    def told(trial_id: str, state: common.TrialState, seconds: float, tick: int = 0) -> None:
        duration = int(seconds * 1e9)
        meter.notify(TrialInfo(trial_id=trial_id, state=state, trial_duration=duration, tick_id=tick))

    running = {"b": (2, 5.0)}
    meter = TickMeter(running.get)
    for state in (common.INITIALIZING, common.PENDING, common.RUNNING):
        told("a", state, 1.0)
    told("b", common.RUNNING, 4.0)
    assert figures_of(meter) == (2, 1.0)  # trial a is not in memory, b runs
    told("a", common.TERMINATING, 3.0, 4)
    told("a", common.ENDED, 60.0, 4)
    assert figures_of(meter) == (6, 3.0)
    told("b", common.ENDED, 6.0, 3)  # ended hard
    told("c", common.ENDED, 9.0)  # never ran
    assert figures_of(meter) == (7, 4.0)
