"""Checks 55 to 59: many trials, big frames, and an orchestrator that is stopped."""

import asyncio
import gc
import os
import socket
import sys
import threading
import time

import grpc
import pytest
from peers import STATES, counting, echo


def objects_of(module):
    """Return how many objects of classes of ``module`` are alive."""
    gc.collect()
    return sum(1 for one in gc.get_objects() if str(type(one).__module__).startswith(module))


def test_55_trials_leave_no_tasks_threads_or_objects_behind(play):
    async def scenario(world):
        world.env.script, world.actor.script = counting(1), echo

        async def run(n):
            for _ in range(n):
                trial_id = await world.begin()
                await world.ended(trial_id)
                await world.orchestrator.trials.find(trial_id).released()
            for raw in (world.env, world.actor):
                raw.talks.clear()
            world.journal.clear()
            return len(asyncio.all_tasks()), threading.active_count()

        tasks, threads = await run(20)
        objects = objects_of("cogment_lab.services")
        after_tasks, after_threads = await run(60)
        assert after_tasks <= tasks + 3 and after_threads <= threads
        assert objects_of("cogment_lab.services") <= objects + 20

    play(scenario, ended_trials=5)


def test_56_many_trials_at_once(play):
    async def scenario(world):
        world.env.script, world.actor.script = counting(3), echo
        ids = await asyncio.gather(*(world.begin(properties={"n": str(n)}) for n in range(60)))
        assert len(set(ids)) == 60
        await asyncio.gather(*(world.ended(trial_id) for trial_id in ids))
        while world.journal.count("alice: END") < 60:
            await asyncio.sleep(0.01)
        heard = [talk.heard for talk in world.actor.talks]
        whole = ["init_input", *(f"observation {t}" for t in range(3)), "LAST", "observation 3", "END"]
        assert heard == [whole] * 60

    play(scenario, ended_trials=100)


def test_56_trials_in_flight_do_not_mix(play):
    async def scenario(world):
        async def env(talk):
            await talk.begin()
            await talk.observe(talk.trial_id.encode())
            for tick in range(3):
                frame = await talk.expect(f"action_set {tick}")
                assert frame.action_set.actions[0] == talk.trial_id.encode()
                await talk.observe(talk.trial_id.encode())
            await talk.message("*", b"right")

        world.env.script, world.actor.script = env, echo
        await asyncio.gather(*(world.begin(trial_id=f"t{n}") for n in range(8)))
        while sum(line == "alice: message 3" for line in world.journal) < 8:
            await asyncio.sleep(0.01)

    play(scenario)


def test_57_watcher_that_does_not_read_is_dropped_and_slows_nobody(play):
    async def scenario(world):
        world.env.script, world.actor.script = counting(1), echo
        watch = await world.watch(full_info=True)
        big = {"text": "x" * 100_000}  # few of these fill the stream, the others wait in the queue
        for _ in range(40):
            await world.ended(await world.begin(properties=big))
        with pytest.raises(grpc.aio.AioRpcError) as dropped:
            async for _ in watch:
                pass
        assert dropped.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    play(scenario, watcher_queue=20, ended_trials=5)


def test_57_watcher_that_is_cancelled_is_forgotten(play):
    async def scenario(world):
        watch = await world.watch()
        watch.cancel()
        while world.orchestrator.trials.watchers:
            await asyncio.sleep(0.01)

    play(scenario)


def test_58_observation_of_ten_mebibytes_passes(play):
    async def scenario(world):
        big = bytes(10 << 20)
        await world.begin()
        env, alice = await world.talks("alice")
        await env.observe(big)
        assert len((await alice.expect("observation 0")).observation.content) == len(big)
        await alice.act(0, big)
        assert len((await env.expect("action_set 0")).action_set.actions[0]) == len(big)

    play(scenario)


def test_59_stopping_sends_end_to_every_component(play):
    async def scenario(world):
        watch = await world.watch()
        running = await world.begin(world.slot("alice"), world.slot("human", endpoint="cogment://client"))
        human = await world.join(running, actor_name="human")
        env, alice = await world.talks("alice")
        await env.observe(b"t0")
        await alice.expect("observation 0")
        await human.expect("observation 0")
        pending = await world.begin(world.slot("bob"), world.slot("never", endpoint="cogment://client"))
        bob = await world.actor.talk()
        await bob.begin()
        began = time.monotonic()
        stopping = asyncio.create_task(world.orchestrator.stop(0.5))
        for talk in (env, alice, bob, human):
            assert (await talk.expect("END")).details
            assert await talk.next() is None
            talk.kill()
        await stopping
        assert time.monotonic() - began < 10.0
        states = {entry.trial_id: STATES[entry.state] async for entry in watch}
        assert states == {running: "ENDED", pending: "ENDED"}

    play(scenario)


def test_59_stopping_does_not_wait_for_an_actor_that_never_answered(play):
    async def scenario(world):
        await world.begin()
        await (await world.actor.talk()).expect("init_input")
        began = time.monotonic()
        await world.orchestrator.stop(0.5)
        assert time.monotonic() - began < 10.0

    play(scenario)


def test_59_signal_to_an_orchestrator_process_ends_its_trials(play, tmp_path):
    async def scenario(world):
        status = tmp_path / "status"
        os.mkfifo(status)
        port = free_port()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cogment_lab.cli.main", "services", "orchestrator"),
            *(f"--lifecycle_port={port}", f"--actor_port={port}", f"--status_file={status}"),
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            written = await asyncio.to_thread(status.open, "rb", buffering=0)
            with written:
                assert await asyncio.to_thread(written.read, 1) == b"I"
                assert await asyncio.to_thread(written.read, 1) == b"R"
                await world.talk_to(port)
                await world.begin()
                env, alice = await world.talks("alice")
                await env.observe(b"t0")
                await alice.expect("observation 0")
                process.terminate()
                await env.expect("END")
                await alice.expect("END")
                env.kill()
                alice.kill()
                assert await asyncio.wait_for(process.wait(), 20) == 0
                assert await asyncio.to_thread(written.read, 1) == b"T"
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    play(scenario)


def free_port():
    """Return a port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
