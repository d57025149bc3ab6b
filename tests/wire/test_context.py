"""Contexts and controllers: registration, control, hooks, logs, joining."""

import asyncio
import contextlib
import urllib.request

import pytest
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

import cogment_lab.wire as cogment
from cogment_lab.errors import EndpointError, PortInUseError, ServiceUnreachableError


def text(value):
    return StringValue(value=str(value))


def environment(ticks):
    async def implementation(session):
        session.start([("*", text(0))])
        async for event in session.all_events():
            if event.actions:
                tick = session.get_tick_id() + 1
                session.add_reward(1.0, 1.0, ["*"])
                act = session.end if tick == ticks else session.produce_observations
                act([("*", text(tick))])

    return implementation


async def actor(session):
    session.start()
    async for event in session.all_events():
        if event.observation and event.type is cogment.EventType.ACTIVE:
            session.do_action(Int64Value(value=event.observation.tick_id))


async def nothing(session):
    """Be registered."""


def register(world, ticks=2):
    world.context.register_environment(environment(ticks))
    world.context.register_actor(actor, "actor", ["player"])


def test_official_names_are_there():
    for name in set(cogment.__all__) - {"Model"}:
        assert getattr(cogment, name)
    assert cogment.actor.ActorClass is cogment.ActorClass
    assert cogment.CogmentError.__name__ == "ServiceError"


def test_context_needs_a_running_loop(settings):
    with pytest.raises(cogment.CogmentError, match="coroutine"):
        cogment.Context("tester", settings)


def test_registrations_are_checked(play):
    async def scenario(world):
        context = world.context
        with pytest.raises(cogment.CogmentError, match="nothing"):
            await context.serve_all_registered()
        context.register_actor(nothing, "a")
        context.register_environment(nothing)
        context.register_pre_trial_hook(nothing)
        context.register_datalog(nothing)
        for again in (
            lambda: context.register_actor(nothing, "a"),
            lambda: context.register_environment(nothing),
            lambda: context.register_pre_trial_hook(nothing),
            lambda: context.register_datalog(nothing),
        ):
            with pytest.raises(cogment.CogmentError, match="already"):
                again()
        await world.serve()
        with pytest.raises(cogment.CogmentError, match="before serving"):
            context.register_actor(nothing, "b")
        with pytest.raises(cogment.CogmentError, match="already"):
            await context.serve_all_registered()
        with pytest.raises(PortInUseError):
            other = cogment.Context("other", context._settings)
            other.register_environment(nothing)
            await other.serve_all_registered(cogment.ServedEndpoint(context.served_port))

    play(scenario)


def test_controller_starts_watches_and_describes_trials(play):
    states, whole = [], []

    async def scenario(world):
        register(world)
        await world.start()
        controller = await world.controller
        watching = asyncio.create_task(watch(controller, states))
        watching_all = asyncio.create_task(watch(controller, whole, full_info=True))
        await asyncio.sleep(0.05)
        parameters = world.parameters(("alice", "player"), ("bob", "player"), properties={"run": "7"})
        assert await controller.start_trial(trial_params=parameters, trial_id_requested="mine") == "mine"
        actors = await controller.get_actors("mine")
        assert [(one.actor_name, one.actor_class_name) for one in actors] == [
            ("alice", "player"),
            ("bob", "player"),
        ]
        await watching
        await watching_all
        assert await controller.start_trial(trial_params=parameters, trial_id_requested="mine") == ""
        (info,) = await controller.get_trial_info(["mine", "unknown"])
        assert (info.trial_id, info.state, info.properties) == (
            "mine",
            cogment.TrialState.ENDED,
            {"run": "7"},
        )
        assert info.duration > 0
        assert len(await controller.get_trial_info([])) == 1
        assert "cogment" in await controller.get_remote_versions()
        with pytest.raises(cogment.CogmentError, match="unknown"):
            await controller.get_actors("unknown")
        with pytest.raises(cogment.CogmentError, match="either"):
            await controller.start_trial(trial_config=b"", trial_params=parameters)

    async def watch(controller, log, **more):
        async with contextlib.aclosing(controller.watch_trials(**more)) as trials:
            async for info in trials:
                log.append(info)
                if info.state is cogment.TrialState.ENDED:
                    return

    play(scenario)
    assert [info.state.value for info in states] == [1, 2, 3, 4, 5]
    assert {info.trial_id for info in states} == {"mine"}
    assert states[0].properties is None
    assert whole[-1].properties == {"run": "7"}
    assert whole[-1].env_name == "env"


def test_unreachable_orchestrator_is_an_error_at_once(play):
    async def scenario(world):
        world.context.register_actor(actor, "actor", ["player"])
        endpoint = cogment.Endpoint("grpc://127.0.0.1:9")
        controller = world.context.get_controller(endpoint)
        with pytest.raises(ServiceUnreachableError, match="start a trial"):
            await controller.start_trial()
        with pytest.raises(ServiceUnreachableError, match="watch"):
            await anext(controller.watch_trials())
        with pytest.raises(ServiceUnreachableError, match="join"):
            await world.context.join_trial("t", endpoint, actor_name="alice")
        with pytest.raises(EndpointError):
            world.context.get_controller(cogment.Endpoint("cogment://client"))
        await world.context.close()

    play(scenario)


@pytest.mark.parametrize(
    ("slot", "why"),
    [({"actor_name": "zoe"}, "zoe"), ({"actor_class": "judge"}, "judge"), ({}, "name the actor")],
)
def test_joining_what_cannot_be_joined_is_an_error(play, slot, why):
    async def scenario(world):
        register(world)
        await world.start()
        trial_id = await world.begin(("alice", "player", "cogment://client"))
        with pytest.raises(cogment.CogmentError, match=why):
            await world.context.join_trial(trial_id, world.endpoint, **slot)
        with pytest.raises(cogment.CogmentError):
            await world.context.join_trial("unknown", world.endpoint, actor_name="alice")
        await world.controller.terminate_trial([trial_id], hard=True)

    play(scenario)


def test_failing_client_actor_raises_from_join(play):
    async def failing(session):
        session.start()
        raise ZeroDivisionError("in user code")

    async def scenario(world):
        world.context.register_environment(environment(2))
        world.context.register_actor(failing, "failing", ["player"])
        await world.start()
        trial_id = await world.begin(("alice", "player", "cogment://client"))
        with pytest.raises(ZeroDivisionError, match="in user code"):
            await world.context.join_trial(trial_id, world.endpoint, actor_name="alice")
        await world.finished(trial_id)

    play(scenario)


@pytest.mark.parametrize("old_style", [False, True])
def test_pre_trial_hook_completes_the_parameters(play, old_style, settings):
    trial_ids, configurations = [], []

    async def scenario(world):
        async def hook(session):
            assert session.get_user_id() == "tester"
            trial_ids.append(session.get_trial_id())
            if old_style:
                assert session.trial_config == text("please")
                session.environment_endpoint = world.service
                session.environment_config = Int64Value(value=3)
                session.actors = [
                    {
                        "name": "alice",
                        "actor_class": "player",
                        "endpoint": world.service,
                        "implementation": "",
                        "config": None,
                    }
                ]
                session.validate()
            else:
                parameters = session.trial_parameters
                assert parameters.config == text("please")
                parameters.environment_endpoint = world.service
                parameters.environment_config = Int64Value(value=3)
                parameters.actors = [
                    cogment.ActorParameters(settings, "player", name="alice", endpoint=world.service)
                ]

        async def configured(session):
            configurations.append(session.config.value)
            await environment(1)(session)

        world.context.register_environment(configured)
        world.context.register_actor(actor, "actor", ["player"])
        world.context.register_pre_trial_hook(hook)
        await world.start(hook=True)
        trial_id = await world.controller.start_trial(trial_config=text("please"))
        trial_ids.append(trial_id)
        await world.finished(trial_id)

    play(scenario)
    assert configurations == [3]
    assert trial_ids[0] == trial_ids[1]


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (lambda session: 1 / 0, "ZeroDivisionError"),
        (lambda session: setattr(session, "trial_speed", 1), "trial_speed"),
        (lambda session: session.actors.append({"name": "x"}), "keys"),
        (lambda session: (session.trial_parameters, setattr(session, "actors", [])), "mixed"),
    ],
)
def test_failing_hook_fails_the_start_with_its_reason(play, fault, why):
    async def scenario(world):
        async def hook(session):
            fault(session)

        world.context.register_pre_trial_hook(hook)
        await world.start(hook=True)
        with pytest.raises(cogment.CogmentError, match=why):
            await world.controller.start_trial(trial_config=b"")

    play(scenario)


def test_datalog_receives_every_sample(play):
    samples, sessions = [], []

    async def datalog(session):
        sessions.append(session)
        session.start()
        async for sample in session.all_samples():
            samples.append(sample)

    async def scenario(world):
        register(world, ticks=3)
        world.context.register_datalog(datalog)
        await world.start()
        trial_id = await world.whole_trial(datalog_endpoint=world.service)
        assert (sessions[0].trial_id, sessions[0].user_id) == (trial_id, "tester")

    play(scenario)
    assert [sample.tick_id for sample in samples] == [0, 1, 2, 3]
    assert samples[-1].state is cogment.TrialState.ENDED
    assert [sample.get_observation("alice").observation.value for sample in samples] == ["0", "1", "2", "3"]
    assert [sample.get_observation(0).tick_id for sample in samples] == [0, 1, 2, 3]
    assert [sample.get_action("alice").action for sample in samples[1:3]] == [
        Int64Value(value=1),
        Int64Value(value=2),
    ]
    assert [reward.value for reward in samples[1].all_rewards()] == [1.0]
    assert list(samples[0].all_messages()) == []
    assert list(samples[0].all_actor_names()) == ["alice"]
    with pytest.raises(cogment.CogmentError, match="bob"):
        samples[0].get_action("bob")
    copied = cogment.LogSample(sessions[0].trial_parameters)
    copied.deserialize(samples[1].serialize())
    assert copied.get_action(0) == samples[1].get_action(0)
    assert sessions[0].trial_params.get_actor(0)["action_space"] is Int64Value


def test_datalog_that_does_not_listen_lets_the_trial_go_on(play):
    async def scenario(world):
        register(world)
        world.context.register_datalog(nothing)
        await world.start()
        await world.whole_trial(datalog_endpoint=world.service)

    play(scenario)


def test_metadata_rules():
    metadata = cogment.GrpcMetadata()
    metadata.add("Some-Key", "value")
    metadata.add("some-bin", b"\x00")
    metadata.add_http_basic_auth("user", "secret")
    assert metadata.to_grpc_metadata() == [
        ("some-key", "value"),
        ("some-bin", b"\x00"),
        ("authorization", "basic dXNlcjpzZWNyZXQ="),
    ]
    copied = metadata.copy()
    copied.add("other", "value")
    assert len(metadata.to_grpc_metadata()) == 3
    for key, value in (("grpc-x", "v"), ("x-bin", "text"), ("x", b"bytes")):
        with pytest.raises(cogment.CogmentError):
            metadata.add(key, value)


def test_metrics_page_counts_sessions(play):
    pages = []

    async def scenario(world):
        register(world, ticks=2)
        await world.start(prometheus_port=0)
        await world.whole_trial()
        with urllib.request.urlopen(f"http://127.0.0.1:{world.context._served.metrics_port}") as reply:
            pages.append(reply.read().decode())

    play(scenario)
    for line in (
        'actor_started_total{impl_name="actor"} 1.0',
        'actor_reward_summation{impl_name="actor",name="alice"} 2.0',
        'environment_update_count_per_trial_sum{impl_name="default"} 1.0',
        'environment_trials_ended_total{impl_name="default"} 1.0',
    ):
        assert line in pages[0]


def test_make_logger_takes_its_level_from_the_environment(monkeypatch, caplog):
    monkeypatch.setenv("TEST_LOG_LEVEL", "trace")
    logger = cogment.make_logger("test.logger", "TEST_LOG_LEVEL")
    logger.trace("low %d", 1)
    logger.deprecated("old")
    logger.deprecated("old")
    assert [record.message for record in caplog.records] == ["low 1", "old"]
    assert logger.hasHandlers()
    monkeypatch.setenv("TEST_LOG_LEVEL", "off")
    assert not cogment.make_logger("test.logger", "TEST_LOG_LEVEL").isEnabledFor(40)
