"""Sessions of environments and actors in whole trials of our orchestrator."""

import asyncio
import contextlib

import pytest
from google.protobuf.wrappers_pb2 import BoolValue, Int64Value, StringValue

import cogment_lab.wire as cogment

EVERYBODY = "*"


def text(value):
    return StringValue(value=str(value))


def counting_environment(last_tick, rewarding=True):
    """Observe "0", "1"... and end with ``last_tick``; reward each action with its value."""

    async def environment(session):
        session.start([(EVERYBODY, text(0))])
        async for event in session.all_events():
            for action in event.actions:
                if rewarding and action.action is not None:
                    name = session.get_active_actors()[action.actor_index].actor_name
                    session.add_reward(action.action.value, 1.0, [name])
            if event.actions:
                tick = session.get_tick_id() + 1
                if tick == last_tick:
                    session.end([(EVERYBODY, text(tick))])
                else:
                    session.produce_observations([(EVERYBODY, text(tick))])

    return environment


def recording_actor(log, action=lambda tick: Int64Value(value=10 * tick)):
    """Act with ten times the tick; note what comes."""

    async def actor(session):
        session.start()
        async for event in session.all_events():
            if event.observation:
                log.append((event.type.name, event.observation.tick_id, event.observation.observation.value))
                if event.type is cogment.EventType.ACTIVE:
                    session.do_action(action(event.observation.tick_id))
            log.extend(("reward", reward.tick_id, reward.value) for reward in event.rewards)
            if event.type is cogment.EventType.FINAL:
                log.append("FINAL")
        log.append("over" if session.is_trial_over() else "not over")

    return actor


WHOLE_TRIAL = [
    ("ACTIVE", 0, "0"),
    ("reward", 0, 0.0),
    ("ACTIVE", 1, "1"),
    ("reward", 1, 10.0),
    ("ACTIVE", 2, "2"),
    ("reward", 2, 20.0),
    ("ENDING", 3, "3"),
    "FINAL",
    "over",
]


def without_types(log):
    return [entry[1:] if entry[0] in ("ACTIVE", "ENDING") else entry for entry in log]


def test_trial_between_a_served_environment_and_a_served_actor(play):
    log = []

    async def scenario(world):
        world.context.register_environment(counting_environment(3))
        world.context.register_actor(recording_actor(log), "recorder", ["player"])
        await world.start()
        await world.whole_trial()

    play(scenario)
    assert log == WHOLE_TRIAL


@pytest.mark.parametrize(
    "slot", [{"actor_name": "alice"}, {"actor_class": "player"}, {"impl_name": "recorder"}]
)
def test_client_actor_joins_by_name_class_or_implementation(play, slot):
    log = []

    async def scenario(world):
        world.context.register_environment(counting_environment(3))
        world.context.register_actor(recording_actor(log), "recorder", ["player"])
        await world.start()
        trial_id = await world.begin(("alice", "player", "cogment://client"))
        await world.context.join_trial(trial_id, world.endpoint, **slot)

    play(scenario)
    assert log == WHOLE_TRIAL


def test_session_knows_names_classes_and_configurations(play):
    seen = {}

    async def environment(session):
        seen["env"] = (session.name, session.impl_name, session.config.value, session.get_tick_id())
        seen["actors"] = [(one.actor_name, one.actor_class_name) for one in session.get_active_actors()]
        session.start([(EVERYBODY, text(0))])
        session.end([(EVERYBODY, text(1))])

    async def actor(session):
        seen[session.name] = (session.impl_name, session.class_name, session.env_name, session.config)
        seen[f"trial of {session.name}"] = session.get_trial_id()
        session.start()
        async for _ in session.all_events():
            pass

    async def scenario(world):
        world.context.register_environment(environment, "world")
        world.context.register_actor(actor, "generic")
        await world.start()
        parameters = world.parameters(("alice", "player"), ("bob", "judge"), environment_name="lunar")
        parameters.environment_config = Int64Value(value=7)
        parameters.actors["alice"].config = text("tall")
        seen["id"] = await world.controller.start_trial(trial_params=parameters)
        await world.finished(seen["id"])

    play(scenario)
    assert seen["env"] == ("lunar", "world", 7, -1)
    assert seen["actors"] == [("alice", "player"), ("bob", "judge")]
    assert seen["alice"] == ("generic", "player", "lunar", text("tall"))
    assert seen["bob"] == ("generic", "judge", "lunar", None)
    assert seen["trial of alice"] == seen["id"]


def test_every_actor_gets_its_own_observation_and_its_actions_come_in_order(play):
    seen = {"actions": []}

    async def environment(session):
        session.start([("judge.*", text("j")), ("bob", text("b")), ("player.carol", text("c"))])
        async for event in session.all_events():
            if event.actions:
                seen["actions"] = [
                    (action.actor_index, action.tick_id, action.status.name, action.action)
                    for action in event.actions
                ]
                session.end([("*.*", text("end"))])

    async def actor(session):
        session.start()
        async for event in session.all_events():
            if event.observation:
                seen.setdefault(session.name, []).append(event.observation.observation.value)
                is_judge = session.actor_class == "judge"
                session.do_action(BoolValue(value=True) if is_judge else Int64Value(value=len(session.name)))

    async def scenario(world):
        world.context.register_environment(environment)
        world.context.register_actor(actor, "generic")
        await world.start()
        await world.whole_trial(("bob", "player"), ("dora", "judge"), ("carol", "player"), ("eve", "judge"))

    play(scenario)
    assert [seen[name] for name in ("bob", "carol", "dora", "eve")] == [
        ["b", "end"],
        ["c", "end"],
        ["j", "end"],
        ["j", "end"],
    ]
    assert seen["actions"] == [
        (0, 0, "ACTIVE", Int64Value(value=3)),
        (1, 0, "ACTIVE", BoolValue(value=True)),
        (2, 0, "ACTIVE", Int64Value(value=5)),
        (3, 0, "ACTIVE", BoolValue(value=True)),
    ]


def test_messages_and_user_data_reach_both_ways(play):
    seen = []

    def unpacked(payload):
        inner = StringValue()
        assert payload.Unpack(inner)
        return inner.value

    async def environment(session):
        session.start([(EVERYBODY, text(0))])
        session.send_message(text("hello actor"), ["alice"])
        async for event in session.all_events():
            for message in event.messages:
                seen.append(
                    (session.name, message.sender_name, message.receiver_name, unpacked(message.payload))
                )
            if event.actions:
                session.add_reward(1.0, 0.5, ["player.*"], user_data=text("because"))
                session.end([(EVERYBODY, text(1))])

    async def actor(session):
        session.start()
        async for event in session.all_events():
            if event.observation and event.type is cogment.EventType.ACTIVE:
                session.send_message(text("hello env"), [session.env_name])
                session.do_action(None)
            for message in event.messages:
                seen.append(
                    (session.name, message.sender_name, message.receiver_name, unpacked(message.payload))
                )
            for reward in event.rewards:
                (source,) = reward.all_sources()
                assert reward.get_nb_sources() == 1
                seen.append((reward.value, source.sender_name, source.confidence, unpacked(source.user_data)))

    async def scenario(world):
        world.context.register_environment(environment)
        world.context.register_actor(actor, "generic")
        await world.start()
        await world.whole_trial()

    play(scenario)
    assert set(seen) == {
        ("alice", "env", "alice", "hello actor"),
        ("env", "alice", "env", "hello env"),
        (1.0, "env", 0.5, "because"),
    }


def test_soft_termination_gives_ending_observation_and_final(play):
    log, env_events = [], []

    async def environment(session):
        session.start([(EVERYBODY, text(0))])
        async for event in session.all_events():
            env_events.append(event.type.name)
            if event.actions:
                session.produce_observations([(EVERYBODY, text(session.get_tick_id() + 1))])

    async def scenario(world):
        world.context.register_environment(environment)
        world.context.register_actor(recording_actor(log), "recorder", ["player"])
        await world.start()
        trial_id = await world.begin()
        await world.reaches(trial_id, cogment.TrialState.RUNNING)
        await world.controller.terminate_trial([trial_id])
        await world.finished(trial_id)

    play(scenario)
    assert env_events[-2:] == ["ENDING", "FINAL"]
    assert log[-3][0] == "ENDING"
    assert log[-2:] == ["FINAL", "over"]


def test_hard_termination_ends_the_loops_without_final(play):
    log, env_types = [], []

    async def environment(session):
        session.start([(EVERYBODY, text(0))])
        async for event in session.all_events():
            env_types.append(event.type)
        assert session.is_trial_over()

    async def idle_actor(session):
        session.start()
        async for event in session.all_events():
            log.append(event.type)
        log.append(session.is_trial_over())

    async def scenario(world):
        world.context.register_environment(environment)
        world.context.register_actor(idle_actor, "idle", ["player"])
        await world.start()
        trial_id = await world.begin()
        await world.reaches(trial_id, cogment.TrialState.RUNNING)
        await world.controller.terminate_trial([trial_id], hard=True)
        await world.finished(trial_id)

    play(scenario)
    assert log == [cogment.EventType.ACTIVE, True]
    assert env_types == []


def test_who_acts_in_a_trial_that_was_ended_hears_why(play, caplog):
    async def environment(session):
        session.start([(EVERYBODY, text(0))])
        async for _ in session.all_events():
            pass

    async def scenario(world):
        async def thinker(session):
            session.start()
            events = session.all_events()
            await anext(events)
            while not session._reading:  # it would hear of the end on its own
                await asyncio.sleep(0)
            session._reader.close()
            await world.controller.terminate_trial([session.get_trial_id()], hard=True)
            await world.finished(session.get_trial_id())
            await asyncio.sleep(0.1)
            session._reading = False
            session.do_action(Int64Value(value=1))
            await asyncio.sleep(0.1)
            assert [event async for event in events] == []
            assert session.is_trial_over()

        world.context.register_environment(environment)
        world.context.register_actor(thinker, "thinker", ["player"])
        await world.start()
        trial_id = await world.begin(("alice", "player", "cogment://client"))
        await world.context.join_trial(trial_id, world.endpoint, actor_name="alice")

    play(scenario)
    said = [record.getMessage() for record in caplog.records if "'alice'" in record.getMessage()]
    assert len(said) == 1 and said[0].endswith("ended by force: Externally requested")


def test_user_code_that_never_reads_notices_the_end(play):
    ticks = []

    async def free_running(session):
        session.start([(EVERYBODY, text(0))])
        while not session.is_trial_over():
            await asyncio.sleep(0.01)
            session.produce_observations([(EVERYBODY, text("next"))])
        ticks.append("ended")

    log = []

    async def scenario(world):
        world.context.register_environment(free_running)
        world.context.register_actor(recording_actor(log), "recorder", ["player"])
        await world.start()
        trial_id = await world.begin()
        await world.reaches(trial_id, cogment.TrialState.RUNNING)
        await world.controller.terminate_trial([trial_id], hard=True)
        await world.finished(trial_id)

    play(scenario)
    assert ticks == ["ended"]
    assert log[-1] == "over"


def test_actor_answers_the_last_observation_with_a_reward(play):
    logged = []

    async def actor(session):
        session.start()
        async for event in session.all_events():
            if event.type is cogment.EventType.ACTIVE and event.observation:
                session.do_action(Int64Value(value=1))
            if event.type is cogment.EventType.ENDING and event.observation:
                session.add_reward(5.0, 1.0, ["alice"])

    async def datalog(session):
        session.start()
        async for sample in session.all_samples():
            logged.extend((sample.tick_id, reward.value) for reward in sample.all_rewards())

    async def scenario(world):
        world.context.register_environment(counting_environment(1, rewarding=False))
        world.context.register_actor(actor, "generic", ["player"])
        world.context.register_datalog(datalog)
        await world.start()
        await world.whole_trial(datalog_endpoint=world.service)

    play(scenario)
    assert logged == [(1, 5.0)]


def test_manual_end_of_sending(play):
    log = []

    async def actor(session):
        session.start(auto_done_sending=False)
        with pytest.raises(cogment.CogmentError, match="ending"):
            session.sending_done()
        async for event in session.all_events():
            if event.type is cogment.EventType.ACTIVE and event.observation:
                session.do_action(Int64Value(value=1))
            if event.type is cogment.EventType.ENDING and event.observation:
                session.sending_done()
                session.add_reward(1.0, 1.0, ["alice"])  # refused: a warning and nothing else
            log.append(event.type.name)

    async def environment(session):
        session.start([(EVERYBODY, text(0))], auto_done_sending=False)
        async for event in session.all_events():
            if event.actions:
                session.end([(EVERYBODY, text(1))])
                session.send_message(text("goodbye"), ["alice"])
                session.sending_done()

    async def scenario(world):
        world.context.register_environment(environment)
        world.context.register_actor(actor, "generic", ["player"])
        await world.start()
        await world.whole_trial()

    play(scenario)
    assert log == ["ACTIVE", "ENDING", "ENDING", "FINAL"]


def test_loop_over_events_can_be_left_and_taken_up_again(play):
    log = []

    async def actor(session):
        session.start()
        async for event in session.all_events():
            log.append(event.observation.tick_id)
            session.do_action(Int64Value(value=1))
            break
        events = session.all_events()
        event = await anext(events)
        while event.observation is None:
            event = await anext(events)
        log.append(event.observation.tick_id)
        session.do_action(Int64Value(value=1))
        with contextlib.suppress(StopAsyncIteration):
            await events.asend(False)
        async for event in session.all_events():
            if event.observation:
                log.append(event.observation.tick_id)

    async def scenario(world):
        world.context.register_environment(counting_environment(2))
        world.context.register_actor(actor, "generic", ["player"])
        await world.start()
        await world.whole_trial()

    play(scenario)
    assert log == [0, 1, 2]


def test_wait_for_an_event_can_be_cancelled(play):
    log = []

    async def actor(session):
        session.start()
        async for event in session.all_events():
            log.append(event.observation.tick_id)
            break
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(session.all_events())
        session.do_action(Int64Value(value=1))
        async for event in session.all_events():
            if event.observation:
                log.append(event.observation.tick_id)
                if event.type is cogment.EventType.ACTIVE:
                    session.do_action(Int64Value(value=1))

    async def scenario(world):
        world.context.register_environment(counting_environment(2))
        world.context.register_actor(actor, "generic", ["player"])
        await world.start()
        await world.whole_trial()

    play(scenario)
    assert log == [0, 1, 2]


def test_slow_handling_of_the_last_observation_does_not_hold_the_trial_up(play, monkeypatch):
    monkeypatch.setattr("cogment_lab.wire.session._LOOK_AFTER_S", 0.02)
    monkeypatch.setattr("cogment_lab.wire.session._ACK_BY_ITSELF_AFTER_S", 0.02)
    seen = []

    async def scenario(world):
        trial_over = asyncio.Event()

        async def slow(session):
            session.start()
            async for event in session.all_events():
                if event.type is cogment.EventType.ACTIVE and event.observation:
                    session.do_action(Int64Value(value=1))
                elif event.observation:
                    await trial_over.wait()
                seen.append(event.type.name)

        world.context.register_environment(counting_environment(1, rewarding=False))
        world.context.register_actor(slow, "slow", ["player"])
        await world.start()
        trial_id = await world.begin()
        await world.reaches(trial_id, cogment.TrialState.ENDED)
        trial_over.set()
        await world.finished(trial_id)

    play(scenario)
    assert seen == ["ACTIVE", "ENDING", "FINAL"]


@pytest.mark.parametrize("leaves_at", ["ACTIVE", "ENDING"])
def test_actor_that_returns_during_the_end_still_says_so(play, leaves_at):
    async def actor(session):
        session.start()
        async for event in session.all_events():
            if event.observation:
                session.do_action(Int64Value(value=1))
                if event.type.name == leaves_at:
                    return

    async def scenario(world):
        world.context.register_environment(counting_environment(1))
        world.context.register_actor(actor, "brief", ["player"])
        await world.start()
        await world.whole_trial()

    play(scenario)
