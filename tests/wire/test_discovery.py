"""A context whose services and endpoints go through a directory, here a small stand-in."""

import asyncio
import contextlib

import pytest
from google.protobuf.wrappers_pb2 import StringValue

import cogment_lab.wire as cogment
from cogment_lab.errors import EndpointError, ServiceUnreachableError
from cogment_lab.wire.endpoint import ServiceType
from cogment_lab.wire.generated import directory_pb2 as api
from cogment_lab.wire.server import Server, Servicer


class StandIn(Servicer):
    """Keeps records and finds them by type and properties."""

    def __init__(self):
        self.records = {}
        self.tokens = set()

    async def Register(self, requests, context):
        self.tokens.add(dict(context.invocation_metadata()).get("authentication-token"))
        async for request in requests:
            number = len(self.records) + 1
            self.records[number] = request
            yield api.RegisterReply(status=api.RegisterReply.OK, service_id=number, secret="s")

    async def Deregister(self, requests, context):
        async for request in requests:
            del self.records[request.service_id]
            yield api.DeregisterReply(status=api.DeregisterReply.OK)

    async def Inquire(self, request, context):
        wanted = request.details
        for number, record in self.records.items():
            properties = record.details.properties
            if record.details.type == wanted.type and wanted.properties.items() <= properties.items():
                yield api.InquireReply(
                    data={"endpoint": record.endpoint, "details": record.details, "service_id": number}
                )


@contextlib.asynccontextmanager
async def directory(world):
    """Run a stand-in that the world's context uses."""
    standing_in = StandIn()
    server = Server({"cogmentAPI.DirectorySP": standing_in})
    await server.start()
    endpoint = cogment.Endpoint(f"grpc://127.0.0.1:{server.port}")
    world.context = cogment.Context(
        "tester", world.context._settings, directory_endpoint=endpoint, directory_auth_token="secret"
    )
    try:
        yield standing_in
    finally:
        await server.stop()


async def nothing(session):
    """Be registered."""


def test_what_is_served_is_registered_until_it_stops(play):
    async def scenario(world):
        async with directory(world) as records, contextlib.AsyncExitStack() as world.ends:
            world.context.register_actor(nothing, "smart", ["player", "judge"], {"size": "big"})
            world.context.register_environment(nothing, "lunar")
            world.context.register_pre_trial_hook(nothing)
            world.context.register_datalog(nothing)
            serving = await world.serve()
            while len(records.records) < 5:
                await asyncio.sleep(0.001)
            kinds = [ServiceType(record.details.type).name for record in records.records.values()]
            assert kinds == ["ACTOR", "ACTOR", "ENVIRONMENT", "PREHOOK", "DATALOG"]
            first = records.records[1]
            assert (first.endpoint.host, first.endpoint.port) == ("127.0.0.1", world.context.served_port)
            expected = {"size": "big", "__actor_class": "player", "__implementation": "smart"}
            assert expected.items() <= first.details.properties.items()
            assert records.tokens == {"secret"}
            await world._cancelled(serving)
            assert records.records.keys() <= {5}  # the answer to the fifth may still have been on its way

    play(scenario)


def test_orchestrator_is_found_and_joined_by_discovery(play):
    played = []

    async def environment(session):
        session.start([("*", StringValue())])
        session.end([("*", StringValue())])

    async def actor(session):
        session.start()
        async for event in session.all_events():
            played.append(event.type.name)

    async def scenario(world):
        async with directory(world) as records, contextlib.AsyncExitStack() as world.ends:
            with pytest.raises(ServiceUnreachableError, match="lifecycle"):
                await world.context.get_controller()
            world.context.register_environment(environment)
            world.context.register_actor(actor, "actor", ["player"])
            directory_url = world.context._directory_endpoint.url
            await world.start(directory_endpoint=directory_url, directory_registration_host="127.0.0.1")
            assert len(records.records) >= 2
            controller = await world.context.get_controller()
            parameters = world.parameters(("alice", "player", "cogment://client"))
            trial_id = await controller.start_trial(trial_params=parameters)
            await world.context.join_trial(trial_id, actor_name="alice")

    play(scenario)
    assert played[-1] == "FINAL"


def test_discovery_without_a_directory_is_an_error(play, monkeypatch):
    monkeypatch.delenv("COGMENT_DIRECTORY_ENDPOINT", raising=False)

    async def scenario(world):
        with pytest.raises(EndpointError, match="none is configured"):
            await world.context.get_controller()
        with pytest.raises(EndpointError, match="none is configured"):
            await world.context.join_trial("t", actor_name="alice")

    play(scenario)
